"""Reward epochs by the chain's clock: numbered from 1, all of one length, as RewardDistributor counts them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from indexer.types import Epoch

INTAKE_LOCK = 0x54524F5550455244
"""Advisory lock ("TROUPERD"): intake holds it shared while it stores events; fixing an epoch takes it alone."""


@dataclass(frozen=True)
class Calendar:
    """When epochs begin: `genesis` in Unix seconds of the chain, and their length in seconds."""

    genesis: int
    length: int

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Calendar:
        """Read the `rewards` part of the manifest's parameters. Raises LookupError when the deployment has none."""
        try:
            rewards = parameters["rewards"]
            return cls(int(rewards["genesis"]), int(rewards["epochSeconds"]))
        except KeyError:
            raise LookupError(
                "the deployment manifest has no reward calendar: deploy again with this version"
            ) from None

    def epoch_at(self, time: int) -> Epoch:
        """The epoch that is open at a block's time; before genesis it is the first."""
        return Epoch(max(time - self.genesis, 0) // self.length + 1)

    def start(self, epoch: Epoch) -> int:
        """The first second of an epoch; the one before it is the last of the epoch before."""
        return self.genesis + (epoch - 1) * self.length
