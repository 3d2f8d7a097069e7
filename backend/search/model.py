"""A language model may read wishes where an operator plugs one in. The grammar reads whatever it does not answer well.

Nothing that a model says is believed: its answer is conditions that the grammar could have said, whose topics and
titles stand in the wish, or it is no answer at all.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import httpx
import orjson
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from backend.search import wish
from backend.search.lexicon import Lexicon
from backend.search.wish import MOST_TERMS, NEGATED, SLOTS, Slot, Term, Wish
from backend.search.words import words
from backend.telemetry import metrics
from backend.works.metadata import printable

FORMAT: Final = "troupe-wish/1"
MOST_BYTES: Final = 32_768
"""Of an answer."""
AT_ONCE: Final = 4
"""Questions to a model; who has to wait longer than the time there is gets the grammar's reading."""
RESTS_S: Final = 30.0
"""After a failure the model is left alone for so long."""
FREE: Final = frozenset({"about", "like"})
"""Slots whose values are a person's own words."""

log = structlog.get_logger()


class WishModel(Protocol):
    """What turns a wish into an answer of the form below; whatever it raises counts as no answer."""

    async def ask(self, text: str, lexicon: Lexicon) -> bytes:
        """The answer as JSON: {"terms": [{"slot", "value", "wanted"}], "not_understood": [words]}."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


class NotAWish(ValueError):
    """A model's answer that is refused; the text says why and quotes nothing of it."""


class _Term(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    slot: Slot
    value: str
    wanted: bool = True


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    terms: list[_Term]
    not_understood: list[str] = []


def question(text: str, lexicon: Lexicon) -> dict[str, object]:
    """What a model is asked: the wish, and what may be said about it. Nothing about who wishes."""
    values = {slot: _values(slot, lexicon) for slot in SLOTS}
    return {"format": FORMAT, "text": text, "slots": values, "negated": sorted(NEGATED), "most_terms": MOST_TERMS}


def _values(slot: Slot, lexicon: Lexicon) -> list[str] | str:
    """The values of a slot; in words where they are no list."""
    if slot in FREE:
        return "words of the text, as they follow each other there"
    if slot in ("at_most", "at_least"):
        return "whole seconds as digits"
    if slot in ("as_this", "as_last"):
        return [""]
    if slot in ("mood", "than"):
        return sorted(lexicon.moods)
    table = {"kind": "kinds", "language": "languages"}.get(slot, slot)
    return sorted(value for named, value in lexicon.said if named == table)


def understood(answer: bytes, text: str, lexicon: Lexicon) -> Wish:
    """The wish that an answer says. Raises NotAWish for any answer that the grammar could not have given."""
    try:
        body = _Answer.model_validate_json(answer)
    except ValidationError as error:
        raise NotAWish(f"{error.error_count()} parts of it have not the form") from None
    if not 0 < len(body.terms) <= MOST_TERMS or len(body.not_understood) > MOST_TERMS:
        raise NotAWish("it has no condition, or too many")
    terms = {Term(each.slot, each.value, each.wanted) for each in body.terms}
    for term in terms:
        if not printable(term.value) or not wish.valid(term, lexicon):
            raise NotAWish(f"there is no such condition on {term.slot}")
        if term.slot in FREE and not _stands_in(term.value, text):
            raise NotAWish(f"{term.slot} has words that the wish has not")
    if not all(printable(said) and words(said) and _stands_in(said, text) for said in body.not_understood):
        raise NotAWish("it did not understand what was not said")
    # what is for children stays so, whatever a model makes of it
    terms |= {term for term in wish.parse(text, lexicon).terms if term.slot == "audience"}
    return Wish(wish.consistent(terms), tuple(dict.fromkeys(body.not_understood)))


def _stands_in(said: str, text: str) -> bool:
    return f" {' '.join(words(said))} " in f" {' '.join(words(text))} "


class LocalModel:
    """A model behind an HTTP address of this machine: the question is posted, the answer is its body."""

    def __init__(self, url: str) -> None:
        self._url = url
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        self._client = httpx.AsyncClient(limits=limits, trust_env=False, timeout=None)

    async def ask(self, text: str, lexicon: Lexicon) -> bytes:
        """Raises httpx.HTTPError where it does not answer with 200, NotAWish where it answers too much."""
        body = orjson.dumps(question(text, lexicon))
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        async with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
            if answer.status_code != httpx.codes.OK:
                raise httpx.HTTPStatusError("not 200", request=answer.request, response=answer)
            parts = bytearray()
            async for part in answer.aiter_raw():
                parts += part
                if len(parts) > MOST_BYTES:
                    raise NotAWish(f"it is longer than {MOST_BYTES} bytes")
            return bytes(parts)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._client.aclose()


class Interpreter:
    """Asks a model, and stops asking for a while when that did not go well."""

    def __init__(self, model: WishModel, timeout_s: float) -> None:
        self._model, self._timeout_s = model, timeout_s
        self._rests_until = float("-inf")

    async def read(self, text: str, lexicon: Lexicon, *, tick: float) -> Wish | None:
        """The wish as the model reads it; None: let the grammar read it. `tick`: a clock's seconds."""
        if tick < self._rests_until:
            metrics.wish_model.add("resting")
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._model.ask(text, lexicon)
            found = understood(answer, text, lexicon)
        except NotAWish as error:  # one odd answer says little about the next
            self._failed("refused", str(error))
            return None
        except Exception as error:  # a model is never needed, so whatever is wrong with it stays there
            self._rests_until = tick + RESTS_S
            self._failed("late" if isinstance(error, TimeoutError) else "failed", type(error).__name__)
            return None
        metrics.wish_model.add("read")
        return found

    @staticmethod
    def _failed(outcome: str, reason: str) -> None:
        """Counted and logged, without a word of the wish."""
        metrics.wish_model.add(outcome)
        log.warning("wish_model_not_used", outcome=outcome, reason=reason)

    async def aclose(self) -> None:
        """Let go of the model."""
        await self._model.aclose()
