"""Quotas: exact to the request, told in standard headers, shared by processes, and safe when Redis is away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from redis.asyncio import Redis

from backend.app import create_app
from backend.edge.callers import network
from backend.edge.quotas import CLASSES, KINDS, Quota, parse_quotas, route_class
from backend.edge.ratelimit import Limiter, Principal, RateLimited
from backend.errors import Unavailable
from backend.settings import Settings
from tests.backend.conftest import PUBLIC_URL, Client, Clock

pytestmark = pytest.mark.feature("Q6", via="http")

AT = 1_760_000_000.0


class Ticking:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> float:
        return self.now


class Process:
    """One process' limiter and its connection."""

    def __init__(self, redis: Redis, clock: Callable[[], float], **quotas: str) -> None:
        names = {name.replace("__", "."): text for name, text in quotas.items()}
        self.asked = 0
        self._redis = redis
        self.limiter = Limiter(
            lambda: self, clock, quotas=parse_quotas(names), address=lambda scope: network(scope["client"][0])
        )

    def eval(self, *args: Any) -> Any:
        self.asked += 1
        return self._redis.eval(*args)

    async def ask(
        self, method: str = "GET", path: str = "/v1/works", *, ip: str = "192.0.2.1", token: str | None = None
    ) -> Any:
        """What is left, or None for a refusal."""
        scope = {"type": "http", "method": method, "path": path, "client": (ip, 1), "state": {}}
        try:
            return await self.limiter.admit(scope, token)
        except RateLimited as refused:
            return refused.headers["Retry-After"]

    async def admitted(self, times: int, **how: Any) -> int:
        return sum([isinstance(await self.ask(**how), dict) for _ in range(times)])


def run(redis_url: str, story: Callable[[Redis], Any]) -> None:
    async def tell() -> None:
        redis = Redis.from_url(redis_url)
        try:
            await story(redis)
        finally:
            await redis.aclose()

    asyncio.run(tell())


def test_a_quota_is_exact_refills_evenly_and_the_clock_is_passed_in(redis_url: str) -> None:
    async def story(redis: Redis) -> None:
        clock = Ticking()
        process = Process(redis, clock, read__address="10/60")
        assert await process.admitted(15) == 10
        assert await process.ask() == "6"
        clock.now += 5.9
        assert await process.ask() == "1"
        clock.now += 0.1
        assert await process.admitted(3) == 1
        clock.now += 600
        assert await process.admitted(15) == 10

    run(redis_url, story)


def test_callers_and_classes_have_buckets_of_their_own(redis_url: str) -> None:
    async def story(redis: Redis) -> None:
        process = Process(redis, Ticking(), read__address="2/60", write__address="1/60")
        assert await process.admitted(3) == 2
        assert await process.admitted(3, ip="192.0.2.2") == 2
        assert await process.admitted(3, method="POST") == 1
        assert await process.admitted(9, ip="2001:db8::1") == 2
        assert await process.admitted(9, ip="2001:db8::ffff:1") == 0, "the same /64"

    run(redis_url, story)


def test_leases_of_two_processes_let_no_more_through_and_ask_redis_seldom(redis_url: str) -> None:
    async def story(redis: Redis) -> None:
        clock = Ticking()
        one, two = (Process(redis, clock, read__address="1000/60") for _ in range(2))
        admitted = 0
        for _ in range(600):
            admitted += await one.admitted(1) + await two.admitted(1)
        assert admitted == 1000
        assert one.asked + two.asked <= 1000 / 20 + 4

    run(redis_url, story)


def test_a_slow_caller_does_not_pay_for_the_lease_twice(redis_url: str) -> None:
    """A lease that lapsed after a second would charge its unused tokens again and again."""

    async def story(redis: Redis) -> None:
        clock = Ticking()
        process = Process(redis, clock, read__address="300/60")
        for _ in range(240):
            assert isinstance(await process.ask(), dict)
            clock.now += 0.5

    run(redis_url, story)


def test_a_person_is_known_after_one_request_and_forgotten_after_a_401(redis_url: str) -> None:
    async def story(redis: Redis) -> None:
        process = Process(redis, Ticking(), read__address="2/60", read__person="5/60")
        scope: dict[str, Any] = {"state": {"principal": Principal("person", "alice")}}
        assert await process.admitted(1, token="t") == 1, "counted by address: nobody knows the token yet"
        process.limiter.learn(scope, "t", 200)
        assert await process.admitted(9, token="t") == 5
        assert await process.admitted(9, token="made up") == 1, "the address' last one"
        process.limiter.learn({"state": {}}, "t", 401)
        assert await process.admitted(9, token="t") == 0, "the address has none left"

    run(redis_url, story)


def test_sign_in_is_counted_by_address_whatever_token_comes_along(redis_url: str) -> None:
    async def story(redis: Redis) -> None:
        process = Process(redis, Ticking(), sign_in__address="3/60")
        process.limiter.learn({"state": {"principal": Principal("person", "alice")}}, "t", 200)
        assert await process.admitted(9, method="POST", path="/v1/auth/nonce", token="t") == 3

    run(redis_url, story)


