"""The page in an export that says what each file of it is. It needs no network, and holds nothing that runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

_PAGE: Final = Path(__file__).with_name("export.html")
_pages = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def page(manifest: Mapping[str, Any]) -> str:
    """The page of an export, by its manifest."""
    files = [(name, file) for name, file in manifest["files"].items() if name.startswith("files/")]
    total = sum(table["rows"] for table in manifest["tables"])
    return _pages.from_string(_PAGE.read_text()).render(manifest=manifest, files=files, total=total)
