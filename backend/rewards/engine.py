"""Engagement rewards of one epoch: from what people did with works to what creators are paid.

docs/rewards.md says the rule for people; trust and clusters are inputs. Everything is an integer, every rounding is
stated where it happens, and nothing depends on the order of the input: the same inputs give the same bytes on any
machine (promise V3). Keys (viewers, creators, clusters) are opaque bytes: the service scores viewers under per-epoch
pseudonyms, creators under their addresses.

Pure: standard library only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

VALUE_ONE = 80_000
"""A completed view, neither replayed nor disliked. 10,000 bps x 4 quarters x 2 halves: every value is exact."""

VOICE_ONE = 10**18
"""The voice of one verified person in one epoch, in fixed point."""

BPS = 10_000

CLUSTER_CAP_BPS = 200

VIEWING = frozenset({"watch", "skip"})
"""Kinds of events that carry how long and how far a work was watched."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The parameters of the rule; an epoch's pinned file carries the ones it was scored with."""

    min_watch_ms: int = 5_000
    min_completion_bps: int = 1_000
    min_values: int = 5
    """V_min: a person with fewer whole values than this does not fill the whole voice."""
    cluster_cap_bps: int = CLUSTER_CAP_BPS
    """χ: the part of the pool that one cluster of creators can get at most."""


class Signal(NamedTuple):
    """One accepted engagement event as the engine takes it in.

    Time and completion count for the kinds `watch` and `skip` alone (a thumbnail's dwell is no view); `replay` and
    `less_like_this` change a view's value; all other kinds are worth no money, a like neither.
    """

    event_id: bytes
    viewer: bytes
    work_id: int
    kind: str
    watched_ms: int
    completion_bps: int


class Interaction(NamedTuple):
    """What one viewer did with one work in the whole epoch: the one value the pair gets."""

    viewer: bytes
    work_id: int
    watched_ms: int
    completion_bps: int
    replayed: bool = False
    disliked: bool = False
    complaint_upheld: bool = False


@dataclass(slots=True)
class Score:
    """A creator's score and its parts, as shown to the creator."""

    voice: int = 0
    """S_c: the sum of the voices given to this creator, unit 1 / `VOICE_ONE`."""
    value: int = 0
    """The sum of the values of its views by people with a voice, unit 1 / `VALUE_ONE`."""
    viewers: int = 0
    """People whose voice reached this creator."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """Who gets what of a pool. `sum(rewards.values()) + rollover == pool`, always and exactly."""

    rewards: dict[bytes, int]
    """Base units by creator, positive amounts only, ascending by creator."""
    rollover: int
    """What the caps leave over; it joins the next epoch's pool."""
    capped: frozenset[bytes]
    """Clusters that got exactly the cap χ."""


def combine(signals: Iterable[Signal], upheld: frozenset[tuple[bytes, int]] = frozenset()) -> list[Interaction]:
    """One interaction a (viewer, work), ascending: longest time, furthest completion, ever replayed, ever disliked.

    Maximum and "ever" don't depend on order, and a repeated event changes nothing. `upheld` names the (viewer, work)
    pairs whose complaint was upheld. Completion above 10,000 bps counts as 10,000; negatives count as 0.
    """
    pairs: dict[tuple[bytes, int], list[int]] = {}
    for signal in signals:
        pair = pairs.setdefault((signal.viewer, signal.work_id), [0, 0, 0, 0])
        if signal.kind in VIEWING:
            pair[0] = max(pair[0], signal.watched_ms)
            pair[1] = max(pair[1], min(signal.completion_bps, BPS))
        pair[2] |= signal.kind == "replay"
        pair[3] |= signal.kind == "less_like_this"
    return [
        Interaction(viewer, work_id, watched, completion, bool(replayed), bool(disliked), (viewer, work_id) in upheld)
        for (viewer, work_id), (watched, completion, replayed, disliked) in sorted(pairs.items())
    ]


