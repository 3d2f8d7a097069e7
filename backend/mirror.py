"""How far the mirror of the chain is: the block that an answer was read at, and how settled other blocks are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Request
from sqlalchemy import RowMapping, select
from sqlalchemy.orm import Session

from backend.deps import DbSession
from backend.edge.quotas import SAFE_METHODS
from backend.errors import Conflict, Unavailable
from backend.pagination import decode_cursor, encode_cursor, page
from backend.schemas import AsOf
from backend.telemetry import trail
from indexer import models as chain

Stage = Literal["received", "seen", "final"]
"""Our database only; in the mirror; as final as the network says."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last mirrored block, and the last one that is final."""

    number: int
    hash: bytes
    time: int
    """The block's timestamp: the chain's clock."""
    final_number: int

    @property
    def as_of(self) -> AsOf:
        """What stands in every answer that comes from the chain, and in the log lines that follow."""
        trail.at_block(self.number)
        return AsOf(block=self.number, hash=self.hash, stage=self.stage_of(self.number))

    def stage_of(self, block: int) -> Literal["seen", "final"]:
        """How settled a mirrored block is."""
        return "final" if block <= self.final_number else "seen"


def head(session: Session) -> Head:
    """How far the mirror is. Raises Unavailable before the indexer has written its first block."""
    row = session.execute(select(chain.cursor)).mappings().one_or_none()
    if row is None:
        raise Unavailable(
            "The indexer has not mirrored anything yet; is it running?",
            code="mirror_empty",
            title="Nothing mirrored yet",
        )
    return Head(int(row["head_number"]), bytes(row["head_hash"]), int(row["head_time"]), int(row["final_number"]))


def get_head(session: DbSession) -> Head:
    return head(session)


def get_snapshot(session: DbSession, request: Request) -> Session:
    """The request's session; where the request only reads, it sees one state of the mirror to its end.

    Ask for it before anything that queries, `ChainHead` too. What writes stays READ COMMITTED: it would have to be
    repeated where it meets another writer.
    """
    if request.method in SAFE_METHODS:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    return session


Snapshot = Annotated[Session, Depends(get_snapshot)]
ChainHead = Annotated[Head, Depends(get_head)]
"""The mirror's head, read in the request's own transaction."""


def block_hash(session: Session, number: int) -> bytes | None:
    """The hash of a mirrored block that holds a log of ours, or is not final."""
    found = session.scalar(select(chain.block.c.hash).where(chain.block.c.number == number))
    return None if found is None else bytes(found)


def require_block(session: Session, number: int, prefix: bytes) -> None:
    """Raise Conflict `cursor_void` unless the mirrored block still has a hash with this prefix."""
    found = block_hash(session, number)
    if found is None or not found.startswith(prefix):
        raise Conflict(
            f"The chain was reorganised at or below block {number} since this cursor was made; start again without it.",
            code="cursor_void",
            title="The list has changed",
            block=number,
        )


def newest_first(
    session: Session,
    rows_before: Callable[[int | None, int], Sequence[RowMapping]],
    *,
    scope: str,
    key: str,
    cursor: str | None,
    limit: int,
) -> tuple[list[RowMapping], str | None]:
    """A page of things by falling id `key`, and the cursor of the next one, which a reorganisation of its block voids.

    `rows_before` is asked for so many rows with ids below the given one; they also have `created_block`.
    """
    before = None
    if cursor is not None:
        before, block, prefix = decode_cursor(scope, cursor, int, int, bytes.fromhex)
        require_block(session, block, prefix)

    def following(row: RowMapping) -> str:
        prefix = (block_hash(session, row["created_block"]) or b"")[:8].hex()
        return encode_cursor(scope, int(row[key]), int(row["created_block"]), prefix)

    return page(rows_before(before, limit + 1), limit, following)
