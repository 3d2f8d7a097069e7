"""What the end-to-end tests share."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

logger = logging.getLogger(__name__)


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder for a stack, its path short for unix sockets (100 bytes). A failure quotes the errors of the logs."""
    made = Path(tempfile.mkdtemp(prefix="te-"))
    failed_before = request.session.testsfailed
    yield made
    if request.session.testsfailed > failed_before:
        for log in sorted(made.glob("state/logs/*.log")):
            for line in log.read_text(errors="replace").splitlines():
                if "error" in line.lower():
                    logger.error("%s: %s", log.name, line[:5000])
    shutil.rmtree(made, ignore_errors=True)
