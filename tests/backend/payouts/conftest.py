"""Stories put where the API reads: their rows into the mirror, their files into the content store."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backend.content.media import TEXT
from backend.content.service import keep, open_store
from backend.db import Database
from backend.settings import Settings
from stack.postgres import DatabaseUrls
from tests.backend.payouts.story import Story

Tell = Callable[..., Story]


@pytest.fixture
def tell(clean_db: DatabaseUrls, settings: Settings) -> Tell:
    """`tell(story)` makes it what the API sees."""

    def told(story: Story, *, final: int | None = None) -> Story:
        story.mirror(clean_db, final=final)
        database = Database(settings.database_url.get_secret_value())
        with database.session() as session:
            for file in story.files.values():
                keep(session, open_store(settings), [file], TEXT)
        database.dispose()
        return story

    return told
