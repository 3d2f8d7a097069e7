"""The mirror that a test writes, and uploads as a client sends them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stack.postgres import DatabaseUrls
from tests.backend.mirror import MirrorWriter


@pytest.fixture
def mirror(clean_db: DatabaseUrls) -> Iterator[MirrorWriter]:
    writer = MirrorWriter(clean_db)
    yield writer
    writer.close()
