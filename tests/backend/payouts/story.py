"""A made-up chain for tests that need no node: the ledger twin does what the contract would, and writes its events.

The rows go into the chain's tables as the indexer would write them; the split trees and their files are real, so proofs
can be checked against the roots. What the twin then pays is what the API's forecast is held against.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import psycopg
from eth_account import Account
from eth_utils.crypto import keccak
from sqlalchemy import create_engine, insert

from backend.payouts.ledger import NATIVE, SPLIT_INTERVAL_S, Edge, Leaf, Ledger
from backend.payouts.reassignment import plan
from backend.works.metadata import FORMAT as METADATA_FORMAT
from backend.works.metadata import canonical_json
from backend.works.splits import Share, SplitTree, tree_file
from indexer import models
from stack.postgres import DatabaseUrls

USD = "0x" + "11" * 20
WEIGHT = 1_000_000
GENESIS_TIME = 1_780_000_000
DAY = 24 * 3600


def person(name: str) -> str:
    """The address of the person that conftest's `people` knows by this name."""
    return str(Account.from_key(keccak(text=f"person {name}")).address)


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


class Story(Ledger):
    """A ledger with works, trees and time, that keeps every event as a row."""

    def __init__(self, *, fee_bps: int = 500, seed: int = 0) -> None:
        self.rows: list[tuple[str, str, dict[str, Any]]] = []
        self.files: dict[bytes, bytes] = {}
        self.trees: dict[tuple[int, int], SplitTree] = {}
        self.pending_trees: dict[int, tuple[SplitTree, bytes]] = {}
        self.blocks: list[int] = [GENESIS_TIME]
        self.logs = 0
        self.payers = 0
        self.seed = seed
        self.publish = True
        super().__init__(fee_bps=0, treasury=person("treasury"))
        self.next_block()
        self.emit("TokenAllowed", token=raw(USD), allowed=True)
        self.set_fee(fee_bps)
        self._activate_tree(0, SplitTree.of([Share(person("treasury"), WEIGHT)]), self._publish_file(0))

    # time

    @property
    def now(self) -> int:
        return self.blocks[-1]

    @property
    def head(self) -> int:
        return len(self.blocks) - 1

    def next_block(self, seconds: int = 12) -> None:
        self.blocks.append(self.now + seconds)
        self.logs = 0

    def block_hash(self, number: int) -> bytes:
        return bytes(keccak(f"{self.seed}/{number}".encode()))

    # what people do, each in a block of its own

    def register(
        self, creator: str, edges: Sequence[Edge] = (), shares: Sequence[Share] = (), *, title: str | None = None
    ) -> int:
        """A new work; `shares` are its first split, all of it the creator's by default. Returns its id."""
        self.next_block()
        work = len(self.works)
        tree = SplitTree.of(shares or [Share(creator, WEIGHT)])
        file = tree_file(shares or [Share(creator, WEIGHT)])
        leaves = [Leaf(leaf.position, str(leaf.account), leaf.weight) for leaf in tree.leaves()]
        self.open(work, edges, leaves=leaves, total_weight=tree.root.sum, now=self.now)
        cid_digest = keccak(b"metadata" + work.to_bytes(8))
        if title is not None:
            metadata = canonical_json({"format": METADATA_FORMAT, "name": title})
            cid_digest = sha256(metadata).digest()
            self.files[cid_digest] = metadata
        self.emit(
            "WorkRegistered",
            contract="WorkRegistry",
            work_id=work,
            owner=raw(creator),
            content_hash=keccak(work.to_bytes(8)),
            kind=3,
            ai_label=1,
            licence_id=0,
            cid_digest=cid_digest,
            committed_at=0,
        )
        for index, edge in enumerate(edges):
            self.emit(
                "EdgeOpened", work_id=work, parent_id=edge.parent, index=index, bps=edge.bps, relative=edge.relative
            )
        if shares:
            self.files[sha256(file).digest()] = file
        self._activate_tree(work, tree, sha256(file).digest())
        return work

    def paid(self, work: int, amount: int, token: str = NATIVE, kind: int = 1) -> None:
        self.next_block()
        self._kind = kind
        self.pay(work, token, amount)

    def settled_up(self, work: int, edge: int, token: str = NATIVE) -> None:
        self.next_block()
        self.settle(work, edge, token)

    def take(self, work: int, version: int, position: int, weight: int, token: str = NATIVE) -> int:
        self.next_block()
        return self.withdraw(work, token, version, position, weight, now=self.now)

    def give(self, work: int, position: int, recipients: Sequence[Share], *, publish: bool = True) -> None:
        """The holder of a leaf gives of it; the file of the new leaves is published unless it is kept back."""
        self.next_block()
        tree = self.pending_trees[work][0] if work in self.pending_trees else self.trees[work, self.works[work].version]
        move = plan(tree, position, recipients)
        if publish:
            self.files[move.digest] = move.file
        below = [
            Leaf(leaf.position, str(leaf.account), leaf.weight)
            for leaf in move.tree.leaves()
            if leaf.position >> max(0, leaf.position.bit_length() - position.bit_length()) == position
        ]
        self.pending_trees[work] = move.tree, move.digest
        self.emit(
            "ShareReassigned",
            work_id=work,
            account=raw(str(move.leaf.account)),
            weight=move.leaf.weight,
            position=position,
            new_hash=move.new_hash,
            pending_root=move.tree.root.hash,
            tree_digest=move.digest,
            proof=[{"hash": "0x" + node.hash.hex(), "sum": str(node.sum)} for node in move.proof],
        )
        self.reassign(work, position, below, now=self.now)

    def replace_split(self, work: int, *, leaves: Sequence[Leaf], total_weight: int, now: int) -> int:
        version = super().replace_split(work, leaves=leaves, total_weight=total_weight, now=now)
        tree, digest = self.pending_trees.pop(work)
        self._activate_tree(work, tree, digest)
        return version

    def set_fee(self, bps: int) -> None:
        if bps != self.fee_bps:
            self.emit("FeeChanged", old_bps=self.fee_bps, new_bps=bps)
        super().set_fee(bps)

    def copy(self) -> Story:
        twin = super().copy()
        assert isinstance(twin, Story)
        twin.rows = []
        return twin

    # rows

    def emit(self, name: str, *, contract: str = "RevenueLedger", **args: Any) -> None:
        place = {
            "block_number": self.head,
            "log_index": self.logs,
            "tx_hash": keccak(f"{self.seed}/{self.head}/tx".encode()),
            "block_time": self.now,
        }
        self.logs += 1
        self.rows.append((contract, name, place | args))

    def _publish_file(self, work: int) -> bytes:
        file = tree_file([Share(person("treasury"), WEIGHT)])
        digest = sha256(file).digest()
        self.files[digest] = file
        return digest

    def _activate_tree(self, work: int, tree: SplitTree, digest: bytes) -> None:
        version = self.works[work].version
        self.trees[work, version] = tree
        self.emit(
            "SplitActivated",
            work_id=work,
            version=version,
            root=tree.root.hash,
            total_weight=tree.root.sum,
            tree_digest=digest,
        )

    def _receive(self, work: int, token: str, amount: int, fee: int) -> None:
        super()._receive(work, token, amount, fee)
        self.payers += 1
        self.emit(
            "PaymentReceived",
            work_id=work,
            token=raw(token),
            payer=raw(person(f"payer {self.payers % 7}")),
            amount=amount,
            fee=fee,
            kind=self._kind,
            ref=bytes(32),
        )

    def _settle(self, work: int, edge: int, token: str, owed: int) -> None:
        super()._settle(work, edge, token, owed)
        parent = self.works[work].edges[edge].parent
        self.emit("EdgeSettled", work_id=work, parent_id=parent, token=raw(token), index=edge, amount=owed)

    def _withdraw(self, work: int, token: str, version: int, position: int, amount: int) -> None:
        super()._withdraw(work, token, version, position, amount)
        leaf = next(leaf for leaf in self.trees[work, version].leaves() if leaf.position == position)
        self.emit(
            "Withdrawn",
            work_id=work,
            account=raw(str(leaf.account)),
            token=raw(token),
            version=version,
            position=position,
            amount=amount,
        )

    _kind = 1

    def mirror(self, urls: DatabaseUrls, *, final: int | None = None) -> None:
        """Write the rows, as the indexer would have by now."""
        engine = create_engine(urls.indexer)
        tables: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for contract, name, row in self.rows:
            tables.setdefault((contract, name), []).append(row)
        with engine.begin() as connection:
            connection.execute(
                insert(models.block),
                [
                    {
                        "number": number,
                        "hash": self.block_hash(number),
                        "parent_hash": self.block_hash(number - 1),
                        "time": time,
                        "log_count": 1,
                        "digest": bytes(32),
                    }
                    for number, time in enumerate(self.blocks)
                ],
            )
            for (contract, name), rows in tables.items():
                connection.execute(insert(models.event(contract, name)), rows)
            connection.execute(
                insert(models.cursor).values(
                    id=1,
                    chain_id=31337,
                    genesis_hash=self.block_hash(0),
                    contracts={},
                    start_block=0,
                    start_parent=self.block_hash(-1),
                    head_number=self.head,
                    head_hash=self.block_hash(self.head),
                    head_time=self.now,
                    final_number=self.head if final is None else final,
                    log_count=len(self.rows),
                    digest=bytes(32),
                )
            )
        engine.dispose()


