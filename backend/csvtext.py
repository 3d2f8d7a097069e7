"""CSV that no spreadsheet runs. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable


def csv_text(cells: Iterable[object]) -> str:
    """One CSV record; text that a spreadsheet would run as a formula is made plain text by a leading apostrophe."""
    out = io.StringIO()
    csv.writer(out).writerow([_inert(cell) for cell in cells])
    return out.getvalue()


def _inert(cell: object) -> str:
    text = str(cell)
    risky = text[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_number(text)
    return f"'{text}" if risky else text


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdigit()
