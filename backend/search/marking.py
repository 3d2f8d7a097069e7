"""What a search looks for in words, and where a text has it: highlights as pieces of text, never as markup. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from backend.search.words import words

_QUOTED: Final = re.compile(r'(-?)"([^"]*)"')
_TOKEN: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
EXCERPT_WORDS: Final = 30


class Piece(NamedTuple):
    """A piece of a text as it was written, and whether it is what was searched for."""

    text: str
    hit: bool


def wanted(query: str) -> list[str]:
    """The words that a web search («"a phrase" or this -not») wants, folded, each once."""
    found: list[str] = []

    def phrase(match: re.Match[str]) -> str:
        if not match[1]:
            found.extend(words(match[2]))
        return " "

    for token in _QUOTED.sub(phrase, query).split():
        if not token.startswith("-") and token.casefold() != "or":
            found.extend(words(token))
    return list(dict.fromkeys(found))


def unwanted(query: str) -> frozenset[tuple[str, ...]]:
    """The phrases that a web search excludes, as folded words."""
    phrases = [words(match[2]) for match in _QUOTED.finditer(query) if match[1]]
    phrases += [words(token) for token in _QUOTED.sub(" ", query).split() if token.startswith("-")]
    return frozenset(tuple(phrase) for phrase in phrases if phrase)


def replaced(query: str, meant: Callable[[str], str]) -> str:
    """The query with each word that it wants replaced; quotes, minus signs and what they exclude stay."""

    def each(text: str) -> str:
        return _TOKEN.sub(lambda match: "".join(meant(word) for word in words(match[0])) or match[0], text)

    parts, last = [], 0
    for match in _QUOTED.finditer(query):
        parts += [_unquoted(query[last : match.start()], each), match[0] if match[1] else f'"{each(match[2])}"']
        last = match.end()
    return "".join([*parts, _unquoted(query[last:], each)])


def _unquoted(text: str, each: Callable[[str], str]) -> str:
    return "".join(
        part if part.startswith("-") or part.casefold() == "or" else each(part) for part in re.split(r"(\s+)", text)
    )


def pieces(text: str, is_hit: Callable[[str], bool]) -> list[Piece]:
    """The text cut where hits begin and end; joined again they are the text."""
    made: list[Piece] = []
    last = 0
    for match in _TOKEN.finditer(text):
        if any(is_hit(word) for word in words(match[0])):
            if match.start() > last:
                made.append(Piece(text[last : match.start()], False))
            made.append(Piece(match[0], True))
            last = match.end()
    if last < len(text):
        made.append(Piece(text[last:], False))
    return made


def excerpt(text: str, is_hit: Callable[[str], bool], most: int = EXCERPT_WORDS) -> list[Piece]:
    """The part of at most so many words that has most hits, the first of equals, with … where something is left out."""
    spans = [match.span() for match in _TOKEN.finditer(text)]
    if len(spans) <= most:
        return pieces(text, is_hit)
    hits = [any(is_hit(word) for word in words(text[a:b])) for a, b in spans]
    count = best = sum(hits[:most])
    start = 0
    for at in range(1, len(spans) - most + 1):
        count += hits[at + most - 1] - hits[at - 1]
        if count > best:
            best, start = count, at
    first = next((n for n in range(start, start + most) if hits[n]), start)
    start = max(0, min(start, first - most // 4)) if best else 0
    a, b = spans[start][0], spans[min(start + most, len(spans)) - 1][1]
    cut = pieces(text[0 if start == 0 else a : b], is_hit)
    ends: Sequence[Piece] = [] if b == spans[-1][1] else [Piece("…", False)]
    return [*([Piece("… ", False)] if start else []), *cut, *ends]
