"""Proposals in plain words: the rules of the shop and the registry, and nothing that a proposer can hide in."""

from __future__ import annotations

from typing import Any

from backend.chain import ChainInfo, Manifest, encode_call
from backend.governance import words

KEY = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
PLATFORM = b"\x07" * 32


CHAIN = ChainInfo(
    Manifest(
        chainId=31337,
        network="test",
        finality={"mode": "tag"},  # type: ignore[arg-type]
        contracts={
            name: {"address": f"0x{number:040x}"}  # type: ignore[misc]
            for number, name in enumerate(("Characters", "WorkRegistry", "WorkStanding"), 1)
        },
    )
)


def sentence(contract: str, function: str, *args: Any) -> str:
    return words.call(CHAIN, CHAIN.address(contract), encode_call(contract, function, args))[3]


def test_the_rules_of_the_shop_are_told_in_words() -> None:
    assert sentence("Characters", "setPlatform", PLATFORM, KEY).startswith(f"Let {KEY.lower()} sign for the platform")
    assert sentence("Characters", "setPlatform", PLATFORM, "0x" + "00" * 20).startswith("Remove the platform 0x0707")
    assert "5.00% of the price" in sentence("WorkRegistry", "setRoyaltyBps", 500)
    assert "for ever" in sentence("WorkRegistry", "revoke", 7, bytes(32))
    assert "1,500 of the platform's tokens" in sentence("WorkStanding", "setBond", 1500 * 10**18)
    assert sentence("WorkStanding", "dismiss", 7, KEY).endswith("and it can't contest the work again")
    for until, told in ((1_800_000_000, "15 Jan 2027, 08:00 UTC"), (2**48 - 1, "second 281474976710655")):
        ruled = sentence("WorkStanding", "uphold", 7, KEY, until, PLATFORM, PLATFORM, (KEY, 1, 0, []))
        assert f"in the claim to be ruled on by {told}: its later income" in ruled
    for contract, function in (
        ("Characters", "setContractURI"),
        ("Characters", "setTraitMetadataURI"),
        ("WorkRegistry", "setContractURI"),
    ):
        assert sentence(contract, function, "ipfs://b").endswith("by “ipfs://b”")
        told = sentence(contract, function, "x" * 5_000)
        assert len(told) < 300
        assert told.endswith("(shortened)")
