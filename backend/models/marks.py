"""What each table of schema `app` says about itself: whether its rows are about persons, and who may read them.

Every table carries one of these in its `info` under "personal"; a test refuses one without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gated:
    """Rows about what persons did or said, under pseudonyms. PostgreSQL lets the gate's role read them and no other."""

    what: str
    """What is in a row, as docs/privacy.md and the export say it."""
    kept: str
    """How long."""
    person: str = "person_id"
    """The column with the pseudonym."""


@dataclass(frozen=True)
class OfAccount:
    """Rows of an account that serve its own requests. The modules may name the table; no other does."""

    what: str
    kept: str
    modules: tuple[str, ...]
    """Packages or modules below backend/, without it and without .py: "accounts", "works.service"."""


@dataclass(frozen=True)
class NotPersonal:
    """Rows about no person, or about what is public on the chain anyway; with the reason."""

    why: str


Mark = Gated | OfAccount | NotPersonal


def marked(mark: Mark, **info: Any) -> dict[str, Any]:
    """The last entry of a model's `__table_args__`; `info` as in `Base` (after=[...])."""
    return {"info": {"personal": mark, **info}}
