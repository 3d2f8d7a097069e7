"""The reference pages of the HTTP interface, with assets of our own: they need nothing from elsewhere."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)
PAGE = Path(__file__).resolve().parent / "static" / "docs.html"
ERRORS = Path(__file__).resolve().parents[2] / "docs" / "errors.md"

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Error codes, Troupe API</title>
<link rel="icon" href="/static/mark.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/docs.css">
</head>
<body>
<header><h1>Error codes</h1><p class="links"><a href="/docs">the operations</a></p></header>
<main class="page">
"""


@router.get("/docs", response_class=HTMLResponse)
async def get_docs() -> HTMLResponse:
    """The operations, drawn from /openapi.json."""
    return HTMLResponse(PAGE.read_text())


@router.get("/docs/errors", response_class=HTMLResponse)
async def get_error_codes() -> HTMLResponse:
    """The error codes, out of docs/errors.md; a problem's `type` links to its line."""
    return HTMLResponse(_errors_page())


@cache
def _errors_page() -> str:
    return f"{_HEAD}{render(ERRORS.read_text())}\n</main>\n</body>\n</html>\n"


def render(text: str) -> str:
    """docs/errors.md as HTML: its headings, paragraphs and tables, which is all that it uses."""
    blocks = [block.strip() for block in text.split("\n\n")]
    return "\n".join(_block(block) for block in blocks if block and not block.startswith("# "))


def _block(block: str) -> str:
    if block.startswith("## "):
        return f'<h2 class="tag">{_inline(block[3:])}</h2>'
    if block.startswith("| "):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.split("\n")]
        head = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in lines[0])
        rows = "\n".join(_row(cells) for cells in lines[2:])
        return f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"
    return f'<p class="lead">{_inline(block)}</p>'


def _row(cells: list[str]) -> str:
    anchor = escape(cells[0].strip("`"), quote=True)
    return f'<tr id="{anchor}">' + "".join(f"<td>{_inline(cell)}</td>" for cell in cells) + "</tr>"


def _inline(text: str) -> str:
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", html)
