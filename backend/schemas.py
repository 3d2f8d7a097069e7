"""What every request and answer schema shares: the base, and the types whose JSON form is the project's."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from eth_utils.address import is_checksum_formatted_address
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

from backend.addresses import eip55

UINT256_MAX = 2**256 - 1
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


class Schema(BaseModel):
    """The base of request and answer bodies: unknown fields are refused, numbers are finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, from_attributes=True, frozen=True)


def parse_address(value: str) -> str:
    """An address in EIP-55. Mixed case must be the right checksum; one case alone is taken. Raises ValueError."""
    if not _ADDRESS.fullmatch(value):
        raise ValueError("an address is 0x and 40 hexadecimal digits")
    checked = eip55(value.lower())
    if value != checked and is_checksum_formatted_address(value):
        raise ValueError("the address has a wrong checksum (EIP-55): copy it again")
    return checked


def _address(value: Any) -> Any:
    if isinstance(value, bytes) and len(value) == 20:
        return eip55(value)
    if not isinstance(value, str):
        raise ValueError("an address is a string of 0x and 40 hexadecimal digits")
    return parse_address(value)


def _amount(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 78:
        if value != "0" and value.startswith("0"):
            raise ValueError("an amount has no leading zeros")
        number = int(value)
    else:
        raise ValueError("an amount is a string of decimal digits, in the token's base units")
    if not 0 <= number <= UINT256_MAX:
        raise ValueError("an amount is between 0 and 2^256 - 1")
    return number


def _request_amount(value: Any) -> Any:
    if isinstance(value, (int, float)):
        raise ValueError("an amount is a string of decimal digits, not a JSON number, which would lose digits")
    return _amount(value)


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _bytes(value: Any) -> Any:
    if isinstance(value, str):
        if not value.startswith("0x"):
            raise ValueError("bytes are written 0x and hexadecimal digits")
        return bytes.fromhex(value[2:])
    return value


def _hash32(value: bytes) -> bytes:
    if len(value) != 32:
        raise ValueError("a hash is 32 bytes: 0x and 64 hexadecimal digits")
    return value


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time has its zone, as in 2026-11-21T09:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time is between the years 1 and 9999") from error


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _zone_if_block_time(value: Any) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError("a time is between the years 1 and 9999") from error


_ADDRESS_SCHEMA = {"pattern": "^0x[0-9a-fA-F]{40}$", "examples": ["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]}
_AMOUNT_SCHEMA = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,77})$", "examples": ["1000000000000000000"]}

AddressStr = Annotated[str, BeforeValidator(_address), Field(json_schema_extra=_ADDRESS_SCHEMA)]
"""An address, EIP-55. Takes 20 bytes too (from a row)."""

Amount = Annotated[
    int,
    BeforeValidator(_amount),
    PlainSerializer(str, return_type=str, when_used="json"),
    Field(json_schema_extra=_AMOUNT_SCHEMA),
]
"""An amount in base units: int in Python, a decimal string in JSON. For answers."""

AmountIn = Annotated[
    int,
    BeforeValidator(_request_amount, json_schema_input_type=str),
    PlainSerializer(str, return_type=str, when_used="json"),
    Field(json_schema_extra=_AMOUNT_SCHEMA),
]
"""The same for requests: a JSON number is refused."""

HexBytes = Annotated[
    bytes,
    BeforeValidator(_bytes, json_schema_input_type=str),
    PlainSerializer(_hex, return_type=str, when_used="json"),
    Field(json_schema_extra={"type": "string", "format": "hex", "pattern": "^0x([0-9a-fA-F]{2})*$"}),
]
"""Bytes, 0x-hex in JSON."""

Hash32 = Annotated[HexBytes, AfterValidator(_hash32)]
"""32 bytes, 0x-hex in JSON."""

Time = Annotated[
    datetime,
    BeforeValidator(_zone_if_block_time, json_schema_input_type=str),
    AfterValidator(_utc),
    PlainSerializer(_rfc3339, return_type=str, when_used="json"),
    Field(json_schema_extra={"type": "string", "format": "date-time", "examples": ["2026-11-21T09:00:00Z"]}),
]
"""A time, RFC 3339 in UTC in JSON. Takes a block's timestamp (whole seconds) too."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class AsOf(Schema):
    """The block that an answer was read at, and how settled it is."""

    block: int = Field(description="Number of the last mirrored block", examples=[1204])
    hash: Hash32
    stage: str = Field(
        description="`seen`: in the mirror; `final`: as final as the network says", pattern="^(seen|final)$"
    )
