"""A farm that buys voices loses at the launch parameters, and where that ends (E3; docs/rewards.md has the sums)."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import pytest

from backend.rewards.engine import VOICE_ONE, allocate
from backend.rewards.voices import Voice, voice
from scripts.deploy.plan import Caps, People, Plan

PLAN = Plan("launch", People("", "", "", ()))
ETH, TRP, USD = b"ETH", b"TRP", b"USD"
STREAMS: Mapping[bytes, Caps] = {
    ETH: PLAN.native_caps,
    TRP: Caps(PLAN.rewards.epoch_cap, PLAN.rewards.account_cap, PLAN.rewards.voice),
    USD: PLAN.mock_usd_caps,
}
"""Each stream's launch caps, and its pool as large as the cap lets it be."""
VOICE: Voice = voice({token: caps.voice for token, caps in STREAMS.items()}, own=TRP)
STATED: Mapping[bytes, Fraction] = {token: Fraction(1, caps.voice) for token, caps in STREAMS.items()}
"""What a base unit is worth by the deployment's own statement, in prices of a voice."""
FIGURES = (1, 100, 1_000, 100_000)


def cost(voices: int, worth: Mapping[bytes, Fraction] = STATED) -> Fraction:
    """What a farm pays in fees each epoch for so many voices, in the cheapest token; its gas is not counted."""
    return voices * min(fee * worth[token] for token, fee in VOICE.fee.items())


def gain(
    voices: int,
    honest: Mapping[bytes, int],
    *,
    creators: int = 60,
    worth: Mapping[bytes, Fraction] = STATED,
    bound: bool = True,
) -> Fraction:
    """What all streams pay the farm's creators in an epoch, by the engine, beside the voices of the honest."""
    farm = {b"farm %d" % i: voices * VOICE_ONE // creators for i in range(creators)}
    return sum(
        (
            amount * worth[token]
            for token, caps in STREAMS.items()
            for creator, amount in allocate(
                caps.epoch, farm | honest, {}, per_voice=VOICE.payout[token] if bound else None
            ).rewards.items()
            if creator in farm
        ),
        Fraction(0),
    )


def crowd(people: int, creators: int) -> dict[bytes, int]:
    """Honest people whose voices go to so many creators evenly."""
    return {b"honest %d" % i: people * VOICE_ONE // creators for i in range(creators)} if people else {}


@pytest.mark.parametrize("voices", FIGURES)
@pytest.mark.parametrize("honest", [crowd(0, 1), crowd(1, 1), crowd(10_000, 1), crowd(100_000, 400)])
@pytest.mark.parametrize("creators", [1, 60])
def test_a_farm_at_the_launch_parameters_gains_less_than_it_pays(
    voices: int, honest: dict[bytes, int], creators: int
) -> None:
    assert gain(voices, honest, creators=creators) <= cost(voices) / 2


def test_without_the_bound_the_same_farm_gains_a_hundred_times_what_it_pays() -> None:
    """The oracle has been seen to fail: a pool far larger than all fees, shared by voice alone."""
    honest = crowd(1_000, 1)
    assert gain(1_000, honest, bound=False) > 100 * cost(1_000)
    assert gain(1_000, honest) <= cost(1_000) / 2


@pytest.mark.parametrize(
    ("token", "holds", "fails"),
    [
        (TRP, Fraction(39, 10), Fraction(41, 10)),
        (ETH, Fraction(39, 10), Fraction(41, 10)),
        (ETH, Fraction(41, 100), Fraction(39, 100)),
    ],
    ids=["TRP dearer", "coin dearer", "coin cheaper"],
)
def test_it_holds_while_prices_stay_near_what_the_deployment_states_and_no_longer(
    token: bytes, holds: Fraction, fails: Fraction
) -> None:
    """The assumption in figures, as docs/rewards.md says it: one price moves, the others stay."""
    for drift, loses in ((holds, True), (fails, False)):
        worth = {**STATED, token: STATED[token] * drift}
        assert (gain(1_000, {}, worth=worth) < cost(1_000, worth)) is loses


def test_the_page_shows_these_figures() -> None:
    page = (Path(__file__).parents[3] / "docs" / "rewards.md").read_text()
    for voices in FIGURES:
        fees = {token: voices * fee for token, fee in VOICE.fee.items()}
        most = {token: voices * payout for token, payout in VOICE.payout.items()}
        assert (
            f"| {voices:,} | {fees[USD] / 10**6:,.2f} dollars, or {fees[ETH] / 10**18:,.4f} coins "
            f"| {most[ETH] / 10**18:,.6f} coins + {most[TRP] / 10**18:,.2f} TRP + {most[USD] / 10**6:,.2f} dollars "
            f"| {fees[USD] / 2 / 10**6:,.3f} dollars |"
        ) in page
