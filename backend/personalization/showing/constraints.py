"""Who may be shown what: hard constraints, looked at before any score and never traded for one. Pure.

A work may be shown to somebody at a moment when all of this holds:

    it is active on chain, the consents that it was registered with stand, and no moderator has removed it
    opens <= now < closes                 the window that its owner declared
    age <= what the person may see        what the owner declared or a moderator set, whichever is higher
    territory                             the person's is one of the work's; one who states none sees what has no limit
    its creator is not one that the person hides

and in a feed, where nobody asked for it, a moderator must not have limited it either. `eligible` is the one function
that says so, for feed, search and wishes alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]
Surface = Literal["feed", "search"]

AGES: Final = (0, 6, 12, 16, 18)
"""The ratings there are: from which age on a work is for people."""
ADULT: Final = 18
NOT_ADULT: Final = 16
"""What somebody may see who states no age: everything but what is for adults."""
STATES: Final = ("live", "limited", "removed")
"""Of moderation. Limited: found by who looks for it, and in no feed."""
EVERYWHERE: Final = 0


@dataclass(frozen=True)
class Stated:
    """What a person stated about themselves, and whom they hide; nothing is guessed, from an address or otherwise."""

    territory: str | None = None
    """ISO 3166 alpha-2."""
    age: int | None = None
    """How old they are at least."""
    hidden_creators: frozenset[bytes] = frozenset()

    @property
    def key(self) -> tuple[str | None, int, list[str]]:
        """The same for persons who may be shown the same."""
        return self.territory, self.sees_up_to, sorted(creator.hex() for creator in self.hidden_creators)

    @property
    def sees_up_to(self) -> int:
        return NOT_ADULT if self.age is None else self.age


NOTHING_STATED: Final = Stated()


@dataclass(frozen=True)
class Rules:
    """What limits each work, one entry a work."""

    live: NDArray[np.bool_]
    limited: NDArray[np.bool_]
    age: NDArray[np.int16]
    opens: NDArray[np.float64]
    closes: NDArray[np.float64]
    territory: NDArray[np.int32]
    """Which of `territories` it is bound to; 0 is everywhere."""
    territories: Sequence[frozenset[str]]
    creator: NDArray[np.int32]
    """Which of `creators` made it; -1 where that is not known."""
    creators: Mapping[bytes, int]

    @classmethod
    def none(cls, works: int) -> Rules:
        """Works that nothing limits."""
        return cls(
            live=np.ones(works, dtype=np.bool_),
            limited=np.zeros(works, dtype=np.bool_),
            age=np.zeros(works, dtype=np.int16),
            opens=np.full(works, -np.inf),
            closes=np.full(works, np.inf),
            territory=np.zeros(works, dtype=np.int32),
            territories=(frozenset(),),
            creator=np.full(works, -1, dtype=np.int32),
            creators={},
        )


@dataclass(frozen=True)
class Limit:
    """What limits one work; the defaults are no limit."""

    work_id: int
    live: bool = True
    state: str = "live"
    age: int = 0
    opens: float | None = None
    closes: float | None = None
    territory: frozenset[str] | None = None
    """None: everywhere. Empty: nowhere, as where terms exclude each other, or can't be read here."""


def build(
    work_ids: NDArray[np.int64], limits: Iterable[Limit], creators: Sequence[bytes | None] | None = None
) -> Rules:
    """The rules of works (ids ascending) from the limits of those that have one; limits of other works are left out."""
    rules = Rules.none(len(work_ids))
    territories: dict[frozenset[str] | None, int] = {None: EVERYWHERE}
    for limit in limits:
        at = int(np.searchsorted(work_ids, limit.work_id))
        if at == len(work_ids) or work_ids[at] != limit.work_id:
            continue
        rules.live[at] = limit.live and limit.state != "removed"
        rules.limited[at] = limit.state == "limited"
        rules.age[at] = limit.age
        rules.opens[at] = -np.inf if limit.opens is None else limit.opens
        rules.closes[at] = np.inf if limit.closes is None else limit.closes
        rules.territory[at] = territories.setdefault(limit.territory, len(territories))
    names: dict[bytes, int] = {}
    creator = np.array([names.setdefault(each, len(names)) if each else -1 for each in creators or ()], dtype=np.int32)
    return Rules(
        live=rules.live,
        limited=rules.limited,
        age=rules.age,
        opens=rules.opens,
        closes=rules.closes,
        territory=rules.territory,
        territories=tuple(each or frozenset() for each in territories),
        creator=creator if len(creator) else rules.creator,
        creators=names,
    )


