"""Codecs of the contract set, and intents that wallets can sign."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from web3 import Web3

from backend.chain import (
    ABI_FOLDER,
    ChainInfo,
    ManifestError,
    abi,
    decode_call,
    decode_error,
    decode_result,
    encode_call,
)
from backend.intents import Intent, call_intent
from indexer.abi import abi_type

ALICE = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


@pytest.fixture
def chain(manifest: Path) -> ChainInfo:
    return ChainInfo.load(manifest)


def test_calldata_is_web3s_for_every_function_of_every_committed_abi() -> None:
    """The oracle is web3.py, with a value of each type."""
    checked = 0
    for path in sorted(ABI_FOLDER.glob("*.json")):
        entries = json.loads(path.read_bytes())
        contract = Web3().eth.contract(abi=entries)
        for entry in entries:
            if entry["type"] != "function":
                continue
            types = [abi_type(parameter) for parameter in entry["inputs"]]
            signature = f"{entry['name']}({','.join(types)})"
            args = [_value(parameter) for parameter in entry["inputs"]]
            ours = encode_call(path.stem, signature, args)
            theirs = contract.get_function_by_signature(signature)(*args)._encode_transaction_data()
            assert "0x" + ours.hex() == theirs, signature
            function, decoded = decode_call(path.stem, ours)
            assert function.signature == signature
            assert len(decoded) == len({parameter["name"] for parameter in entry["inputs"]})
            checked += 1
    assert checked > 100


WORTH = {"address": ALICE, "bool": True, "string": "ab", "bytes": b"\x01\x02\x03"}


def _value(parameter: dict[str, Any]) -> Any:
    """Some value of an ABI type."""
    kind: str = parameter["type"]
    if kind.endswith("[]"):
        return [_value({**parameter, "type": kind[:-2]})] * 2
    if kind == "tuple":
        return tuple(_value(component) for component in parameter["components"])
    if kind.startswith("bytes") and kind != "bytes":
        return b"\x07" * int(kind[5:])
    return WORTH.get(kind, 7)


def test_arguments_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="takes 2 arguments, not 1"):
        encode_call("ERC20", "transfer", [ALICE])
    for args in ([ALICE, -1], [ALICE, 2**256], [ALICE, "1"], [ALICE, 1.5], ["0x12", 1], [ALICE, None]):
        with pytest.raises(ValueError, match="transfer"):
            encode_call("ERC20", "transfer", args)
    with pytest.raises(LookupError, match="nosuch"):
        encode_call("ERC20", "nosuch", [])
    with pytest.raises(LookupError, match="make abi"):
        abi("NoSuchContract")


def test_foreign_calldata_is_refused() -> None:
    with pytest.raises(ValueError, match="no function of ERC20"):
        decode_call("ERC20", bytes.fromhex("deadbeef"))
    with pytest.raises(ValueError, match="do not fit"):
        decode_call("ERC20", encode_call("ERC20", "transfer", [ALICE, 1])[:-1])


def test_results_are_read() -> None:
    assert decode_result("ERC20", "balanceOf", encode(["uint256"], [2**255])) == 2**255
    with pytest.raises(ValueError, match="returned something else"):
        decode_result("ERC20", "balanceOf", b"")


def test_reverts_are_put_in_words() -> None:
    assert decode_error(keccak(text="Error(string)")[:4] + encode(["string"], ["no"])) == "no"
    assert decode_error(keccak(text="Panic(uint256)")[:4] + encode(["uint256"], [0x11])) == "Panic: an overflow"
    assert decode_error(b"") == "reverted without a reason"
    assert decode_error(b"\xde\xad\xbe\xef") == "reverted with 0xdeadbeef"
    assert decode_error(keccak(text="Error(string)")[:4] + b"\x01") == "reverted with 0x08c379a001"
    named = [error for path in ABI_FOLDER.glob("*.json") for error in abi(path.stem).errors.items()]
    selector, (name, types, _) = next(item for item in named if not item[1][1])
    assert types == ()
    assert decode_error(selector) == f"{name}()"


def test_the_native_coin_is_listed_first_whatever_the_manifest_says(chain: ChainInfo) -> None:
    assert [token.symbol for token in chain.tokens.values()] == ["ETH", "USD"]
    assert chain.token(bytes(20)).decimals == 18
    with pytest.raises(LookupError, match="lists no token"):
        chain.token(ALICE)


def test_contracts_are_found_by_name_and_by_address(chain: ChainInfo) -> None:
    address = chain.address("RevenueLedger")
    assert chain.contract_at(address) == chain.contract_at(bytes.fromhex(address[2:])) == "RevenueLedger"
    assert chain.contract_at(ALICE) is None
    with pytest.raises(LookupError, match="has no Lighthouse"):
        chain.address("Lighthouse")


def test_an_intent_is_what_a_wallet_signs(chain: ChainInfo) -> None:
    made = call_intent(chain, "RevenueLedger", "settle", [7, 0, ALICE], description="Settle", value=5)
    shown = made.model_dump(mode="json")
    assert shown == {
        "to": chain.address("RevenueLedger"),
        "data": "0x" + made.data.hex(),
        "value": "5",
        "chainId": 31337,
        "description": "Settle",
    }
    assert Intent.model_validate(shown) == made


def test_a_missing_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="set TROUPE_DEPLOYMENT"):
        ChainInfo.load(tmp_path / "none.json")
