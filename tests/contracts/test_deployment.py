"""The deployment: wiring, roles, who can do what on the first day, and the checks that find every drift from it."""

import copy
import json
import re
from dataclasses import replace

import pytest
from brownie import accounts, project, web3
from brownie.exceptions import VirtualMachineError
from characters import GAME
from eth_account import Account
from kit import DAY, TRP, ZERO, mine_at, next_block_at, now, reverts
from money import counters
from rewardkit import DIGEST, LOG_ROOT, RewardTree
from shop import CHARACTER, EDITION, REF, class_created, item_created, listing
from works import CID, registered

from scripts.deploy import keys, manifest, plan, sending
from scripts.deploy.export_abi import CONTRACTS, ROOT
from scripts.deploy.files import write_json
from scripts.deploy.journal import Journal, JournalError
from scripts.deploy.main import Refused, Run, bind, confirm, forecast, plan_for, table
from scripts.deploy.plan import (
    ADMIN,
    GUARDIAN,
    MINTER,
    MODERATOR,
    PUBLISHER,
    RESTRICTED,
    ROLE_NAMES,
    SELLER,
    Plan,
    PlanError,
)
from scripts.deploy.rehearsal import Prices, Rehearsal
from scripts.deploy.sending import Sender, SendError, created_address
from scripts.deploy.system import Deployment, members
from scripts.deploy.verify import compare

FOR = 1


def loaded():
    return project.get_loaded_projects()[0]


@pytest.fixture(scope="module")
def launch():
    return Plan(network=plan.DEVELOPMENT, people=keys.dev_people())


@pytest.fixture(scope="module")
def sender():
    return Sender(web3, keys.dev_account(0))


@pytest.fixture(scope="module")
def system(launch, sender, module_isolation):
    sender.nonce = web3.eth.get_transaction_count(sender.account.address)
    deployment = Deployment(sender, launch, loaded(), bind)
    system = deployment.run()
    deployment.approve_bonds(Sender(web3, keys.dev_account(1)))
    return system


@pytest.fixture(scope="module")
def stated(launch, system, sender):
    return manifest.build(web3, launch, system, sender.account.address)


@pytest.fixture
def timelock(system):
    """The Timelock as an account that can send: only a test can do this."""
    address = system.TimelockController.address
    web3.provider.make_request("anvil_impersonateAccount", [address])
    web3.provider.make_request("anvil_setBalance", [address, hex(10**18)])
    return accounts.at(address, force=True)


def differences(stated):
    """What verify calls drift, when no vote has changed anything."""
    found = compare(web3, stated, loaded(), bind)
    assert found.voted == []
    return found.drift


# -------------------------------------------------------------------------------------------------------- as planned


def test_v7_deployment_is_what_was_planned(stated):
    assert differences(stated) == []


def test_manifest_has_what_the_other_parts_read(stated, system, sender):
    assert list(stated["contracts"]) == list(CONTRACTS)
    assert stated["chainId"] == 31337
    assert stated["finality"] == {"mode": "tag"}
    assert [token["symbol"] for token in stated["tokens"]] == ["ETH", "TRP", "mUSD"]
    assert [token["decimals"] for token in stated["tokens"]] == [18, 18, 6]
    for name, entry in stated["contracts"].items():
        assert entry["address"] == system.contracts[name].address
        assert entry["block"] >= stated["startBlock"]
        assert web3.eth.get_code(entry["address"], entry["block"])
        assert not web3.eth.get_code(entry["address"], entry["block"] - 1)
        assert re.fullmatch("0x[0-9a-f]{64}", entry["codeHash"])
        assert re.fullmatch("0x[0-9a-f]{64}", entry["abiHash"])
    assert json.loads(json.dumps(stated)) == stated
    shown = table(stated, sender, 1.0)
    assert all(entry["address"] in shown for entry in stated["contracts"].values())


def test_manifest_is_written_whole(tmp_path, stated):
    target = tmp_path / "below" / "deployment.json"
    write_json(target, {"old": True})
    write_json(target, stated)
    assert json.loads(target.read_text()) == stated
    assert [path.name for path in target.parent.iterdir()] == ["deployment.json"]


def test_case_50_nothing_can_be_initialised_again(system):
    """No contract of the set has an initializer, and none is a proxy whose code could change."""
    for name, contract in system.contracts.items():
        functions = {entry["name"].lower() for entry in contract.abi if entry["type"] == "function"}
        assert functions, name
        assert not {f for f in functions if "initiali" in f or "upgrade" in f or f == "implementation"}, name
        # ERC-1967: where a proxy keeps its implementation and its admin.
        for key in ("eip1967.proxy.implementation", "eip1967.proxy.admin"):
            slot = int.from_bytes(web3.keccak(text=key), "big") - 1
            assert int.from_bytes(web3.eth.get_storage_at(contract.address, slot), "big") == 0, name


def test_every_contract_fits(system):
    for contract in system.contracts.values():
        assert len(web3.eth.get_code(contract.address)) < 24_576


def test_case_52_only_registry_and_storefront_trust_the_forwarder(system):
    """So no request, by whomever it was signed, reaches ledger, token, characters, items, rewards or authority."""
    asked = selector("isTrustedForwarder(address)") + "00" * 12 + system.SessionForwarder.address[2:]
    answers = {}
    for name, contract in system.contracts.items():
        answer = web3.provider.make_request("eth_call", [{"to": contract.address, "data": asked}, "latest"])
        answers[name] = int(answer.get("result", "0x0"), 16) if answer.get("result") != "0x" else 0
    assert {name for name, answer in answers.items() if answer} == {"Storefront", "WorkRegistry"}
    assert {*CONTRACTS, "MockUSD"} == set(answers)


