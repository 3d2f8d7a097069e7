"""What the end-to-end tests share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: unix sockets below it must stay under 100 bytes."""
    made = Path(tempfile.mkdtemp(prefix="te-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)