def value(interaction: Interaction, rule: Rule = Rule()) -> int:
    """v_ui without the cluster test, unit 1 / `VALUE_ONE`: completion x (1 or 1.25 replayed) x (1 or .5 disliked).

    Zero below 5 seconds, below a tenth completed, or after an upheld complaint. Exact: no rounding.
    """
    if (
        interaction.watched_ms < rule.min_watch_ms
        or interaction.completion_bps < rule.min_completion_bps
        or interaction.complaint_upheld
    ):
        return 0
    return interaction.completion_bps * (5 if interaction.replayed else 4) * (1 if interaction.disliked else 2)


def score(
    interactions: Iterable[Interaction],
    *,
    creator_of: Mapping[int, bytes],
    trust: Mapping[bytes, int],
    cluster_of: Mapping[bytes, bytes],
    rule: Rule = Rule(),
) -> dict[bytes, Score]:
    """Scores by creator (ascending, positive ones only) from at most one interaction a (viewer, work).

    A_uc = ⌊t_u · Σ_{i∈c} v_ui / max(Σ_i v_ui, V_min)⌋ and S_c = Σ_u A_uc: however much a person does, the voices it
    gives sum to at most its trust t_u (unit 1 / `VOICE_ONE`; absent = 0). A view within one cluster is worth nothing
    and takes no voice. An account that `cluster_of` does not name is a cluster of its own. Works without a creator are
    skipped. Raises ValueError when a pair comes twice or a trust is outside 0 .. VOICE_ONE.
    """
    seen: set[tuple[bytes, int]] = set()
    given: dict[bytes, dict[bytes, int]] = defaultdict(lambda: defaultdict(int))
    for interaction in interactions:
        viewer, work_id = interaction.viewer, interaction.work_id
        if (viewer, work_id) in seen:
            raise ValueError(f"work {work_id} has two interactions of one viewer: combine them first")
        seen.add((viewer, work_id))
        creator = creator_of.get(work_id)
        if creator is None or cluster_of.get(viewer, viewer) == cluster_of.get(creator, creator):
            continue
        worth = value(interaction, rule)
        if worth:
            given[viewer][creator] += worth
    scores: dict[bytes, Score] = defaultdict(Score)
    for viewer, by_creator in given.items():
        t_u = trust.get(viewer, 0)
        if not 0 <= t_u <= VOICE_ONE:
            raise ValueError(f"trust {t_u} is outside 0 .. {VOICE_ONE}")
        whole = max(sum(by_creator.values()), rule.min_values * VALUE_ONE)
        for creator, worth in by_creator.items():
            voice = t_u * worth // whole
            if voice:
                parts = scores[creator]
                parts.voice += voice
                parts.value += worth
                parts.viewers += 1
    return dict(sorted(scores.items()))


