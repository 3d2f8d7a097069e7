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
    created_at: Mapped[datetime]


class SearchEntry(Base):
    """One public work. Made from its words, and gone when they are not public any more; nothing is shown from here."""

    __tablename__ = "search_entry"
    __table_args__ = (
        Index(None, "document", postgresql_using="gin"),
        Index(
            None,
            "place",
            postgresql_using="hnsw",
            postgresql_with={"m": 16, "ef_construction": 100},
            postgresql_ops={"place": "vector_cosine_ops"},
        ),
        marked(NotPersonal("the words of works that are registered on the public chain, folded for searching")),
    )

    work_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[bytes]
    """sha256 of the metadata file whose words it has."""
    document: Mapped[Any] = mapped_column(TSVECTOR)
    """Weights: A title, B tags, C description."""
    fitted: Mapped[bool]
    """Whether the space was made with these words; else they were folded into it."""
    space: Mapped[int | None] = mapped_column(BigInteger, ForeignKey(SearchSpace.version, ondelete="SET NULL"))
    place: Mapped[Any | None] = mapped_column(VECTOR(DIMENSIONS))
    """Where it lies in the space; None: it has no word that the space knows."""
