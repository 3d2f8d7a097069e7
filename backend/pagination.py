"""Opaque keyset cursors: where the next page begins, by the keys of the last row of this one.

A cursor is base64url of a JSON list `[scope, key, ...]`. The scope names the list, so that a cursor of one is refused
by another. Cursors of lists that come from the chain also carry a block (backend.mirror), so that a reorganisation
that moved the list voids them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query

from backend.errors import Invalid
from backend.jsontext import read_json

MAX_CURSOR = 500
DEFAULT_LIMIT = 20
MAX_LIMIT = 100

Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows a page")]

T = TypeVar("T")


def encode_cursor(scope: str, *keys: str | int) -> str:
    """The cursor of a list after the row with these keys."""
    text = json.dumps([scope, *keys], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(scope: str, cursor: str, *readers: Callable[[Any], Any]) -> tuple[Any, ...]:
    """The keys of a cursor, each through its reader (`int`, `str`, `uuid.UUID`, `bytes.fromhex`).

    Raises Invalid `cursor_invalid` for a cursor of another list or of nobody's making.
    """
    try:
        made = read_json(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(made, list) or len(made) != 1 + len(readers) or made[0] != scope:
            raise ValueError("another list's cursor")
        keys = tuple(read(key) for read, key in zip(readers, made[1:], strict=True))
        if any(isinstance(key, int) and abs(key) >= 2**63 for key in keys):
            raise ValueError("no row has such a key")
    except (ValueError, TypeError, AttributeError, OverflowError) as error:  # int(Infinity) overflows
        raise Invalid(
            "This cursor belongs to no page of this list; start again without it.",
            code="cursor_invalid",
            title="Unknown cursor",
        ) from error
    return keys


def page(rows: Sequence[T], limit: int, cursor: Callable[[T], str]) -> tuple[list[T], str | None]:
    """Cut the rows of a query for `limit + 1` to a page, with the cursor of the next one if there is more."""
    if len(rows) <= limit:
        return list(rows), None
    return list(rows[:limit]), cursor(rows[limit - 1])
