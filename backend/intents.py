"""Intents: what a person may sign. The server builds them and never signs for anyone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from backend.chain import ChainInfo, encode_call
from backend.schemas import AddressStr, Amount, HexBytes, Schema

__all__ = ["Intent", "TypedData", "call_intent", "encode_call"]


class Intent(Schema):
    """An unsigned transaction: the wallet adds nonce, gas and fees, and shows `description` to the person."""

    to: AddressStr
    data: HexBytes
    value: Amount = Field(description="Native coin to send along, in wei")
    chainId: int = Field(description="The wallet must be on this chain", examples=[31337])
    description: str = Field(
        description="What signing it does, in one sentence", examples=["Withdraw 1.25 ETH of work 7"]
    )


class TypedData(Schema):
    """EIP-712 typed data for `eth_signTypedData_v4`; integers above 2^53 are decimal strings."""

    domain: dict[str, Any]
    types: dict[str, list[dict[str, str]]]
    primaryType: str
    message: dict[str, Any]


def call_intent(
    chain: ChainInfo,
    contract: str,
    function: str,
    args: Sequence[Any],
    *,
    description: str,
    value: int = 0,
    to: str | None = None,
) -> Intent:
    """The intent of calling a contract of the deployment (or, with `to`, another contract of that ABI).

    Raises LookupError for an unknown contract or function and ValueError for arguments that do not fit.
    """
    return Intent(
        to=to or chain.address(contract),
        data=encode_call(contract, function, args),
        value=value,
        chainId=chain.chain_id,
        description=description,
    )
