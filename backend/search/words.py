"""How text becomes words: the same for what is searched and for what is searched with. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_EMPTY: Final = (
    "a about an and are as at be but by for from had has have he her his if in into is it its no not of on or our she"
    " so than that the their them then there these they this to was we were what when which who with you your"
)
EMPTY: Final = frozenset(_EMPTY.split())
"""English words that say nothing about what a text is about; the fewer the works, the less their frequency tells it."""
_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


def folded(text: str) -> str:
    """Lower case, without accents, compatibility forms made plain: «Café» and «ＣＡＦÉ» are both cafe."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in apart if not unicodedata.combining(char))


def words(text: str) -> list[str]:
    """The words of a text in order, folded; an apostrophe within a word is dropped (don't is dont)."""
    return [found.replace("'", "").replace("’", "") for found in _WORD.findall(folded(text))]


def stem(word: str) -> str:
    """A word without its plural's s: Harman's S stemmer ("How effective is suffixing?", JASIS 1991), three rules."""
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")) and len(word) > 3:
        return word[:-1]
    return word
