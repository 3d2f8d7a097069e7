"""The feed and what it thinks of a person, in the words and shapes of their pages. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from backend.personalization.person.taste_schemas import TasteOut, WhatIf, WhyHere
from backend.personalization.schemas import Feed, FeedItem
from backend.works.catalogue import content_url

LABELS: Final = {
    "human": "made by people",
    "ai_assisted": "AI-assisted",
    "ai_generated": "AI-generated",
    "unspecified": "AI use not said",
}
BARS: Final = 1000
"""The width of a bar's drawing; the middle is 0 where values have signs."""
TERM_NAMES: Final = {
    "trend": "Popular now",
    "recent": "New here",
    "liking": "As new as you like",
    "mainstream": "As known as you like",
    "content": "About what you like",
    "taste": "Liked by people like you",
}
PLURALS: Final = {
    "other": "other works",
    "story": "stories",
    "song": "songs",
    "video": "videos",
    "game": "games",
    "character": "characters",
    "event": "events",
    "world": "worlds",
    "image": "images",
}
DID: Final = {
    "liked": "you liked it",
    "finished": "you finished it",
    "watched": "you watched some of it",
    "hidden": "you asked for less",
    "brought": "you brought it along",
}


def name(title: str | None, work_id: int) -> str:
    """What a work is called."""
    return title or f"Work {work_id}"


@dataclass(frozen=True)
class Bar:
    """A bar from 0 to its value, on a scale that has 0 in the middle."""

    start: int
    length: int
    against: bool
    """Below 0."""


def bar(value: float, largest: float) -> Bar:
    """The bar of a value on a scale that ends at `largest` on either side."""
    half = BARS // 2
    length = round(half * min(abs(value) / largest, 1.0)) if largest > 0 else 0
    return Bar(half - length if value < 0 else half, length, value < 0)


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, a real minus among them; 0 has none."""
    text = f"{abs(value):.{digits}f}"
    if not float(text):
        return text
    return f"{'−' if value < 0 else '+'}{text}"


def moved(item: FeedItem, at: int, before: Sequence[int]) -> str | None:
    """How a work's place changed since the slate that the person saw before; None where it did not, or is unknown."""
    if not before:
        return None
    if item.work_id not in before:
        return "came in"
    up = before.index(item.work_id) + 1 - at
    return None if up == 0 else f"up {up}" if up > 0 else f"down {-up}"


def card(item: FeedItem, at: int, before: Sequence[int], liked: Collection[int]) -> dict[str, Any]:
    """One item as its card shows it, under the title, picture and preview that were chosen for it."""
    picture = item.packaging.thumbnail_cid if item.packaging else None
    return {
        "picture": content_url(picture) if picture else None,
        "preview": item.packaging.preview if item.packaging else None,
        "work_id": item.work_id,
        "at": at,
        "name": name(item.title, item.work_id),
        "kind": item.kind or "work",
        "label": LABELS[item.ai_label or "unspecified"],
        "tags": item.tags[:4],
        "why": item.why,
        "reason": item.reason,
        "because": [{"work_id": each.work_id, "name": name(each.title, each.work_id)} for each in item.because],
        "moved": moved(item, at, before),
        "liked": item.work_id in liked,
        "lamp": 24 + 48 * (item.work_id * 7 % 11) // 10,
    }


def slate(feed: Feed, before: Sequence[int], liked: Collection[int] = ()) -> dict[str, Any]:
    """The slate as the page shows it."""
    cards = [card(item, at, before, liked) for at, item in enumerate(feed.items, 1)]
    changed = sum(each["moved"] is not None for each in cards)
    return {
        "cards": cards,
        "changed": changed,
        "shown": ",".join(str(item.work_id) for item in feed.items),
        "slate_id": feed.slate_id,
        "personal": feed.personal,
        "why_not": feed.why_not_personal,
        "reached": feed.wellbeing.reached,
    }


def why(found: WhyHere) -> dict[str, Any]:
    """The account of one item: its terms and past works as bars on one scale."""
    parts = [each for each in found.parts if abs(each.part) >= 0.005]
    largest = max((abs(each.part) for each in found.terms), default=0.0)
    widest = max((abs(each.part) for each in parts), default=0.0)
    return {
        "work_id": found.work_id,
        "name": name(found.title, found.work_id),
        "sentence": found.why,
        "score": signed(found.score),
        "terms": [
            {
                "name": TERM_NAMES[each.name],
                "words": each.words,
                "part": signed(each.part),
                "weight": signed(each.weight),
                "value": signed(each.value),
                "bar": bar(each.part, largest),
            }
            for each in found.terms
        ],
        "parts": [
            {
                "name": name(each.title, each.work_id),
                "did": DID[each.did],
                "part": signed(each.part),
                "bar": bar(each.part, widest),
            }
            for each in parts[:8]
        ],
        "left_out": len(found.parts) - len(parts[:8]),
        "place": found.place,
        "filled": found.filled,
        "propensity": found.propensity,
        "penalty": found.penalty,
        "configuration": found.configuration[:16],
        "model_version": found.model_version,
    }


def taste(found: TasteOut) -> dict[str, Any]:
    """What we think somebody likes: a sentence first, then every work and topic."""
    largest = max((abs(each.weight) for each in found.works), default=0.0)
    widest = max((abs(each.weight) for each in found.topics), default=0.0)
    liked = [each for each in found.topics if each.weight > 0 and each.topic.startswith("tag:")]
    liked = liked or [each for each in found.topics if each.weight > 0]
    return {
        "read": found.read,
        "why_not": found.why_not,
        "count": len(found.works),
        "best": topic_name(liked[0].topic) if liked else None,
        "second": topic_name(liked[1].topic) if len(liked) > 1 else None,
        "works": [
            {
                "work_id": each.work_id,
                "name": name(each.title, each.work_id),
                "did": DID[each.did],
                "weight": signed(each.weight),
                "long": signed(each.long),
                "short": signed(each.short),
                "bar": bar(each.weight, largest),
            }
            for each in found.works
        ],
        "topics": [
            {
                "topic": each.topic,
                "name": topic_name(each.topic),
                "kind": each.topic.startswith("kind:"),
                "weight": signed(each.weight),
                "works": each.works,
                "bar": bar(each.weight, widest),
            }
            for each in found.topics[:12]
        ],
        "sentences": found.traits.sentences if found.traits else [],
        "unwanted": [{"tag": each.tag, "penalty": signed(-each.penalty)} for each in found.unwanted],
        "mood": round(100 * found.mood),
        "events": found.session_events,
        "drift": found.drift,
    }


def topic_name(topic: str) -> str:
    """A topic in a person's words."""
    what, _, word = topic.partition(":")
    return PLURALS[word] if what == "kind" else word


def without(found: WhatIf) -> dict[str, Any]:
    """The slate with and without one work."""
    rows = [
        {
            "work_id": each.work_id,
            "name": name(each.title, each.work_id),
            "before": each.place_with,
            "after": each.place_without,
            "change": signed(-each.part),
            "moves": each.place_with != each.place_without,
        }
        for each in found.works
    ]
    return {
        "work_id": found.work_id,
        "name": name(found.title, found.work_id),
        "rows": rows,
        "moves": sum(each["moves"] for each in rows),
    }