def test_genesis_supply_goes_where_the_plan_says(system, launch):
    token = system.TroupeToken
    assert token.totalSupply() == 400_000_000 * TRP
    assert token.balanceOf(system.treasury_wallet) == 169_900_000 * TRP
    assert system.RewardDistributor.fundedOf(token) == 160_000_000 * TRP
    assert sum(token.balanceOf(wallet) for wallet in system.founder_wallets) == 40_000_000 * TRP
    assert token.balanceOf(launch.people.publisher) == 100_000 * TRP
    assert token.balanceOf(keys.dev_account(0).address) == 0


def test_launch_plan_without_voters_leaves_half_to_the_treasury():
    people = plan.People(*keys.dev_addresses(3), founders=(keys.dev_addresses()[4],))
    parts = Plan(network="main", people=people).allocations()
    assert parts == {
        "treasury": 199_900_000 * TRP,
        "rewards": 160_000_000 * TRP,
        "founders": 40_000_000 * TRP,
        "publisher": 100_000 * TRP,
    }


# -------------------------------------------------------------------------------------------------------------- roles


def restricted_in_source():
    """Every function of the contracts of the set that asks the authority, from the compiler's syntax trees."""
    found = {}
    for name in CONTRACTS:
        build = loaded()[name]._build
        for node in walk(build["ast"]):
            if node.get("nodeType") == "ContractDefinition" and node["name"] == name:
                parts = {child["id"]: child for child in node["nodes"]}
                functions = {
                    child["name"]
                    for child in node["nodes"]
                    if child.get("visibility") in ("external", "public") and asks_the_authority(child, parts)
                }
                if functions:
                    found[name] = functions
    return found


def asks_the_authority(node, parts):
    """Whether a function has the modifier `restricted`, or reaches AccessManaged's check by the contract's `parts`."""
    rest = {number: part for number, part in parts.items() if part is not node}
    return any(
        used.get("nodeType") in ("Identifier", "IdentifierPath")
        and (
            used["name"] in ("restricted", "_checkCanCall")
            or (used["referencedDeclaration"] in rest and asks_the_authority(rest[used["referencedDeclaration"]], rest))
        )
        for used in walk(node)
    )


def walk(node):
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


def test_v7_role_table_names_every_restricted_function():
    assert restricted_in_source() == {name: set(functions) for name, functions in RESTRICTED.items()}


def documented_rows(heading):
    """The rows of the table under a heading of docs/roles.md, as tuples of their cells' plain text."""
    text = (ROOT / "docs" / "roles.md").read_text()
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [tuple(cell.strip().replace("`", "") for cell in row.strip("|").split("|")) for row in rows]


def test_v7_role_table_is_the_documented_one(launch, system):
    functions = {(contract, function, role) for contract, function, role, _ in documented_rows("Functions")}
    assert functions == {
        (contract, function, ROLE_NAMES[role])
        for contract, table in RESTRICTED.items()
        for function, role in table.items()
    }
    people = launch.people
    names = {people.publisher: "publisher", people.moderator: "moderator", people.guardian: "guardian"}
    names |= {system.TimelockController.address: "Timelock", system.Storefront.address: "Storefront"}
    documented = {
        (role, holder.strip()) for role, holders, _ in documented_rows("Roles") for holder in holders.split(",")
    }
    assert documented == {(ROLE_NAMES[role], names[account]) for role, account in members(launch, system)}


EMPTY = {"address": ZERO, "bool": False, "string": "", "bytes": b""}


def dummy(entry):
    """An argument of a type: zero, or empty."""
    kind = entry["type"]
    if kind.endswith("]"):
        return []
    if kind == "tuple":
        return tuple(dummy(component) for component in entry["components"])
    if kind.startswith("bytes") and kind != "bytes":
        return b"\0" * int(kind[5:])
    return EMPTY.get(kind, 0)


def calldata(contract, function, *arguments):
    """A call with dummies, if no arguments are given."""
    entry = next(e for e in contract.abi if e["type"] == "function" and e["name"] == function)
    return getattr(contract, function).encode_input(*(arguments or map(dummy, entry["inputs"])))


def outcome(account, contract, data):
    """Selector of the error that a call from an account ends with; None if it goes through."""
    call = {"from": str(account), "to": contract.address, "data": data}
    answer = web3.provider.make_request("eth_call", [call, "latest"])
    return answer["error"]["data"][:10] if "error" in answer else None


def selector(signature):
    return "0x" + web3.keccak(text=signature)[:4].hex()


UNAUTHORIZED = selector("AccessManagedUnauthorized(address)")
MANAGER_UNAUTHORIZED = selector("AccessManagerUnauthorizedAccount(address,uint64)")
TIMELOCK_UNAUTHORIZED = selector("AccessControlUnauthorizedAccount(address,bytes32)")
TIMELOCK_ONLY_ITSELF = selector("TimelockUnauthorizedCaller(address)")
GOVERNOR_ONLY_EXECUTOR = selector("GovernorOnlyExecutor(address)")


def everybody(system, launch):
    people = launch.people
    return {
        "deployer": keys.dev_account(0).address,
        "publisher": people.publisher,
        "moderator": people.moderator,
        "guardian": people.guardian,
        "founder": people.founders[0],
        "voter": next(iter(people.voters)),
        "stranger": accounts[9].address,
        "Governor": system.TroupeGovernor.address,
        "Timelock": system.TimelockController.address,
        "Storefront": system.Storefront.address,
    }


def something_to_mint(system, author):
    """Arguments that the functions which mint of a work need before they ask who calls."""
    work = registered(system.WorkRegistry, author)
    kind, item = class_created(system.Characters, work, author), item_created(system.Items, work, author)
    return {
        ("Characters", "mint"): (author, kind, CID),
        ("Items", "mint"): (author, item, 1),
        ("Items", "mintBatch"): (author, [item], [1]),
    }


