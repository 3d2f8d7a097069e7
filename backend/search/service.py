"""Finding works: by words and by meaning, two rankings fused into one, with the reason beside each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from backend.errors import Conflict
from backend.pagination import decode_cursor, encode_cursor
from backend.search import marking
from backend.search.filters import CONDITIONS, STANDING, Filters
from backend.search.fusion import fused
from backend.search.indexing import described
from backend.search.marking import Piece
from backend.search.space import stems
from backend.search.window import Known
from backend.search.words import folded, words

DEPTH: Final = 200
"""So many works of each ranking are fused."""
NEAR: Final = 0.3
"""Below this cosine a work is not about what was asked."""
WORDS_WEIGHT: Final = 1.0
MEANING_WEIGHT: Final = 0.7
SCOPE: Final = "search"

Field = Literal["title", "tags", "description"]

_BY_WORDS: Final = text(f"""
SELECT e.work_id FROM websearch_to_tsquery('english', :query) q, app.search_entry e WHERE {CONDITIONS}
AND e.document @@ q ORDER BY ts_rank_cd('{{0.1, 0.2, 0.5, 1.0}}', e.document, q, 1) DESC, e.work_id LIMIT :depth
""")
"""Closeness of the words counts, divided by the logarithm of the length; a title weighs twice a tag."""
_BY_MEANING: Final = text(f"""
SELECT p.work_id, 1 - (p.place <=> CAST(:place AS vector)) AS cosine
FROM app.search_place p JOIN app.search_entry e ON e.work_id = p.work_id
WHERE p.space = :space AND {CONDITIONS} ORDER BY p.place <=> CAST(:place AS vector) LIMIT :depth
""")
NEWEST: Final = text("SELECT coalesce(max(work_id), 0) FROM app.search_entry")
_SCAN: Final = text("SELECT set_config('hnsw.ef_search', '200', true), set_config('hnsw.iterative_scan', :order, true)")
_FOUND: Final = text(STANDING)
_HITS: Final = text("""
SELECT word FROM unnest(CAST(:texts AS text[])) word
WHERE to_tsvector('english', word) @@ to_tsquery('english', :wanted)
""")


@dataclass(frozen=True)
class Found:
    """One work and why it is there."""

    row: RowMapping
    score: float
    title: Sequence[Piece]
    excerpt: Sequence[Piece]
    matched: Sequence[str]
    """The words of the search as they stand in the work, by where: empty when it was found by meaning alone."""
    fields: Sequence[Field]
    """Where they stand: title, tags, description."""
    nearness: float | None
    """Cosine of meaning; None when that did not find it."""
    shared: Sequence[str]
    """The work's words that carry the nearness, those that carry most first."""


@dataclass(frozen=True)
class Results:
    """A page of what was found."""

    items: Sequence[Found]
    instead: str | None
    """What was searched for in place of the query, none of whose words would have been found."""
    next: str | None