def eligible(
    rules: Rules,
    stated: Stated,
    now: float,
    *,
    hidden: Positions | None = None,
    surface: Surface = "feed",
) -> Positions:
    """The positions, ascending, of the works that may be shown to the person at `now` (seconds since 1970).

    `hidden`: positions of works that the person does not want to see, or has finished.
    """
    open_ = rules.live & (rules.age <= stated.sees_up_to) & (rules.opens <= now) & (now < rules.closes)
    if surface == "feed":
        open_ &= ~rules.limited
    if len(rules.territories) > 1:
        there = np.array([stated.territory in territory for territory in rules.territories])
        there[EVERYWHERE] = True
        open_ &= there[rules.territory]
    unwanted = [rules.creators[each] for each in stated.hidden_creators if each in rules.creators]
    if unwanted:
        open_ &= ~np.isin(rules.creator, unwanted)
    if hidden is not None:
        open_[hidden] = False
    return np.flatnonzero(open_)


def together(territories: Iterable[Sequence[str] | None]) -> frozenset[str] | None:
    """Where all of these allow it: a limit that is not known (None) allows nowhere, an empty one everywhere."""
    found: frozenset[str] | None = None
    for each in territories:
        if each is None:
            return frozenset()
        if each:
            found = frozenset(each) if found is None else found & frozenset(each)
    return found


def why_not(limit: Limit, stated: Stated, now: float) -> str | None:
    """In words, why a work is in nobody's feed, or not in this person's; None when it may be."""
    place = "where you are" if stated.territory else "everywhere, and you did not say where you are"
    reasons = (
        (not limit.live, "It is not active on chain, or a consent that it was registered with is gone."),
        (limit.state == "removed", "A moderator removed it."),
        (limit.state == "limited", "A moderator keeps it out of feeds."),
        (limit.opens is not None and now < limit.opens, "Its owner shows it from later on."),
        (limit.closes is not None and now >= limit.closes, "Its owner does not show it any more."),
        (limit.age > stated.sees_up_to, f"It is for people from {limit.age} on."),
        (
            limit.territory is not None and stated.territory not in limit.territory,
            f"Its licence does not hold {place}.",
        ),
    )
    return next((words for holds, words in reasons if holds), None)


def limits(rows: Iterable[Any], territories: Iterable[Any]) -> list[Limit]:
    """The limits from the rows of showing.LIMITS and showing.TERRITORIES (mappings)."""
    inherited = {int(row["work_id"]): row["territories"] for row in territories}
    found = {int(row["work_id"]): row for row in rows}
    made = []
    for work_id in sorted(inherited.keys() | found.keys()):
        row: Mapping[str, Any] = found.get(work_id, _NO_ROW)
        made.append(
            Limit(
                work_id=work_id,
                live=bool(row["consents_stand"]),
                state=row["state"] or "live",
                age=max(row["declared_age"] or 0, row["decided_age"] or 0),
                opens=row["shown_from"].timestamp() if row["shown_from"] else None,
                closes=row["shown_until"].timestamp() if row["shown_until"] else None,
                territory=together([*inherited.get(work_id, ()), row["territory"] or ()]),
            )
        )
    return made


_NO_ROW: Final[Mapping[str, Any]] = {
    "consents_stand": True,
    **dict.fromkeys(("state", "declared_age", "decided_age", "shown_from", "shown_until", "territory")),
}
