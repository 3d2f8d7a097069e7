"""Searching over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool

from backend import mirror
from backend.deps import Core, CoreDep, Now
from backend.edge.scoped import OptionalFeedReader
from backend.pagination import DEFAULT_LIMIT, Cursor, Limit
from backend.personalization import reading
from backend.personalization.catalogue import Catalogue
from backend.personalization.showing import limits
from backend.personalization.showing.constraints import Stated, eligible
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
async def search_works(  # noqa: PLR0917 - FastAPI calls it by name
    request: Request,
    core: CoreDep,
    person: OptionalFeedReader,
    now: Now,
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
    it, the nearest words are searched for and `instead` says so. Works that you may not be shown, by your age or place,
    and those of creators whom you hid, are left out; nothing else about you is read.
    """
    filters = Filters(
        kinds=frozenset() if kind is None else frozenset({Kind[kind.upper()]}),
        ai_labels=frozenset() if ai_label is None else frozenset({AiLabel[ai_label.upper()]}),
        licence_id=licence_id,
        min_duration_ms=min_duration_ms,
        max_duration_ms=max_duration_ms,
    )
    known_works, stated = await reading.within(request, core, person, now)
    barred = barred_of(known_works, stated, now)

    def found() -> SearchOut:
        with core.database.session() as session:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            head, known = mirror.head(session), window.known(session)
            results = service.search(
                session,
                known,
                query=q,
                filters=filters,
                cursor=cursor,
                limit=limit,
                may=lambda work: work not in barred,
            )
            return showing.answer(results, head)

    made = await run_in_threadpool(found)
    gone = await gone_of(core, known_works, stated, now, [item.work_id for item in made.items])
    return made.model_copy(update={"items": [item for item in made.items if item.work_id not in gone]})


def barred_of(catalogue: Catalogue, stated: Stated, now: datetime) -> frozenset[int]:
    """Works that the person may not be shown, or does not want to see."""
    at = eligible(catalogue.rules, stated, now.timestamp(), surface="search")
    return frozenset(np.delete(catalogue.work_ids, at).tolist())


async def gone_of(
    core: Core, catalogue: Catalogue, stated: Stated, now: datetime, ids: Sequence[int]
) -> frozenset[int]:
    """Which of these works may not be shown to the person at this very moment, those among them that are newer than
    the catalogue."""
    unread = [work for work in ids if work not in catalogue.place]
    async with core.database.async_pool.connection() as connection:
        return await limits.gone_async(connection, ids, stated=stated, now=now, surface="search", unread=unread)