def test_v7_each_restricted_function_obeys_its_role_and_nobody_else(system, launch):
    """Cases 49 and 70: every restricted function tried from everybody, 10 accounts."""
    arguments = something_to_mint(system, accounts[8])
    held = {}
    for role, account in members(launch, system):
        held.setdefault(role, set()).add(account)
    tried = 0
    for name, functions in RESTRICTED.items():
        contract = system.contracts[name]
        for function, role in functions.items():
            data = calldata(contract, function, *arguments.get((name, function), ()))
            for who, account in everybody(system, launch).items():
                refused = outcome(account, contract, data) == UNAUTHORIZED
                assert refused == (account not in held[role]), f"{name}.{function} by the {who}"
                tried += 1
    assert tried == sum(map(len, RESTRICTED.values())) * 10


@pytest.mark.feature("O2", via="chain")
def test_v7_storefront_mints_what_it_sells_while_it_has_the_role_and_never_tokens(system, launch, timelock):
    """First sales through the deployed contracts; a vote that takes the role away ends them, and nothing else does."""
    author, buyer, store = accounts[8], accounts[9], system.Storefront
    work = registered(system.WorkRegistry, author)
    kind, item = class_created(system.Characters, work, author), item_created(system.Items, work, author)
    for what, asset in ((EDITION, item), (CHARACTER, kind)):
        store.list(listing(what, asset, 1_000), {"from": author})
    buy = lambda offer: store.buy(offer, 2, 2_000, buyer, REF, {"from": buyer, "value": 2_000})  # noqa: E731
    buy(1)
    buy(2)
    assert (system.Items.balanceOf(buyer, item), system.Characters.balanceOf(buyer)) == (2, 2)
    assert counters(system.RevenueLedger, work, ZERO)[0] == 4_000 - 4_000 * launch.fee_bps // 10_000
    assert store.balance() == 0
    mint = calldata(system.TroupeToken, "mint", store, 1)
    assert outcome(store, system.TroupeToken, mint) == UNAUTHORIZED
    system.AccessManager.revokeRole(SELLER, store, {"from": timelock})
    for offer in (1, 2):
        with reverts("AccessManagedUnauthorized", store):
            buy(offer)


def test_v7_no_restricted_function_is_reached_through_the_forwarder(system, launch):
    """Case 49 by ERC-2771: every restricted function, called by the forwarder in the name of everybody."""
    arguments = something_to_mint(system, accounts[8])
    forwarder = system.SessionForwarder.address
    for name, functions in RESTRICTED.items():
        contract = system.contracts[name]
        for function in functions:
            for who, account in everybody(system, launch).items():
                data = calldata(contract, function, *arguments.get((name, function), ())) + str(account)[2:]
                assert outcome(forwarder, contract, data) == UNAUTHORIZED, f"{name}.{function} for the {who}"


@pytest.mark.parametrize(
    ("contract", "function", "errors"),
    [
        *(
            ("AccessManager", function, {MANAGER_UNAUTHORIZED})
            for function in (
                "labelRole",
                "grantRole",
                "revokeRole",
                "setRoleAdmin",
                "setRoleGuardian",
                "setGrantDelay",
                "setTargetFunctionRole",
                "setTargetAdminDelay",
                "setTargetClosed",
                "updateAuthority",
            )
        ),
        *(
            ("TimelockController", function, {TIMELOCK_UNAUTHORIZED, TIMELOCK_ONLY_ITSELF})
            for function in ("schedule", "scheduleBatch", "cancel", "grantRole", "revokeRole", "updateDelay")
        ),
        *(
            ("TroupeGovernor", function, {GOVERNOR_ONLY_EXECUTOR})
            for function in (
                "setVotingDelay",
                "setVotingPeriod",
                "setProposalThreshold",
                "updateQuorumNumerator",
                "setLateQuorumVoteExtension",
                "setProposalGuardian",
                "updateTimelock",
                "relay",
            )
        ),
        *((name, "setAuthority", {UNAUTHORIZED}) for name in RESTRICTED),
    ],
)
def test_v7_deployer_and_everybody_else_can_change_no_authority(system, launch, contract, function, errors):
    """Cases 46 and 70."""
    target = system.contracts[contract]
    data = calldata(target, function)
    may = {
        "AccessManager": {"Timelock"},
        "TimelockController": {"Governor", "Timelock"},
        "TroupeGovernor": {"Timelock"},
    }
    for who, account in everybody(system, launch).items():
        if who not in may.get(contract, set()):
            assert outcome(account, target, data) in errors, f"{contract}.{function} by the {who}"


def test_v7_nobody_can_renounce_for_another(system, launch, timelock):
    manager = system.AccessManager
    with reverts("AccessManagerBadConfirmation"):
        manager.renounceRole(ADMIN, timelock, {"from": accounts[0]})
    with reverts("AccessControlBadConfirmation"):
        system.TimelockController.renounceRole(b"\0" * 32, timelock, {"from": accounts[0]})


