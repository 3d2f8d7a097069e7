"""A mirror that says what a test says: rows of schema `chain`, written in the indexer's role as it writes them.

For tests of what the backend makes of the mirror. That the mirror is the chain's is the indexer's own affair, and that
the backend's rules are the contract's is tested on a real chain (test_registration_on_chain.py).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, create_engine, delete, insert, update

from indexer import models as chain
from indexer.models import event
from stack.postgres import DatabaseUrls
from tests.factories import TERMS

GENESIS_TIME = 1_700_000_000
BLOCK_S = 10


def word(text: str) -> bytes:
    """32 bytes that stand for a text."""
    return hashlib.sha256(text.encode()).digest()


@dataclass
class MirrorWriter:
    """Writes blocks and events; each call of `block` is one block with all its events, and moves the head."""

    urls: DatabaseUrls
    height: int = 0
    works: int = 0
    licences: int = 0
    fork: str = ""
    _engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self._engine = create_engine(self.urls.indexer)
        with self._engine.begin() as connection:
            connection.execute(delete(chain.cursor))
            connection.execute(
                insert(chain.cursor).values(
                    id=1,
                    chain_id=31337,
                    genesis_hash=word("genesis"),
                    contracts={},
                    start_block=0,
                    start_parent=bytes(32),
                    head_number=0,
                    head_hash=word("genesis"),
                    head_time=GENESIS_TIME,
                    final_number=0,
                    log_count=0,
                    digest=bytes(32),
                )
            )

    def close(self) -> None:
        self._engine.dispose()

    def hash_of(self, number: int) -> bytes:
        return word(f"block {number}{self.fork}")

    @property
    def time(self) -> int:
        """The chain's clock."""
        return GENESIS_TIME + self.height * BLOCK_S

    def block(self, *events: tuple[str, str, dict[str, Any]]) -> int:
        """Mirror one more block with these (contract, event, arguments); returns its number."""
        self.height += 1
        at = {"block_number": self.height, "block_time": self.time}
        with self._engine.begin() as connection:
            connection.execute(
                insert(chain.block).values(
                    number=self.height,
                    hash=self.hash_of(self.height),
                    parent_hash=self.hash_of(self.height - 1),
                    time=self.time,
                    log_count=len(events),
                    digest=bytes(32),
                )
            )
            for index, (contract, name, args) in enumerate(events):
                row = at | {"log_index": index, "tx_hash": word(f"tx {self.height} {index}")} | args
                connection.execute(insert(event(contract, name)).values(row))
            self._move_head(connection)
        return self.height

    def _move_head(self, connection: Any) -> None:
        connection.execute(
            update(chain.cursor).values(
                head_number=self.height, head_hash=self.hash_of(self.height), head_time=self.time
            )
        )

    def finalise(self) -> None:
        """All mirrored blocks are final from here on."""
        with self._engine.begin() as connection:
            connection.execute(update(chain.cursor).values(final_number=self.height))

    def reorganise(self, depth: int, fork: str) -> None:
        """Take the last blocks back; what is mirrored from here on has other hashes."""
        self.height -= depth
        with self._engine.begin() as connection:
            for table, column in chain.undo_columns().items():
                rows = chain.metadata.tables[f"chain.{table}"]
                connection.execute(delete(rows).where(rows.c[column] > self.height))
            self._move_head(connection)
        self.fork = fork

    # --- what the contracts emit --------------------------------------------------------------------------------------

    def licence(self, **terms: Any) -> int:
        """Create a licence; its id."""
        self.licences += 1
        defaults = TERMS | {"terms_hash": word(f"terms {self.licences}")}
        args = {"licence_id": self.licences, "creator": bytes(20)}
        args |= {f"terms_{name}": value for name, value in (defaults | terms).items()}
        self.block(("WorkRegistry", "LicenceCreated", args))
        return self.licences

    def work(
        self,
        owner: bytes,
        content_hash: bytes | None = None,
        *,
        licence: int = 0,
        cid_digest: bytes | None = None,
        parents: dict[int, int] | None = None,
        edges: list[tuple[int, int, bool]] | None = None,
        kind: int = 1,
        split: tuple[bytes, int, bytes] | None = None,
    ) -> int:
        """Register a work in a block of its own; its id.

        `edges` are (parent, bps, relative), `split` is (root, total weight, tree digest).
        """
        self.works += 1
        work_id = self.works
        root, total, digest = split or (word(f"root {work_id}"), 1_000_000, word(f"tree {work_id}"))
        derivations = [
            (
                "WorkRegistry",
                "DerivationRecorded",
                {"work_id": work_id, "parent_id": parent, "share_bps": bps, "absolute": True, "licence_id": 1},
            )
            for parent, bps in (parents or {}).items()
        ]
        opened = [
            (
                "RevenueLedger",
                "EdgeOpened",
                {"work_id": work_id, "parent_id": parent, "index": index, "bps": bps, "relative": relative},
            )
            for index, (parent, bps, relative) in enumerate(edges or [])
        ]
        self.block(
            (
                "WorkRegistry",
                "WorkRegistered",
                {
                    "work_id": work_id,
                    "owner": owner,
                    "content_hash": content_hash or word(f"content {work_id}"),
                    "kind": kind,
                    "ai_label": 1,
                    "licence_id": licence,
                    "cid_digest": cid_digest or word(f"metadata {work_id}"),
                    "committed_at": self.time,
                },
            ),
            ("WorkRegistry", "Transfer", {"from_": bytes(20), "to_": owner, "token_id": work_id}),
            *derivations,
            *opened,
            (
                "RevenueLedger",
                "SplitActivated",
                {"work_id": work_id, "version": 1, "root": root, "total_weight": total, "tree_digest": digest},
            ),
        )
        return work_id

    def status(self, work_id: int, status: int) -> None:
        """A moderator sets a work's standing."""
        args = {"work_id": work_id, "status": status, "reason_hash": bytes(32), "actor": bytes(20)}
        self.block(("WorkRegistry", "WorkStatusChanged", args))

    def approve(self, parent_id: int, deriver: bytes, content_hash: bytes) -> None:
        """A parent's owner approves a derivation."""
        args = {"parent_id": parent_id, "deriver": deriver, "content_hash": content_hash}
        self.block(("WorkRegistry", "DerivativeApproved", args))

    def transfer(self, work_id: int, old: bytes, new: bytes) -> None:
        """A work's token changes hands."""
        self.block(("WorkRegistry", "Transfer", {"from_": old, "to_": new, "token_id": work_id}))
