"""Wishes in words, read by a grammar: «something calmer, under 20 minutes, not horror». Pure and deterministic.

    wish    = { clause separator }                   separator: , ; . ! ? or a line's end
    clause  = { [not] item { and item } | but }      "not" holds until "but" or the clause's end; «no a, b or c»: of all
    item    = made | audience | length | kind | language | mood | comparison | order | likeness | topic
    length  = (under | over | about) amount | amount to amount | amount [or less | or more] | short | long
    likeness = like ("title" | this one | the last one | words up to a separator, "but" or a length)
    topic   = about ("words" | words) | "words" | words that mean nothing else

What each word means stands in a table of the language (lexicons/). What is left over is given back as not understood:
nothing is guessed, and nothing that is said in a wish can be more than a condition on works.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, cast, get_args

from backend.search.lexicon import Lexicon
from backend.search.words import words

Slot = Literal[
    "kind",
    "at_most",
    "at_least",
    "mood",
    "than",
    "made",
    "language",
    "audience",
    "order",
    "about",
    "like",
    "as_this",
    "as_last",
]
SLOTS: Final[tuple[Slot, ...]] = get_args(Slot)
NEGATED: Final[frozenset[Slot]] = frozenset({"kind", "mood", "than", "language", "order", "about", "like"})
"""What can be wished away; the others have an opposite that is said instead, or none."""
PHRASES: Final = (
    *("made", "audience", "order", "kinds", "languages", "compared", "moods"),
    *("not", "like", "about", "but", "more", "less", "than", "and", "fillers"),
)
"""Tables of phrases that may begin anywhere; among equally long ones the first is meant."""
SHORT_S: Final = 600
LONG_S: Final = 3_600
MOST_S: Final = 10_000_000
AROUND: Final = 0.25
MOST_TERMS: Final = 20
LOOK_AHEAD: Final = 60
MOST_LISTED: Final = 3
"""Words of an item of a list."""
MOST_TEXT: Final = 100
"""Characters of a title or topic within a wish."""

_TOKEN: Final = re.compile(r'"([^"]*)"|“([^”]*)”|«([^»]*)»|(\d+(?:\.\d+)?)|([^\W\d_]+(?:[\'’][^\W\d_]+)*)|([,;.!?\n])')


class Term(NamedTuple):
    """One condition of a wish; `wanted` False wishes it away."""

    slot: Slot
    value: str
    wanted: bool = True


@dataclass(frozen=True)
class Wish:
    """What was understood, each term once, and the words that were not."""

    terms: frozenset[Term] = frozenset()
    rest: tuple[str, ...] = ()


class _Token(NamedTuple):
    word: str | None
    """Folded; None for what is quoted and for separators."""
    start: int
    end: int
    quoted: str | None = None
    separator: bool = False


def _tokens(text: str) -> list[_Token]:
    found = []
    for match in _TOKEN.finditer(text):
        quoted = next((match[group] for group in (1, 2, 3) if match[group] is not None), None)
        if quoted is not None:
            found.append(_Token(None, *match.span(), quoted=quoted))
        elif match[6]:
            found.append(_Token(None, *match.span(), separator=True))
        else:
            word = match[4] or "".join(words(match[0]))
            if word:
                found.append(_Token(word, *match.span()))
    return found


def one_line(text: str) -> str:
    """A title or topic as it stands in a wish: no quotes, one blank between words, not too long."""
    return " ".join(re.sub(r'["“”«»]', " ", text).split())[:MOST_TEXT].strip()


def topic(text: str) -> str:
    """A topic as it stands in a wish: folded words."""
    return " ".join(words(text))[:MOST_TEXT].strip()


@dataclass
class _Reader:
    text: str
    lexicon: Lexicon
    tokens: list[_Token]
    terms: set[Term] = field(default_factory=set)
    rest: list[str] = field(default_factory=list)
    at: int = 0
    negated: bool = False
    empty: bool = True
    """Whether nothing was wished away since the last "not"."""
    group: list[Term] = field(default_factory=list)
    """Items that stand beside each other without a word between: one noun and what is said of it."""
    topic: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.words = [token.word for token in self.tokens]

    def wish(self) -> Wish:
        while self.at < len(self.tokens):
            self.step()
        self.close(end=True)
        return Wish(consistent(self.terms), tuple(dict.fromkeys(self.rest)))

    def step(self) -> None:
        token = self.tokens[self.at]
        if token.separator:
            self.close(end=not self.goes_on())
            self.at += 1
        elif token.quoted is not None:
            self.add_topic(topic(token.quoted))
            self.at += 1
        elif not (self.length() or self.phrase() or self.dangling()):
            self.topic.append(str(token.word))
            self.at += 1

    # --- what a group of items says -----------------------------------------------------------------------------------

    def add(self, slot: Slot, value: str) -> None:
        self.flush_topic()
        self.group.append(Term(slot, value))

    def add_topic(self, text: str) -> None:
        self.flush_topic()
        if text:
            self.group.append(Term("about", text))

    def flush_topic(self) -> None:
        if self.topic:
            said, self.topic = topic(" ".join(self.topic)), []
            if said:
                self.group.append(Term("about", said))

    def close(self, *, end: bool) -> None:
        """Write the group down. What is not wanted of «horror films» is horror, and not all films."""
        self.flush_topic()
        group, self.group = self.group, []
        if self.negated and any(term.slot != "kind" for term in group):
            group = [term for term in group if term.slot != "kind"]
        for term in group:
            self.put(term)
        self.empty = self.empty and not group
        if end:
            if self.negated and self.empty:
                self.rest.append(self.lexicon.prints["not"])
            self.negated = False

    def goes_on(self) -> bool:
        """Whether "not" holds across this comma: «no a, b or c» is a list, whose last two have an "or" between them."""
        if not self.negated or self.text[self.tokens[self.at].start] != ",":
            return False
        at, said = self.at + 1, 0
        while (
            at < min(len(self.tokens), self.at + LOOK_AHEAD)
            and said <= MOST_LISTED
            and not self.match(at, "but", "not")
        ):
            if self.tokens[at].separator:
                if self.text[self.tokens[at].start] != ",":
                    return False
                said = 0
            elif said and self.match(at, "and"):
                return True
            elif self.bound(at) or self.amount(at):
                return False
            else:
                said += 1
            at += 1
        return False

    def dangling(self) -> bool:
        """A bound without an amount says nothing."""
        found = self.match(self.at, "length.at_most", "length.at_least")
        if found is None:
            return False
        self.flush_topic()
        self.at += found[2]
        self.rest.append(self.said(self.at - found[2]))
        return True

    def put(self, term: Term) -> None:
        if not self.negated:
            self.terms.add(term)
        elif term.slot in NEGATED:
            self.terms.add(term._replace(wanted=False))
        elif term.slot == "made":
            self.terms.add(Term("made", "ai" if term.value == "people" else "people"))
        elif term.slot == "at_most":
            self.terms.add(Term("at_least", term.value))
        elif term.slot == "at_least":
            self.terms.add(Term("at_most", term.value))
        else:
            self.rest.append(said(term, self.lexicon))

    # --- phrases ------------------------------------------------------------------------------------------------------

    def match(self, at: int, *slots: str) -> tuple[str, str, int] | None:
        return self.lexicon.match(self.words, at, *slots)

    def phrase(self) -> bool:
        """Read one phrase of the table; False when no phrase begins here."""
        found = self.match(self.at, *PHRASES)
        if found is None:
            return False
        slot, value, length = found
        begun, self.at = self.at, self.at + length
        match slot:
            case "made" | "audience" | "order":
                self.add(cast(Slot, slot), value)
            case "kinds" | "languages" | "moods":
                self.add(cast(Slot, slot[:-1]), value)
            case "compared":
                self.add("than", value)
            case "not":
                self.close(end=True)
                self.negated, self.empty = True, True
            case "but":
                self.close(end=True)
            case "and":
                self.close(end=False)
            case "more" | "less":
                self.compare(slot)
            case "like":
                self.likeness(begun)
            case "than" if self.group and self.group[-1].slot == "than":
                self.likeness(begun)
            case "about":
                self.about(begun)
            case _:
                self.flush_topic()
        return True

    def compare(self, slot: str) -> None:
        """«more fun», «less dark»; with what is no mood, more says nothing and less wishes it away."""
        found = self.match(self.at, "moods", "compared")
        if found is not None:
            mood = found[1]
            self.add("than", mood if slot == "more" else self.lexicon.moods[mood].against)
            self.at += found[2]
        elif slot == "less":
            self.close(end=True)
            self.negated, self.empty = True, True

    def likeness(self, begun: int) -> None:
        for slot, target in (("last", "as_last"), ("this", "as_this")):
            found = self.match(self.at, slot)
            if found is not None and self.ends(self.at + found[2]):
                self.at += found[2]
                self.add(cast(Slot, target), "")
                return
        title = self.until_stop()
        if title:
            self.add("like", title)
        else:
            self.rest.append(self.said(begun))

    def about(self, begun: int) -> None:
        if self.at < len(self.tokens) and self.tokens[self.at].quoted is not None:
            self.step()
            return
        start = self.at
        while self.at < len(self.tokens) and self.match(self.at, "fillers"):
            self.at += 1
        while self.at < len(self.tokens) and not self.stops(self.at) and not self.match(self.at, "kinds", "and"):
            self.topic.append(str(self.tokens[self.at].word))
            self.at += 1
        if not self.topic:
            self.at = start
            self.rest.append(self.said(begun))
        self.flush_topic()

    def until_stop(self) -> str:
        """The text from here to where a title ends, as it was written."""
        if self.at < len(self.tokens) and self.tokens[self.at].quoted is not None:
            self.at += 1
            return one_line(self.tokens[self.at - 1].quoted or "")
        start = self.at
        while self.at < len(self.tokens) and not self.stops(self.at):
            self.at += 1
        if start == self.at:
            return ""
        return one_line(self.text[self.tokens[start].start : self.tokens[self.at - 1].end])

    def stops(self, at: int) -> bool:
        """Whether a title or topic ends before this token."""
        token = self.tokens[at]
        if token.separator or token.quoted is not None or self.match(at, "but", "made", "audience", "not"):
            return True
        joined = self.match(at, "and")
        following = at + joined[2] if joined else at
        return (
            self.bound(following) is not None
            or self.amount(following) is not None
            or (joined is not None and self.match(following, "compared", "but", "not") is not None)
        )

    def ends(self, at: int) -> bool:
        return at >= len(self.tokens) or self.stops(at) or self.match(at, "and") is not None

    def said(self, begun: int) -> str:
        """The words from a token to here, as they were written."""
        return self.text[self.tokens[begun].start : self.tokens[max(self.at - 1, begun)].end]

    # --- lengths ------------------------------------------------------------------------------------------------------

    def length(self) -> bool:
        """Read a length; False when none begins here."""
        begun = self.at
        between = self.match(self.at, "length.between")
        range_ = self.range(self.at + (between[2] if between else 0))
        if range_ is not None:
            low, high, self.at = range_
            self.bounds(begun, low, high)
            return True
        bound = self.bound(self.at)
        if bound is not None:
            slot, seconds, self.at = bound
            self.bounds(begun, *((None, seconds) if slot == "at_most" else (seconds, None)))
            return True
        around = self.match(self.at, "length.around")
        amount = self.amount(self.at + (around[2] if around else 0))
        if amount is not None:
            seconds, self.at = amount
            return self.plain(begun, seconds)
        word = self.match(self.at, "length.short", "length.long")
        if word is None:
            return False
        self.at += word[2]
        self.bounds(begun, *((None, SHORT_S) if word[1] == "short" else (LONG_S, None)))
        return True

    def plain(self, begun: int, seconds: int) -> bool:
        """An amount without a word before it: with one after it, a bound; else about so much."""
        after = self.match(self.at, "length.after_most", "length.after_least")
        if after is None:
            whole = 60 if seconds >= 300 else 1
            low, high = seconds * (1 - AROUND), seconds * (1 + AROUND)
            self.bounds(begun, int(low // whole) * whole, int(-(-high // whole)) * whole)
        else:
            self.at += after[2]
            self.bounds(begun, *((None, seconds) if after[1] == "after_most" else (seconds, None)))
        return True

    def bounds(self, begun: int, low: int | None, high: int | None) -> None:
        for slot, value in (("at_least", low), ("at_most", high)):
            if value is not None and 0 < value <= MOST_S:
                self.add(cast(Slot, slot), str(value))
            elif value is not None:
                self.rest.append(self.said(begun))

    def bound(self, at: int) -> tuple[Literal["at_most", "at_least"], int, int] | None:
        found = self.match(at, "length.at_most", "length.at_least")
        amount = self.amount(at + found[2]) if found else None
        if found is None or amount is None:
            return None
        return ("at_most" if found[1] == "at_most" else "at_least"), *amount

    def range(self, at: int) -> tuple[int, int, int] | None:
        """«20 to 40 minutes», «between half an hour and an hour»."""
        first = self.amount(at) or self.number(at)
        if first is None:
            return None
        value, following = first
        to = self.match(following, "length.to")
        dash = (
            self.amount(at) is None
            and self.text[self.tokens[following - 1].end : self.tokens[following].start] in ("-", "–")
            if following < len(self.tokens)
            else False
        )
        if to is None and not dash:
            return None
        second = self.amount(following + (to[2] if to else 0))
        if second is None:
            return None
        if self.amount(at) is None:  # a bare number has the unit of the second
            unit = self.unit(second[1] - 1)
            if unit is None:
                return None
            value *= unit
        low, high = round(value), second[0]
        return (low, high, second[1]) if low < high else None

    def amount(self, at: int) -> tuple[int, int] | None:
        """Seconds of an amount that begins here, and the token after it."""
        found = self.part(at)
        if found is None:
            return None
        seconds, following, unit = found
        half = self.match(following, "length.and_a_half")
        if half is not None:
            return round(seconds + unit / 2), following + half[2]
        more = self.part(following) or self.part(following + 1 if self.match(following, "and") else following)
        if unit == 3_600 and more is not None and more[2] == 60 and more[0] < 3_600:
            return round(seconds + more[0]), more[1]
        bare = self.number(following)
        if (
            unit == 3_600
            and bare is not None
            and bare[0] < 60
            and self.unit(bare[1]) is None
            and self.ends_number(bare[1])
        ):
            return round(seconds + 60 * bare[0]), bare[1]
        return round(seconds), following

    def ends_number(self, at: int) -> bool:
        return at >= len(self.tokens) or self.tokens[at].separator

    def part(self, at: int) -> tuple[float, int, int] | None:
        """A number or a word for one, and a unit: seconds, the token after it, seconds of the unit."""
        for slot, value in (
            ("length.half", 0.5),
            ("length.quarter", 0.25),
            ("length.couple", 2.0),
            ("length.one", 1.0),
        ):
            found = self.match(at, slot)
            unit = self.unit(at + found[2]) if found else None
            if found is not None and unit is not None:
                return value * unit, at + found[2] + 1, unit
        number = self.number(at)
        unit = self.unit(number[1]) if number else None
        return (number[0] * unit, number[1] + 1, unit) if number is not None and unit is not None else None

    def number(self, at: int) -> tuple[float, int] | None:
        word = self.words[at] if at < len(self.words) else None
        if word is None:
            return None
        if re.fullmatch(r"[0-9]{1,8}(\.[0-9]{1,3})?", word):
            return float(word), at + 1
        found = self.match(at, "numbers")
        if found is None:
            return None
        value, following = float(found[1]), at + found[2]
        small = self.match(following, "numbers")
        if value >= 20 and value % 10 == 0 and small is not None and 0 < int(small[1]) < 10:
            return value + int(small[1]), following + small[2]
        return value, following

    def unit(self, at: int) -> int | None:
        found = self.match(at, "units") if 0 <= at < len(self.words) else None
        return {"seconds": 1, "minutes": 60, "hours": 3_600}[found[1]] if found is not None else None


def consistent(terms: Iterable[Term]) -> frozenset[Term]:
    """Of several bounds the narrowest; of what is wished for and wished away, what is wished away."""
    kept = set(terms)
    for slot, pick in (("at_most", min), ("at_least", max)):
        bounds = [term for term in kept if term.slot == slot]
        if bounds:
            kept -= set(bounds)
            kept.add(pick(bounds, key=lambda term: int(term.value)))
    return frozenset(term for term in kept if not term.wanted or term._replace(wanted=False) not in kept)


def parse(text: str, lexicon: Lexicon) -> Wish:
    """What a text wishes for."""
    return _Reader(text, lexicon, _tokens(text)).wish()


def said(term: Term, lexicon: Lexicon) -> str:
    """A term in words; read again it is the same term."""
    prints, value = lexicon.prints, term.value
    match term.slot:
        case "at_most" | "at_least":
            seconds = int(value)
            unit, n = ("minutes", seconds // 60) if seconds % 60 == 0 else ("seconds", seconds)
            text = prints[term.slot].format(amount=prints[unit].format(n=n))
        case "about" | "like":
            text = prints[term.slot].format(text=value)
        case "as_this" | "as_last":
            text = prints[term.slot]
        case "language":
            text = prints["language"].format(name=lexicon.said["languages", value])
        case "mood":
            text = lexicon.said["moods", value]
        case "than":
            text = lexicon.said.get(("compared", value)) or prints["more"].format(mood=lexicon.said["moods", value])
        case "kind":
            text = lexicon.said["kinds", value]
        case _:
            text = lexicon.said[term.slot, value]
    return text if term.wanted else f"{prints['not']} {text}"


def printed(wish: Wish, lexicon: Lexicon) -> str:
    """A wish in words: `parse` gives the same terms again."""
    return ", ".join(
        said(term, lexicon) for term in sorted(wish.terms, key=lambda term: (SLOTS.index(term.slot), term))
    )


def valid(term: Term, lexicon: Lexicon) -> bool:
    """Whether a term is one that the grammar can say, whoever made it: a person's chip, or a model."""
    value = term.value
    checks: dict[str, Callable[[], bool]] = {
        "at_most": lambda: re.fullmatch(r"[1-9][0-9]{0,7}", value, re.ASCII) is not None and int(value) <= MOST_S,
        "about": lambda: value != "" and topic(value) == value,
        "like": lambda: value != "" and one_line(value) == value,
        "as_this": lambda: value == "",
        "mood": lambda: value in lexicon.moods,
        "kind": lambda: ("kinds", value) in lexicon.said,
        "language": lambda: ("languages", value) in lexicon.said,
    }
    same = {"at_least": "at_most", "as_last": "as_this", "than": "mood"}
    check = checks.get(same.get(term.slot, term.slot), lambda: (term.slot, value) in lexicon.said)
    return (term.wanted or term.slot in NEGATED) and check()
