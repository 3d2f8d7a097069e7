"""Bodies of the system routes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from backend.schemas import AddressStr, Hash32, Schema, Time


class Health(Schema):
    """The process answers."""

    status: Literal["ok"]


class Part(Schema):
    """One part that the API depends on."""

    name: str = Field(examples=["mirror"])
    ok: bool
    detail: str = Field(description="What was seen, or what is wrong", examples=["At block 1204, 0 behind the node."])
    fix: str | None = Field(description="What to do, where it is not well", examples=[None])


class Readiness(Schema):
    """Whether requests can be served, and the reason for each part."""

    status: Literal["ready", "not_ready"]
    checks: list[Part]


class TokenInfo(Schema):
    """A currency that works are paid in; the native coin has the zero address."""

    address: AddressStr
    symbol: str = Field(examples=["ETH"])
    decimals: int = Field(examples=[18])


class FinalityInfo(Schema):
    """When a block counts as final: by the node's `finalized` tag, or `depth` blocks below the head."""

    mode: Literal["tag", "depth"]
    depth: int | None


class MirroredBlock(Schema):
    """A block of the mirror."""

    block: int = Field(examples=[1204])
    hash: Hash32
    time: Time = Field(description="The block's timestamp: the chain's clock")
    stage: Literal["seen", "final"]


class ChainStatus(Schema):
    """The deployment that is served, and how far its mirror is."""

    chain_id: int = Field(examples=[31337])
    network: str
    contracts: dict[str, AddressStr]
    tokens: list[TokenInfo]
    finality: FinalityInfo
    head: MirroredBlock | None = Field(description="The last mirrored block; null before there is one")
    final_block: int | None = Field(description="The last mirrored block that is final")
