"""What a deployment has signed so far, in a file: a broken one goes on where it ended and deploys nothing twice.

Each transaction is written here before it is sent. Whoever continues sends the very same bytes again, and one nonce
takes effect once: it does not matter at which moment the deployment died.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_utils import keccak

from scripts.deploy.files import write_json


class JournalError(Exception):
    """The journal is of another deployment; the text says what to do."""


@dataclass(frozen=True)
class Step:
    """A signed transaction."""

    what: str
    nonce: int
    call: str
    """keccak256 of receiver, data and value, as 0x-hex: a plan that changed meanwhile is noticed."""
    hash: str
    raw: str

    def is_of(self, deployer: str) -> bool:
        """Whether these bytes have this hash and were signed by the deployer: a journal is a file, and anybody's."""
        return keccak(hexstr=self.raw).hex() == self.hash[2:] and Account.recover_transaction(self.raw) == deployer


@dataclass
class Journal:
    """The steps of one deployment on one chain by one account. Without a path nothing is written."""

    chain: dict[str, Any]
    """chainId, genesisHash, deployer."""
    first_nonce: int
    started: int
    """Time of the block that the deployment began after; vesting and the rewards' epochs count from it."""
    steps: list[Step]
    path: Path | None = None

    @classmethod
    def opened(cls, path: Path, chain: dict[str, Any], first_nonce: int, started: int) -> Journal:
        """The journal at a path, or a fresh one where there is none. Raises JournalError if it is of another chain."""
        if not path.exists():
            return cls(chain, first_nonce, started, [], path)
        kept = json.loads(path.read_text())
        if kept["chain"] != chain:
            raise JournalError(
                f"{path} is the journal of a deployment that was broken off on another chain or by another account:"
                " continue it there, or remove the file"
            )
        steps = [Step(**step) for step in kept["steps"]]
        return cls(chain, kept["first_nonce"], kept["started"], steps, path)

    def rehearsal(self) -> Journal:
        """A copy that is never written."""
        return Journal(self.chain, self.first_nonce, self.started, list(self.steps))

    def append(self, step: Step) -> None:
        """Note a step; it is on the disk when this returns."""
        self.steps.append(step)
        if self.path:
            write_json(self.path, {key: value for key, value in asdict(self).items() if key != "path"})

    def close(self) -> None:
        """The deployment is finished: the manifest says all from here on."""
        if self.path:
            self.path.unlink(missing_ok=True)
