"""The application under test on real PostgreSQL and Redis, and people with keys of their own.

app            the application of `settings`, with a clock that tests move
client         talks to it as nobody; `client.as_(person)` as somebody
people         `people("alice")`: the same wallet for the same name
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from fastapi import FastAPI
from starlette.testclient import TestClient

from backend.app import create_app
from backend.errors import MEDIA_TYPE
from backend.settings import Settings
from backend.telemetry.logs import configure_logging
from backend.works import words
from backend.works.tasks import means
from stack.postgres import DatabaseUrls
from tests.backend.edge.declared import undeclared
from tests.conftest import Deployed
from tests.factories import Mirror

PUBLIC_URL = "http://127.0.0.1:8000"
CHAIN_ID = 31337


@dataclass
class Clock:
    """The wall clock of the application, which stands still unless a test moves it."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture(scope="session", autouse=True)
def _logs() -> None:
    configure_logging()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def chain_of_the_app(request: pytest.FixtureRequest) -> Deployed | None:
    """The chain that the settings name: the one that the test asks for with `deployed`, if it does."""
    return request.getfixturevalue("deployed") if "deployed" in request.fixturenames else None


def write_manifest(folder: Path) -> Path:
    """A manifest of contracts at made-up addresses."""
    contracts = {
        name: {"address": Account.from_key(keccak(text=name)).address, "block": 1}
        for name in (
            "WorkRegistry",
            "RevenueLedger",
            "TroupeToken",
            "TroupeGovernor",
            "RewardDistributor",
            "Storefront",
            "Items",
            "Characters",
        )
    }
    path = folder / "deployment.json"
    text = {
        "chainId": CHAIN_ID,
        "network": "test",
        "startBlock": 0,
        "genesisHash": "0x" + "00" * 32,
        "finality": {"mode": "tag"},
        "contracts": contracts,
        "tokens": [{"address": "0x" + "11" * 20, "symbol": "USD", "decimals": 6}],
        "parameters": {
            "rewards": {
                "genesis": 1_760_000_000,
                "epochSeconds": 604_800,
                "voicePrice": {"0x" + "00" * 20: str(10**14), "0x" + "11" * 20: "250000"},
            }
        },
    }
    path.write_text(json.dumps(text))
    return path


@pytest.fixture
def manifest(chain_of_the_app: Deployed | None, tmp_path: Path) -> Path:
    """The deployed contracts' manifest; without a chain, one whose contracts stand at made-up addresses."""
    if chain_of_the_app is not None:
        return chain_of_the_app.manifest
    return write_manifest(tmp_path)


@pytest.fixture(scope="session")
def backend_database(new_database: Callable[[], DatabaseUrls]) -> DatabaseUrls:
    return new_database()


@pytest.fixture(scope="session")
def broom(backend_database: DatabaseUrls) -> Iterator[psycopg.Connection]:
    """One connection that empties the tables: a new one reads the catalogue anew, which takes longer than emptying."""
    with psycopg.connect(
        backend_database.conninfo(), autocommit=True, options="-c lock_timeout=5000", application_name="broom"
    ) as made:
        yield made


@pytest.fixture
def clean_db(backend_database: DatabaseUrls, broom: psycopg.Connection) -> DatabaseUrls:
    """One migrated database for all tests of the backend, emptied before each: faster than a copy for each."""
    filled = broom.execute(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname IN ('app', 'chain') AND c.relkind = 'r' AND pg_relation_size(c.oid) > 0"
        " AND c.relname NOT IN ('alembic_version', 'fingerprint')"
    ).fetchall()
    if filled:
        broom.execute(f"TRUNCATE {', '.join(name for (name,) in filled)} RESTART IDENTITY CASCADE")  # type: ignore[arg-type]
    return backend_database


@pytest.fixture
def mirror(clean_db: DatabaseUrls) -> Iterator[Mirror]:
    """Writes chain rows as the indexer would; nothing is in them at first."""
    made = Mirror(clean_db)
    yield made
    made.close()


@pytest.fixture
def public_url() -> str:
    return PUBLIC_URL


