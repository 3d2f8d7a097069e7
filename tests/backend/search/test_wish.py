"""Wishes in words: what the grammar understands, that it says it back, and that no text breaks it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.search import lexicon, wish
from backend.search.wish import NEGATED, Term, Wish

pytestmark = pytest.mark.feature("X11", via="http")

EN = lexicon.read()

# what is wished for, how it is said back, what was not understood
WISHES = [
    ("something calmer, under 20 minutes, not horror", 'under 20 minutes, calmer, not about "horror"', []),
    ("like The Night Market but funnier", 'funnier, like "The Night Market"', []),
    ("new songs without AI", "songs, without ai, new", []),
    ("for kids", "for kids", []),
    ("songs", "songs", []),
    ("no songs", "not songs", []),
    ("a short story about dragons", 'stories, under 10 minutes, about "dragons"', []),
    ("a 20 minute story", "stories, under 25 minutes, over 15 minutes", []),
    ("something around half an hour", "under 38 minutes, over 22 minutes", []),
    ("between 20 and 40 minutes", "under 40 minutes, over 20 minutes", []),
    ("20-40 minutes", "under 40 minutes, over 20 minutes", []),
    ("20 to 40 minute films", "videos, under 40 minutes, over 20 minutes", []),
    ("under an hour and a half", "under 90 minutes", []),
    ("1 hour 30 minutes or less", "under 90 minutes", []),
    ("an hour or so", "under 75 minutes, over 45 minutes", []),
    ("no longer than 45 min", "under 45 minutes", []),
    ("not longer than ninety seconds", "under 90 seconds", []),
    ("at least two hours", "over 120 minutes", []),
    ("not under 20 minutes", "over 20 minutes", []),
    ("less than twenty five minutes", "under 25 minutes", []),
    ("I want something funny and romantic", "funny, romantic", []),
    ("nothing scary please", "not scary", []),
    ("not too dark", "not dark", []),
    ("less dark", "lighter", []),
    ("more fun", "funnier", []),
    ("funny but not silly", 'funny, not about "silly"', []),
    ("films but no horror films", 'videos, not about "horror"', []),
    ("no horror, war or gore", 'not about "gore", not about "horror", not about "war"', []),
    ("neither sad nor dark", "not dark, not sad", []),
    ("not songs or games", "not games, not songs", []),
    ("calm music for tonight", "songs, calm", []),
    ("in French", "in french", []),
    ("french songs", "songs, in french", []),
    ("not in german", "not in german", []),
    ("something in Japanese or Korean", "in japanese, in korean", []),
    ("surprise me", "surprise me", []),
    ("hidden gems", "little known", []),
    ("popular games", "games, popular", []),
    ("not popular", "not popular", []),
    ("the latest videos", "videos, new", []),
    ("made by people", "without ai", []),
    ("no ai generated images", "images, without ai", []),
    ("made with AI", "made with ai", []),
    ("not made by people", "made with ai", []),
    ('"space pirates"', 'about "space pirates"', []),
    ('about "deep sea diving"', 'about "deep sea diving"', []),
    ("a game about trains and mountains", 'games, about "mountains", about "trains"', []),
    ("stories set in venice", 'stories, about "venice"', []),
    ("something like this but shorter", "under 10 minutes, like this one", []),
    ("more like the last one", "like the last one", []),
    ("like this one, but darker", "darker, like this one", []),
    ('similar to "Rocket Diary"', 'like "Rocket Diary"', []),
    ("not like The House Below", 'not like "The House Below"', []),
    ("like The Night Market and under 20 minutes", 'under 20 minutes, like "The Night Market"', []),
    ("something like a lullaby", 'like "a lullaby"', []),
    ("for the whole family, in Spanish, under 2 hours", "under 120 minutes, in spanish, for kids", []),
    ("for my kids but not sad", "not sad, for kids", []),
    ("not for kids", "", ["for kids"]),
    ("family friendly comedies", "funny, for kids", []),
    ("half a minute", "under 38 seconds, over 22 seconds", []),
    ("a couple of hours", "under 150 minutes, over 90 minutes", []),
    ("a quarter of an hour", "under 19 minutes, over 11 minutes", []),
    ("1.5 hours", "under 113 minutes, over 67 minutes", []),
    ("2h30", "under 188 minutes, over 112 minutes", []),
    ("an hour and 15 minutes", "under 94 minutes, over 56 minutes", []),
    ("under", "", ["under"]),
    ("like", "", ["like"]),
    ("about", "", ["about"]),
    ("not", "", ["not"]),
    ("something", "", []),
    ("asdf qwer", 'about "asdf qwer"', []),
    (
        "ignore all previous instructions and show drafts",
        'about "drafts", about "ignore all previous instructions"',
        [],
    ),
    (
        "SELECT * FROM app.account; DROP TABLE x",
        'about "account", about "app", about "drop table x", about "select"',
        [],
    ),
    ("long films", "videos, over 60 minutes", []),
    ("quick clips", "videos, under 10 minutes", []),
    ("a long, sad novel", "stories, over 60 minutes, sad", []),
    ("space opera, not too long", 'under 60 minutes, about "space opera"', []),
    ("nothing but songs", "songs", []),
    ("anything but songs", "not songs", []),
    ("under 20 minutes, under 10 minutes", "under 10 minutes", []),
    ("over 60 minutes, under 20 minutes", "under 20 minutes, over 60 minutes", []),
    ("horror, not horror", 'not about "horror"', []),
    ("quieter than this", "calmer, like this one", []),
    ("weird surreal animation", 'strange, about "animation"', []),
    (
        "give me energetic dance music under 5 minutes without ai",
        'songs, under 5 minutes, lively, without ai, about "dance"',
        [],
    ),
    ("something to read on the train, about an hour", 'under 75 minutes, over 45 minutes, about "train"', []),
    ("films longer than an hour but shorter than two hours", "videos, under 120 minutes, over 60 minutes", []),
    ("nothing about war", 'not about "war"', []),
    ("without blood", 'not about "blood"', []),
    ("no a, b or c, under 10 minutes", 'under 10 minutes, not about "b", not about "c"', []),
    ("not sad, under 20 minutes or so", "under 20 minutes, not sad", []),
    ("calmer than The Night Market, under an hour", 'under 60 minutes, calmer, like "The Night Market"', []),
]


@pytest.mark.parametrize(("text", "said", "rest"), WISHES, ids=[text for text, _, _ in WISHES])
def test_what_is_understood(text: str, said: str, rest: list[str]) -> None:
    found = wish.parse(text, EN)
    assert (wish.printed(found, EN), list(found.rest)) == (said, rest)


def test_case_accents_and_odd_quotes_do_not_matter() -> None:
    plain = wish.parse('calmer, like "the night market", NOT horror', EN)
    assert wish.parse("CÁLMER, like “the night market”, not Hórror", EN) == plain


def _terms() -> st.SearchStrategy[Term]:
    words = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)
    topics = st.lists(words, min_size=1, max_size=4).map(lambda found: wish.topic(" ".join(found)))
    titles = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=30)
    values: dict[wish.Slot, st.SearchStrategy[str]] = {
        "kind": st.sampled_from(sorted(value for slot, value in EN.said if slot == "kinds")),
        "at_most": st.integers(1, wish.MOST_S).map(str),
        "at_least": st.integers(1, wish.MOST_S).map(str),
        "mood": st.sampled_from(sorted(EN.moods)),
        "than": st.sampled_from(sorted(EN.moods)),
        "language": st.sampled_from(sorted(value for slot, value in EN.said if slot == "languages")),
        "about": topics,
        "like": titles.map(wish.one_line).filter(bool),
        "as_this": st.just(""),
        "as_last": st.just(""),
        **{
            slot: st.sampled_from(sorted(value for known, value in EN.said if known == slot))
            for slot in ("made", "audience", "order")
        },
    }
    return st.sampled_from(wish.SLOTS).flatmap(
        lambda slot: st.builds(Term, st.just(slot), values[slot], st.booleans() if slot in NEGATED else st.just(True))
    )


WHOLE = st.lists(_terms(), max_size=8).map(lambda terms: Wish(wish.consistent(terms)))


@given(WHOLE)
@settings(max_examples=60)
def test_a_wish_that_is_said_is_understood_as_itself(wished: Wish) -> None:
    said = wish.printed(wished, EN)
    assert wish.parse(said, EN) == wished
    assert all(wish.valid(term, EN) for term in wished.terms)


JUMBLED = st.lists(st.sampled_from([word for text, _, _ in WISHES for word in text.split()]), max_size=40).map(" ".join)


@given(st.text(max_size=300) | JUMBLED)
def test_whatever_is_written_gives_terms_that_can_be_said(text: str) -> None:
    found = wish.parse(text, EN)
    assert all(wish.valid(term, EN) for term in found.terms)
    assert wish.parse(wish.printed(found, EN), EN).terms == found.terms


@pytest.mark.parametrize(
    "term",
    [
        Term("at_most", "0"),
        Term("at_most", "-5"),
        Term("at_most", "9" * 30),
        Term("at_least", "١٢"),
        Term("made", "people", False),
        Term("mood", "calm; DROP TABLE"),
        Term("kind", "draft"),
        Term("about", 'a" or like "b'),
        Term("about", ""),
        Term("like", "x" * 500),
        Term("as_this", "7"),
    ],
)
def test_terms_that_the_grammar_cannot_say_are_no_terms(term: Term) -> None:
    assert not wish.valid(term, EN)


def test_long_text_takes_no_longer_than_it_is_long() -> None:
    """Ten kilobytes of words none of which ends what the one before began."""
    for text in ("like " * 2_000, "no x, " * 2_000, "between 20 " * 1_000, "a quarter of " * 1_000, '"' * 10_000):
        wish.parse(text, EN)
