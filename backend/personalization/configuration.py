"""All numbers that decide what people see, as one versioned configuration with one digest. Pure.

The digest is the sha256 of the configuration as canonical JSON (sorted keys, no spaces, numbers as JSON's shortest),
so that anybody can recompute it, and so that it fits the one place that governance has for it on chain: an executed
vote calls `WorkRegistry.signal(digest)`, and the newest `Signal` whose topic is the digest of a configuration that is
known here is the one that is served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import orjson

from backend.personalization.ranking.scoring import Weights
from backend.personalization.ranking.signals import CLIP, Signals
from backend.personalization.ranking.slate import Policy
from backend.personalization.ranking.taste import Decays

FORMAT: Final = "troupe-personalization/1"
PARTS: Final = {"policy": Policy, "weights": Weights, "signals": Signals, "decays": Decays}
LARGEST: Final = 1e10
"""No number of a configuration is larger: half-lives of three centuries are enough."""


class BadConfiguration(ValueError):
    """A configuration that cannot be served; the text says which number and what it may be."""


class Source(NamedTuple):
    """Where the configuration in force comes from."""

    kind: Literal["built-in", "model", "governance"]
    """`model`: built-in, with the weights that training has learned."""
    block: int | None = None
    """Of the executed vote."""
    at: int | None = None
    """Its time, in seconds."""


@dataclass(frozen=True)
class Configuration:
    """The numbers of the slate, of the score, of what events say, and of how the past fades."""

    policy: Policy = field(default_factory=Policy)
    """Its `explore` holds for slates that are kept with their probabilities; others explore nothing."""
    weights: Weights = field(default_factory=Weights)
    signals: Signals = field(default_factory=Signals)
    decays: Decays = field(default_factory=Decays)

    def __post_init__(self) -> None:
        for name, value in numbers(self):
            if not np.isfinite(value) or abs(value) > LARGEST:
                raise BadConfiguration(f"{name} is {value}: it must be a number, at most {LARGEST:g} from 0")
        for name, value in asdict(self.decays).items():
            if value <= 0:
                raise BadConfiguration(f"decays.{name} is {value}: it must be above 0 seconds")
        for name, value in asdict(self.signals).items():
            if name.endswith(("_ms", "_bps")):
                if value <= 0:
                    raise BadConfiguration(f"signals.{name} is {value}: it must be above 0")
            elif abs(value) > CLIP:
                raise BadConfiguration(f"signals.{name} is {value}: no event counts more than {CLIP:g}")

    @cached_property
    def document(self) -> bytes:
        """The configuration as canonical JSON."""
        parts = {name: _numbers(getattr(self, name)) for name in PARTS}
        return orjson.dumps({"format": FORMAT, **parts}, option=orjson.OPT_SORT_KEYS)

    @cached_property
    def digest(self) -> str:
        """sha256 of `document`, in hex."""
        return sha256(self.document).hexdigest()


def _numbers(part: Any) -> dict[str, float | int]:
    """The numbers of a part, each as its field's type says, so that 1 and 1.0 are one configuration."""
    return {f.name: (int if f.type == "int" else float)(getattr(part, f.name)) for f in fields(part)}


def numbers(configuration: Configuration) -> Iterator[tuple[str, float]]:
    """Every number with its name, such as `policy.novelty`, part by part in the order of their declaration."""
    for part in PARTS:
        for f in fields(PARTS[part]):
            yield f"{part}.{f.name}", getattr(getattr(configuration, part), f.name)


BUILT_IN: Final = Configuration()


def changed(base: Configuration, given: Mapping[str, Mapping[str, Any]]) -> Configuration:
    """A configuration with some numbers changed. Raises BadConfiguration for what cannot be served, with the reason."""
    parts: dict[str, Any] = {}
    for part, values in given.items():
        if part not in PARTS:
            raise BadConfiguration(f"there is no part {part!r:.40}: there are {', '.join(PARTS)}")
        types = {f.name: f.type for f in fields(PARTS[part])}
        for name, value in values.items():
            if name not in types:
                raise BadConfiguration(f"there is no number {part}.{name:.40}")
            if isinstance(value, bool) or not isinstance(value, int if types[name] == "int" else (int, float)):
                raise BadConfiguration(f"{part}.{name} must be a {'whole ' if types[name] == 'int' else ''}number")
            if not np.isfinite(value):
                raise BadConfiguration(f"{part}.{name} must be a finite number")
        try:
            parts[part] = replace(getattr(base, part), **values)
        except ValueError as error:
            raise BadConfiguration(f"{part}: {error}") from error
    return replace(base, **parts)


