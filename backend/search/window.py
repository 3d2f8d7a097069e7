"""The space of meaning as one process has it in memory, with the spelling of its words."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import structlog
from sqlalchemy.orm import Session

from backend.search import indexing, space
from backend.search.space import TAG, Space
from backend.search.spelling import Spelling

log = structlog.get_logger()


@dataclass(frozen=True)
class Known:
    """A space and its version in the database."""

    version: int
    space: Space

    @cached_property
    def spelling(self) -> Spelling:
        """Words of texts count by how many works have them."""
        return Spelling(
            {word: 1 / self.space.idf[at] for word, at in self.space.vocabulary.items() if not word.startswith(TAG)}
        )


class Window:
    """Holds the newest space. A request sees the one that its own transaction sees."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: Known | None = None
        self._lock = threading.Lock()

    def known(self, session: Session) -> Known | None:
        """The newest space; None while there is none that can be read: then works are found by words alone."""
        row = indexing.newest(session)
        if row is None:
            return None
        known = self._known
        if known is not None and known.version == row.version:
            return known
        with self._lock:
            if self._known is None or self._known.version != row.version:
                try:
                    self._known = Known(row.version, space.read(self._folder, row.folder))
                except space.BrokenSpace as error:
                    log.error("space_refused", version=row.version, reason=str(error))
                    return None
            return self._known
