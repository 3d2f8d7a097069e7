"""What people write at the console: amounts, shares, times; and what its errors advise."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import MagicMock

import pytest

from scripts.console import shop, works
from scripts.console.amounts import Refused, Token, amount, basis_points, days, percent, readable, span, table
from scripts.console.errors import ADVICE
from scripts.deploy.export_abi import TARGET
from scripts.deploy.plan import DAY, NATIVE

ETH, USD = Token(NATIVE, "ETH", 18), Token("0x" + "11" * 20, "mUSD", 6)


@pytest.mark.parametrize(
    ("written", "units", "token"),
    [
        ("0.5 ETH", 5 * 10**17, ETH),
        ("1,234.5 musd", 1_234_500_000, USD),
        (2, 2 * 10**18, ETH),
        (0.1, 10**17, ETH),
        ("0.000000000000000001", 1, ETH),
    ],
)
def test_amounts_are_read_exactly(written: Any, units: int, token: Token) -> None:
    assert amount(written, [ETH, USD]) == (units, token)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("1 BTC", "there is no token 'BTC' here: use ETH, mUSD"),
        ("much ETH", "'much' is no amount"),
        ("-1 ETH", "'-1' is no amount"),
        ("NaN", "'NaN' is no amount"),
        ("0.0000001 mUSD", "mUSD has 6 decimals"),
        ("0 ETH", "the amount is zero"),
    ],
)
def test_amounts_that_cannot_be_meant_are_refused(written: Any, why: str) -> None:
    with pytest.raises(Refused, match=why):
        amount(written, [ETH, USD])


def test_amounts_shares_and_times_are_shown_as_people_read_them() -> None:
    assert readable(1_234_500_000, USD) == "1,234.5 mUSD"
    assert readable(10**18, ETH) == "1 ETH"
    assert [percent(250), percent(1_000), percent(1, 3)] == ["2.5%", "10%", "33.33%"]
    assert [span(DAY), span(DAY + 7_200), span(30 * DAY - 3), span(1)] == ["1 day", "26 hours", "30 days", "1 hour"]
    assert table([(1, "a"), (20, "bc")], ("no.", "what"), right="no.") == "  no.  what\n    1  a\n   20  bc"


def test_shares_and_times_that_cannot_be_meant_are_refused() -> None:
    assert (basis_points("12.5%"), basis_points(100), days(0.5)) == (1_250, 10_000, DAY // 2)
    for written in ("101%", "0.001%", "a tenth"):
        with pytest.raises(Refused):
            basis_points(written)
    with pytest.raises(Refused, match="no time at all"):
        days(0)


def test_advice_is_for_errors_that_the_contracts_have() -> None:
    abis = [json.loads(path.read_text()) for path in TARGET.glob("*.json")]
    assert set(ADVICE) <= {entry["name"] for abi in abis for entry in abi if entry["type"] == "error"}


def test_what_was_free_is_reported_and_a_rental_is_priced_by_the_day() -> None:
    offer = {"kind": shop.RENTAL, "assetId": 7, "price": 10, "period": 7 * DAY, "maxSupply": 30 * DAY, "sold": 0}
    troupe = MagicMock()
    troupe.Storefront.listingCount.return_value = 1
    troupe.Storefront.planCount.return_value = 0
    troupe.Storefront.listingOf.return_value = offer | {
        "closed": False,
        "token": USD.address,
        "workId": 0,
        "seller": "x",
    }
    troupe.token_of.return_value = USD
    troupe.configure_mock(called=str)
    troupe.sender.return_value = "zoe"
    assert "0.000002 mUSD a day" in shop.shelf(troupe)  # 10 units for seven days, rounded up for one
    receipt = troupe.pay.return_value
    receipt.events.return_value = []
    assert works.parted(troupe, receipt) == "it is free"
    assert "0 mUSD to the work as royalty, 0.000005 mUSD to x" in shop.rent(troupe, 1, 3, by="zoe")