def parse(document: bytes) -> Configuration:
    """The configuration of a document as `Configuration.document` writes it. Raises BadConfiguration."""
    try:
        found = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise BadConfiguration(f"it is no JSON: {error}") from error
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise BadConfiguration(f"its format is not {FORMAT}, the one that this version reads")
    if missing := PARTS.keys() - found.keys():
        raise BadConfiguration(f"it lacks {', '.join(sorted(missing))}")
    if not all(isinstance(values, dict) for values in found.values()):
        raise BadConfiguration("each part must be an object of numbers")
    made = changed(BUILT_IN, found)
    if made.document != document:
        raise BadConfiguration("it is not in the canonical form, or lacks a number: ask for it with the numbers alone")
    return made


WORDS: Final[Mapping[str, str]] = {
    "policy.novelty": "What counts that few people know a work (z of -log2 of its popularity). Your slider turns it.",
    "policy.similar": "What a work pays for being like those before it in the slate (largest cosine).",
    "policy.quality": "What counts for how well those who were shown it took it, at its lower confidence bound.",
    "policy.fatigue": "What a work pays for having been shown to you lately in vain (log1p of how often).",
    "policy.energy": "What counts for a lively work (z of its energy). Your slider turns it, from calm to lively.",
    "policy.unwanted": "What a work pays for each tag of a work of which you asked for less.",
    "policy.similar_at_most": "So many works alike (cosine 0.8 and more) are shown in a session.",
    "policy.unlike": "Places of a slate for works unlike all that you know; never the first.",
    "policy.fresh": "Places of a slate for works that hardly anybody has been shown.",
    "policy.explore": "The part of the other places that is drawn by chance, not from the top; 0, or 0.05 to 0.15.",
    "weights.trend": "What counts that much is done with a work now.",
    "weights.recent": "What counts that a work is new.",
    "weights.liking": "What counts that a work is as new as you like works to be.",
    "weights.mainstream": "What counts that a work is as well known as you like works to be.",
    "weights.content": "What counts that a work's words and tags are like those of what you liked.",
    "weights.taste": "What counts that people who liked what you liked, like a work.",
    "weights.trend_half_life_s": "After so many seconds what was done with a work counts half in its trend.",
    "weights.recency_half_life_s": "After so many seconds a work is half as new.",
    "signals.finish": "A watch to nine tenths and more; one that went less far counts for the part it went.",
    "signals.like": "A like.",
    "signals.save": "A save.",
    "signals.share": "A share.",
    "signals.purchase": "A purchase.",
    "signals.replay": "A replay.",
    "signals.dwell": "A look at the thumbnail, in full from `dwell_full_ms` on.",
    "signals.skip_early": "A skip before `skip_early_ms`.",
    "signals.skip_late": "A skip before `skip_late_ms`; a later one says nothing.",
    "signals.less_like_this": "«Less like this».",
    "signals.complaint": "A complaint.",
    "signals.barely_bps": "A watch that went less far (in ten thousandths) says nothing.",
    "signals.skip_early_ms": "Milliseconds.",
    "signals.skip_late_ms": "Milliseconds.",
    "signals.dwell_full_ms": "Milliseconds.",
    "decays.long_s": "After so many seconds what you did counts half in your lasting taste.",
    "decays.short_s": "After so many seconds what you did counts half in your mood of today.",
    "decays.season_keep": "So much of your lasting taste from before the present season still counts, once.",
    "decays.shown_s": "After so many seconds having been shown a work in vain counts half.",
    "decays.session_gap_s": "After so many seconds without an event a new session begins.",
    "decays.unwanted_s": "After so many seconds a work pays half for a tag of which you asked for less.",
}
"""What each number does, for people; a test holds that none is missing."""