# -------------------------------------------------------------------------------------------------- drift is found


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("parameters", "feeBps"), 251, "feeBps is 250, the manifest says 251"),
        (("parameters", "royaltyBps"), 1, "royaltyBps"),
        (("parameters", "disputeBond"), "1", "disputeBond"),
        (("parameters", "contractUri"), "other", "WorkRegistry.contractURI"),
        (("parameters", "charactersUri"), "other", "Characters.contractURI"),
        (("parameters", "traitsUri"), "other", "Characters.getTraitMetadataURI"),
        (("parameters", "governance", "votingDelay"), 1, "votingDelay"),
        (("parameters", "governance", "votingPeriod"), 1, "votingPeriod"),
        (("parameters", "governance", "proposalThreshold"), "1", "proposalThreshold"),
        (("parameters", "governance", "quorumPercent"), 5, "quorumNumerator"),
        (("parameters", "governance", "lateQuorumExtension"), 1, "lateQuorumVoteExtension"),
        (("parameters", "governance", "timelockDelay"), 1, "the Timelock's delay"),
        (("parameters", "rewards", "genesis"), 1, "the rewards' genesis"),
        (("parameters", "rewards", "windowSeconds"), 1, "the rewards' window"),
        (("parameters", "rewards", "publisherBond"), "1", "the rewards' publisherBond"),
        (("parameters", "rewards", "caps", ZERO, "epoch"), "1", "the epoch's cap of the native coin"),
        (("parameters", "platformSplit", "leaves", 0, "weight"), "500001", "the root of the platform's split"),
        (("parameters", "token", "cap"), "1", "TroupeToken.cap"),
        (("parameters", "wallets", "start"), 1, "start of the wallet"),
        (("contracts", "RevenueLedger", "codeHash"), "0x00", "RevenueLedger: the code"),
        (("contracts", "RevenueLedger", "abiHash"), "0x00", "RevenueLedger: the committed ABI"),
        (("contracts", "Characters", "codeHash"), "0x00", "Characters: the code"),
        (("contracts", "Items", "codeHash"), "0x00", "Items: the code"),
        (("contracts", "Storefront", "codeHash"), "0x00", "Storefront: the code"),
        (("contracts", "TroupeToken", "address"), "0x" + "11" * 20, "TroupeToken: there is no contract"),
        (("chainId",), 1, "the manifest is for chain 1"),
        (("genesisHash",), "0x00", "the chain's first block is another one"),
    ],
)
def test_verify_names_a_manifest_that_differs(stated, path, value, named):
    changed = copy.deepcopy(stated)
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    assert any(named in line for line in differences(changed)), differences(changed)


def set_role(system, contract, function, role, by):
    target = system.contracts[contract]
    selectors = [getattr(target, function).signature if hasattr(target, function) else function]
    system.AccessManager.setTargetFunctionRole(target, selectors, role, by)


DRIFTS = {
    "a new admin": (
        lambda s, by: s.AccessManager.grantRole(ADMIN, accounts[9], 0, by),
        "has role ADMIN and should not",
    ),
    "a second publisher": (
        lambda s, by: s.AccessManager.grantRole(PUBLISHER, accounts[9], 0, by),
        "has role PUBLISHER and should not",
    ),
    "an unknown role": (
        lambda s, by: s.AccessManager.grantRole(77, accounts[9], 0, by),
        "has role 77 and should not",
    ),
    "no moderator": (
        lambda s, by: s.AccessManager.revokeRole(MODERATOR, accounts[2], by),
        "lacks role MODERATOR",
    ),
    "another may mint": (
        lambda s, by: set_role(s, "TroupeToken", "mint", PUBLISHER, by),
        "TroupeToken.mint is for role PUBLISHER, not MINTER",
    ),
    "the storefront may mint tokens": (
        lambda s, by: s.AccessManager.grantRole(MINTER, s.Storefront, 0, by),
        "has role MINTER and should not",
    ),
    "a second seller": (
        lambda s, by: s.AccessManager.grantRole(SELLER, accounts[9], 0, by),
        "has role SELLER and should not",
    ),
    "no storefront": (
        lambda s, by: s.AccessManager.revokeRole(SELLER, s.Storefront, by),
        "lacks role SELLER",
    ),
    "anybody may mint items": (
        lambda s, by: set_role(s, "Items", "mintBatch", 2**64 - 1, by),
        f"Items.mintBatch is for role {2**64 - 1}, not SELLER",
    ),
    "a platform": (
        lambda s, by: s.Characters.setPlatform(GAME, accounts[9], by),
        f"platform 0x{GAME.hex()} of Characters has the key",
    ),
    "other characters' metadata": (
        lambda s, by: s.Characters.setContractURI("ipfs://other", by),
        "Characters.contractURI is ipfs://other",
    ),
    "other traits": (
        lambda s, by: s.Characters.setTraitMetadataURI("ipfs://other", by),
        "Characters.getTraitMetadataURI is ipfs://other",
    ),
    "an unknown function": (
        lambda s, by: set_role(s, "RevenueLedger", "0x12345678", MINTER, by),
        "function 0x12345678 of RevenueLedger",
    ),
    "a closed contract": (
        lambda s, by: s.AccessManager.setTargetClosed(s.RevenueLedger, True, by),
        "RevenueLedger is closed",
    ),
    "a role's admin": (
        lambda s, by: s.AccessManager.setRoleAdmin(GUARDIAN, PUBLISHER, by),
        "RoleAdminChanged",
    ),
    "a role's guardian": (
        lambda s, by: s.AccessManager.setRoleGuardian(PUBLISHER, GUARDIAN, by),
        "RoleGuardianChanged",
    ),
    "another authority": (
        lambda s, by: s.AccessManager.updateAuthority(s.RevenueLedger, s.TroupeToken, by),
        "instead of the AccessManager",
    ),
    "a new proposer": (
        lambda s, by: s.TimelockController.grantRole(s.TimelockController.PROPOSER_ROLE(), accounts[9], by),
        "has role PROPOSER_ROLE and should not",
    ),
    "another fee": (
        lambda s, by: s.RevenueLedger.setFeeBps(300, by),
        "feeBps is 300, the manifest says 250",
    ),
    "a token taken off": (
        lambda s, by: s.RevenueLedger.setTokenAllowed(s.MockUSD, False, by),
        "mUSD allowed is False",
    ),
}
"""What could be changed behind the manifest's back, and what verify must call it."""


@pytest.mark.parametrize("drift", DRIFTS)
def test_v7_verify_names_what_changed_on_the_chain(system, stated, timelock, drift):
    change, named = DRIFTS[drift]
    change(system, {"from": timelock})
    found = differences(stated)
    assert any(named in line for line in found), found


