"""From a wish to works: its conditions filter, topics and moods rank, and what a person likes decides the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from backend.personalization.ranking.content import unit_rows
from backend.search import service
from backend.search.filters import CONDITIONS, Filters
from backend.search.fusion import fused
from backend.search.indexing import described
from backend.search.lexicon import Lexicon
from backend.search.service import Found
from backend.search.space import Space, stems
from backend.search.window import Known
from backend.search.wish import Term
from backend.search.words import words
from backend.works.rules import AiLabel, Kind

ABOUT: Final = 2.0
LIKE: Final = 1.5
MOOD: Final = 1.0
PERSONAL: Final = 0.5
NEW: Final = 0.1
"""Weights of the rankings; that of the newest works only orders what nothing else does."""
HARD: Final = frozenset({"kind", "at_most", "at_least", "made", "language", "audience"})
"""Conditions that every work of the answer meets; so is whatever is wished away, but for comparisons and orders."""

_NEWEST_FIRST: Final = text(
    f"SELECT e.work_id FROM app.search_entry e WHERE {CONDITIONS} ORDER BY e.work_id DESC LIMIT :depth"
)
_OF: Final = text(
    f"SELECT e.work_id FROM app.search_entry e WHERE e.work_id = ANY(CAST(:works AS bigint[])) AND {CONDITIONS}"
)
_PLACE: Final = text("SELECT place::text FROM app.search_place WHERE space = :space AND work_id = :work")


@dataclass(frozen=True)
class Context:
    """What a wish is answered with beside its terms."""

    personal: Sequence[int] = ()
    """Works by what the person likes, best first; for somebody unknown by what trends and is new."""
    may: Callable[[int], bool] = lambda _: True
    """Whether a work may be shown to the person."""
    this: int | None = None
    """The work that is looked at."""
    last: int | None = None
    """The one that the person did something with last."""


@dataclass(frozen=True)
class Granted:
    """Works for a wish, best first, each with its reasons, and what could not be done about a term."""

    items: Sequence[tuple[Found, Sequence[str]]]
    notes: Mapping[Term, str]


def is_hard(term: Term) -> bool:
    """Whether every work of the answer meets the term."""
    return term.slot in HARD or (not term.wanted and term.slot in ("about", "mood", "like"))


def filters_of(terms: Collection[Term], lexicon: Lexicon) -> Filters:
    """The conditions of a wish."""

    def values(slot: str, wanted: bool = True) -> list[str]:
        return [term.value for term in terms if term.slot == slot and term.wanted is wanted]

    without = {tuple(words(value)) for value in values("about", False)}
    without |= {(word,) for mood in values("mood", False) for word in lexicon.moods[mood].of}
    if values("audience"):
        without |= {(word,) for word in lexicon.kids_avoid}
    labels = {"people": {AiLabel.HUMAN}, "ai": {AiLabel.AI_ASSISTED, AiLabel.AI_GENERATED}}
    return Filters(
        kinds=frozenset(Kind[value.upper()] for value in values("kind")),
        not_kinds=frozenset(Kind[value.upper()] for value in values("kind", False)),
        ai_labels=frozenset(label for value in values("made") for label in labels[value]),
        languages=frozenset(values("language")),
        not_languages=frozenset(values("language", False)),
        min_duration_ms=next((1_000 * int(value) for value in values("at_least")), None),
        max_duration_ms=next((1_000 * int(value) for value in values("at_most")), None),
        without=frozenset(without),
    )


def grant(
    session: Session, known: Known | None, terms: Collection[Term], lexicon: Lexicon, *, context: Context, limit: int
) -> Granted:
    """Works for a wish."""
    filters, newest = filters_of(terms, lexicon), int(session.scalar(service.NEWEST) or 0)
    values = {"newest": newest, "depth": service.DEPTH, **filters.values}
    newest_first = list(session.scalars(_NEWEST_FIRST, values))
    fits = set(session.scalars(_OF, {**values, "works": list(context.personal)}))
    personal = [work for work in context.personal if work in fits]
    new = any(term == Term("order", "new") for term in terms)
    rankings: list[tuple[float, Sequence[int]]] = [(MOOD if new else NEW, newest_first), (PERSONAL, personal)]
    notes: dict[Term, str] = {}
    reasons: list[tuple[str, Sequence[str]]] = []
    only: set[int] | None = None
    hidden: set[int] = set()

    about = " or ".join(f'"{term.value}"' for term in terms if term.slot == "about" and term.wanted)
    near: dict[int, float] = {}
    if about:
        in_words = service.by_words(session, about, filters, newest)
        near = service.by_meaning(session, known, about, filters, newest)
        if in_words or near:
            rankings += [(ABOUT, in_words), (ABOUT * service.MEANING_WEIGHT, list(near))]
            only = {*in_words, *near}
        else:
            notes |= {term: "Nothing here is about it." for term in terms if term.slot == "about" and term.wanted}
    for term in sorted(terms):
        place, said = _towards(session, known, term, lexicon, context=context, newest=newest)
        if term.slot in ("like", "as_this", "as_last") and place is None:
            notes[term] = "No work was found that is meant by it."
        if place is None or known is None:
            continue
        if term.slot in ("like", "as_this", "as_last"):
            hidden.add(place.work)
            if not term.wanted:
                continue
        found = service.by_place(session, known, place.at, filters, newest)
        if not found:
            notes[term] = "Nothing here is near it."
        rankings.append((LIKE if place.work else MOOD, list(found)))
        reasons.append((said, place.words))
    rows = service.standing(session, {work for _, ranking in rankings for work in ranking}, filters)
    ranking = [
        (work, score)
        for work, score in fused(*rankings)
        if work in rows and work not in hidden and context.may(work) and (only is None or work in only)
    ]
    shown = service.shown(session, known, about, cut=ranking[:limit], rows=rows, near=near)
    return Granted([(found, _reasons(known, found.row, reasons)) for found in shown], notes)


@dataclass(frozen=True)
class _Place:
    at: NDArray[np.float32]
    words: Sequence[str]
    work: int = 0


def _towards(
    session: Session, known: Known | None, term: Term, lexicon: Lexicon, *, context: Context, newest: int
) -> tuple[_Place | None, str]:
    """Where in the space a term points, and how its nearness is said; None for a term that points nowhere."""
    if known is None:
        return None, ""
    if term.slot in ("mood", "than") and (term.wanted or term.slot == "than"):
        name = term.value if term.wanted else lexicon.moods[term.value].against
        mood = lexicon.moods[name]
        ends = known.space.project([stems(mood.of), stems(lexicon.moods[mood.against].of)])
        return _Place(unit_rows((ends[0] - 0.5 * ends[1])[None])[0], stems(mood.of)), lexicon.said["moods", name]
    work = context.this if term.slot == "as_this" else context.last if term.slot == "as_last" else None
    if term.slot == "like":
        titles = service.by_words(session, f'"{term.value}"', Filters(), newest, depth=1)
        work = titles[0] if titles else None
    if work is None:
        return None, ""
    row = service.standing(session, [work], Filters()).get(work)
    place = session.scalar(_PLACE, {"space": known.version, "work": work})
    if row is None or place is None or not context.may(work):
        return None, ""
    at = np.array(place.strip("[]").split(","), dtype=np.float32)
    return _Place(at, stems(words(f"{row['title']} {row['description']} {' '.join(row['tags'])}")), work), (
        f"like {row['title']}"
    )


def _reasons(known: Known | None, row: RowMapping, reasons: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Why a work fits the soft terms: its own words that carry the nearness."""
    if known is None:
        return []
    space: Space = known.space
    found = [(said, space.shared(query, described(row))) for said, query in reasons]
    return [f"{said[0].upper()}{said[1:]}, by {', '.join(shared)}." for said, shared in found if shared]
