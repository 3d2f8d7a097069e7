"""Real servers for tests: PostgreSQL, Redis and anvil, each started by us, on a socket or port of its own.

postgres_server   one server for the session, in a temporary folder
db_urls           a database of its own for each test, cloned from one that was migrated once
module_db_urls    the same, one for each module
new_database      makes more of them: `new_database() -> DatabaseUrls`
redis_url         an empty Redis (`unix://...`), emptied before each test
anvil             a fresh chain for each test: `.url`
emptied_anvil     one chain for all tests, with nothing on it at the start of each
deployed          a chain with the contracts deployed, the same at the start of each test: `.rpc_url`, `.manifest`
module_deployed   one of its own for each module
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from redis import Redis as RedisClient

from indexer.deployment import load
from indexer.settings import IndexerSettings
from indexer.sync import Sync
from stack import deployment, rpc
from stack.anvil import Anvil
from stack.migrate import migrate_all
from stack.postgres import THROW_AWAY, DatabaseUrls, Postgres, clone, drop, ensure_database
from stack.processes import free_port, running
from stack.redis import Redis

# What an example takes depends on what else the machine does; the suites' own minutes are what is kept short.
hypothesis.settings.register_profile(
    "troupe", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("troupe")


MEMORY = Path("/dev/shm")
MEMORY_BYTES = 4 << 30
"""Free there at least, so that two test processes never fill it."""


def memory() -> Path | None:
    """A file system in memory with room for databases and tests' folders, or None.

    A migrated database is 1,300 files: copying them takes 0.1 s in memory and on a busy disk 2 s. A test that empties
    tables makes files, too, and each person's key is synced. What a test shows of a killed process is the same there.
    """
    if not os.access(MEMORY, os.W_OK) or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free >= MEMORY_BYTES else None


def pytest_configure() -> None:
    """The place of `tmp_path`, unless the command line names one (`--basetemp`); no terminal's width, so that a console
    made by an import has none of its own and each test says its own."""
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    if found := memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(found))


@pytest.fixture(scope="session")
def short_dir() -> Iterator[Path]:
    """A temporary folder whose path leaves room for a unix socket's name; in memory where there is room."""
    path = Path(tempfile.mkdtemp(prefix="tt-", dir=memory()))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def postgres_server(short_dir: Path) -> Iterator[Postgres]:
    server = Postgres(short_dir / "pg", settings=THROW_AWAY)
    with running(server.service(), short_dir / "postgres.log"):
        yield server


@pytest.fixture(scope="session")
def database_template(postgres_server: Postgres) -> DatabaseUrls:
    urls = postgres_server.database("troupe_template")
    ensure_database(urls)
    migrate_all(urls.admin, urls.indexer)
    return urls


@pytest.fixture(scope="session")
def new_database(database_template: DatabaseUrls) -> Callable[[], DatabaseUrls]:
    """Make a migrated database; it lives as long as the server."""
    numbers = itertools.count(1)
    return lambda: clone(database_template, f"t{next(numbers)}")


@pytest.fixture
def db_urls(new_database: Callable[[], DatabaseUrls]) -> Iterator[DatabaseUrls]:
    urls = new_database()
    yield urls
    drop(urls)


@pytest.fixture(scope="module")
def module_db_urls(new_database: Callable[[], DatabaseUrls]) -> Iterator[DatabaseUrls]:
    urls = new_database()
    yield urls
    drop(urls)


@pytest.fixture(scope="session")
def redis_server(short_dir: Path) -> Iterator[Redis]:
    server = Redis(short_dir / "redis")
    with running(server.service(), short_dir / "redis.log"):
        yield server


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    with RedisClient.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


ALL_TESTS = 20_000
"""Blocks: with fewer, those of the tests before would push out the states of the first blocks."""


@pytest.fixture(scope="session")
def kept_anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    chain = Anvil(free_port(), history=ALL_TESTS)
    with running(chain.service(), tmp_path_factory.mktemp("kept-anvil") / "anvil.log"):
        yield chain


@pytest.fixture
def emptied_anvil(kept_anvil: Anvil) -> Iterator[Anvil]:
    """One chain for all tests, with nothing but its genesis at the start of each."""
    with taken_back(kept_anvil):
        yield kept_anvil


@pytest.fixture
def anvil(tmp_path: Path) -> Iterator[Anvil]:
    chain = Anvil(free_port())
    with running(chain.service(), tmp_path / "anvil.log"):
        yield chain


@contextmanager
def taken_back(chain: Anvil) -> Iterator[None]:
    """A chain whose blocks, state, pool and clock are what they were when the block of `with` has run.

    Fees, impersonated accounts and the like stay: who sets them, or ends the node, takes a chain of its own (`anvil`).
    """

    def ask(method: str, *params: object) -> object:
        return rpc.call(chain.url, method, *params)

    before = ask("evm_snapshot")
    yield
    ask("evm_setAutomine", False)
    ask("evm_setIntervalMining", 0)
    ask("anvil_dropAllTransactions")
    assert ask("evm_revert", before), f"{chain.url} can't be taken back"
    ask("anvil_autoImpersonateAccount", False)
    ask("evm_setAutomine", True)
    chain.set_clock()


@dataclass(frozen=True)
class Deployed:
    """A running chain with the contract set on it."""

    rpc_url: str
    manifest: Path
    """The deployment manifest (JSON)."""
    chain: Anvil

    def mirror(self, urls: DatabaseUrls) -> None:
        """Bring a database's mirror to the head of this chain, with the real indexer."""
        settings = IndexerSettings(
            indexer_database_url=urls.indexer, rpc_url=self.rpc_url, deployment=self.manifest, indexer_lock_wait_s=1
        )
        Sync(settings, load(self.manifest)).run(until_caught_up=True)


def _deployed(folder: Path, **options: int) -> Iterator[Deployed]:
    snapshot = deployment.snapshot()
    manifest = folder / "deployment.json"
    shutil.copyfile(snapshot.manifest, manifest)
    chain = Anvil(free_port(), load=snapshot.state, **options)
    with running(chain.service(), folder / "anvil-deployed.log"):
        yield Deployed(chain.url, manifest, chain)


@pytest.fixture(scope="session")
def kept_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    yield from _deployed(tmp_path_factory.mktemp("kept-chain"), history=ALL_TESTS)


@pytest.fixture
def deployed(kept_chain: Deployed, tmp_path: Path) -> Iterator[Deployed]:
    """One chain for all tests, as it was deployed at the start of each: what a test did is taken back."""
    manifest = tmp_path / "deployment.json"
    shutil.copyfile(kept_chain.manifest, manifest)
    with taken_back(kept_chain.chain):
        yield Deployed(kept_chain.rpc_url, manifest, kept_chain.chain)


@pytest.fixture(scope="module")
def module_deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    yield from _deployed(tmp_path_factory.mktemp("deployed"))
