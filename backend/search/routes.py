"""Searching over HTTP."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request

from backend.deps import CoreDep
from backend.mirror import ChainHead, Snapshot
from backend.pagination import DEFAULT_LIMIT, Cursor, Limit
from backend.search import service, showing
from backend.search.filters import Filters
from backend.search.schemas import MAX_QUERY, KindName, SearchOut
from backend.search.schemas import Query as QueryText
from backend.search.window import Window
from backend.works.rules import AiLabel, Kind
from backend.works.schemas import LabelName

router = APIRouter(prefix="/v1", tags=["search"])

LONGEST_MS: Final = 10**12


def get_window(request: Request, core: CoreDep) -> Window:
    """The process's view of what works mean; made at the first request."""
    if not hasattr(request.app.state, "search_window"):
        request.app.state.search_window = Window(core.settings.data_dir / "search")
    window: Window = request.app.state.search_window
    return window


WindowDep = Annotated[Window, Depends(get_window)]
Duration = Annotated[int | None, Query(ge=0, le=LONGEST_MS)]


@router.get("/search")
def search_works(  # noqa: PLR0917 - FastAPI calls it by name
    session: Snapshot,
    head: ChainHead,
    window: WindowDep,
    q: Annotated[
        QueryText,
        Query(
            max_length=MAX_QUERY,
            description='Words to look for; "a phrase", or, -not',
            examples=["lantern -horror", '"night market" or bazaar'],
        ),
    ],
    kind: KindName | None = None,
    ai_label: LabelName | None = None,
    licence_id: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    min_duration_ms: Duration = None,
    max_duration_ms: Duration = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> SearchOut:
    """Find works by their words and by what they are about, best first, each with the reason why it was found.

    Words are compared by their English stems, without accents; a title counts most, then tags, then the description.
    Works whose words are near in meaning are found too. When nothing has the words and a slip of the keyboard explains
    it, the nearest words are searched for and `instead` says so.
    """
    filters = Filters(
        kinds=frozenset() if kind is None else frozenset({Kind[kind.upper()]}),
        ai_labels=frozenset() if ai_label is None else frozenset({AiLabel[ai_label.upper()]}),
        licence_id=licence_id,
        min_duration_ms=min_duration_ms,
        max_duration_ms=max_duration_ms,
    )
    found = service.search(session, window.known(session), query=q, filters=filters, cursor=cursor, limit=limit)
    return showing.answer(found, head)
