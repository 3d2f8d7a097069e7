"""The trees behind the splits on chain: found from published files and events, kept by root, proved from.

A root is looked for once, when a request or the periodic task first sees it; a tree whose file is not known is tried
again by the task. Sync, because the content store is: async callers go through a thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Lock
from typing import NamedTuple

from eth_utils.address import to_checksum_address
from sqlalchemy import delete, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from backend.models.payouts import SplitLeaf, SplitProgress, SplitRoot
from backend.rewards.merkle import Node
from backend.works.catalogue import split_events
from backend.works.splits import Splits, SplitTree, fold
from indexer.models import block, event, view

FindFile = Callable[[bytes], bytes | None]
"""The tree file of a digest, or None when it isn't kept here."""

_split = event("RevenueLedger", "SplitActivated")
_work = view("work")


class Proof(NamedTuple):
    """What `withdraw` wants to see of a leaf."""

    path: int
    nodes: tuple[Node, ...]


def resolve(session: Session, find_file: FindFile) -> int:
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
        _keep_trees(session, work_id, find_file)
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


def retry_incomplete(session: Session, find_file: FindFile) -> int:
    """Look again for the trees that were not found whole; returns how many are whole now."""
    works = session.scalars(
        select(_split.c.work_id).join(SplitRoot, SplitRoot.root == _split.c.root).where(~SplitRoot.complete).distinct()
    ).all()
    before = _count_incomplete(session)
    for work_id in sorted(works):
        _keep_trees(session, work_id, find_file)
    return before - _count_incomplete(session)


def splits_of(session: Session, work_id: int, find_file: FindFile) -> Splits:
    """A work's split versions and what is pending, rebuilt from its events and the files that are kept.

    Where the first file is not, the account that registered the work is tried as the holder of all of it.
    """
    creator = session.scalar(select(_work.c.creator).where(_work.c.work_id == work_id))
    sole_holder = to_checksum_address(creator) if creator else None
    return fold(split_events(session, work_id), find_file, sole_holder)


def proof(tree: SplitTree, position: int) -> Proof:
    """A leaf's proof as the contract takes it."""
    nodes = tuple(tree.proof(position))
    return Proof(position ^ (1 << len(nodes)), nodes)


class TreeCache:
    """Trees by root, which never change; the least used are forgotten. One for a process, for any of its threads."""

    def __init__(self, size: int = 512) -> None:
        self._size = size
        self._trees: OrderedDict[bytes, SplitTree] = OrderedDict()
        self._lock = Lock()

    def find(
        self,
        session: Session,
        wanted: Iterable[tuple[int, int, bytes]],
        find_file: FindFile,
    ) -> dict[tuple[int, int], SplitTree]:
        """The trees of (work, version, root), by (work, version); those whose file is not known are left out."""
        found: dict[tuple[int, int], SplitTree] = {}
        missing: dict[int, list[tuple[int, bytes]]] = {}
        for work, version, root in wanted:
            if tree := self._get(root):
                found[work, version] = tree
            else:
                missing.setdefault(work, []).append((version, root))
        for work, versions in missing.items():
            splits = splits_of(session, work, find_file)
            for version, root in versions:
                rebuilt = splits.versions.get(version)
                if rebuilt is not None and rebuilt.root.hash == root:
                    found[work, version] = rebuilt
                    self._put(root, rebuilt)
        return found

    def _get(self, root: bytes) -> SplitTree | None:
        with self._lock:
            tree = self._trees.get(root)
            if tree is not None:
                self._trees.move_to_end(root)
            return tree

    def _put(self, root: bytes, tree: SplitTree) -> None:
        with self._lock:
            self._trees[root] = tree
            while len(self._trees) > self._size:
                self._trees.popitem(last=False)


def _keep_trees(session: Session, work_id: int, find_file: FindFile) -> None:
    splits = splits_of(session, work_id, find_file)
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
