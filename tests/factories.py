"""Rows as the indexer writes them, for tests of the backend that need a mirror and no chain.

mirror = Mirror(db_urls)                      # as role troupe_indexer
mirror.block(1, time=1_700_000_000)
mirror.work(7, owner=alice, block=1)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from eth_utils import to_canonical_address
from sqlalchemy import Engine, Table, create_engine, insert, update
from sqlalchemy.orm import Session

from indexer.models import block, cursor, event
from stack.postgres import DatabaseUrls

GENESIS_TIME = 1_760_000_000
ZERO = bytes(20)
TERMS = {
    "min_share_bps": 0,
    "commercial": True,
    "derivatives": True,
    "approval_required": False,
    "share_alike": False,
    "attribution": True,
    "fan_fiction": False,
    "relative": False,
    "ai_training": False,
    "expires": 0,
    "terms_hash": bytes(32),
}
"""A licence in the order of the contract's struct: derivations allowed, absolute royalty, never ends."""


def hash32(*parts: object) -> bytes:
    """A made-up hash that is the same for the same parts."""
    return sha256(repr(parts).encode()).digest()


def canonical(account: Any) -> bytes:
    """20 bytes of an address, of a wallet, or of text."""
    return account if isinstance(account, bytes) else bytes(to_canonical_address(getattr(account, "address", account)))


@dataclass
class Mirror:
    """Writes chain tables as the indexer would, with made-up hashes."""

    urls: DatabaseUrls
    log_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(0))
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = create_engine(self.urls.indexer)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def session(self) -> Iterator[Session]:
        with Session(self.engine) as session, session.begin():
            yield session

    def block(self, number: int, *, time: int | None = None, final: int | None = None) -> None:
        """A mirrored block; it becomes the head."""
        at = GENESIS_TIME + number if time is None else time
        with self.session() as session:
            session.execute(
                insert(block).values(
                    number=number,
                    hash=hash32("block", number),
                    parent_hash=hash32("block", number - 1),
                    time=at,
                    log_count=0,
                    digest=hash32("digest", number),
                )
            )
            head = {
                "head_number": number,
                "head_hash": hash32("block", number),
                "head_time": at,
                "final_number": max(number - 2, 0) if final is None else final,
            }
            if session.scalar(update(cursor).values(**head).returning(cursor.c.id)) is None:
                session.execute(
                    insert(cursor).values(
                        id=1,
                        chain_id=31337,
                        genesis_hash=hash32("block", 0),
                        contracts={},
                        start_block=0,
                        start_parent=bytes(32),
                        log_count=0,
                        digest=bytes(32),
                        **head,
                    )
                )

    def log(self, contract: str, name: str, *, block: int, time: int | None = None, **values: Any) -> None:
        """One event's row; arguments by their column names, addresses as wallets, text or bytes."""
        table: Table = event(contract, name)
        row = {
            "block_number": block,
            "log_index": next(self.log_numbers),
            "tx_hash": hash32("tx", contract, name, block),
            "block_time": GENESIS_TIME + block if time is None else time,
        }
        with self.session() as session:
            session.execute(insert(table).values(**row | values))

    def work(self, work_id: int, *, owner: Any, block: int, content_hash: bytes | None = None, **values: Any) -> None:
        """A registered work: its event and the transfer from nobody to its owner."""
        address = canonical(owner)
        self.log(
            "WorkRegistry",
            "WorkRegistered",
            block=block,
            **{
                "work_id": work_id,
                "owner": address,
                "content_hash": content_hash or hash32("content", work_id),
                "kind": 1,
                "ai_label": 1,
                "licence_id": 0,
                "cid_digest": hash32("cid", work_id),
                "committed_at": GENESIS_TIME,
                **values,
            },
        )
        self.log("WorkRegistry", "Transfer", block=block, from_=ZERO, to_=address, token_id=work_id)
