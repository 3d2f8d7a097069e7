"""JSON text of strangers. Pure.

Python's own reader recurses, and py_ecc, which eth-account brings, raises the recursion limit of the whole process
to 100,000 when it is imported: text of 100,000 brackets then ends the process with a segmentation fault instead of a
RecursionError. So the depth is measured before anything is read.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

MAX_DEPTH: Final = 32

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS: Final = re.compile(rb"[\[\]{}]")


def json_depth(text: bytes) -> int:
    """How deep arrays and objects nest in JSON text; text that is no JSON gets some number."""
    deepest = depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", text)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def too_deep(text: bytes, limit: int = MAX_DEPTH) -> bool:
    """Whether JSON text nests deeper than `limit`; cheap for text with few brackets."""
    return text.count(b"[") + text.count(b"{") > limit and json_depth(text) > limit


def read_json(text: bytes) -> Any:
    """The value of JSON text. Raises ValueError for what is no JSON, no UTF-8, or nests too deep."""
    if too_deep(text):
        raise ValueError(f"the JSON text nests deeper than {MAX_DEPTH} levels")
    return json.loads(text)


def significant(value: Any, digits: int = 6) -> Any:
    """A value as its JSON is written of measures: floats with so many significant digits, and nothing else changed."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {name: significant(each, digits) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [significant(each, digits) for each in value]
    return value