def test_verify_names_another_forwarder(stated, sender):
    """A registry and a storefront that obey a forwarder which the manifest doesn't name."""
    other = loaded()["SessionForwarder"].deploy({"from": accounts[9]})
    trusted = stated["contracts"]["SessionForwarder"]["address"]
    assert differences(with_another(stated, "SessionForwarder", other)) == [
        f"{name}.trustedForwarder is {trusted}, the manifest says {other.address}"
        for name in ("WorkRegistry", "Storefront")
    ]


def with_another(stated, name, contract):
    """The manifest, but for the address and the code of one contract."""
    changed = copy.deepcopy(stated)
    entry = {"address": contract.address, "codeHash": manifest.code_hash(web3, contract.address)}
    changed["contracts"][name] |= entry
    return changed


def test_verify_names_a_storefront_that_sells_something_else(system, stated):
    """Collections of the same registry that the manifest names, but that are not the storefront's."""
    registry, manager, by = system.WorkRegistry, system.AccessManager, {"from": accounts[9]}
    items = loaded()["Items"].deploy(manager, registry, by)
    found = differences(with_another(stated, "Items", items))
    assert f"Storefront.items is {system.Items.address}, the manifest says {items.address}" in found
    characters = loaded()["Characters"].deploy(manager, registry, "", "", by)
    found = differences(with_another(stated, "Characters", characters))
    assert f"Storefront.characters is {system.Characters.address}, the manifest says {characters.address}" in found
    assert "Characters.mint is for role ADMIN, not SELLER" in found


def test_v7_verify_names_no_platform_that_was_removed(system, stated, timelock):
    for key in (accounts[9], ZERO):
        system.Characters.setPlatform(GAME, key, {"from": timelock})
    assert differences(stated) == []


def test_traits_are_described_in_the_manifest(system, stated):
    """ERC-7496: the metadata names a trait by the text whose hash is its key."""
    described = json.loads(stated["parameters"]["traitsUri"].partition(",")[2])["traits"]
    assert {web3.keccak(text=name) for name in described} == {bytes(system.Characters.CHECKED_IN())}


def test_verify_names_other_code(system, stated):
    web3.provider.make_request("anvil_setCode", [system.RevenueLedger.address, "0x6001"])
    assert differences(stated) == [
        f"RevenueLedger: the code at {system.RevenueLedger.address} is not what was deployed"
    ]


# ------------------------------------------------------------------------------------------------------- first day


def test_v7_day_one_founders_alone_reach_the_quorum_and_nobody_else_can(system, launch):
    """Case 86, computed from the deployment: who can propose, vote and rule on the first day, and why.

    The development voters stand for holders that a launch does not have; without them nobody but the founders proposes.
    """
    token, governor = system.TroupeToken, system.TroupeGovernor
    quorum = token.totalSupply() * governor.quorumNumerator() // governor.quorumDenominator()
    threshold = governor.proposalThreshold()
    for founder, wallet in zip(launch.people.founders, system.founder_wallets, strict=True):
        bind("VotingVestingWallet", wallet, loaded()["VotingVestingWallet"].abi).delegate(
            token, founder, {"from": accounts.at(founder)}
        )
    founders = sum(token.getVotes(founder) for founder in launch.people.founders)
    assert founders == 40_000_000 * TRP
    assert all(token.getVotes(founder) >= threshold for founder in launch.people.founders)
    assert founders >= quorum == 16_000_000 * TRP
    assert token.balanceOf(launch.people.publisher) < threshold  # can't propose
    silent = token.balanceOf(system.treasury_wallet) + token.balanceOf(system.RewardDistributor)
    voters = sum(launch.people.voters.values())
    assert silent + founders + voters + token.balanceOf(launch.people.publisher) == token.totalSupply()
    # Rewards come out at 3.2 million an epoch at most: only after 5 epochs can their receivers reach the quorum alone,
    # and only after 13 outvote the founders.
    a_week = launch.rewards.epoch_cap
    assert 4 * a_week < quorum <= 5 * a_week
    assert 12 * a_week < founders <= 13 * a_week


def accept(system, launch, *calls):
    """Bring calls through a vote of the founders and into the Timelock; the proposal and what executes it."""
    governor, founder = system.TroupeGovernor, accounts.at(launch.people.founders[0])
    wallet = bind("VotingVestingWallet", system.founder_wallets[0], loaded()["VotingVestingWallet"].abi)
    wallet.delegate(system.TroupeToken, founder, {"from": founder})
    mine_at(now() + 1)
    order = ([target.address for target, _ in calls], [0] * len(calls), [data for _, data in calls])
    tx = governor.propose(*order, "A vote", {"from": founder})
    proposal = tx.events["ProposalCreated"]["proposalId"]
    mine_at(governor.proposalSnapshot(proposal) + 1)
    governor.castVote(proposal, FOR, {"from": founder})
    mine_at(governor.proposalDeadline(proposal) + 1)
    order = (*order, web3.keccak(text="A vote"))
    governor.queue(*order, {"from": accounts[9]})
    return proposal, order


def executed(system, launch, *calls):
    """The block in which calls that a vote accepted were executed."""
    proposal, order = accept(system, launch, *calls)
    next_block_at(system.TroupeGovernor.proposalEta(proposal))
    return system.TroupeGovernor.execute(*order, {"from": accounts[9]}).block_number