def search(
    session: Session,
    known: Known | None,
    *,
    query: str,
    filters: Filters,
    cursor: str | None,
    limit: int,
    may: Callable[[int], bool] = lambda _: True,
) -> Results:
    """Works for a query, best first. Raises Invalid for another list's cursor, Conflict when meanings have moved.

    Pages are cut from one ranking: works that were added since the first page are not in it.
    """
    version = known.version if known else 0
    digest = sha256(orjson.dumps([query, filters.values], option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    start, newest = 0, int(session.scalar(NEWEST) or 0)
    if cursor is not None:
        start, newest, made_in, made_for = decode_cursor(SCOPE, cursor, int, int, int, str)
        if made_in != version or made_for != digest or start < 0:
            raise Conflict(
                "The works were described anew since this cursor was made, or it is of another search; start again"
                " without it.",
                code="cursor_void",
                title="The list has changed",
            )
    filters = replace(filters, without=filters.without | marking.unwanted(query))
    query, instead = _spelled(session, known, query, newest)
    in_words = by_words(session, query, filters, newest)
    near = by_meaning(session, known, query, filters, newest)
    rows = standing(session, {*in_words, *near}, filters)
    ranking = [
        one for one in fused((WORDS_WEIGHT, in_words), (MEANING_WEIGHT, list(near))) if one[0] in rows and may(one[0])
    ]
    cut = ranking[start : start + limit]
    following = None
    if len(ranking) > start + limit:
        following = encode_cursor(SCOPE, start + limit, newest, version, digest)
    return Results(shown(session, known, query, cut=cut, rows=rows, near=near), instead, following)


def _spelled(session: Session, known: Known | None, query: str, newest: int) -> tuple[str, str | None]:
    """The query, or what was meant by it when nothing has its words and a slip explains that."""
    if known is None or by_words(session, query, Filters(), newest, depth=1):
        return query, None
    spelling = known.spelling
    meant = marking.replaced(query, lambda word: spelling.nearest(word) or word)
    return (query, None) if words(meant) == words(query) else (meant, meant)


def by_words(session: Session, query: str, filters: Filters, newest: int, depth: int = DEPTH) -> list[int]:
    """Works that have the words of a web search, best first."""
    values = {"query": folded(query), "newest": newest, "depth": depth, **filters.values}
    return list(session.scalars(_BY_WORDS, values))


def by_meaning(session: Session, known: Known | None, query: str, filters: Filters, newest: int) -> dict[int, float]:
    """Work -> cosine, nearest first."""
    if known is None:
        return {}
    return by_place(session, known, known.space.project([stems(marking.wanted(query))])[0], filters, newest)


def by_place(
    session: Session, known: Known, place: NDArray[np.float32], filters: Filters, newest: int
) -> dict[int, float]:
    """Work -> cosine to a place in the space from NEAR on, nearest first."""
    if not place.any():
        return {}
    session.execute(_SCAN, {"order": "strict_order"})
    values = {"place": str(place.tolist()), "space": known.version, "newest": newest, "depth": DEPTH}
    rows = session.execute(_BY_MEANING, {**values, **filters.values})
    return {row.work_id: row.cosine for row in rows if row.cosine >= NEAR}


def standing(session: Session, works: Iterable[int], filters: Filters) -> dict[int, RowMapping]:
    """Of these works those that may be shown, as they are now."""
    values = {"works": list(works), "ai_labels": filters.values["ai_labels"]}
    return {row["work_id"]: row for row in session.execute(_FOUND, values).mappings()}


def shown(
    session: Session,
    known: Known | None,
    query: str,
    *,
    cut: Sequence[tuple[int, float]],
    rows: Mapping[int, RowMapping],
    near: Mapping[int, float],
) -> list[Found]:
    """Works as they are answered, each with why it was found by the query."""
    rows = {work: rows[work] for work, _ in cut}
    wanted = marking.wanted(query)
    texts = {
        word
        for row in rows.values()
        for word in words(" ".join([row["title"] or "", row["description"] or "", *row["tags"]]))
    }
    hits = _hits(session, wanted, texts)
    found = []
    for work, score in cut:
        row = rows[work]
        fields: dict[Field, list[str]] = {
            "title": words(row["title"] or ""),
            "tags": words(" ".join(row["tags"])),
            "description": words(row["description"] or ""),
        }
        nearness = near.get(work)
        found.append(
            Found(
                row=row,
                score=score,
                title=marking.pieces(row["title"] or "", hits.__contains__),
                excerpt=marking.excerpt(row["description"] or "", hits.__contains__),
                matched=list(dict.fromkeys(word for has in fields.values() for word in has if word in hits)),
                fields=[name for name, has in fields.items() if any(word in hits for word in has)],
                nearness=nearness,
                shared=known.space.shared(stems(wanted), described(row)) if known and nearness else [],
            )
        )
    return found


def _hits(session: Session, wanted: Sequence[str], texts: set[str]) -> set[str]:
    """Those words of the texts that are what was searched for, by PostgreSQL's own stems."""
    if not wanted or not texts:
        return set()
    query = " | ".join(f"'{word}'" for word in wanted)  # words hold letters and digits alone
    return set(session.scalars(_HITS, {"texts": sorted(texts), "wanted": query}))
