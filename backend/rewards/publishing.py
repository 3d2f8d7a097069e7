"""What the sender looks at on the chain before it signs anything about rewards.

A root that is there already is a success; another root where ours should be is a contradiction that stops the account
and calls the operator, because whoever published it holds a key that should be ours alone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.chain import ChainInfo, decode_call, decode_result, encode_call
from backend.models.rewards import RewardRoot
from backend.models.sender import OutboxIntent
from backend.node import Node
from backend.rewards.service import APPROVE, FINALIZE, PROPOSE
from backend.rewards.streams import CONTRACT
from backend.sender.policy import Answer, Kind, Verdict
from backend.sender.states import IN_FLIGHT

GO = Verdict(Answer.GO)
NO_ROOT = bytes(32)


def kinds(chain: ChainInfo) -> dict[str, Kind]:
    """The kinds of reward intents, for `backend.sender.operator`."""
    checks = Checks(chain)
    return {
        APPROVE: Kind(check=checks.approve),
        PROPOSE: Kind(check=checks.propose),
        FINALIZE: Kind(check=checks.finalize),
    }


class Checks:
    """The checks for one deployment."""

    def __init__(self, chain: ChainInfo) -> None:
        self.chain = chain

    def approve(self, session: Session, intent: OutboxIntent, node: Node) -> Verdict:
        """Done when the distributor may take the bond already."""
        if self._allowance(node, intent.sender) >= self._bond(node):
            return Verdict(Answer.DONE, "approved_before", "the distributor may take the bond already")
        return GO

    def propose(self, session: Session, intent: OutboxIntent, node: Node) -> Verdict:
        """Go when the attempt counts, no root is pending, the active one is what ours adds to, the bond is there."""
        row = session.scalars(select(RewardRoot).where(RewardRoot.outbox_key == intent.key)).one()
        if row.void is not None:
            return Verdict(Answer.REFUSE, "given_up", row.void)
        base = session.get(RewardRoot, row.previous_id) if row.previous_id else None
        expected = base.root if base and base.root else NO_ROOT
        active, pending = self._roots(node, row.token)
        if row.root in (active["root"], pending["root"]):
            return Verdict(Answer.DONE, "proposed_before", "the chain has this root already")
        if pending["root"] != NO_ROOT:
            return self._contradiction(
                session, intent, "other_root_pending", f"0x{pending['root'].hex()} is pending, not 0x{_hex(row.root)}"
            )
        if active["root"] != expected:
            return self._contradiction(
                session, intent, "other_root_active", f"0x{active['root'].hex()} is active, not 0x{expected.hex()}"
            )
        return self._ready(node, intent, active)

    def _ready(self, node: Node, intent: OutboxIntent, active: dict[str, Any]) -> Verdict:
        """Whether `propose` would be accepted as to time and bond."""
        if self._ask(node, "currentEpoch") <= active["epoch"]:
            return Verdict(Answer.WAIT, "epoch_taken", "the contract takes one root an epoch")
        bond = self._bond(node)
        if self._balance(node, intent.sender) < bond:
            return Verdict(Answer.WAIT, "bond_missing", f"the publisher holds less than the bond of {bond}")
        if self._allowance(node, intent.sender) < bond:
            return Verdict(Answer.WAIT, "bond_not_approved", "the distributor may not take the bond yet")
        return GO

    def finalize(self, session: Session, intent: OutboxIntent, node: Node) -> Verdict:
        """Go when the pending root is the one meant and its window has passed; done when it is active already."""
        _, arguments = decode_call(CONTRACT, intent.data)
        token = bytes.fromhex(arguments["token"][2:])
        digest = bytes.fromhex(intent.key.split(":")[4])
        row = session.scalars(select(RewardRoot).where(RewardRoot.tree_sha256 == digest)).first()
        if row is None:
            return Verdict(Answer.REFUSE, "unknown_tree", f"no planned root has the tree file {digest.hex()}")
        active, pending = self._roots(node, token)
        if active["root"] == row.root:
            return Verdict(Answer.DONE, "finalized_before", "the root is active already")
        if pending["root"] == NO_ROOT:
            return self._contradiction(
                session, intent, "no_root_pending", "the root is not pending any more", halt=False
            )
        if pending["root"] != row.root:
            return self._contradiction(
                session, intent, "other_root_pending", f"0x{pending['root'].hex()} is pending, not 0x{_hex(row.root)}"
            )
        head = node.block("latest")
        if int(pending["challenger"], 16) or head is None or head.time < pending["finalizableAt"]:
            return Verdict(Answer.WAIT, "window_open", f"it can be final from {pending['finalizableAt']} on")
        return GO

    def _contradiction(
        self, session: Session, intent: OutboxIntent, code: str, detail: str, *, halt: bool = True
    ) -> Verdict:
        """Halt; but wait while transactions of ours are on their way that may be what is missing."""
        on_their_way = select(OutboxIntent.id).where(
            OutboxIntent.chain_id == intent.chain_id,
            OutboxIntent.sender == intent.sender,
            OutboxIntent.state.in_(IN_FLIGHT),
        )
        if session.scalar(on_their_way.limit(1)) is not None:
            return Verdict(Answer.WAIT, code, detail)
        return Verdict(Answer.HALT if halt else Answer.REFUSE, code, detail)

    def _ask(self, node: Node, function: str, *args: object, contract: str = CONTRACT, at: str | None = None) -> Any:
        data = node.call(at or self.chain.address(contract), encode_call(contract, function, list(args)))
        return decode_result(contract, function, data)

    def _roots(self, node: Node, token: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Active stream and pending root by the names of IRewardDistributor's structs."""
        address = "0x" + token.hex()
        stream = dict(zip(STREAM, self._ask(node, "streamOf", address), strict=True))
        pending = dict(zip(PENDING, self._ask(node, "pendingOf", address), strict=True))
        return stream, pending

    def _bond(self, node: Node) -> int:
        return int(dict(zip(PARAMETERS, self._ask(node, "parameters"), strict=True))["publisherBond"])

    def _allowance(self, node: Node, owner: bytes) -> int:
        distributor = self.chain.address(CONTRACT)
        return int(
            self._ask(
                node,
                "allowance",
                "0x" + owner.hex(),
                distributor,
                contract="ERC20",
                at=self.chain.address("TroupeToken"),
            )
        )

    def _balance(self, node: Node, owner: bytes) -> int:
        token = self.chain.address("TroupeToken")
        return int(self._ask(node, "balanceOf", "0x" + owner.hex(), contract="ERC20", at=token))


STREAM = ("root", "total", "totalClaimed", "counted", "epoch")
PENDING = (
    "root",
    "total",
    "epoch",
    "finalizableAt",
    "publisher",
    "rulingUntil",
    "contested",
    "challenger",
    "publisherBond",
    "challengerBond",
)
PARAMETERS = ("window", "resolvePeriod", "publisherBond", "minChallengerBond", "maxChallengerBond")


def _hex(root: bytes | None) -> str:
    return (root or b"").hex()