def execute(urls: DatabaseUrls, query: str) -> None:
    """Change the mirror by hand, as its owner."""
    with psycopg.connect(urls.conninfo()) as connection:
        connection.execute(query)  # type: ignore[arg-type]


def random_story(seed: int, steps: int = 60) -> Story:
    """Works by several people, derived from each other, paid, settled, moved and withdrawn from at random."""
    dice = random.Random(seed)
    names = [person(name) for name in ("alice", "bob", "carol", "dave")]
    story = Story(fee_bps=dice.choice([0, 250, 500]), seed=seed)
    for _ in range(steps):
        works = [work for work in story.works if work]
        act = dice.choices(["register", "pay", "settle", "take", "give", "wait"], [2, 6, 2, 2, 2, 1])[0]
        if act == "register" or not works:
            parents = sorted(set(dice.sample(works, min(len(works), dice.randrange(3)))))
            edges = [Edge(work, dice.choice([333, 1500, 2600]), dice.random() < 0.5) for work in parents]
            creator = dice.choice(names)
            shared = [Share(name, WEIGHT // 5 * (index + 1)) for index, name in enumerate(dice.sample(names, 2))]
            shares = [*shared, Share(creator, WEIGHT - sum(share.weight for share in shared))]
            story.register(creator, edges, shares if dice.random() < 0.5 else ())
        elif act == "pay":
            amount = dice.choice([1, 3, 7, 999, 10**9 + 7, 10**18, dice.randrange(1, 10**20)])
            story.paid(dice.choice(works), amount, dice.choice([NATIVE, USD]), dice.randrange(1, 10))
        elif act == "settle":
            derived = [work for work in works if story.works[work].edges]
            if derived:
                work = dice.choice(derived)
                story.settled_up(work, dice.randrange(len(story.works[work].edges)), dice.choice([NATIVE, USD]))
        elif act == "take":
            work = dice.choice(works)
            version, leaf = dice.choice(list(story.leaves(work)))
            token = dice.choice([NATIVE, USD])
            if story.due(work, token, version, leaf.position, leaf.weight):
                story.take(work, version, leaf.position, leaf.weight, token)
        elif act == "give":
            work = dice.choice(works)
            target = story.works[work]
            leaf = dice.choice(target.split.leaves if target.pending is None else target.pending)
            to = dice.choice([name for name in names if name != leaf.account])
            if leaf.weight > 1:
                story.give(work, leaf.position, [Share(to, dice.randrange(1, leaf.weight + 1))])
        else:
            story.next_block(SPLIT_INTERVAL_S + dice.randrange(DAY))
            for work in works:
                if story.works[work].pending and story.now >= story.works[work].activated_at + SPLIT_INTERVAL_S:
                    story.activate(work, now=story.now)
    return story