VOTES = {
    "the fee": (
        lambda s: (s.RevenueLedger, s.RevenueLedger.setFeeBps.encode_input(300)),
        "feeBps is 300, the manifest says 250",
    ),
    "the royalty": (
        lambda s: (s.WorkRegistry, s.WorkRegistry.setRoyaltyBps.encode_input(700)),
        "royaltyBps is 700",
    ),
    "the dispute's bond": (
        lambda s: (s.WorkStanding, s.WorkStanding.setBond.encode_input(TRP)),
        f"disputeBond is {TRP}",
    ),
    "the contract's metadata": (
        lambda s: (s.WorkRegistry, s.WorkRegistry.setContractURI.encode_input("ipfs://other")),
        "WorkRegistry.contractURI is ipfs://other",
    ),
    "the characters' metadata": (
        lambda s: (s.Characters, s.Characters.setContractURI.encode_input("ipfs://other")),
        "Characters.contractURI is ipfs://other",
    ),
    "the traits": (
        lambda s: (s.Characters, s.Characters.setTraitMetadataURI.encode_input("ipfs://other")),
        "Characters.getTraitMetadataURI is ipfs://other",
    ),
    "a platform": (
        lambda s: (s.Characters, s.Characters.setPlatform.encode_input(GAME, accounts[9])),
        f"platform 0x{GAME.hex()} of Characters has the key",
    ),
    "no storefront": (
        lambda s: (s.AccessManager, s.AccessManager.revokeRole.encode_input(SELLER, s.Storefront)),
        "lacks role SELLER",
    ),
    "a token": (
        lambda s: (s.RevenueLedger, s.RevenueLedger.setTokenAllowed.encode_input(s.MockUSD, False)),
        "mUSD allowed is False",
    ),
    "the quorum": (
        lambda s: (s.TroupeGovernor, s.TroupeGovernor.updateQuorumNumerator.encode_input(5)),
        "quorumNumerator is 5",
    ),
    "the Timelock's delay": (
        lambda s: (s.TimelockController, s.TimelockController.updateDelay.encode_input(3 * DAY)),
        "the Timelock's delay is 259200",
    ),
    "the proposal guardian": (
        lambda s: (s.TroupeGovernor, s.TroupeGovernor.setProposalGuardian.encode_input(accounts[9])),
        "TroupeGovernor.proposalGuardian is ",
    ),
    "a publisher": (
        lambda s: (s.AccessManager, s.AccessManager.grantRole.encode_input(PUBLISHER, accounts[9], 0)),
        "has role PUBLISHER and should not",
    ),
    "no moderator": (
        lambda s: (s.AccessManager, s.AccessManager.revokeRole.encode_input(MODERATOR, accounts[2])),
        "lacks role MODERATOR",
    ),
    "a function's role": (
        lambda s: (
            s.AccessManager,
            s.AccessManager.setTargetFunctionRole.encode_input(s.TroupeToken, [s.TroupeToken.mint.signature], ADMIN),
        ),
        "TroupeToken.mint is for role ADMIN, not MINTER",
    ),
}
"""What one vote may change, and what verify must call it."""


def test_v7_verify_sets_apart_what_a_vote_has_changed(system, launch, stated):
    block = executed(system, launch, *(call(system) for call, _ in VOTES.values()))
    found = compare(web3, stated, loaded(), bind)
    assert found.drift == []
    for what, (_, named) in VOTES.items():
        (line,) = [line for line in found.voted if named in line]
        assert line.endswith(f": changed by vote, block {block}"), what
    assert len(found.voted) == len(VOTES)


def test_v7_verify_calls_drift_what_changed_beside_a_vote(system, launch, stated, timelock):
    """A vote on one thing, or on the same thing before, excuses nothing that nobody voted on."""
    ledger = system.RevenueLedger
    executed(system, launch, (ledger, ledger.setFeeBps.encode_input(300)))
    system.WorkRegistry.setRoyaltyBps(700, {"from": timelock})
    found = compare(web3, stated, loaded(), bind)
    assert [line.partition(" ")[0] for line in found.drift] == ["royaltyBps"]
    assert len(found.voted) == 1
    ledger.setFeeBps(400, {"from": timelock})
    found = compare(web3, stated, loaded(), bind)
    assert [line.partition(" ")[0] for line in found.drift] == ["feeBps", "royaltyBps"]
    assert found.voted == []


def test_verify_calls_drift_a_manifest_that_was_never_true(system, launch, stated):
    """A vote explains the chain's value; a manifest with a value that never stood on the chain is still wrong."""
    ledger = system.RevenueLedger
    executed(system, launch, (ledger, ledger.setFeeBps.encode_input(300)))
    found = compare(web3, stated | {"parameters": stated["parameters"] | {"feeBps": 123}}, loaded(), bind)
    assert (found.drift, found.voted) == (["feeBps is 300, the manifest says 123"], [])


@pytest.mark.feature("G2", via="chain")
def test_a_vote_changes_the_fee_and_the_next_payment_uses_it(system, launch):
    """From the proposal to the payment without a human in between: anybody queues and executes."""
    governor, ledger = system.TroupeGovernor, system.RevenueLedger
    proposal, order = accept(system, launch, (ledger, ledger.setFeeBps.encode_input(300)))
    next_block_at(governor.proposalEta(proposal) - 1)
    with reverts("TimelockUnexpectedOperationState"):
        governor.execute(*order, {"from": accounts[9]})
    assert ledger.feeBps() == 250
    next_block_at(governor.proposalEta(proposal))
    governor.execute(*order, {"from": accounts[9]})
    assert ledger.feeBps() == 300


