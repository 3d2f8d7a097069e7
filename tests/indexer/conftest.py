"""A chain with our contracts' logs, and an indexer on a database of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from indexer import deployment
from indexer.sync import Sync
from stack.anvil import Anvil
from stack.postgres import DatabaseUrls
from tests.indexer.support import Emitter, difference, mirror, reference, settings


@dataclass
class Mirrored:
    """A chain and the database that mirrors it."""

    emitter: Emitter
    urls: DatabaseUrls
    manifest: Path

    def sync(self, **changes: Any) -> Sync:
        return Sync(settings(self.urls, self.emitter.url, self.manifest, **changes), deployment.load(self.manifest))

    def catch_up(self, **changes: Any) -> Sync:
        """Run an indexer until it is at the chain's head."""
        sync = self.sync(**changes)
        sync.run(until_caught_up=True)
        return sync

    def difference(self) -> str | None:
        """Where the mirror differs from the reference, row for row."""
        return difference(mirror(self.urls), reference(self.emitter))


@pytest.fixture
def emitter(anvil: Anvil) -> Emitter:
    return Emitter(anvil.url)


@pytest.fixture
def mirrored(emitter: Emitter, db_urls: DatabaseUrls, tmp_path: Path) -> Mirrored:
    return Mirrored(emitter, db_urls, emitter.write_manifest(tmp_path / "deployment.json"))


@pytest.fixture
def another(mirrored: Mirrored, new_database: Callable[[], DatabaseUrls]) -> Mirrored:
    """A second mirror of the same chain, which has not begun."""
    return Mirrored(mirrored.emitter, new_database(), mirrored.manifest)
