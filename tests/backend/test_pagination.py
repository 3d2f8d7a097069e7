"""Cursors: opaque, bound to their list, and never an error of ours whatever is sent."""

from __future__ import annotations

import base64
import contextlib
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import Invalid
from backend.pagination import decode_cursor, encode_cursor, page


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.text(max_size=20), st.uuids())
def test_keys_come_back(number: int, text: str, some: uuid.UUID) -> None:
    cursor = encode_cursor("works", number, text, str(some))
    assert decode_cursor("works", cursor, int, str, uuid.UUID) == (number, text, some)
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_or_is_refused(text: str) -> None:
    with contextlib.suppress(Invalid):
        decode_cursor("works", text, int)


@pytest.mark.parametrize(
    "made",
    [
        *('["drafts",1]', '["works"]', '["works",1,2]', '["works","x"]', '["works",null]', "{}", "[["),
        *(f'["works",{2**63}]', '["works",Infinity]', '["works",1e999]', '["works",NaN]'),
    ],
)
def test_a_foreign_cursor_is_refused(made: str) -> None:
    with pytest.raises(Invalid, match="start again"):
        decode_cursor("works", base64.urlsafe_b64encode(made.encode()).decode().rstrip("="), int)


def test_a_page_has_a_next_only_when_there_is_more() -> None:
    assert page([1, 2, 3], 3, json.dumps) == ([1, 2, 3], None)
    assert page([1, 2, 3], 2, json.dumps) == ([1, 2], "2")
    assert page([], 2, json.dumps) == ([], None)
