"""Whose request it is, behind proxies that are trusted and headers that are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.edge.callers import UNKNOWN, caller_address, forwarded_for, network

PEER = "192.0.2.1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", UNKNOWN),
        ("_hidden", UNKNOWN),
        ("", UNKNOWN),
        ("203.0.113.7, 1.2.3.4", UNKNOWN),
        ("203.0.113.07", UNKNOWN),
        ("x" * 5000, UNKNOWN),
    ],
)
def test_an_address_is_its_network(text: str, expected: str) -> None:
    assert network(text) == expected


@pytest.mark.parametrize(
    ("listed", "proxies", "expected"),
    [
        ([], 0, PEER),
        (["6.6.6.6"], 0, PEER),
        (["203.0.113.7"], 1, "203.0.113.7"),
        (["6.6.6.6", "203.0.113.7"], 1, "203.0.113.7"),
        (["6.6.6.6", "203.0.113.7", "198.51.100.2"], 2, "203.0.113.7"),
        (["203.0.113.7"], 2, "203.0.113.7"),
        ([], 2, PEER),
        (["6.6.6.6", "nonsense"], 1, UNKNOWN),
    ],
)
def test_the_list_is_read_from_the_right_as_far_as_proxies_are_trusted(
    listed: list[str], proxies: int, expected: str
) -> None:
    assert caller_address(PEER, listed, proxies) == expected


def test_no_peer_is_one_unknown_caller() -> None:
    assert caller_address(None, [], 0) == UNKNOWN


@pytest.mark.parametrize(
    ("header", "values", "expected"),
    [
        ("x-forwarded-for", ["a, b", "c"], ["a", "b", "c"]),
        ("x-forwarded-for", [" , a ,"], ["a"]),
        ("x-forwarded-for", [], []),
        ("forwarded", ["for=192.0.2.60;proto=http;by=203.0.113.43"], ["192.0.2.60"]),
        ("forwarded", ['for="[2001:db8::17]:47"', "For=198.51.100.17"], ["[2001:db8::17]:47", "198.51.100.17"]),
        ("forwarded", ['by="x, for=6.6.6.6", for=1.2.3.4'], [UNKNOWN, "1.2.3.4"]),
        ("forwarded", ["proto=https"], [UNKNOWN]),
    ],
)
def test_the_headers_of_proxies_are_read(header: str, values: list[str], expected: list[str]) -> None:
    assert forwarded_for(header, values) == expected


@given(st.lists(st.text(max_size=40), max_size=5), st.integers(0, 4))
def test_V15_no_header_breaks_it_and_what_a_stranger_adds_on_the_left_changes_nothing(
    values: list[str], proxies: int
) -> None:
    for header in ("x-forwarded-for", "forwarded"):
        listed = forwarded_for(header, values)
        assert caller_address(PEER, listed, proxies)
        behind = [*listed, *("203.0.113.7",) * proxies]
        assert caller_address(PEER, behind, proxies) == caller_address(PEER, ["6.6.6.6", *behind], proxies)
