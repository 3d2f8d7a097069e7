"""The reward rule once more, slow and with exact fractions: what the engine is compared with.

Written from the rule as docs/rewards.md says it, not from the engine: fractions instead of scaled
integers, the water level found by trying every number of capped clusters instead of one pass, remainders as fractions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import floor

from backend.rewards.engine import Interaction


def value(interaction: Interaction) -> Fraction:
    watched, completion = Fraction(interaction.watched_ms, 1000), Fraction(interaction.completion_bps, 10_000)
    if watched < 5 or completion < Fraction(1, 10) or interaction.complaint_upheld:
        return Fraction(0)
    return completion * (Fraction(5, 4) if interaction.replayed else 1) * Fraction(1, 2 if interaction.disliked else 1)


def scores(
    interactions: Sequence[Interaction],
    creator_of: Mapping[int, bytes],
    trust: Mapping[bytes, int],
    cluster_of: Mapping[bytes, bytes],
) -> dict[bytes, int]:
    def cluster(account: bytes) -> bytes:
        return cluster_of.get(account, account)

    def worth(viewer: bytes, creator: bytes | None = None) -> Fraction:
        return sum(
            (
                value(interaction)
                for interaction in interactions
                if interaction.viewer == viewer
                and interaction.work_id in creator_of
                and creator in (None, creator_of[interaction.work_id])
                and cluster(creator_of[interaction.work_id]) != cluster(viewer)
            ),
            Fraction(0),
        )

    totals = {
        creator: sum(
            floor(trust.get(viewer, 0) * worth(viewer, creator) / max(worth(viewer), Fraction(5)))
            for viewer in {interaction.viewer for interaction in interactions}
        )
        for creator in set(creator_of.values())
    }
    return {creator: total for creator, total in totals.items() if total}


def hamilton(pool: int, weights: Mapping[bytes, int]) -> dict[bytes, int]:
    quotas = {key: Fraction(pool * weight, sum(weights.values())) for key, weight in weights.items()}
    seats = {key: floor(quota) for key, quota in quotas.items()}
    while sum(seats.values()) < pool:
        best = min(
            (key for key in quotas if seats[key] <= quotas[key]), key=lambda key: (seats[key] - quotas[key], key)
        )
        seats[best] += 1
    return seats


def allocate(
    pool: int,
    points: Mapping[bytes, int],
    cluster_of: Mapping[bytes, bytes],
    cap_bps: int,
    per_voice: int | None = None,
) -> tuple[dict[bytes, int], int]:
    groups: dict[bytes, dict[bytes, int]] = {}
    for creator, score in points.items():
        if score:
            groups.setdefault(cluster_of.get(creator, creator), {})[creator] = score
    named = {min(group): group for group in groups.values()}
    cap = floor(Fraction(pool * cap_bps, 10_000))
    strongest = sorted(named, key=lambda key: -sum(named[key].values()))
    for capped in range(len(strongest) + 1):  # the fewest capped clusters that leave nobody else at or above the cap
        below = {key: sum(named[key].values()) for key in strongest[capped:]}
        left = pool - capped * cap
        if all(Fraction(left * weight, sum(below.values())) < cap for weight in below.values()):
            break
    shares = dict.fromkeys(strongest[:capped], cap) | (hamilton(left, below) if below else {})
    rewards: dict[bytes, int] = {}
    for key, group in named.items():
        voices = Fraction(sum(group.values()), 10**18)
        bound = shares[key] if per_voice is None else floor(per_voice * voices)
        rewards |= hamilton(min(shares[key], bound), group)
    return {creator: amount for creator, amount in rewards.items() if amount}, pool - sum(rewards.values())
