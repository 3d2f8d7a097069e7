"""What the sender's tests do to a chain and to an outbox, and the oracle they end with."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from backend.models.sender import OutboxIntent
from backend.node import Node
from backend.sender.keys import OperatorKey
from backend.sender.policy import Finality
from backend.sender.service import Effect, enqueue
from backend.sender.states import TERMINAL, State
from backend.sender.sweeper import Sender

ETHER = 10**18


@dataclass(frozen=True)
class Chain:
    """A development chain that a test drives."""

    node: Node
    url: str

    def fund(self, address: str, wei: int) -> None:
        self.node.ask("anvil_setBalance", address, hex(wei))

    def mine(self, blocks: int = 1) -> None:
        self.node.ask("anvil_mine", hex(blocks))

    def automine(self, on: bool) -> None:
        self.node.ask("evm_setAutomine", on)

    def reorganise(self, depth: int) -> None:
        self.node.ask("anvil_reorg", depth, [])

    def drop_all(self) -> None:
        self.node.ask("anvil_dropAllTransactions")

    def balance(self, address: bytes) -> int:
        return self.node.balance("0x" + address.hex())

    def stranger_sends(self, account: LocalAccount, nonce: int, fee: int = 10**10) -> bytes:
        """Another program uses the operator's key."""
        signed = account.sign_transaction(
            {
                "type": 2,
                "chainId": 31337,
                "nonce": nonce,
                "to": to_checksum_address(b"\x99" * 20),
                "value": 1,
                "gas": 21_000,
                "maxFeePerGas": fee,
                "maxPriorityFeePerGas": fee,
            }
        )
        assert self.node.send(bytes(signed.raw_transaction)) is None
        return bytes(signed.hash)


def operator() -> LocalAccount:
    account: LocalAccount = Account.from_key("0x" + "a1" * 32)
    return account


def make(engine: Engine, chain: Chain, key: OperatorKey, kind: type[Sender] = Sender, **more: Any) -> Sender:
    """A sender for the development chain."""
    more.setdefault("finality", Finality("tag", reopen=True))
    return kind(engine=engine, node=chain.node, key=key, **more)


def transfers(engine: Engine, key: OperatorKey, count: int = 1, **more: Any) -> list[Effect]:
    """Queue transfers of different amounts, each to an account that nobody else knows."""
    effects = [
        Effect(key.chain_id, key.address_bytes, secrets.token_bytes(20), value=1_000 + i, **more) for i in range(count)
    ]
    with Session(engine) as session, session.begin():
        for effect in effects:
            enqueue(session, effect, kind="transfer", key=f"transfer:{effect.target.hex()}")
    return effects


def intents(engine: Engine, effects: Sequence[Effect] | None = None) -> list[OutboxIntent]:
    """The outbox as it is now, with transactions, in the order of queueing."""
    with Session(engine) as session:
        query = select(OutboxIntent).order_by(OutboxIntent.id)
        if effects is not None:
            query = query.where(OutboxIntent.target.in_([effect.target for effect in effects]))
        found = list(session.scalars(query))
        for intent in found:
            len(intent.transactions)
        session.expunge_all()
        return found


def states(engine: Engine, effects: Sequence[Effect] | None = None) -> list[str]:
    return [intent.state for intent in intents(engine, effects)]


def run_to_end(sender: Sender, chain: Chain, effects: Sequence[Effect] | None = None, rounds: int = 40) -> None:
    """Sweep and mine until every intent has ended and has been acted upon."""
    for _ in range(rounds):
        sender.sweep()
        if all(i.state in TERMINAL and i.done_at is not None for i in intents(sender.engine, effects)):
            return
        chain.mine()
    raise AssertionError(f"not ended after {rounds} rounds: {states(sender.engine, effects)}")


def check_v6(engine: Engine, chain: Chain, effects: Sequence[Effect]) -> None:
    """The oracle: each effect exactly once on chain, each intent final, each nonce held by one intent."""
    for effect in effects:
        paid = chain.balance(effect.target)
        assert paid == effect.value, f"{effect.target.hex()} got {paid} wei, not {effect.value}"
    rows = intents(engine, effects)
    assert [row.state for row in rows] == [State.FINAL] * len(effects)
    assert all(row.done_at for row in rows)
    nonces = [row.nonce for row in rows]
    assert len(set(nonces)) == len(nonces)
    for row in rows:
        assert row.mined_hash in {transaction.hash for transaction in row.transactions}