def largest_remainder(pool: int, weights: Mapping[bytes, int]) -> dict[bytes, int]:
    """`pool` whole units in proportion to positive weights: ⌊pool·w/Σw⌋ each, then one more by largest remainder.

    Equal remainders go by ascending key. The parts sum to the pool exactly (Hamilton's method).
    """
    total = sum(weights.values())
    parts = {key: pool * weight // total for key, weight in weights.items()}
    left = pool - sum(parts.values())
    by_remainder = sorted(weights, key=lambda key: (-(pool * weights[key] % total), key))
    for key in by_remainder[:left]:
        parts[key] += 1
    return parts


def allocate(
    pool: int,
    scores: Mapping[bytes, int],
    cluster_of: Mapping[bytes, bytes],
    cap_bps: int = CLUSTER_CAP_BPS,
    per_voice: int | None = None,
) -> Allocation:
    """Share `pool` base units by score, no cluster of creators above ⌊pool·χ⌋ (water-filling).

    Clusters that the proportional share would lift to the cap get exactly the cap, the strongest first; what they leave
    is shared anew among the others, by largest remainder over clusters (a cluster ranks by its smallest creator), then
    over the creators of each. A part below the cap rounds up to the cap at most. When every cluster is at the cap the
    rest rolls over; so does everything when nobody scored or the cap is less than one unit.

    `per_voice` bounds what one whole voice pays out (None: nothing does): no cluster gets more than ⌊per_voice·S⌋, so
    n voices bring at most n times that, however few others there are and however many creators they are given to. It
    is applied last, because water-filling would else hand the many what the few at the cap leave. What it holds back
    rolls over. Raises ValueError for a negative pool, score or bound.
    """
    if pool < 0 or (per_voice or 0) < 0 or any(points < 0 for points in scores.values()):
        raise ValueError("a pool, its scores and its bound can't be negative")
    members: dict[bytes, dict[bytes, int]] = defaultdict(dict)
    for creator in sorted(scores):
        if scores[creator]:
            members[cluster_of.get(creator, creator)][creator] = scores[creator]
    weight = {min(creators): sum(creators.values()) for creators in members.values()}  # by the smallest creator
    cap = pool * cap_bps // BPS

    share: dict[bytes, int] = {}
    left, total = pool, sum(weight.values())
    for first in sorted(weight, key=lambda key: (-weight[key], key)):
        if left * weight[first] < cap * total:
            break  # every weaker cluster is below the cap too
        share[first] = cap
        left -= cap
        total -= weight[first]
    at_cap = frozenset(share)
    below = {first: points for first, points in weight.items() if first not in share}
    if below:
        share |= largest_remainder(left, below)
    if per_voice is not None:
        share = {first: min(amount, per_voice * weight[first] // VOICE_ONE) for first, amount in share.items()}
    capped = {first for first in at_cap if share[first] == cap}

    rewards: dict[bytes, int] = {}
    for creators in members.values():
        rewards |= largest_remainder(share[min(creators)], creators)
    return Allocation(
        rewards={creator: amount for creator, amount in sorted(rewards.items()) if amount},
        rollover=pool - sum(share.values()),
        capped=frozenset(cluster for cluster, creators in members.items() if min(creators) in capped),
    )


def clusters(links: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Connected accounts by transitive links (one funded the other, one person, one device): each account's cluster.

    A cluster is named by its smallest account, so the order of the links changes nothing. Accounts without a link are
    absent: `score` and `allocate` take them as clusters of their own.
    """
    parent: dict[bytes, bytes] = {}

    def root(account: bytes) -> bytes:
        parent.setdefault(account, account)
        while parent[account] != account:
            parent[account] = parent[parent[account]]
            account = parent[account]
        return account

    for one, other in links:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return {account: root(account) for account in sorted(parent)}


class Verification(NamedTuple):
    """A platform fee that an account paid with a payment of its own to a work of `creator` (None: to the platform)."""

    payer: bytes
    creator: bytes | None
    token: bytes
    fee: int


def trust_by_fees(
    payments: Iterable[Verification], *, minimum: Mapping[bytes, int], cluster_of: Mapping[bytes, bytes]
) -> dict[bytes, int]:
    """`VOICE_ONE` for every account whose platform fees reach the minimum in one token, nothing for others.

    Only payments to works of *other* clusters (or to the platform itself) count: paid to one's own, the money comes
    back; the fee does not. Tokens without a minimum don't count. Equal trust for all verified persons: more money is
    not a louder voice.
    """
    paid: dict[tuple[bytes, bytes], int] = defaultdict(int)
    for payment in payments:
        own = payment.creator is not None and cluster_of.get(payment.payer, payment.payer) == cluster_of.get(
            payment.creator, payment.creator
        )
        if payment.token in minimum and not own:
            paid[payment.payer, payment.token] += payment.fee
    return {payer: VOICE_ONE for (payer, token), fee in sorted(paid.items()) if fee > 0 and fee >= minimum[token]}
