"""What a person can prove with an export: their shares and their awards, each with the path to a root on chain."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.chain import ChainInfo
from backend.consent.rows import Key, Owner, Row, Source, plain
from backend.content.store import ContentStore
from backend.mirror import head
from backend.models.payouts import SplitLeaf
from backend.payouts.trees import TreeCache, Wanted
from backend.payouts.trees import proof as split_proof
from backend.rewards.claims import claimable
from backend.rewards.merkle import Node
from backend.rewards.terms import Terms
from indexer.models import event

SHARES: Final = 500
"""Proofs of a page: each may be forty nodes."""

_trees = TreeCache()


def sources(chain: ChainInfo, store: ContentStore) -> list[Source]:
    """The person's proofs, as files of an export."""
    return [_shares(store), _awards(chain)]


def _nodes(nodes: list[Node] | tuple[Node, ...]) -> list[dict[str, str]]:
    return [{"hash": "0x" + node.hash.hex(), "sum": str(node.sum)} for node in nodes]


def _shares(store: ContentStore) -> Source:
    activated = event("RevenueLedger", "SplitActivated")
    key = [activated.c.block_number, activated.c.log_index, SplitLeaf.position]

    def query(owner: Owner) -> Any:
        return (
            select(
                *(activated.c[name] for name in ("work_id", "version", "root", "total_weight")),
                *(activated.c[name] for name in ("block_number", "log_index", "tx_hash")),
                SplitLeaf.position,
                SplitLeaf.weight,
            )
            .join(SplitLeaf, SplitLeaf.root == activated.c.root)
            .where(SplitLeaf.account == owner.address)
        )

    def count(session: Session, owner: Owner) -> int:
        return 0 if owner.address is None else len(session.execute(query(owner)).all())

    def page(session: Session, owner: Owner, after: Key | None) -> tuple[list[Row], Key | None]:
        if owner.address is None:
            return [], None
        rows = session.execute(query(owner).order_by(*key)).mappings().all()
        start = after[0] if after else 0
        chosen = rows[start : start + SHARES]
        wanted = [
            Wanted(int(row["work_id"]), int(row["version"]), bytes(row["root"]), int(row["position"])) for row in chosen
        ]
        trees = _trees.find(session, wanted, store)
        found: list[Row] = []
        for row, leaf in zip(chosen, wanted, strict=True):
            tree = trees.get((leaf.work, leaf.version))
            shown: dict[str, Any] = {name: plain(row[name]) for name in row}
            shown |= {"weight": str(row["weight"]), "total_weight": str(row["total_weight"]), "proof": None}
            if tree is not None:
                made = split_proof(tree, leaf.position)
                shown["proof"] = {"path": str(made.path), "nodes": _nodes(made.nodes)}
            found.append(shown)
        return found, [start + SHARES] if len(rows) > start + SHARES else None

    columns = ["work_id", "version", "root", "total_weight", "position", "weight", "proof"]
    words = "your shares of works, each with the proof that leads to its split on chain"
    return Source("shares", words, [*columns, "block_number", "log_index", "tx_hash"], count, page)


def _awards(chain: ChainInfo) -> Source:
    def rows(session: Session, owner: Owner) -> list[Row]:
        if owner.address is None:
            return []
        epoch = Terms.of(chain).calendar.epoch_at(head(session).time)
        found = claimable(session, chain, owner.address, current_epoch=epoch)
        return [
            {
                "token": plain(each.token),
                "root": plain(each.root),
                "cumulative": str(each.cumulative),
                "claimed": str(each.claimed),
                "proof": each.proof and {"path": str(each.proof.path), "nodes": _nodes(each.proof.nodes)},
            }
            for each in found
            if each.cumulative
        ]

    def count(session: Session, owner: Owner) -> int:
        return len(rows(session, owner))

    def page(session: Session, owner: Owner, after: Key | None) -> tuple[list[Row], Key | None]:
        return rows(session, owner), None

    words = "what you were awarded in each currency, with the proof that leads to the reward root on chain"
    return Source("awards", words, ["token", "root", "cumulative", "claimed", "proof"], count, page)
