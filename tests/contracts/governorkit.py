"""What the tests of TroupeGovernor share: the set-up, proposals, and ballots signed for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from brownie import AccessManager, TimelockController, TroupeGovernor, TroupeToken, accounts, web3
from kit import DAY, MNEMONIC, TRP, ZERO, domain, mine_after, sign

PUBLISHER, MINTER, MODERATOR, GUARDIAN = 1, 2, 3, 4
AGAINST, FOR, ABSTAIN, FRACTIONAL = 0, 1, 2, 255
PENDING, ACTIVE, CANCELED, DEFEATED, SUCCEEDED, QUEUED, EXPIRED, EXECUTED = range(8)

DELAY, PERIOD, EXTENSION, TIMELOCK = DAY, 5 * DAY, DAY, 2 * DAY
SUPPLY = 1_000_000 * TRP
THRESHOLD = 1_000 * TRP  # 0.1%
QUORUM = SUPPLY * 4 // 100

BALLOT = [("uint256", "proposalId"), ("uint8", "support"), ("address", "voter"), ("uint256", "nonce")]
EXTENDED_BALLOT = [*BALLOT, ("string", "reason"), ("bytes", "params")]


class Proposal(SimpleNamespace):
    """A proposal with its calls, so that every step names it the same way."""

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (self.targets, self.values, self.calldatas, web3.keccak(text=self.description))


def deploy_governance() -> SimpleNamespace:
    """Token, timelock, governor and an AccessManager that the timelock administers.

    accounts[1] is the guardian, accounts[2] holds a tenth of the supply, which alone is a quorum, accounts[3] and the
    signer 1% each, enough to propose, accounts[9] the rest, which nobody votes with.
    """
    deployer, guardian, whale, member = accounts[0], accounts[1], accounts[2], accounts[3]
    signer = accounts.from_mnemonic(MNEMONIC, count=1, offset=21)
    manager = deployer.deploy(AccessManager, deployer)
    timelock = deployer.deploy(TimelockController, TIMELOCK, [], [ZERO], deployer)
    rest = SUPPLY - 120_000 * TRP
    token = deployer.deploy(
        TroupeToken,
        "Troupe",
        "TRP",
        2 * SUPPLY,
        manager,
        timelock,
        [(whale, 100_000 * TRP), (member, 10_000 * TRP), (signer, 10_000 * TRP), (accounts[9], rest)],
    )
    governor = deployer.deploy(
        TroupeGovernor, token, timelock, manager, guardian, (DELAY, PERIOD, THRESHOLD, 4, EXTENSION)
    )
    for role in (timelock.PROPOSER_ROLE(), timelock.CANCELLER_ROLE()):
        timelock.grantRole(role, governor, {"from": deployer})
    timelock.renounceRole(timelock.DEFAULT_ADMIN_ROLE(), deployer, {"from": deployer})
    manager.setTargetFunctionRole(token, [token.mint.signature], MINTER, {"from": deployer})
    manager.grantRole(MINTER, timelock, 0, {"from": deployer})
    manager.grantRole(GUARDIAN, guardian, 0, {"from": deployer})
    manager.grantRole(0, timelock, 0, {"from": deployer})
    manager.renounceRole(0, deployer, {"from": deployer})
    token.transfer(accounts[4], 1, {"from": accounts[9]})
    for voter in (whale, member, signer, accounts[4]):
        token.delegate(voter, {"from": voter})
    mine_after(1)
    return SimpleNamespace(manager=manager, timelock=timelock, token=token, governor=governor, signer=signer)


def submit(system: Any, proposer: Any, *calls: Any, description: str = "a proposal", values: Any = None) -> Proposal:
    """Propose calls given as (target, calldata)."""
    proposal = Proposal(
        targets=[str(target) for target, _ in calls],
        values=values or [0] * len(calls),
        calldatas=[data for _, data in calls],
        description=description,
    )
    tx = system.governor.propose(proposal.targets, proposal.values, proposal.calldatas, description, {"from": proposer})
    proposal.id = tx.events["ProposalCreated"]["proposalId"]
    proposal.tx = tx
    return proposal


def fractions(against: int, for_: int, abstain: int) -> bytes:
    """Parameters of a vote in fractions."""
    return b"".join(part.to_bytes(16, "big") for part in (against, for_, abstain))


def ballot(governor: Any, signer: Any, proposal: Any, support: int, nonce: int) -> bytes:
    """Signature of a whole vote."""
    message = {"proposalId": proposal.id, "support": support, "voter": signer.address, "nonce": nonce}
    return sign(signer.private_key, domain("TroupeGovernor", governor), "Ballot", BALLOT, message)


def nonce_of(governor: Any, signer: Any, proposal: Any) -> int:
    """The next nonce under the proposal's own key."""
    return int(governor.nonces["address,uint192"](signer, proposal.id % 2**192))


def fractional_ballot(governor: Any, signer: Any, proposal: Any, params: bytes, nonce: int) -> tuple[Any, ...]:
    """The arguments of castVoteWithReasonAndParamsBySig."""
    message = {
        "proposalId": proposal.id,
        "support": FRACTIONAL,
        "voter": signer.address,
        "nonce": nonce,
        "reason": "half",
        "params": params,
    }
    signature = sign(signer.private_key, domain("TroupeGovernor", governor), "ExtendedBallot", EXTENDED_BALLOT, message)
    return (proposal.id, FRACTIONAL, signer, "half", params, signature)
