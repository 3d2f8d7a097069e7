"""Real servers for tests: PostgreSQL, Redis and anvil, each started by us, on a socket or port of its own.

postgres_server   one server for the session, in a temporary folder
db_urls           a database of its own for each test, cloned from one that was migrated once
module_db_urls    the same, one for each module
new_database      makes more of them: `new_database() -> DatabaseUrls`
redis_url         an empty Redis (`unix://...`), emptied before each test
anvil             a fresh chain for each test: `.url`
deployed          a chain with the contracts deployed for each test: `.rpc_url`, `.manifest`, `.snapshot`
module_deployed   the same, one for each module
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from redis import Redis as RedisClient

from indexer.deployment import load
from indexer.settings import IndexerSettings
from indexer.sync import Sync
from stack import deployment
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


@pytest.fixture(scope="session")
def short_dir() -> Iterator[Path]:
    """A temporary folder whose path leaves room for a unix socket's name."""
    path = Path(tempfile.mkdtemp(prefix="tt-"))
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


@pytest.fixture
def anvil(tmp_path: Path) -> Iterator[Anvil]:
    chain = Anvil(free_port())
    with running(chain.service(), tmp_path / "anvil.log"):
        yield chain


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


def _deployed(folder: Path) -> Iterator[Deployed]:
    snapshot = deployment.snapshot()
    manifest = folder / "deployment.json"
    shutil.copyfile(snapshot.manifest, manifest)
    chain = Anvil(free_port(), load=snapshot.state)
    with running(chain.service(), folder / "anvil-deployed.log"):
        yield Deployed(chain.url, manifest, chain)


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployed]:
    yield from _deployed(tmp_path)


@pytest.fixture(scope="module")
def module_deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    yield from _deployed(tmp_path_factory.mktemp("deployed"))
