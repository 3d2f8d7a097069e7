"""A chain with our contracts' logs, and an indexer on a database of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from indexer import deployment
from indexer.__main__ import app
from indexer.errors import IndexerError
from indexer.sync import Sync
from stack import rpc
from stack.anvil import CHAIN_ID, FLAGS, HISTORY, Anvil, binary
from stack.postgres import DatabaseUrls
from stack.processes import Service, free_port, running
from tests.indexer.support import Emitter, Rows, difference, mirror, reference, settings

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; fail with `what` when it takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


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

    def rows(self) -> Rows:
        return mirror(self.urls)

    def difference(self) -> str | None:
        """Where the mirror differs from the reference, row for row."""
        return difference(self.rows(), reference(self.emitter))

    @contextmanager
    def following(self) -> Iterator[Following]:
        """An indexer that follows the chain in a thread while the block of `with` runs."""
        following = Following(self.sync(indexer_poll_ms=5))
        following.thread.start()
        try:
            yield following
        finally:
            following.sync.stop()
            following.thread.join(PATIENCE_S)
        assert not following.thread.is_alive()

    def environment(self, **changes: str) -> dict[str, str]:
        """What the indexer's own process needs to mirror this chain here."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("TROUPE_")}
        ours |= self.urls.environment()
        ours |= {
            "TROUPE_RPC_URL": self.emitter.url,
            "TROUPE_DEPLOYMENT": str(self.manifest),
            "TROUPE_INDEXER_PORT": "0",
        }
        return ours | changes

    def command(self, *arguments: str, **changes: str | None) -> Done:
        """Run the command line with these arguments to its end, in this process."""
        cleared = {name: None for name in os.environ if name.startswith("TROUPE_")}
        result = CliRunner().invoke(app, arguments, env=cleared | self.environment() | changes)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    def process(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m indexer` with these arguments to its end, in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "indexer", *arguments],
            env=self.environment(**changes),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Following:
    """A sync in a thread of its own."""

    sync: Sync
    error: IndexerError | None = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.sync.run()
        except IndexerError as error:
            self.error = error

    def reach(self, block_hash: str) -> None:
        """Wait until the mirror's head is this block."""

        def there() -> bool:
            cursor = self.sync.progress.cursor
            assert self.error is None, self.error
            return cursor is not None and "0x" + cursor.head_hash.hex() == block_hash

        eventually(there, f"the mirror reaches {block_hash}; it says {self.sync.progress}")


NOWHERE = DatabaseUrls("troupe", "/nowhere")


@pytest.fixture(scope="module")
def without_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirrored]:
    """A chain for commands that must fail before they ask the database; there is none."""
    folder = tmp_path_factory.mktemp("chain")
    with other_anvil(folder / "anvil.log") as url:
        emitter = Emitter(url)
        yield Mirrored(emitter, NOWHERE, emitter.write_manifest(folder / "deployment.json"))


@pytest.fixture
def emitter(emptied_anvil: Anvil) -> Emitter:
    return Emitter(emptied_anvil.url)


@pytest.fixture
def mirrored(emitter: Emitter, db_urls: DatabaseUrls, tmp_path: Path) -> Mirrored:
    return Mirrored(emitter, db_urls, emitter.write_manifest(tmp_path / "deployment.json"))


@pytest.fixture
def another(mirrored: Mirrored, new_database: Callable[[], DatabaseUrls]) -> Mirrored:
    """A second mirror of the same chain, which has not begun."""
    return Mirrored(mirrored.emitter, new_database(), mirrored.manifest)


PUBLIC_CHAIN_ID = 31338


@contextmanager
def other_anvil(log: Path, *, chain_id: int = CHAIN_ID, options: tuple[str, ...] = ()) -> Iterator[str]:
    """A chain that differs from the usual one; gives its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flags = [str(chain_id) if part == str(CHAIN_ID) else part for part in FLAGS]
    command: list[str | Path] = [binary(), "--port", str(port), *flags, "--prune-history", str(HISTORY), *options]

    def answers() -> bool:
        return bool(rpc.call(url, "eth_chainId") == hex(chain_id))

    with running(Service("anvil", command, answers), log):
        yield url


@pytest.fixture
def public_chain(tmp_path: Path) -> Iterator[Emitter]:
    """A chain that is not the development chain, so that finality binds."""
    with other_anvil(tmp_path / "public.log", chain_id=PUBLIC_CHAIN_ID) as url:
        emitter = Emitter(url)
        emitter.manifest |= {"chainId": PUBLIC_CHAIN_ID, "network": "public test"}
        yield emitter