@pytest.mark.feature("R6", via="chain")
def test_v4_platform_income_flows_to_the_rewards_and_to_a_claim(system, launch):
    """Case 63: work 0 is paid in native coin, its split pays the distributor, a root and a claim give it on."""
    ledger, distributor = system.RevenueLedger, system.RewardDistributor
    payer, person, publisher = accounts[9], accounts[8], accounts.at(launch.people.publisher)
    ledger.payNative(0, 5, b"\0" * 32, {"from": payer, "value": 1_000})
    left = {"from": payer}
    split = ledger.splitOf(0, 1)
    assert split["totalWeight"] == 1_000_000
    timelock_leaf = split_leaf(*system.platform_leaves[0])
    ledger.withdraw((0, 1, ZERO, distributor.address, 500_000, 1), [timelock_leaf], left)
    assert distributor.fundedOf(ZERO) == 500
    tree = RewardTree(distributor, ZERO, {person: 25})
    distributor.propose(ZERO, tree.root, tree.total, DIGEST, LOG_ROOT, {"from": publisher})
    mine_at(now() + 2 * DAY)
    distributor.finalize(ZERO, left)
    before = person.balance()
    distributor.claim(*tree.claim(person), left)
    assert person.balance() == before + 25
    assert distributor.balance() == distributor.fundedOf(ZERO) == 475


def split_leaf(account, weight):
    from backend.rewards.merkle import leaf_split  # noqa: PLC0415  # beside its one use

    return tuple(leaf_split(account, weight))


# ---------------------------------------------------------------------------------------------------- keys and plans


def nobody(question):
    """Nobody answers."""
    raise EOFError


def test_development_keys_are_refused_off_the_development_chain(tmp_path):
    with pytest.raises(keys.KeyRefused, match="chain 1 is not the development chain"):
        keys.deployer(1, {})
    encrypted, password = tmp_path / "key.json", tmp_path / "password"
    password.write_text("secret\n")
    encrypted.write_text(json.dumps(Account.encrypt(keys.dev_account(3).key, "secret", iterations=2)))
    environment = {"TROUPE_KEYSTORE": str(encrypted), "TROUPE_KEYSTORE_PASSWORD_FILE": str(password)}
    with pytest.raises(keys.KeyRefused, match="is a development account, whose key everybody knows"):
        keys.deployer(1, environment)
    own = Account.create()
    encrypted.write_text(json.dumps(Account.encrypt(own.key, "secret", iterations=2)))
    assert keys.deployer(1, environment).address == own.address
    password.write_text("wrong\n")
    with pytest.raises(keys.KeyRefused, match="is not a key file that this password opens"):
        keys.deployer(1, environment)
    with pytest.raises(keys.KeyRefused, match="can't read"):
        keys.deployer(1, environment | {"TROUPE_KEYSTORE": str(tmp_path / "none")})
    del environment["TROUPE_KEYSTORE_PASSWORD_FILE"]
    assert keys.deployer(1, environment, ask=lambda question: "secret").address == own.address
    with pytest.raises(keys.KeyRefused, match="nobody is there to be asked"):
        keys.deployer(1, environment, ask=nobody)


def test_development_chain_uses_the_phrase_s_first_account():
    assert keys.deployer(31337, {}).address == accounts[0].address
    assert keys.dev_addresses(10) == [account.address for account in list(accounts)[:10]]


def config(tmp_path, **changes):
    people = [Account.create().address for _ in range(4)]
    roles = dict(zip(("publisher", "moderator", "guardian"), people, strict=False)) | {"founders": people[3:]}
    path = tmp_path / "network.json"
    path.write_text(json.dumps({"network": "sepolia", "people": roles} | changes))
    return {"TROUPE_DEPLOY_CONFIG": str(path)}


def test_other_networks_are_planned_by_a_file(tmp_path):
    made = plan_for(11155111, config(tmp_path, fee_bps=100, rewards={"window": 3 * DAY}, tokens={}))
    assert (made.network, made.fee_bps, made.rewards.window) == ("sepolia", 100, 3 * DAY)
    assert made.rewards.publisher_bond == 10_000 * TRP
    assert made.people.voters == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fee": 1}, "unknown keys in 'configuration': fee"),
        ({"rewards": {"windw": 1}}, "unknown keys in 'rewards': windw"),
        ({"people": {"publisher": "0x"}}, "lacks 'moderator'"),
        ({"network": "development"}, "is the network of chain 31337"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path, changes, message):
    with pytest.raises(PlanError, match=re.escape(message)):
        plan_for(1, config(tmp_path, **changes))


def test_a_missing_configuration_is_refused(tmp_path):
    with pytest.raises(Refused, match="chain 1 needs TROUPE_DEPLOY_CONFIG"):
        plan_for(1, {})
    with pytest.raises(PlanError, match="is not a readable JSON file"):
        plan_for(1, {"TROUPE_DEPLOY_CONFIG": str(tmp_path / "none")})


def test_development_people_are_refused_elsewhere(tmp_path):
    environment = config(tmp_path)
    path = tmp_path / "network.json"
    given = json.loads(path.read_text())
    given["people"]["guardian"] = keys.dev_account(7).address
    path.write_text(json.dumps(given))
    with pytest.raises(keys.KeyRefused, match="development account"):
        plan_for(1, environment)


def test_supply_that_does_not_add_up_is_refused(launch):
    for token in (plan.Token(treasury_bps=4_999), plan.Token(publisher=300_000_000 * TRP)):
        with pytest.raises(PlanError):
            Plan(network="main", people=launch.people, token=token).allocations()


def test_created_addresses_are_those_of_the_known_example():
    """The example that every client's tests carry: the first four contracts of 0x6ac7ea33..."""
    maker = "0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0"
    assert [created_address(maker, nonce).lower() for nonce in range(4)] == [
        "0xcd234a471b72ba2f1ccf0a70fcaba648a5eecd8d",
        "0x343c43a37d37dff08ae8c4a11544c718abb4fcf8",
        "0xf778b86fa74e846c4f0a1fbd1335fe81c00a0c91",
        "0xfffd933a0bc612844eaf0c6fe3e5b8e9b6c1d19c",
    ]


def test_a_step_that_would_fail_is_named(system):
    with pytest.raises(SendError, match="setting the fee would fail"):
        Sender(web3, keys.dev_account(9)).send(
            "setting the fee",
            to=system.RevenueLedger.address,
            data=system.RevenueLedger.setFeeBps.encode_input(1),
        )


