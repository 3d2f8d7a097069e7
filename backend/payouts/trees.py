"""The trees behind the splits on chain: found from published files and events, kept by root, proved from.

A root is looked for once, when a request or the periodic task first sees it; a tree whose file is not known is tried
again by the task. Sync, because the content store is: async callers go through a thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from backend.content.store import ContentStore
from backend.models.payouts import SplitLeaf, SplitProgress, SplitRoot
from backend.rewards.merkle import Node
from backend.works.catalogue import splits_of
from backend.works.known_trees import RecentTrees
from backend.works.splits import SplitTree
from indexer.models import block, event

_split = event("RevenueLedger", "SplitActivated")


class Proof(NamedTuple):
    """What `withdraw` wants to see of a leaf."""

    path: int
    nodes: tuple[Node, ...]


def resolve(session: Session, store: ContentStore) -> int:
    """Look for every root that has not been looked for, and remember how far; returns how many works were looked at."""
    # one statement, so that what is looked at and how far that reaches come from one state of the mirror
    rows = session.execute(
        select(
            _split.c.work_id,
            _split.c.block_number,
            block.c.hash,
            SplitRoot.root.is_(None).label("new"),
        )
        .join(block, block.c.number == _split.c.block_number)
        .outerjoin(SplitRoot, SplitRoot.root == _split.c.root)
        .where(_split.c.block_number > _progress(session))
    ).all()
    works = sorted({row.work_id for row in rows if row.new})
    for work_id in works:
        _keep_trees(session, work_id, store)
    if rows:
        last = max(rows, key=lambda row: row.block_number)
        row = upsert(SplitProgress).values(id=1, block_number=last.block_number, block_hash=last.hash)
        session.execute(
            row.on_conflict_do_update(
                index_elements=[SplitProgress.id],
                set_={"block_number": row.excluded.block_number, "block_hash": row.excluded.block_hash},
            )
        )
    return len(works)


def retry_incomplete(session: Session, store: ContentStore) -> int:
    """Look again for the trees that were not found whole; returns how many are whole now."""
    works = session.scalars(
        select(_split.c.work_id).join(SplitRoot, SplitRoot.root == _split.c.root).where(~SplitRoot.complete).distinct()
    ).all()
    before = _count_incomplete(session)
    for work_id in sorted(works):
        _keep_trees(session, work_id, store)
    return before - _count_incomplete(session)


def proof(tree: SplitTree, position: int) -> Proof:
    """A leaf's proof as the contract takes it."""
    nodes = tuple(tree.proof(position))
    return Proof(position ^ (1 << len(nodes)), nodes)


class Wanted(NamedTuple):
    """A leaf whose proof is asked for, and the root that the proof is to lead to."""

    work: int
    version: int
    root: bytes
    position: int


class TreeCache:
    """Trees by root; the least used are forgotten. One for a process, for any of its threads.

    A tree never changes, but more of it may become known: one that lacks a leaf that is asked for is built again.
    """

    def __init__(self) -> None:
        self._trees = RecentTrees()

    def find(self, session: Session, wanted: Iterable[Wanted], store: ContentStore) -> dict[tuple[int, int], SplitTree]:
        """Trees by (work, version) that hold all leaves wanted of them; one that can't be had is left out."""
        asked: dict[tuple[int, int], list[Wanted]] = {}
        for leaf in wanted:
            asked.setdefault((leaf.work, leaf.version), []).append(leaf)
        found = {key: tree for key, leaves in asked.items() if (tree := self._get(leaves))}
        missing = asked.keys() - found.keys()
        splits = {work: splits_of(session, store, work) for work in {work for work, _ in missing}}
        for work, version in missing:
            tree = splits[work].versions.get(version)
            if tree is not None and _fits(tree, asked[work, version]):
                found[work, version] = tree
                self._trees.put(tree.root.hash, tree)
        return found

    def _get(self, leaves: list[Wanted]) -> SplitTree | None:
        tree = self._trees.get(leaves[0].root)
        return tree if tree is not None and _fits(tree, leaves) else None


def _fits(tree: SplitTree, leaves: list[Wanted]) -> bool:
    return all(tree.root.hash == leaf.root and leaf.position in tree for leaf in leaves)


def _keep_trees(session: Session, work_id: int, store: ContentStore) -> None:
    splits = splits_of(session, store, work_id)
    roots = session.execute(select(_split.c.version, _split.c.root).where(_split.c.work_id == work_id)).all()
    for version, root in roots:
        _keep(session, root, splits.versions.get(version))


def _keep(session: Session, root: bytes, tree: SplitTree | None) -> None:
    leaves = [] if tree is None else [leaf for leaf in tree.leaves() if leaf.account is not None]
    complete = tree is not None and sum(leaf.weight for leaf in leaves) == tree.root.sum
    row = upsert(SplitRoot).values(root=root, complete=complete)
    changed = session.execute(
        row.on_conflict_do_update(
            index_elements=[SplitRoot.root], set_={"complete": complete}, where=~SplitRoot.complete
        ).returning(SplitRoot.root)
    ).first()
    if changed is None:
        return  # it was whole already
    if session.scalar(select(func.count()).where(SplitLeaf.root == root)) == len(leaves):
        return  # what is known of a tree only grows
    session.execute(delete(SplitLeaf).where(SplitLeaf.root == root))
    if leaves:
        session.execute(
            insert(SplitLeaf),
            [
                {
                    "root": root,
                    "position": leaf.position,
                    "account": bytes.fromhex((leaf.account or "")[2:]),
                    "weight": leaf.weight,
                }
                for leaf in leaves
            ],
        )


def _progress(session: Session) -> int:
    """The block up to which all roots were looked for, -1 when that block is no longer part of the chain."""
    found = session.scalar(
        select(SplitProgress.block_number).join(
            block, (block.c.number == SplitProgress.block_number) & (block.c.hash == SplitProgress.block_hash)
        )
    )
    return -1 if found is None else found


def _count_incomplete(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(SplitRoot).where(~SplitRoot.complete)) or 0
