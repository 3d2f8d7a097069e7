"""What searching looks into: the words of each public work as PostgreSQL and as the space of meaning have them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import BigInteger, ForeignKey, Identity, Index
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.base import Base
from backend.models.marks import NotPersonal, marked

DIMENSIONS = 64


class SearchSpace(Base):
    """A space of meaning on disk (backend.search.space); the newest row is the one in which works lie."""

    __tablename__ = "search_space"
    __table_args__ = (marked(NotPersonal("which words of public works go together")),)

    version: Mapped[int] = mapped_column(Identity(), primary_key=True)
    folder: Mapped[str]
    """Below the data folder's search/."""
    works: Mapped[int]
    """How many it was made from."""
    ready: Mapped[bool]
    """Whether every work has its place in it; until then the one before serves."""
    created_at: Mapped[datetime]


class SearchEntry(Base):
    """One public work. Made from its words, and gone when they are not public any more; nothing is shown from here."""

    __tablename__ = "search_entry"
    __table_args__ = (
        Index(None, "document", postgresql_using="gin"),
        marked(NotPersonal("the words of works that are registered on the public chain, folded for searching")),
    )

    work_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[bytes]
    """sha256 of the metadata file whose words it has."""
    document: Mapped[Any] = mapped_column(TSVECTOR)
    """Weights: A title, B tags, C description."""
    kind: Mapped[int]
    licence_id: Mapped[int]
    language: Mapped[str | None]
    """The primary tag in lower case: en of en-GB."""
    duration_ms: Mapped[int | None]
    since: Mapped[int]
    """The newest space when it was written; spaces that are newer were made with these words."""
    placed: Mapped[int | None] = mapped_column(BigInteger)
    """The space in which its place was looked up last, also where it has none."""


class SearchPlace(Base):
    """Where a work lies in a space; none for a work without any word that the space knows."""

    __tablename__ = "search_place"
    __table_args__ = (
        Index(
            None,
            "place",
            postgresql_using="hnsw",
            postgresql_with={"m": 16, "ef_construction": 64},
            postgresql_ops={"place": "vector_cosine_ops"},
        ),
        marked(NotPersonal("what works that are registered on the public chain are about, as numbers")),
    )

    space: Mapped[int] = mapped_column(ForeignKey(SearchSpace.version, ondelete="CASCADE"), primary_key=True)
    work_id: Mapped[int] = mapped_column(
        ForeignKey(SearchEntry.work_id, ondelete="CASCADE"), primary_key=True, autoincrement=False, index=True
    )
    place: Mapped[Any] = mapped_column(VECTOR(DIMENSIONS))
