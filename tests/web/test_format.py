"""Figures on pages: never more than there is, exact where it is asked for, the same sign for the same address."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.web.format import exact, figure, identicon, short, short_address

ALICE = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


@pytest.mark.parametrize(
    ("amount", "decimals", "places", "shown"),
    [
        (0, 18, 4, "0.0000"),
        (1_234_567_890_000_000_000, 18, 4, "1.2345"),
        (1_999_999_999_999_999_999, 18, 4, "1.9999"),
        (10**13, 18, 4, "<0.0001"),
        (10**14, 18, 4, "0.0001"),
        (-(10**13), 18, 4, "−<0.0001"),
        (310_000_000, 6, 2, "310.00"),
        (1_234_567_000_000, 6, 2, "1,234,567.00"),
        (7, 0, 4, "7"),
        (-1_500_000, 6, 2, "−1.50"),
    ],
)
def test_short_figures(amount: int, decimals: int, places: int, shown: str) -> None:
    assert short(amount, decimals, places) == shown


@given(st.integers(0, 2**160), st.integers(0, 24), st.integers(0, 8))
def test_a_figure_never_shows_more_than_there_is(amount: int, decimals: int, places: int) -> None:
    text = short(amount, decimals, places).replace(",", "")
    shown = Fraction(0) if text.startswith("<") else Fraction(text)
    assert shown <= Fraction(amount, 10**decimals)


@given(st.integers(-(2**90), 2**90), st.integers(0, 24))
def test_the_exact_figure_is_exact(amount: int, decimals: int) -> None:
    assert Fraction(exact(amount, decimals).replace(",", "").replace("−", "-")) == Fraction(amount, 10**decimals)


def test_a_figure_has_its_unit() -> None:
    shown = figure(1_234_500_000_000_000_000, symbol="ETH", decimals=18)
    assert (shown.short, shown.exact, shown.symbol, shown.is_zero) == ("1.2345", "1.2345 ETH", "ETH", False)


def test_addresses_have_a_short_form_and_a_sign_of_their_own() -> None:
    assert short_address(ALICE) == "0x5aAe…eAed"
    assert identicon(ALICE) == identicon(ALICE.lower())
    assert identicon(ALICE) != identicon("0x" + "11" * 20)
    assert "style" not in identicon(ALICE), "the content security policy refuses style attributes"
