"""Deploy the whole set and wire it: the deployer ends without any role, the Timelock holds every power that is left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scripts.deploy.plan import (
    ADMIN,
    DAY,
    DEVELOPMENT,
    GUARDIAN,
    MINTER,
    MODERATOR,
    NATIVE,
    PUBLISHER,
    RESTRICTED,
    ROLE_NAMES,
    SELLER,
    ZERO_ADDRESS,
    Caps,
    Plan,
    tree_digest,
)
from scripts.deploy.sending import Sender


@dataclass
class System:
    """The deployed contracts by name, as Brownie contract objects, and where and when they were made."""

    contracts: dict[str, Any] = field(default_factory=dict)
    blocks: dict[str, int] = field(default_factory=dict)
    treasury_wallet: str = ""
    founder_wallets: list[str] = field(default_factory=list)
    platform_leaves: list[tuple[str, int]] = field(default_factory=list)
    genesis: int = 0
    vesting_start: int = 0

    def __getattr__(self, name: str) -> Any:
        """`system.RevenueLedger` is the contract."""
        try:
            return self.__dict__["contracts"][name]
        except KeyError:
            raise AttributeError(name) from None


class Deployment:
    """One run of the deployment: `project` is the loaded Brownie project, `contract_at(name, address, abi)` binds."""

    def __init__(self, sender: Sender, plan: Plan, project: Any, contract_at: Any) -> None:
        self.sender = sender
        self.plan = plan
        self.project = project
        self.contract_at = contract_at
        self.system = System()

    # ------------------------------------------------------------------------------------------------------ primitives

    def create(self, name: str, *arguments: Any, keep: bool = True) -> Any:
        """Deploy contract `name`; kept under its name unless told otherwise."""
        container = self.project[name]
        address = self.sender.next_created()  # computed, so that no journal and no node names another
        receipt = self.sender.send(f"deploying {name}", to=None, data=container.deploy.encode_input(*arguments))
        contract = self.contract_at(name, address, container.abi)
        if keep:
            self.system.contracts[name] = contract
            self.system.blocks[name] = receipt["blockNumber"]
        return contract

    def call(self, contract: Any, function: str, *arguments: Any) -> None:
        data = getattr(contract, function).encode_input(*arguments)
        self.sender.send(f"{contract._name}.{function}", to=contract.address, data=data)

    # ----------------------------------------------------------------------------------------------------------- steps

    def run(self) -> System:
        """All steps in order. Raises SendError or PlanError; with the same journal it goes on where it was."""
        self.plan.allocations()
        self.create_core()
        self.create_signatures()
        self.create_money()
        self.create_shop()
        if self.plan.network == DEVELOPMENT:
            self.create_development()
        self.wire_governance()
        self.wire_roles()
        self.fund_rewards()
        self.hand_over()
        return self.system

    def create_core(self) -> None:
        """AccessManager, Timelock, vesting wallets, token and Governor."""
        plan, system, deployer = self.plan, self.system, self.sender.account.address
        now = system.vesting_start = self.sender.started
        manager = self.create("AccessManager", deployer)
        timelock = self.create("TimelockController", plan.governance.timelock_delay, [], [ZERO_ADDRESS], deployer)
        treasury = self.create("VestingWallet", timelock.address, now, plan.token.vesting, keep=False)
        system.treasury_wallet = treasury.address
        for founder in plan.people.founders:
            wallet = self.create("VotingVestingWallet", founder, now, plan.token.vesting, keep=False)
            system.founder_wallets.append(wallet.address)
        token = self.create(
            "TroupeToken",
            plan.token.name,
            plan.token.symbol,
            plan.token.cap,
            manager.address,
            timelock.address,
            self.genesis_supply(),
        )
        governance = plan.governance
        self.create(
            "TroupeGovernor",
            token.address,
            timelock.address,
            manager.address,
            plan.people.guardian,
            (
                governance.voting_delay,
                governance.voting_period,
                governance.proposal_threshold,
                governance.quorum_percent,
                governance.late_quorum_extension,
            ),
        )

    def genesis_supply(self) -> list[tuple[str, int]]:
        """Receivers of the first supply. The reward stream's part passes through the deployer, see `fund_rewards`."""
        parts = self.plan.allocations()
        wallets = self.system.founder_wallets
        each, rest = divmod(parts["founders"], len(wallets))
        founders = [(wallet, each + (rest if i == 0 else 0)) for i, wallet in enumerate(wallets)]
        return [
            (self.system.treasury_wallet, parts["treasury"]),
            *founders,
            (self.plan.people.publisher, parts["publisher"]),
            *self.plan.people.voters.items(),
            (self.sender.account.address, parts["rewards"]),
        ]

    def create_signatures(self) -> None:
        """AttestationRegistry and SessionForwarder, which nobody administers."""
        self.create("AttestationRegistry")
        self.create("SessionForwarder")

    def create_money(self) -> None:
        """RewardDistributor, RevenueLedger, WorkRegistry and WorkStanding; each of the last three names the next."""
        plan, system = self.plan, self.system
        manager, rewards = system.AccessManager.address, plan.rewards
        system.genesis = self.sender.started // DAY * DAY  # epochs begin at midnight UTC
        distributor = self.create(
            "RewardDistributor",
            manager,
            system.TroupeToken.address,
            system.genesis,
            (
                rewards.window,
                rewards.resolve_period,
                rewards.publisher_bond,
                rewards.min_challenger_bond,
                rewards.max_challenger_bond,
            ),
        )
        receivers = {"treasury": system.TimelockController.address, "rewards": distributor.address}
        system.platform_leaves = [(receivers[name], weight) for name, weight in plan.platform_split.items()]
        ledger = self.create(
            "RevenueLedger",
            manager,
            self.sender.next_created(ahead=1),
            plan.fee_bps,
            system.platform_leaves,
            tree_digest(system.platform_leaves),
        )
        self.create(
            "WorkRegistry",
            manager,
            ledger.address,
            self.sender.next_created(ahead=1),
            system.SessionForwarder.address,
            plan.royalty_bps,
            plan.contract_uri,
        )
        self.create(
            "WorkStanding",
            manager,
            system.WorkRegistry.address,
            system.AttestationRegistry.address,
            distributor.address,
            plan.dispute_bond,
        )

    def create_shop(self) -> None:
        """Characters and Items, and the Storefront that sells them, which nobody administers."""
        plan, system = self.plan, self.system
        manager, registry = system.AccessManager.address, system.WorkRegistry.address
        characters = self.create("Characters", manager, registry, plan.characters_uri, plan.traits_uri)
        items = self.create("Items", manager, registry)
        self.create(
            "Storefront",
            system.SessionForwarder.address,
            system.RevenueLedger.address,
            items.address,
            characters.address,
        )

    def create_development(self) -> None:
        """A dollar that anyone can mint."""
        self.create("MockUSD")

    def approve_bonds(self, publisher: Sender) -> None:
        """The publisher lets the distributor take its bonds. Off the development chain it does so by itself."""
        token, distributor = self.system.TroupeToken, self.system.RewardDistributor
        data = token.approve.encode_input(distributor.address, 2**256 - 1)
        publisher.send("approving the publisher's bonds", to=token.address, data=data)

    def wire_governance(self) -> None:
        """The Governor alone proposes to the Timelock and cancels in it; anybody executes what is due."""
        timelock, governor = self.system.TimelockController, self.system.TroupeGovernor
        for role in (timelock.PROPOSER_ROLE(), timelock.CANCELLER_ROLE()):
            self.call(timelock, "grantRole", role, governor.address)

    def wire_roles(self) -> None:
        """Names, functions and members of every role in the AccessManager."""
        system = self.system
        manager = system.AccessManager
        for role, name in ROLE_NAMES.items():
            if role != ADMIN:
                self.call(manager, "labelRole", role, name)
        for name, functions in RESTRICTED.items():
            contract = system.contracts[name]
            for role in sorted({role for role in functions.values() if role != ADMIN}):
                selectors = [getattr(contract, f).signature for f, needed in functions.items() if needed == role]
                self.call(manager, "setTargetFunctionRole", contract.address, selectors, role)
        for role, member in members(self.plan, system):
            if role != ADMIN:
                self.call(manager, "grantRole", role, member, 0)

    def fund_rewards(self) -> None:
        """Allow the tokens that works can be paid in, cap the streams, and give the reward stream its part."""
        system, plan = self.system, self.plan
        token, distributor, ledger = system.TroupeToken, system.RewardDistributor, system.RevenueLedger
        caps = stream_caps(plan, system)
        for address in caps:
            if address != NATIVE:
                self.call(ledger, "setTokenAllowed", address, True)
        for address, cap in caps.items():
            self.call(distributor, "setCaps", address, cap.epoch, cap.account)
        amount = plan.allocations()["rewards"]
        self.call(token, "approve", distributor.address, amount)
        self.call(distributor, "fund", token.address, amount)

    def hand_over(self) -> None:
        """The Timelock becomes the only admin of everything; the deployer gives up what it has."""
        manager, timelock = self.system.AccessManager, self.system.TimelockController
        deployer = self.sender.account.address
        self.call(manager, "grantRole", ADMIN, timelock.address, 0)
        self.call(manager, "renounceRole", ADMIN, deployer)
        self.call(timelock, "renounceRole", timelock.DEFAULT_ADMIN_ROLE(), deployer)


def members(plan: Plan, system: System) -> list[tuple[int, str]]:
    """The complete role table: (role, account)."""
    timelock = system.TimelockController.address
    return [
        (ADMIN, timelock),
        (PUBLISHER, plan.people.publisher),
        (MINTER, timelock),
        (MODERATOR, plan.people.moderator),
        (MODERATOR, timelock),
        (GUARDIAN, plan.people.guardian),
        (SELLER, system.Storefront.address),
    ]


def stream_caps(plan: Plan, system: System) -> dict[str, Caps]:
    """Caps of every stream: the token's own, the native coin's, and those of the tokens that works can be paid in."""
    caps = {
        system.TroupeToken.address: Caps(plan.rewards.epoch_cap, plan.rewards.account_cap, plan.rewards.voice),
        NATIVE: plan.native_caps,
        **plan.tokens,
    }
    if "MockUSD" in system.contracts:
        caps[system.MockUSD.address] = plan.mock_usd_caps
    return caps
