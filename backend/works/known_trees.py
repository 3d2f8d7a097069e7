"""Trees kept in memory: reading a large tree file takes many seconds, and pages ask for it again and again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from backend.works.splits import SplitTree


class RecentTrees:
    """Trees by 32 bytes that name them, the least used forgotten first. For any thread; nobody may change the trees."""

    def __init__(self, nodes: int = 1_000_000) -> None:
        """`nodes`: how many all trees have together, at some 150 bytes each. The largest file makes 430,000."""
        self._room = nodes
        self._trees: OrderedDict[bytes, SplitTree] = OrderedDict()
        self._lock = Lock()

    def get(self, name: bytes) -> SplitTree | None:
        with self._lock:
            if name in self._trees:
                self._trees.move_to_end(name)
            return self._trees.get(name)

    def put(self, name: bytes, tree: SplitTree) -> None:
        with self._lock:
            if (older := self._trees.pop(name, None)) is not None:
                self._room += 1 + older.size
            self._trees[name] = tree
            self._room -= 1 + tree.size
            while self._room < 0:
                self._room += 1 + self._trees.popitem(last=False)[1].size


class KnownTrees:
    """The trees of tree files by digest, each file read once a process while there is room for its tree."""

    def __init__(self) -> None:
        self._trees = RecentTrees()
        self._reading: dict[bytes, Lock] = {}

    def get(self, digest: bytes, read: Callable[[], SplitTree | None]) -> SplitTree | None:
        """The tree of a file, read unless it is known; None, which isn't kept, when the file can't be had.

        Of threads that ask for the same file at once, one reads and the others wait for it.
        """
        with self._reading.setdefault(digest, Lock()):
            tree = self._trees.get(digest)
            if tree is None and (tree := read()) is not None:
                self._trees.put(digest, tree)
        self._reading.pop(digest, None)
        return tree
