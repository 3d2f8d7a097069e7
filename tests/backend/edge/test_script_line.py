"""The connection that counts requests: answers in the order of the questions, whatever happens to Redis meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from redis import Redis
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import ResponseError

from backend.edge import script_line
from backend.edge.script_line import Incomplete, ScriptLine, pack, unpack

ECHO = "return {tonumber(ARGV[1]), KEYS[1], false, {ARGV[1]}}"


def told(answer: bytes) -> list[object]:
    """Every answer in the bytes, cut at every place where a packet may end."""
    for cut in range(len(answer)):
        try:
            _, end = unpack(answer[:cut])
        except Incomplete:
            continue
        assert end <= cut
    found, at = [], 0
    while at < len(answer):
        item, at = unpack(answer, at)
        found.append(item)
    return found


def test_answers_are_read_whole_or_not_at_all() -> None:
    assert told(b":5\r\n*3\r\n:-1\r\n$2\r\n\r\n\r\n$-1\r\n+OK\r\n") == [5, [-1, b"\r\n", None], b"OK"]
    error = told(b"-ERR no\r\n")[0]
    assert isinstance(error, ResponseError)
    with pytest.raises(Disconnected):
        unpack(b"HTTP/1.1 400\r\n")
    assert pack("GET", b"a", 12) == b"*3\r\n$3\r\nGET\r\n$1\r\na\r\n$2\r\n12\r\n"


def with_line(url: str, story: Callable[[ScriptLine], Awaitable[None]]) -> None:
    async def tell() -> None:
        line = ScriptLine(url)
        try:
            await story(line)
        finally:
            await line.aclose()

    asyncio.run(tell())
    uvloop.run(tell())  # what the server runs on


def test_questions_of_one_moment_go_together_and_each_gets_its_own_answer(redis_url: str) -> None:
    async def story(line: ScriptLine) -> None:
        answers = await asyncio.gather(*(line.eval(ECHO, 1, f"k{n}", n) for n in range(200)))
        assert answers == [[n, b"k%d" % n, None, [b"%d" % n]] for n in range(200)]

    with_line(redis_url, story)


def test_it_connects_again_and_brings_a_script_that_redis_forgot(redis_url: str) -> None:
    async def story(line: ScriptLine) -> None:
        await line.eval(ECHO, 1, "k", 1)
        with Redis.from_url(redis_url) as other:
            other.script_flush()
            assert (await line.eval(ECHO, 1, "k", 2))[0] == 2
            other.client_kill_filter(_type="normal", skipme=True)
        while line._line is not None and line._line.open:
            await asyncio.sleep(0)
        assert (await line.eval(ECHO, 1, "k", 3))[0] == 3

    with_line(redis_url, story)


def test_a_mistake_in_a_script_is_told_and_harms_no_other_question(redis_url: str) -> None:
    async def story(line: ScriptLine) -> None:
        bad, good = await asyncio.gather(
            line.eval("return nonsense(", 0), line.eval(ECHO, 1, "k", 1), return_exceptions=True
        )
        assert isinstance(bad, ResponseError)
        assert good[0] == 1

    with_line(redis_url, story)


def test_a_redis_that_is_away_or_silent_is_an_error_not_a_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script_line, "TIMEOUT_S", 0.2)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def story(line: ScriptLine) -> None:
        with pytest.raises(OSError, match=r"."):
            await line.eval(ECHO, 1, "k", 1)
        server = await asyncio.start_unix_server(silent, str(tmp_path / "s"))
        async with server:
            answers = await asyncio.gather(*(line.eval(ECHO, 1, "k", n) for n in range(2)), return_exceptions=True)
            assert all(isinstance(each, (Disconnected, script_line.Late)) for each in answers)

    with_line(f"unix://{tmp_path / 's'}", story)


def test_a_database_and_a_password_are_those_of_the_address(redis_url: str) -> None:
    async def story(line: ScriptLine) -> None:
        await line.eval("return redis.call('SET', KEYS[1], 1)", 1, "only-in-three")

    with_line(f"{redis_url}{'&' if '?' in redis_url else '?'}db=3", story)
    with Redis.from_url(redis_url) as first:
        assert first.get("only-in-three") is None
        first.select(3)
        assert first.get("only-in-three") == b"1"
        first.delete("only-in-three")

    async def refused(line: ScriptLine) -> None:
        with pytest.raises(ResponseError, match=r"password|AUTH"):
            await line.eval(ECHO, 1, "k", 1)

    with_line(f"{redis_url}{'&' if '?' in redis_url else '?'}password=wrong", refused)
