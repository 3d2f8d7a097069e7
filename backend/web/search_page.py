"""Searching, in the words and shapes of its page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from backend.search import marking, wish
from backend.search.lexicon import Lexicon
from backend.search.schemas import HitOut, PieceOut
from backend.search.wish import SLOTS, Term, Wish
from backend.search.words import words
from backend.web.feed_page import LABELS, name

EXAMPLES: Final = (
    "something calmer, under 20 minutes, not horror",
    "new songs made by people",
    "a funny story for kids, at least half an hour",
)
"""Wishes that teach what one can say."""
PLACE: Final = "/search"
BESIDE: Final = frozenset({"a", "an", "and", "of", "or", "the"})
"""Words that a title may have, and that say nothing about whether somebody wishes or searches."""


def is_wish(text: str, read: Wish) -> bool:
    """Whether a text says more than words to look for: a condition, or a sentence around its topic.

    Who writes an operator of searching («-horror») searches.
    """
    if marking.unwanted(text):
        return False
    if any(term.slot != "about" or not term.wanted for term in read.terms):
        return True
    topics = {word for term in read.terms for word in words(term.value)}
    return bool(set(words(text)) - topics - BESIDE)


def link(q: str, **options: Any) -> str:
    """The address of a search."""
    return f"{PLACE}?{urlencode({'q': q, **{key: value for key, value in options.items() if value is not None}})}"


def chips(understood: Sequence[tuple[Term, str | None]], lexicon: Lexicon, work: int | None) -> list[dict[str, Any]]:
    """The conditions of a wish, each with its note and with the address of the wish without it."""
    return [
        {
            "said": wish.said(term, lexicon).replace('"', ""),  # quotes are for reading it again
            "note": note,
            "wanted": term.wanted,
            "without": _without(term, (other for other, _ in understood), lexicon, work),
        }
        for term, note in sorted(understood, key=lambda each: (SLOTS.index(each[0].slot), each[0]))
    ]


def _without(term: Term, terms: Iterable[Term], lexicon: Lexicon, work: int | None) -> str:
    rest = frozenset(terms) - {term}
    return link(wish.printed(Wish(rest), lexicon), by="chips", work=work) if rest else PLACE


def length(duration_ms: int | None) -> str | None:
    """How long a work is, in the largest unit that says it well."""
    if duration_ms is None:
        return None
    seconds = duration_ms // 1_000
    if seconds < 60:
        return f"{seconds} s"
    minutes = (seconds + 30) // 60
    hours, left = divmod(minutes, 60)
    return f"{minutes} min" if hours == 0 else f"{hours} h" if left == 0 else f"{hours} h {left} min"


def card(hit: HitOut) -> dict[str, Any]:
    """One work that was found, as its card shows it."""
    plain = "".join(piece.text for piece in hit.title)
    return {
        "work_id": hit.work_id,
        "name": name(plain, hit.work_id),
        "title": hit.title or [PieceOut(text=name(None, hit.work_id), hit=False)],
        "excerpt": hit.excerpt,
        "kind": hit.kind,
        "label": LABELS[hit.ai_label],
        "length": length(hit.duration_ms),
        "language": hit.language,
        "tags": hit.tags[:4],
        "why": hit.why.sentence,
        "lamp": 24 + 48 * (hit.work_id * 7 % 11) // 10,
    }


def counted(found: int, more: bool) -> str:
    """How many works there are, as a person would say it."""
    if found == 0:
        return "Nothing was found."
    return f"{'The first ' if more else ''}{found} {'work' if found == 1 else 'works'}, best first."
