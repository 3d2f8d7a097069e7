"""Strangers' JSON: read, or refused; never the end of the process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.jsontext import MAX_DEPTH, json_depth, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='[]{}"\\a', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[{"\\', max_size=3), inner, max_size=3)
    ),
)


def depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(depth, inside), default=0)


@given(VALUES)
def test_the_depth_is_measured_without_reading(value: Any) -> None:
    text = json.dumps(value).encode()
    assert json_depth(text) == depth(value)
    assert read_json(text) == value


def test_the_limit_is_the_last_depth_that_passes() -> None:
    assert depth(read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)) == MAX_DEPTH
    with pytest.raises(ValueError, match="deeper than 32"):
        read_json(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


HOSTILE = """
import sys
sys.setrecursionlimit(1_000_000)  # what py_ecc does, and worse
from backend.jsontext import read_json
for text in (b"[" * 500_000, b'{"a":' * 500_000, b'"' + b"[" * 500_000, b'["\\\\"' + b"[" * 500_000):
    try:
        read_json(text)
    except ValueError:
        print("refused")
"""


def test_deep_text_is_refused_where_the_recursion_limit_was_raised() -> None:
    done = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["refused"] * 4), done.stderr
