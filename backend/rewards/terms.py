"""What the deployment manifest says about rewards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.chain import ChainInfo
from backend.rewards import voices
from backend.rewards.calendar import Calendar
from backend.rewards.voices import Voice
from indexer.types import Epoch


@dataclass(frozen=True)
class Terms:
    """What the deployment says about rewards."""

    calendar: Calendar
    voice: Voice

    @classmethod
    def of(cls, chain: ChainInfo) -> Terms:
        """From the manifest's `parameters.rewards`; its `voicePrice` states the price of a voice, by token.

        In a token without a price fees verify nobody, and its stream pays nothing. Raises LookupError when the manifest
        lacks calendar or prices, ValueError for a price of a token that it does not list, or below one base unit.
        """
        calendar = Calendar.from_parameters(chain.manifest.parameters)
        stated: Mapping[str, Any] | None = chain.manifest.parameters["rewards"].get("voicePrice")
        if stated is None:
            raise LookupError(
                "it states no price of a voice: deploy again with this version, or add parameters.rewards.voicePrice"
            )
        if strange := sorted(set(stated) - set(chain.tokens)):
            raise ValueError(f"voicePrice names {strange[0]}: give an address of `tokens`, with its checksum")
        prices = {raw(address): int(amount) for address, amount in stated.items()}
        return cls(calendar, voices.voice(prices, own=raw(chain.address("TroupeToken"))))

    def end(self, epoch: int) -> int:
        """The first second after an epoch."""
        return self.calendar.start(Epoch(epoch + 1))


def raw(address: str) -> bytes:
    """An address as tables hold it."""
    return bytes.fromhex(address.removeprefix("0x"))