def test_a_transaction_that_never_arrives_is_named(monkeypatch):
    monkeypatch.setattr(sending, "RECEIPT_TIMEOUT_S", 0)
    with pytest.raises(SendError, match=r"a gift: transaction .* is not mined after 0 s"):
        Sender(web3, keys.dev_account(9)).send("a gift", to=accounts[8].address, data="0x", value=1)


def test_roles_are_the_governors(system):
    assert system.TroupeGovernor.GUARDIAN_ROLE() == GUARDIAN
    with pytest.raises(VirtualMachineError):
        system.AccessManager.labelRole(ADMIN, "x", {"from": accounts[0]})


# ------------------------------------------------------------------------------------ broken off, rehearsed, confirmed


class Killed(BaseException):
    """The process ends here; nothing catches it."""


class Mortal(Sender):
    """A sender that dies at the first step that nobody has begun: with it noted and not sent, or sent and not noted as
    mined."""

    sends_it = False
    doomed = False

    def _signed(self, *args, **fields):
        self.doomed = True
        return super()._signed(*args, **fields)

    def _broadcast(self, step):
        if not self.doomed or self.sends_it:
            super()._broadcast(step)
        if self.doomed:
            raise Killed


def fresh(tmp_path, name="deployment"):
    """A run on the development chain that keeps its files in a folder of its own."""
    return Run.prepared({"TROUPE_DEPLOYMENT": str(tmp_path / f"{name}.json")})


@pytest.mark.slow
def test_a_deployment_killed_at_each_step_deploys_nothing_twice(tmp_path):
    account, killed, bound = keys.dev_account(0), 0, {}

    def bound_once(name, address, abi):
        return bound[address] if address in bound else bound.setdefault(address, bind(name, address, abi))

    first = web3.eth.get_transaction_count(account.address)
    while True:
        run = fresh(tmp_path)
        run.contract_at = bound_once  # else most of the time goes into reading the same ABIs
        mortal = Mortal(web3, account, run.sender.journal)
        mortal.sends_it = bool(killed % 2)
        try:
            stated = run.carried_out(mortal)
            break
        except Killed:
            killed += 1
    steps = run.sender.journal.steps
    assert killed == len(steps) > 40
    assert [step.nonce for step in steps] == list(range(first, web3.eth.get_transaction_count(account.address)))
    assert differences(stated) == []


def broken_off(tmp_path, steps):
    """The journal of a deployment that was broken off after so many steps."""
    run = fresh(tmp_path)
    sender = run.sender

    def stop(*args, **fields):
        if len(sender.journal.steps) == steps:
            raise Killed
        return Sender._signed(sender, *args, **fields)

    sender._signed = stop
    with pytest.raises(Killed):
        run.carried_out(sender)
    return sender.journal


def test_a_broken_deployment_goes_on_with_what_it_began_or_not_at_all(tmp_path):
    broken_off(tmp_path, 8)
    other = fresh(tmp_path)
    other.plan = replace(other.plan, token=plan.Token(name="Other"))
    with pytest.raises(SendError, match="contracts or configuration have changed"):
        other.carried_out(other.sender)
    forged = fresh(tmp_path)
    forged.sender._known[0] = replace(forged.sender._known[0], hash=forged.sender._known[1].hash)
    with pytest.raises(SendError, match="was changed at deploying"):
        forged.carried_out(forged.sender)
    with pytest.raises(JournalError, match="on another chain or by another account"):
        Journal.opened(tmp_path / "deployment.journal", {"chainId": 1}, 0, 0)
    accounts[0].transfer(accounts[1], 1)
    with pytest.raises(SendError, match="has sent something else since the deployment began"):
        fresh(tmp_path)


def test_a_rehearsal_sends_nothing_and_foretells_every_step(tmp_path):
    run, before = fresh(tmp_path), web3.eth.block_number
    rehearsal = run.rehearsed()
    assert web3.eth.block_number == before
    assert not list(tmp_path.iterdir())
    shown = forecast(run, rehearsal)
    assert shown.count(" gas\n") == len(rehearsal.steps) > 40
    assert f"{len(rehearsal.steps)} transactions, {rehearsal.gas:,} gas" in shown
    run.carried_out(run.sender)
    assert [what for what, _ in run.sender.sent] == [what for what, _ in rehearsal.steps]
    assert run.sender.gas_used == rehearsal.gas


@pytest.mark.slow
def test_a_rehearsal_of_a_broken_deployment_foretells_the_rest(tmp_path):
    journal = broken_off(tmp_path, 20)
    run = fresh(tmp_path)
    rehearsal = run.rehearsed()
    shown = forecast(run, rehearsal)
    assert "20 steps are done already" in shown
    assert f"   21  {rehearsal.steps[0][0]}" in shown
    assert len(run.carried_out(run.sender)["contracts"]) == len(CONTRACTS)
    assert [what for what, _ in rehearsal.steps] == [what for what, _ in run.sender.sent]
    assert journal.steps == run.sender.journal.steps[:20]


def test_nothing_is_spent_unconfirmed_or_without_coins(tmp_path):
    run = fresh(tmp_path)
    costly = Rehearsal([("deploying", 1_000_000)], Prices(10**9, 2 * 10**9), 10**18)
    confirm(run, costly, ask=lambda question: "development\n")
    for answer in ("", "yes", "sepolia"):
        with pytest.raises(Refused, match="nothing was sent"):
            confirm(run, costly, ask=lambda question, answer=answer: answer)
    with pytest.raises(Refused, match="nobody is there to confirm it"):
        confirm(run, costly, ask=nobody)
    with pytest.raises(Refused, match=r"has 0.002400 ETH|may need 0.002400 ETH"):
        confirm(run, costly._replace(balance=costly.most - 1), ask=nobody)
