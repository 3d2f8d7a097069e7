"""A small catalogue of public works with words of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import insert

from backend.deps import Core
from backend.models.works import WorkText
from backend.search import indexing
from backend.search.indexing import Refreshed
from backend.settings import Settings
from tests.backend.conftest import Clock
from tests.factories import Mirror, hash32

WORKS: list[dict[str, Any]] = [
    {
        "title": "The Night Market",
        "description": "Lanterns, noodles and a thief who returns what she stole: a story of one night in a bazaar.",
        "tags": ["fantasy", "cosy"],
        "duration_ms": 25 * 60_000,
    },
    {
        "title": "Lantern Song",
        "description": "A quiet lullaby for the river festival.",
        "tags": ["calm", "folk"],
        "kind": 2,
        "duration_ms": 4 * 60_000,
        "ai_label": 1,
    },
    {
        "title": "The House Below",
        "description": "Horror in a flooded house, told by its lanterns and its owner.",
        "tags": ["horror"],
        "kind": 3,
        "duration_ms": 95 * 60_000,
        "ai_label": 3,
    },
    {
        "title": "Café des Ombres",
        "description": "Un café qui n'ouvre qu'à minuit.",
        "tags": ["mystery"],
        "language": "fr",
        "duration_ms": 12 * 60_000,
    },
    {
        "title": "Bazaar of Clocks",
        "description": "Merchants trade hours for noodles in a market at night.",
        "tags": ["fantasy", "market"],
        "kind": 4,
    },
    {
        "title": "Rocket Diary",
        "description": "An engineer counts down to a launch and writes letters home.",
        "tags": ["science fiction"],
        "duration_ms": 18 * 60_000,
        "ai_label": 2,
    },
    {
        "title": "Launch Day",
        "description": "A comedy about engineers, a rocket and a missing screw.",
        "tags": ["funny", "science fiction"],
        "kind": 3,
        "duration_ms": 9 * 60_000,
    },
    {
        "title": "<b>Bold</b> & Brave",
        "description": "<script>alert('lantern')</script> is what the parrot says.",
        "tags": ["funny"],
        "duration_ms": 6 * 60_000,
    },
]


@pytest.fixture
def core(settings: Settings, clock: Clock) -> Iterator[Core]:
    made = Core(settings, clock)
    yield made
    made.database.dispose()


Add = Callable[..., None]


@pytest.fixture
def add(mirror: Mirror, core: Core, bob: LocalAccount) -> Add:
    """`add(work_id, title=..., ...)`: a work on chain with public words."""

    def added(work_id: int, **words: Any) -> None:
        kind, label = words.pop("kind", 1), words.pop("ai_label", 1)
        values = {"description": None, "language": "en", "duration_ms": None, "media_cid": None, "media_type": None}
        mirror.work(work_id, owner=bob, block=1, kind=kind, ai_label=label, licence_id=words.pop("licence_id", 0))
        with core.database.session() as session:
            session.execute(
                insert(WorkText).values(
                    work_id=work_id,
                    content_hash=hash32("content", work_id),
                    cid_digest=hash32("cid", work_id),
                    kept=True,
                    seen_block=1,
                    kind=kind,
                    ai_tools=[],
                    **{"tags": [], **values, **words},
                )
            )

    return added


@pytest.fixture
def refresh(core: Core) -> Callable[[], Refreshed]:
    """What the task does."""

    def refreshed() -> Refreshed:
        return indexing.refresh(core.database.session, folder=core.settings.data_dir / "search", now=core.clock())

    return refreshed


@pytest.fixture
def catalogue(mirror: Mirror, add: Add, refresh: Callable[[], Refreshed]) -> None:
    """WORKS, numbered from 1, and searched."""
    mirror.block(1)
    for work_id, words in enumerate(WORKS, 1):
        add(work_id, **words)
    refresh()
