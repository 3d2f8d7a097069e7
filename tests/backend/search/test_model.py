"""A language model that reads wishes: believed in nothing, needed for nothing, and said when it was used."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from backend.search import lexicon, model
from backend.search.lexicon import Lexicon
from backend.search.model import Interpreter, LocalModel, NotAWish, understood
from backend.search.wish import MOST_TERMS, Term, Wish
from backend.settings import Settings
from backend.telemetry import metrics
from tests.backend.conftest import Client

pytestmark = pytest.mark.feature("X11", via="http")

WORDS = lexicon.read()
TEXT = "a brief tune to wind down, nothing with horror in it, thank you kindly"


def answer(*terms: tuple[Any, ...], **more: Any) -> bytes:
    fields = ("slot", "value", "wanted")
    return json.dumps({"terms": [dict(zip(fields, term, strict=False)) for term in terms], **more}).encode()


GOOD = answer(("kind", "song"), ("mood", "calm"), ("at_most", "600"), ("about", "horror", False))


class Fake:
    """A model that says what it is told to."""

    def __init__(self, say: Callable[[], Awaitable[bytes]]) -> None:
        self.say, self.asked = say, 0

    async def ask(self, text: str, lexicon: Lexicon) -> bytes:
        self.asked += 1
        return await self.say()

    async def aclose(self) -> None: ...


async def says(what: bytes) -> bytes:
    return what


async def hangs() -> bytes:
    await asyncio.Event().wait()
    return b""


async def breaks() -> bytes:
    raise RuntimeError("secret of the model")


def test_what_the_grammar_could_have_said_is_taken() -> None:
    assert understood(GOOD, TEXT, WORDS) == Wish(
        frozenset({Term("kind", "song"), Term("mood", "calm"), Term("at_most", "600"), Term("about", "horror", False)})
    )
    assert understood(answer(("kind", "song"), not_understood=["kindly"]), TEXT, WORDS).rest == ("kindly",)
    both = understood(answer(("kind", "song"), ("kind", "song", False)), TEXT, WORDS)
    assert both.terms == {Term("kind", "song", False)}, "what is wished away holds"
    kids = understood(answer(("kind", "song")), "scary songs for kids", WORDS)
    assert Term("audience", "kids") in kids.terms, "what is for children stays so"


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "prose": b"Sure! Here are some songs that you may like.",
    "not utf-8": b'{"terms": [{"slot": "kind", "value": "\xff"}]}',
    "a lone surrogate": b'{"terms": [{"slot": "about", "value": "\\ud800"}]}',
    "another shape": b'["songs"]',
    "deep": b'{"terms": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "no condition": answer(),
    "too many": answer(*[("at_most", str(n)) for n in range(1, MOST_TERMS + 2)]),
    "an unknown slot": answer(("sql", "DROP TABLE app.draft")),
    "an unknown value": answer(("kind", "weapon")),
    "an unknown field": b'{"terms": [{"slot": "kind", "value": "song", "rank_first": 7}]}',
    "a command beside": answer(("kind", "song"), system="obey"),
    "a number": answer(("at_most", 600)),
    "a negative length": answer(("at_most", "-5")),
    "an endless length": answer(("at_most", "9" * 4_000)),
    "what cannot be wished away": answer(("at_most", "600", False)),
    "an advertisement": answer(("about", "buy bitcoin")),
    "words in another order": answer(("about", "down wind")),
    "half a word": answer(("about", "horr")),
    "markup": answer(("about", "<script>horror</script>")),
    "an operator of the search": answer(("about", 'horror" or "x')),
    "a title nobody said": answer(("like", "The Night Market")),
    "an override of direction": answer(("like", "horror\u202e")),
    "a NUL": answer(("like", "horror\x00")),
    "words put into the mouth": answer(("kind", "song"), not_understood=["you are stupid"]),
    "markup put into the mouth": answer(("kind", "song"), not_understood=["<b>"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_none(name: str) -> None:
    with pytest.raises(NotAWish):
        understood(HOSTILE[name], TEXT, WORDS)


@pytest.fixture
def wished(client: Client, catalogue: None) -> Callable[[Callable[[], Awaitable[bytes]]], tuple[dict[str, Any], Fake]]:
    """A wish over HTTP with a model plugged in."""

    def wished(say: Callable[[], Awaitable[bytes]], text: str = TEXT) -> tuple[dict[str, Any], Fake]:
        fake = Fake(say)
        client.app.state.wish_model = Interpreter(fake, timeout_s=0.05)  # type: ignore[attr-defined]
        sent = client.post("/v1/wishes", json={"text": text})
        assert sent.status_code == 200, sent.text
        return sent.json(), fake

    return wished


def test_it_is_said_who_read_the_wish_and_chips_are_read_by_nobody(client: Client, wished: Any) -> None:
    body, fake = wished(lambda: says(GOOD))
    assert (body["read_by"], fake.asked) == ("model", 1)
    assert [chip["said"] for chip in body["understood"]] == ["songs", "under 10 minutes", "calm", 'not about "horror"']
    assert [item["work_id"] for item in body["items"]] == [2]
    terms = [{key: chip[key] for key in ("slot", "value", "wanted")} for chip in body["understood"][1:]]
    again = client.post("/v1/wishes", json={"terms": terms}).json()
    assert (again["read_by"], fake.asked) == ("person", 1)


@pytest.mark.parametrize(
    ("say", "outcome"), [(breaks, "failed"), (hangs, "late"), (lambda: says(HOSTILE["an advertisement"]), "refused")]
)
def test_a_failing_model_is_never_noticed_but_in_logs_and_metrics(
    client: Client, wished: Any, say: Callable[[], Awaitable[bytes]], outcome: str
) -> None:
    client.app.state.wish_model = None  # type: ignore[attr-defined]
    alone = client.post("/v1/wishes", json={"text": TEXT}).json()
    metrics.wish_model.take()
    with capture_logs() as logs:
        body, fake = wished(say)
    assert body == alone
    assert body["read_by"] == "grammar"
    assert metrics.wish_model.take() == {(outcome,): 1}
    said = [line for line in logs if line["event"] == "wish_model_not_used"]
    assert [line["outcome"] for line in said] == [outcome]
    assert not any(word in str(said) for word in ("tune", "bitcoin", "secret"))
    client.post("/v1/wishes", json={"text": TEXT})
    assert fake.asked == (2 if outcome == "refused" else 1), "what does not answer is left alone for a while"


class _Odd(BaseHTTPRequestHandler):
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append({"path": self.path, **body})
        status, content, headers = {
            "/good": (200, GOOD, {}),
            "/huge": (200, b"[" * (model.MOST_BYTES + 1), {}),
            "/error": (500, GOOD, {}),
            "/elsewhere": (302, b"", {"Location": "/good"}),
        }[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def here() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Odd) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_model_over_http(here: str) -> None:
    async def read(path: str) -> Wish | None:
        asked = Interpreter(LocalModel(here + path), timeout_s=5)
        try:
            return await asked.read(TEXT, WORDS, tick=0)
        finally:
            await asked.aclose()

    found = asyncio.run(read("/good"))
    assert found == understood(GOOD, TEXT, WORDS)
    asked = _Odd.asked[-1]
    assert set(asked) == {"path", "format", "text", "slots", "negated", "most_terms"}, "nothing about who wishes"
    assert (asked["text"], asked["slots"]["kind"][0]) == (TEXT, "character")
    for path in ("/huge", "/error", "/elsewhere"):
        assert asyncio.run(read(path)) is None, path
    assert _Odd.asked[-1]["path"] == "/elsewhere", "it is not followed elsewhere"


def test_what_people_wish_does_not_leave_the_machine(settings: Settings) -> None:
    values = settings.model_dump(exclude_unset=True)
    assert Settings.model_validate({**values, "wish_model_url": "http://127.0.0.1:8090/wish"}).wish_model_url
    for url in ("http://example.org/wish", "https://127.0.0.1/wish", "http://127.0.0.1.example.org/", "/wish"):
        with pytest.raises(ValidationError, match="does not leave this machine"):
            Settings.model_validate({**values, "wish_model_url": url})
