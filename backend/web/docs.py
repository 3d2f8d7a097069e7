"""The reference page of the HTTP interface, with assets of our own."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)
PAGE = Path(__file__).resolve().parent / "static" / "docs.html"


@router.get("/docs", response_class=HTMLResponse)
async def get_docs() -> HTMLResponse:
    """The API reference; it reads /openapi.json and needs nothing from elsewhere."""
    return HTMLResponse(PAGE.read_text())
