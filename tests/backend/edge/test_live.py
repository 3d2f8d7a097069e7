"""Live updates: what is told, to whom, what is told again, and how streams end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from redis.asyncio import Redis as AsyncRedis

from backend.app import create_app
from backend.errors import Invalid
from backend.live.hub import QUEUE, Subscriber
from backend.live.routes import LiveStream, _tell
from backend.live.seats import Seat
from backend.live.topics import Event, Tick, _spans, parse_topics
from backend.settings import Settings
from stack.postgres import DatabaseUrls
from stack.processes import Service, free_port, running
from stack.supervisor import answers_http
from tests.backend.conftest import Client, sign_in
from tests.backend.edge.streams import TellingMirror, following, serving
from tests.factories import Mirror

pytestmark = pytest.mark.feature("Q6", via="http")


@pytest.fixture
def telling(mirror: Mirror, clean_db: DatabaseUrls) -> TellingMirror:
    made = TellingMirror(mirror, clean_db)
    made.pay(1)
    return made


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with serving(app) as address:
        yield address


def test_a_payment_is_told_to_who_follows_the_work_and_to_nobody_else(url: str, telling: TellingMirror) -> None:
    with following(url, "work:7") as seven, following(url, "work:8", "chain") as eight:
        telling.pay(2, 7)
        telling.pay(3, 8)
        paid = next(seven)
        assert (paid.name, paid.data["topic"], paid.data["amount"], paid.data["fee"]) == (
            "payment",
            "work:7",
            "1000",
            "50",
        )
        assert (paid.data["work_id"], paid.data["block"]) == ("7", 2)
        names = [next(eight) for _ in range(3)]
        assert [told.name for told in names] == ["blocks", "blocks", "payment"]
        assert names[0].data["head"] == 2
        assert names[1].id is None, "one message, one id, with its last event"
        assert names[2].id is not None
        assert names[2].data["work_id"] == "8"


def test_who_comes_back_misses_nothing(url: str, telling: TellingMirror) -> None:
    with following(url, "work:7") as stream:
        telling.pay(2, 7)
        next(stream)
    for block in (3, 4, 5):
        telling.pay(block, 7 if block != 4 else 8)
    with following(url, "work:7", last_id=stream.last_id) as again:
        assert [next(again).data["block"] for _ in range(2)] == [3, 5]
        telling.pay(6, 7)
        assert next(again).data["block"] == 6


def test_who_was_away_too_long_begins_anew(url: str, telling: TellingMirror) -> None:
    for block in (2, 3, 4):
        telling.pay(block, 7)
    telling.run("DELETE FROM chain.outbox WHERE id <= 3")
    for last_id, reason in (("1", "too_old"), ("999999", "unknown")):
        with following(url, "work:7", last_id=last_id) as stream:
            told = next(stream)
            assert (told.name, told.data) == ("reset", {"reason": reason})
            telling.pay(int(telling.run("SELECT max(number) FROM chain.block")[0][0]) + 1, 7)
            assert next(stream).name == "payment"
            assert int(stream.last_id or 0) < 999
    with following(url, "work:7", last_id="3") as stream:
        assert next(stream).data["block"] == 4


def test_V5_a_reorganisation_names_the_first_block_that_changed(url: str, telling: TellingMirror) -> None:
    with following(url, "work:7") as stream:
        begun = stream.last_id
        telling.pay(2, 7)
        assert next(stream).data["block"] == 2
        telling.undo(2)
        told = next(stream)
        assert (told.name, told.data) == ("undo", {"first": 2})
        telling.pay(2, 7, 7)
        assert [next(stream).name for _ in range(2)] == ["payment", "payment"]
    with following(url, "work:7", last_id=begun) as late:
        names = [next(late).name for _ in range(3)]
        assert names == ["undo", "payment", "payment"], "what was taken back is not told to who was away"


def test_votes_are_told_with_the_tally(url: str, telling: TellingMirror) -> None:
    with following(url, "proposal:5", "proposals") as stream:
        telling.mirror.block(2)
        for voter, support in ((b"\x01" * 20, 1), (b"\x02" * 20, 0)):
            telling.mirror.log(
                "TroupeGovernor", "VoteCast", block=2, voter=voter, proposal_id=5, support=support, weight=30, reason=""
            )
        telling.blocks(2, "TroupeGovernor.VoteCast")
        told = [next(stream) for _ in range(2)]
    assert {each.data["topic"] for each in told} == {"proposal:5", "proposals"}
    for each in told:
        assert each.name == "proposal"
        assert (each.data["for"], each.data["against"], each.data["changes"]) == ("30", "30", ["VoteCast"])


def test_my_payouts_are_told_and_end_with_my_session(
    settings: Settings, telling: TellingMirror, client: Client, alice: LocalAccount, app: FastAPI
) -> None:
    root = b"\x07" * 32
    with app.state.core.database.session() as session:
        connection = session.connection().connection.dbapi_connection
        assert connection is not None
        connection.execute("INSERT INTO app.split_root (root, complete) VALUES (%s, true)", (root,))
        leaf = "INSERT INTO app.split_leaf (root, position, account, weight) VALUES (%s, 1, %s, 1)"
        connection.execute(leaf, (root, bytes.fromhex(alice.address[2:])))
    telling.mirror.log(
        "RevenueLedger", "SplitActivated", block=1, work_id=7, version=1, root=root, total_weight=1, tree_digest=root
    )
    telling.mirror.log("RevenueLedger", "EdgeOpened", block=1, work_id=9, parent_id=7, bps=1, relative=False, index=0)
    token = sign_in(client, alice)["token"]
    brief = settings.model_copy(update={"live_heartbeat_s": 0.05})
    with serving(create_app(brief)) as url, following(url, "me", token=token) as stream:
        telling.pay(2, 8)
        telling.pay(3, 9)
        told = next(stream)
        assert (told.name, told.data["account"], told.data["works"]) == ("payouts", alice.address, ["9"])
        ended = client.delete("/v1/auth/session", headers={"Authorization": f"Bearer {token}"})
        assert ended.status_code == 204
        bye = stream.until("bye")
        assert bye.data["reason"] == "session_ended"
        assert stream.rest() == []


def test_me_needs_a_session(url: str) -> None:
    answer = httpx.get(f"{url}/v1/live", params={"topic": "me"})
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_required")


def test_a_stream_shows_signs_of_life_and_ends_when_its_time_is_over(
    settings: Settings, telling: TellingMirror
) -> None:
    brief = settings.model_copy(update={"live_heartbeat_s": 0.02, "live_lifetime_s": 0.5})
    with serving(create_app(brief)) as url, httpx.Client(timeout=30) as client:
        text = client.get(f"{url}/v1/live").text
    assert text.startswith("event: hello\n")
    assert ": still here\nid: " in text
    assert text.endswith('event: bye\ndata: {"reason":"lifetime","retry_ms":2000}\nretry: 2000\n\n')


def test_one_connection_listens_however_many_streams_and_it_comes_back_after_a_cut(
    settings: Settings, telling: TellingMirror
) -> None:
    ours = "FROM pg_stat_activity WHERE application_name = 'troupe-live' AND datname = current_database()"
    many = settings.model_copy(update={"live_streams": 50})
    with serving(create_app(many)) as url, ExitStack() as stack:
        streams = [stack.enter_context(following(url, "work:7")) for _ in range(12)]
        assert telling.run(f"SELECT count(*) {ours}")[0][0] == 1
        telling.run(f"SELECT pg_terminate_backend(pid) {ours}")
        telling.pay(2, 7)
        assert {next(stream).data["block"] for stream in streams} == {2}
        assert telling.run(f"SELECT count(*) {ours}")[0][0] == 1


def test_several_processes_tell_the_same(settings: Settings, telling: TellingMirror) -> None:
    with serving(create_app(settings)) as one, serving(create_app(settings)) as two:
        with following(one, "work:7") as first, following(two, "work:7") as second:
            telling.pay(2, 7)
            assert next(first).data == next(second).data
        telling.pay(3, 7)
        with following(two, "work:7", last_id=first.last_id) as moved:
            assert next(moved).data["block"] == 3


def test_a_caller_has_so_many_streams_and_gets_them_back(settings: Settings, telling: TellingMirror) -> None:
    few = settings.model_copy(update={"live_streams": 2, "live_heartbeat_s": 0.05})
    with serving(create_app(few)) as url:
        with following(url, "chain"), following(url, "chain"):
            refused = httpx.get(f"{url}/v1/live")
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
            assert refused.headers["retry-after"] == "30"
        answer = httpx.Response(429)
        while answer.status_code == 429:  # the server hears of the two hang-ups in its own time
            with httpx.stream("GET", f"{url}/v1/live") as answer:
                pass
        assert answer.status_code == 200


def test_v15_however_many_visitors_of_one_address_have_so_many_streams_together(
    settings: Settings, telling: TellingMirror
) -> None:
    few = settings.model_copy(update={"live_streams": 1})
    with serving(create_app(few)) as url:
        one, other = (httpx.post(f"{url}/v1/visitors").json()["token"] for _ in range(2))
        with following(url, "chain", token=one):
            refused = httpx.get(f"{url}/v1/live", headers={"Authorization": f"Bearer {other}"})
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")


def test_a_caller_has_so_many_streams_over_all_processes(settings: Settings, telling: TellingMirror) -> None:
    few = settings.model_copy(update={"live_streams": 2, "live_heartbeat_s": 0.05})
    with serving(create_app(few)) as one, serving(create_app(few)) as two:
        with following(one, "chain"), following(two, "chain"):
            for url in (one, two):
                refused = httpx.get(f"{url}/v1/live")
                assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        answer = httpx.Response(429)
        while answer.status_code == 429:
            with httpx.stream("GET", f"{two}/v1/live") as answer:
                pass
        assert answer.status_code == 200


def test_seats_end_by_themselves_when_nobody_renews_them(redis_url: str) -> None:
    async def story() -> None:
        async with AsyncRedis.from_url(redis_url) as redis:
            first, second = (Seat(lambda: redis, "somebody", limit=1, heartbeat_s=60) for _ in range(2))
            assert await first.take()
            assert await first.take(), "renewed"
            assert not await second.take()
            assert await Seat(lambda: redis, "another", limit=1, heartbeat_s=60).take()
            (key, *others) = [each async for each in redis.scan_iter("troupe:live:*")]
            assert len(others) == 1
            assert all([0 < await redis.pttl(each) <= 185_000 for each in (key, *others)])
            for each in (key, *others):  # time goes by, and the process that held them is dead
                await redis.zadd(each, dict.fromkeys(await redis.zrange(each, 0, -1), 1))
            assert await second.take()
            assert not await first.take()
            await second.leave()
            assert await first.take()

    asyncio.run(story())


def test_while_redis_is_away_streams_are_let_in() -> None:
    async def story() -> bool:
        async with AsyncRedis.from_url("unix:///nowhere/redis.sock") as redis:
            seat = Seat(lambda: redis, "somebody", limit=1, heartbeat_s=1)
            await seat.leave()
            return await seat.take()

    assert asyncio.run(story())


@pytest.mark.parametrize(("lifetime_s", "gone", "reason"), [(60, True, "session_ended"), (0.02, False, "lifetime")])
def test_a_stream_that_never_rests_ends_all_the_same(
    settings: Settings, lifetime_s: float, gone: bool, reason: str
) -> None:
    busy = settings.model_copy(update={"live_heartbeat_s": 0.01, "live_lifetime_s": lifetime_s})

    async def still_there() -> bool:
        return not gone

    async def story() -> bytes:
        stream = Subscriber(frozenset({"chain"}), 0)
        told = _tell(stream, None, None, busy, after=None, still_there=still_there)  # type: ignore[arg-type]
        for number in range(1, 200_000):
            stream.tell(Tick(number, [Event(None, "blocks", {})]))
            if b"event: bye" in (chunk := await anext(told)):
                return chunk
        raise AssertionError("it told and told")

    assert reason.encode() in asyncio.run(story())


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "works",
        "work:",
        "work:x",
        "work:-1",
        "work:01",
        "work:" + "9" * 79,
        "payouts:0x12",
        "proposal:1;DROP",
        "chain:1",
    ],
)
def test_V15_an_unknown_topic_is_refused(topic: str) -> None:
    with pytest.raises(Invalid, match="Topics are"):
        parse_topics([topic])


@pytest.mark.parametrize("params", [{"topic": "work:x"}, {"topic": [f"work:{n}" for n in range(21)]}])
def test_V15_refusals_of_the_stream_are_problems(params: Any, client: Client) -> None:
    answer = client.get("/v1/live", params=params)
    assert (answer.status_code, answer.json()["code"]) == (422, "topic_unknown")


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "9" * 19, "0x1"])
def test_V15_a_last_id_that_is_none_is_refused(last_id: str, client: Client) -> None:
    answer = client.get("/v1/live", headers={"Last-Event-ID": last_id})
    assert (answer.status_code, answer.json()["code"]) == (422, "last_event_id_invalid")


def tick(number: int, topic: str = "chain") -> Tick:
    return Tick(number, [Event(topic, "blocks", {})])


def test_a_stream_that_is_too_far_behind_is_ended_with_a_reason() -> None:
    async def story() -> None:
        slow = Subscriber(frozenset({"chain"}), 0)
        for number in range(1, QUEUE + 1):
            slow.tell(tick(number))
        assert slow.ended is None
        slow.tell(tick(QUEUE + 1, "work:7"))
        assert slow.ended is None, "what it does not follow costs it nothing"
        slow.tell(tick(QUEUE + 2))
        assert slow.ended == "slow"
        assert (slow.take(), slow.after) == ([], 0), "it reads on from what it had"

    asyncio.run(story())


def test_a_client_that_takes_nothing_is_cut_off() -> None:
    async def endless() -> Any:
        while True:
            yield b": still here\n\n"

    async def story() -> list[str]:
        sent, left = [], []
        stuck = asyncio.Event()

        async def send(message: Any) -> None:
            sent.append(message["type"])
            if len(sent) > 3:
                await stuck.wait()

        async def receive() -> Any:
            await stuck.wait()

        async def leave() -> None:
            left.append("left")

        stream = LiveStream(endless(), left=leave, send_timeout_s=0.05)
        await stream({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
        return left

    assert asyncio.run(story()) == ["left"]


def blocks(first: int, head: int) -> dict[str, Any]:
    return {"kind": "blocks", "first": first, "head": head, "events": []}


@pytest.mark.parametrize(
    ("messages", "later", "expected"),
    [
        ([blocks(1, 5)], [], [(1, 1, 5)]),
        ([blocks(1, 5), blocks(6, 6)], [], [(2, 6, 6), (1, 1, 5)]),
        ([blocks(1, 5), {"kind": "undo", "first": 4}, blocks(4, 6)], [], [(3, 4, 6), (1, 1, 3)]),
        ([blocks(4, 5), {"kind": "undo", "first": 4}, blocks(4, 6)], [], [(3, 4, 6)]),
        ([blocks(1, 5)], [{"kind": "undo", "first": 3}], [(1, 1, 2)]),
        ([blocks(1, 5), {"kind": "rebuilt"}, blocks(1, 2)], [], [(3, 1, 2)]),
        ([blocks(1, 5)], [{"kind": "rebuilt"}], []),
    ],
)
def test_only_blocks_that_stand_are_told_of(messages: list[Any], later: list[Any], expected: list[Any]) -> None:
    ticks = [Tick(number) for number, _ in enumerate(messages, start=1)]
    spans = _spans(list(enumerate(messages, start=1)), later, ticks)
    assert [(span.tick.id, span.first, span.last) for span in spans] == expected


@pytest.mark.slow
def test_a_server_that_stops_says_so_to_its_streams(
    settings: Settings, environment: dict[str, str], telling: TellingMirror, tmp_path: Path
) -> None:
    port = free_port()
    code = (
        "import uvicorn\nfrom backend.app import create_app\nfrom backend.settings import load_settings\n"
        f"uvicorn.run(create_app(load_settings()), port={port}, timeout_graceful_shutdown=20)"
    )
    api = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", code]
    service = Service("api", command, ready=lambda: answers_http(f"{api}/health"), ready_timeout_s=120)
    with running(service, tmp_path / "api.log") as process, following(api, "chain") as stream:
        os.kill(process.pid, signal.SIGTERM)
        bye = stream.until("bye")
        assert bye.data["reason"] == "shutdown"
        assert stream.retry_ms == bye.data["retry_ms"]
        assert 500 <= bye.data["retry_ms"] <= 3000
        assert stream.rest() == []
        assert process.wait(60) in (0, -signal.SIGTERM)
    assert "timeout" not in (tmp_path / "api.log").read_text().lower()