def test_without_redis_sign_in_is_refused_and_reads_go_on() -> None:
    async def story() -> None:
        redis = Redis.from_url("unix:///nowhere/redis.sock")
        clock = Ticking()
        process = Process(redis, clock)
        assert await process.ask() == {}
        with pytest.raises(Unavailable) as refused:
            await process.ask("POST", "/v1/auth/verify")
        assert (refused.value.status, refused.value.code) == (503, "limits_unavailable")
        assert process.asked == 1, "the second did not wait for the same failure"
        clock.now += 60
        await process.ask()
        assert process.asked == 2
        await redis.aclose()

    asyncio.run(story())


def test_every_route_has_a_class_and_probes_have_none(settings: Settings) -> None:
    for path, methods in create_app(settings).openapi()["paths"].items():
        for method in methods:
            found = route_class(method.upper(), path)
            assert (found is None) == (path in ("/health", "/ready")), path
    expected = {
        ("POST", "/v1/auth/verify"): "sign_in",
        ("DELETE", "/v1/auth/sessions/7"): "sign_in",
        ("GET", "/v1/auth/session"): "read",
        ("POST", "/v1/votes/relay"): "relay",
        ("POST", "/v1/works/drafts"): "upload",
        ("GET", "/v1/payouts/0x/statements.csv"): "export",
        ("GET", "/v1/live"): "live",
        ("PUT", "/v1/consents/social"): "write",
        ("GET", "/"): "read",
        ("POST", "/health"): "write",
    }
    for (method, path), name in expected.items():
        found = route_class(method, path)
        assert found is not None
        assert found.name == name, path
    assert route_class("GET", "/static/troupe.css") is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("read", "1/1"),
        ("read.me", "1/1"),
        ("reed.address", "1/1"),
        ("read.key", "0/1"),
        ("read.key", "many"),
        ("read.key", "1/0"),
    ],
)
def test_an_unknown_quota_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match="classes are"):
        parse_quotas({name: text})


def test_every_class_has_a_quota_for_each_kind_of_caller() -> None:
    for one in CLASSES:
        assert set(one.quotas) == set(KINDS)
    assert parse_quotas({"read.key": "7/9"}, factor=3)["read"]["key"] == Quota(7, 9)


@contextmanager
def serving(settings: Settings, clock: Clock, **changed: Any) -> Iterator[Client]:
    with Client(create_app(settings.model_copy(update=changed), clock=clock), base_url=PUBLIC_URL) as client:
        yield client


def test_a_refusal_is_429_with_the_standard_headers(settings: Settings, clock: Clock) -> None:
    with serving(settings, clock, rate_limits={"read.address": "2/60"}) as client:
        first = client.get("/v1/works")
        assert first.headers["ratelimit-policy"] == '"read";q=2;w=60'
        assert re.fullmatch(r'"read";r=1;t=30', first.headers["ratelimit"])
        client.get("/v1/nowhere")
        refused = client.get("/v1/works")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
        assert refused.headers["ratelimit"] == '"read";r=0;t=60'
        body = refused.json()
        assert (body["code"], body["policy"], body["limit"], body["window_s"]) == ("rate_limited", "read", 2, 60)
        assert client.get("/health").status_code == 200
        clock.forward(seconds=30)
        assert client.get("/v1/works").status_code != 429
        assert 'troupe_http_rate_limited_total{caller="address",class="read"}' in client.get("/metrics").text


def test_people_behind_one_address_do_not_share_a_quota(
    settings: Settings, clock: Clock, people: Callable[[str], LocalAccount]
) -> None:
    with serving(settings, clock, rate_limits={"read.address": "3/60", "read.person": "4/60"}) as client:
        for name in ("ann", "ben"):
            device = client.as_(people(name))
            answers = [device.get("/v1/me").status_code for _ in range(6)]
            assert answers == [200] * 5 + [429], "one by the address, four by the person"


def test_only_trusted_proxies_are_believed(settings: Settings, clock: Clock) -> None:
    limits = {"read.address": "1/60"}
    with serving(settings, clock, rate_limits=limits) as client:
        spoofed = [client.get("/v1/works", headers={"X-Forwarded-For": f"198.51.100.{n}"}) for n in range(2)]
        assert spoofed[1].status_code == 429
    with serving(settings, clock, rate_limits=limits, trusted_proxies=1) as client:
        behind = [client.get("/v1/works", headers={"X-Forwarded-For": f"6.6.6.{n}, 198.51.100.9"}) for n in range(2)]
        assert [answer.status_code == 429 for answer in behind] == [False, True]
        assert client.get("/v1/works", headers={"X-Forwarded-For": "198.51.100.10"}).status_code != 429


def test_the_page_shows_the_built_in_quotas() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "interface.md").read_text()
    for one in CLASSES:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{one.name}` |")).split(" | ")
        assert [int(cell) for cell in row[2:5]] == [one.quotas[kind].requests for kind in KINDS]
        assert one.fail_closed == ("limits_unavailable" in row[5])
