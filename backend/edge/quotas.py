"""The quotas: which requests are counted together, and how many of them a caller may make. Pure.

docs/interface.md shows this table; the settings can change any number of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CallerKind = Literal["address", "person", "key"]
KINDS: Final[tuple[CallerKind, ...]] = ("address", "person", "key")


class Quota(NamedTuple):
    """So many requests at once, refilled evenly over the window."""

    requests: int
    window_s: int


@dataclass(frozen=True)
class RouteClass:
    """Routes that share a quota: the first class whose methods and path fit a request is its class."""

    name: str
    methods: frozenset[str] | None
    """None: all."""
    path: re.Pattern[str]
    quotas: Mapping[CallerKind, Quota]
    fail_closed: bool = False
    """Refuse while Redis is away, instead of letting everything through."""
    by_address: bool = False
    """Count by address whoever is signed in."""


def _quotas(address: int, person: int, key: int, window_s: int = 60) -> dict[CallerKind, Quota]:
    return {"address": Quota(address, window_s), "person": Quota(person, window_s), "key": Quota(key, window_s)}


_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_GET = frozenset({"GET", "HEAD"})

CLASSES: Final = (
    RouteClass(
        "sign_in",
        _WRITING,
        re.compile(r"/v1/(auth/|visitors$)"),
        _quotas(30, 30, 30),
        fail_closed=True,
        by_address=True,
    ),
    RouteClass("relay", _WRITING, re.compile(r"/v1/(.+/)?relay"), _quotas(10, 20, 60), fail_closed=True),
    RouteClass("upload", _WRITING, re.compile(r"/v1/works/(drafts|[^/]+/pictures)$"), _quotas(10, 30, 120)),
    RouteClass("export", None, re.compile(r"/v1/(.+\.csv$|(me/)?exports?\b)"), _quotas(10, 20, 120)),
    RouteClass("live", _GET, re.compile(r"/v1/live$"), _quotas(30, 30, 120)),
    RouteClass("write", _WRITING, re.compile(r"/"), _quotas(120, 300, 1200)),
    RouteClass("read", None, re.compile(r"/"), _quotas(300, 1200, 6000)),
)
FREE: Final = re.compile(r"/(health|ready|metrics|static/.*|openapi\.json|docs(/.*)?)$")
"""Not counted: for probes and files that never change."""
DEVELOPMENT_FACTOR: Final = 100
"""Outside production everybody comes from one address, and tests' clocks stand still."""


def route_class(method: str, path: str) -> RouteClass | None:
    """The class of a request; None for what is not counted."""
    if method == "OPTIONS" or (method in SAFE_METHODS and FREE.match(path)):
        return None
    return next(one for one in CLASSES if (one.methods is None or method in one.methods) and one.path.match(path))


def parse_quotas(overrides: Mapping[str, str], *, factor: int = 1) -> dict[str, dict[CallerKind, Quota]]:
    """The quotas of all classes: the built-in ones times `factor`, but for those that `overrides` names.

    An override is `{"read.address": "600/60"}`: class, caller, requests in seconds. Raises ValueError.
    """
    made = {
        one.name: {kind: Quota(quota.requests * factor, quota.window_s) for kind, quota in one.quotas.items()}
        for one in CLASSES
    }
    for name, text in overrides.items():
        kind, _, caller = name.partition(".")
        match = re.fullmatch(r"([1-9][0-9]{0,6})/([1-9][0-9]{0,4})", text)
        if kind not in made or caller not in KINDS or match is None:
            known = ", ".join(one.name for one in CLASSES)
            raise ValueError(f"{name}={text}: say <class>.<caller> and <requests>/<seconds>; classes are {known}")
        made[kind][caller] = Quota(int(match[1]), int(match[2]))
    return made
