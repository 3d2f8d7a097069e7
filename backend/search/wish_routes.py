"""Wishes over HTTP: words in, works out, with what was understood as terms that can be taken away one by one."""

from __future__ import annotations

import time
from typing import Annotated, Literal, Self

import numpy as np
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import AfterValidator, Field, model_validator

from backend import mirror
from backend.deps import Core, CoreDep, Now
from backend.edge.scoped import OptionalFeedReader
from backend.mirror import Head
from backend.personalization import reading
from backend.personalization.ranking import scoring
from backend.personalization.reading import Asked, Reading
from backend.personalization.service import past
from backend.personalization.showing.constraints import eligible
from backend.schemas import AsOf, Schema
from backend.search import lexicon, wish, wishes
from backend.search.model import Interpreter, LocalModel
from backend.search.routes import WindowDep, gone_of
from backend.search.schemas import HitOut
from backend.search.showing import hit
from backend.search.wish import MOST_TERMS, Slot, Term, Wish
from backend.search.wishes import Context, Granted
from backend.works.metadata import printable

router = APIRouter(prefix="/v1", tags=["search"])

MOST_TEXT = 500
ReadBy = Literal["grammar", "model", "person"]
PERSONAL = 1_000
"""So many of the works that a person likes best are looked through for those that fit."""


def _line(value: str) -> str:
    if not printable(value, lines=True):
        raise ValueError("it holds characters that can't be shown (controls, direction overrides)")
    return value


class TermIn(Schema):
    """One condition of a wish."""

    slot: Slot
    value: str = Field(max_length=wish.MOST_TEXT)
    wanted: bool = True

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if not wish.valid(Term(self.slot, self.value, self.wanted), lexicon.read()):
            raise ValueError(
                f"a wish has no such condition: {self.slot} with this value; send back what you were given"
            )
        return self


class WishIn(Schema):
    """A wish: in words, or as the terms of an earlier answer without those that were not meant."""

    text: Annotated[str, AfterValidator(_line), Field(max_length=MOST_TEXT)] | None = Field(
        None, examples=["something calmer, under 20 minutes, not horror"]
    )
    terms: list[TermIn] | None = Field(None, max_length=MOST_TERMS)
    work_id: int | None = Field(None, ge=1, le=2**63 - 1, description="The work that «like this one» means")
    limit: int = Field(20, ge=1, le=50)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.text is None) == (self.terms is None):
            raise ValueError("send either text or terms")
        return self


class ChipOut(Schema):
    """What was understood, as a condition that can be sent back, or left out."""

    slot: Slot
    value: str
    wanted: bool
    said: str = Field(examples=["under 20 minutes"])
    hard: bool = Field(description="Whether every work meets it; else it ranks")
    note: str | None = Field(description="What could not be done about it")


class WishOut(Schema):
    """Works for a wish, best first, and how it was understood."""

    understood: list[ChipOut]
    not_understood: list[str]
    read_by: ReadBy = Field(description="Who made the terms out of what was sent; a model only where one is plugged in")
    items: list[HitOut]
    personal: bool = Field(description="Whether what you did was read for the order")
    as_of: AsOf


def interpreter(request: Request, core: Core) -> Interpreter | None:
    """The process's language model; None where none is plugged in. Made at the first request."""
    if not hasattr(request.app.state, "wish_model"):
        url, timeout_s = core.settings.wish_model_url, core.settings.wish_model_timeout_s
        request.app.state.wish_model = Interpreter(LocalModel(url), timeout_s) if url else None
    found: Interpreter | None = request.app.state.wish_model
    return found


def _best(found: Reading) -> tuple[list[int], frozenset[int]]:
    """The works that a person may see by what they like, best first, and those that they may not."""
    catalogue = found.catalogue
    at = eligible(catalogue.rules, found.allowed.controls.stated(found.now), found.now.timestamp(), surface="search")
    done = past(catalogue, found.history.rows, found.now, found.history.brought)
    score = scoring.total(scoring.terms(catalogue.facts, done), catalogue.weights)
    order = at[np.lexsort((at, -score[at]))][:PERSONAL]
    barred = np.delete(catalogue.work_ids, at)
    return catalogue.work_ids[order].tolist(), frozenset(barred.tolist())


@router.post("/wishes")
async def make_wish(  # noqa: PLR0917 - FastAPI calls it by name
    request: Request, core: CoreDep, person: OptionalFeedReader, now: Now, window: WindowDep, body: WishIn
) -> WishOut:
    """Say what you would like, in English: «something calmer, under 20 minutes, not horror», «new songs without AI».

    `understood` is what was made of it, as conditions; send them back in `terms` without those that you did not mean.
    What is hard holds for every work; the rest ranks, together with what you like where you allow that.
    `not_understood` are words that nothing was made of.
    """
    words = lexicon.read()
    read: Wish | None = None
    by: ReadBy = "person"
    if body.text is not None:
        model = interpreter(request, core)
        read, by = await model.read(body.text, words, tick=time.monotonic()) if model else None, "model"
        if read is None:
            read, by = wish.parse(body.text, words), "grammar"
    terms = read.terms if read else {Term(term.slot, term.value, term.wanted) for term in body.terms or []}
    terms = wish.consistent(sorted(terms, key=str)[:MOST_TERMS])
    found = await reading.read(request, core, person, now, Asked())
    best, barred = await run_in_threadpool(_best, found)
    rows = found.history.rows
    read_of = found.catalogue.place  # what is newer, nobody knows yet who may see; the next wish finds it

    def may(work: int) -> bool:
        return work in read_of and work not in barred

    context = Context(best, may, body.work_id, int(rows[0]["work_id"]) if rows else None)

    def granted() -> tuple[Granted, Head]:
        with core.database.session() as session:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            head = mirror.head(session)
            known = window.known(session)
            return wishes.grant(session, known, terms, words, context=context, limit=body.limit), head

    made, head = await run_in_threadpool(granted)
    ids = [one.row["work_id"] for one, _ in made.items]
    gone = await gone_of(core, found.catalogue, found.allowed.controls.stated(now), now, ids)
    items = []
    for one, reasons in made.items:
        if one.row["work_id"] not in gone:
            item = hit(one)
            why = item.why.model_copy(update={"sentence": " ".join([item.why.sentence, *reasons]).strip() or FITS})
            items.append(item.model_copy(update={"why": why}))
    order = sorted(terms, key=lambda term: (wish.SLOTS.index(term.slot), term))
    return WishOut(
        understood=[
            ChipOut(
                slot=term.slot,
                value=term.value,
                wanted=term.wanted,
                said=wish.said(term, words),
                hard=wishes.is_hard(term),
                note=made.notes.get(term),
            )
            for term in order
        ],
        not_understood=list(read.rest) if read else [],
        read_by=by,
        items=items,
        personal=found.why_not is None,
        as_of=head.as_of,
    )


FITS = "It meets every condition of your wish."