@pytest.fixture
def settings(
    *,
    clean_db: DatabaseUrls,
    redis_url: str,
    chain_of_the_app: Deployed | None,
    manifest: Path,
    tmp_path: Path,
    public_url: str,
) -> Settings:
    """Of an application on servers of its own, and on the chain of `deployed` where the test asks for that."""
    return Settings(
        env="test",
        database_url=clean_db.backend,
        redis_url=redis_url,
        rpc_url=chain_of_the_app.rpc_url if chain_of_the_app else "http://127.0.0.1:1",
        chain_id=CHAIN_ID,
        deployment=manifest,
        data_dir=tmp_path / "data",
        public_url=public_url,
    )


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings as variables of this process, for what reads them from there."""
    named = {
        "TROUPE_ENV": "test",
        "TROUPE_DATABASE_URL": settings.database_url.get_secret_value(),
        "TROUPE_REDIS_URL": settings.redis_url,
        "TROUPE_RPC_URL": settings.rpc_url,
        "TROUPE_CHAIN_ID": str(settings.chain_id),
        "TROUPE_DEPLOYMENT": str(settings.deployment),
        "TROUPE_DATA_DIR": str(settings.data_dir),
        "TROUPE_PUBLIC_URL": settings.public_url,
    }
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    return named


@pytest.fixture
def app(settings: Settings, clock: Clock) -> Iterator[FastAPI]:
    made = create_app(settings, clock=clock)
    yield made
    made.state.core.database.dispose()  # a test may have used it without serving


class Client(TestClient):
    """A caller of the API. It keeps no cookies of its own making: each `as_` is another device."""

    def send(self, request: Any, **options: Any) -> Any:
        """As ever; a refusal that the operation's description does not name fails the test that met it."""
        answer = super().send(request, **options)
        if answer.headers.get("content-type") == MEDIA_TYPE:
            said = undeclared(request.method, request.url.path, answer.json())
            assert said is None, said
        return answer

    def as_(self, person: LocalAccount) -> Client:
        """The same API, signed in as a person by bearer token."""
        return self.bearing(sign_in(self, person)["token"])

    def bearing(self, token: str) -> Client:
        """The same API with a bearer token."""
        other = Client(self.app, base_url=PUBLIC_URL, raise_server_exceptions=False)
        other.portal = self.portal  # one event loop, as in a server: the async pool belongs to it
        other.headers["Authorization"] = f"Bearer {token}"
        return other


def sign_in(client: TestClient, person: LocalAccount) -> dict[str, Any]:
    """Go through the sign-in as a wallet does; the answer of /v1/auth/verify."""
    begun = client.post("/v1/auth/nonce", json={"address": person.address})
    assert begun.status_code == 200, begun.text
    message = begun.json()["message"]
    answer = client.post("/v1/auth/verify", json={"message": message, "signature": signature(person, message)})
    assert answer.status_code == 200, answer.text
    client.cookies.clear()
    body: dict[str, Any] = answer.json()
    return body


def allow(client: TestClient, *purposes: str, granted: bool = True) -> None:
    """Give or take back the signed-in person's consent to each purpose."""
    for purpose in purposes:
        assert client.put(f"/v1/consents/{purpose}", json={"granted": granted}).status_code == 200


def follow(client: TestClient) -> words.Followed:
    """Do what the worker does every two seconds: bring the words of works to what the mirror says."""
    return words.follow(means(client.app.state.core))  # type: ignore[attr-defined]


def signature(person: LocalAccount, message: str) -> str:
    """What `personal_sign` returns."""
    return "0x" + person.sign_message(encode_defunct(text=message)).signature.hex().removeprefix("0x")


@pytest.fixture
def client(app: FastAPI) -> Iterator[Client]:
    with Client(app, base_url=PUBLIC_URL, raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def people() -> Callable[[str], LocalAccount]:
    return lambda name: Account.from_key(keccak(text=f"person {name}"))


@pytest.fixture
def alice(people: Callable[[str], LocalAccount]) -> LocalAccount:
    return people("alice")


@pytest.fixture
def bob(people: Callable[[str], LocalAccount]) -> LocalAccount:
    return people("bob")
