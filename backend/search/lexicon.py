"""The words of wishes in one language, from a table; what a phrase means is looked up, never computed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parent / "lexicons"
VALUED: Final = ("made", "audience", "kinds", "order", "languages", "length")
"""Tables of several values with phrases each."""
PLAIN: Final = ("not", "about", "like", "this", "last", "but", "and", "more", "less", "than", "fillers")
"""Tables that are one list of phrases."""

Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Mood:
    """One end of a scale of moods."""

    of: tuple[str, ...]
    """Words by which a work is known to be so."""
    against: str
    """The other end."""


@dataclass(frozen=True)
class Lexicon:
    """What phrases of folded words mean, by the place in a wish where they may stand."""

    slots: Mapping[str, Mapping[Phrase, str]]
    moods: Mapping[str, Mood]
    said: Mapping[tuple[str, str], str]
    """(slot, value) -> how it is said back."""
    prints: Mapping[str, str]
    kids_avoid: tuple[str, ...]
    longest: int
    """Words of the longest phrase."""

    def match(self, words: Sequence[str | None], at: int, *slots: str) -> tuple[str, str, int] | None:
        """The longest phrase that begins at a word: its slot, its value, how many words; the first slot among equals.

        None stands for what is no word: no phrase goes across.
        """
        for length in range(min(self.longest, len(words) - at), 0, -1):
            phrase = tuple(word for word in words[at : at + length] if word is not None)
            if len(phrase) == length:
                for slot in slots:
                    value = self.slots[slot].get(phrase)
                    if value is not None:
                        return slot, value, length
        return None


@cache
def read(language: str = "en") -> Lexicon:
    """The lexicon of a language. Raises FileNotFoundError where there is none."""
    data: dict[str, Any] = tomllib.loads((FOLDER / f"{language}.toml").read_text())
    slots: dict[str, dict[Phrase, str]] = {}
    said: dict[tuple[str, str], str] = {}

    def put(slot: str, value: str, phrases: Sequence[str]) -> None:
        for phrase in phrases:
            slots.setdefault(slot, {}).setdefault(tuple(phrase.split()), value)
        if phrases:
            said[slot, value] = phrases[0]

    for slot in VALUED:
        for value, phrases in data[slot].items():
            put(slot if slot != "length" else f"length.{value}", value, phrases)
    for name, mood in data["moods"].items():
        put("moods", name, mood["said"])
        put("compared", name, mood["compared"])
    for unit, names in data["units"].items():
        put("units", unit, names)
    for n, word in enumerate(data["numbers"]["words"]):
        put("numbers", str(n), [word])
    for word, number in data["numbers"].items():
        if word != "words":
            put("numbers", str(number), [word])
    for slot in PLAIN:
        put(slot, slot, data[slot])
    moods = {name: Mood(tuple(mood["of"]), mood["against"]) for name, mood in data["moods"].items()}
    longest = max(len(phrase) for table in slots.values() for phrase in table)
    return Lexicon(slots, moods, said, data["print"], tuple(data["kids"]["avoid"]), longest)
