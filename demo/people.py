"""The people of the demo: each has a key of their own, made from their name, so that a second run finds them again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

Role = Literal["viewer", "creator", "collaborator", "farmer"]


@dataclass(frozen=True)
class Person:
    """Somebody with a wallet. The keys are public knowledge: they are for the development chain and nothing else."""

    role: Role
    number: int

    @cached_property
    def wallet(self) -> LocalAccount:
        wallet: LocalAccount = Account.from_key(keccak(text=f"troupe demo {self.role} {self.number}"))
        return wallet

    @property
    def address(self) -> str:
        return str(self.wallet.address)

    @property
    def name(self) -> str:
        return f"{self.role} {self.number}"
