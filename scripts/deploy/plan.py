"""What a deployment is made of: parameters at launch, roles, and who may call what. Pure data; standard library only.

Amounts are base units, times are seconds. The defaults are those of docs/contracts.md; a network other than the
development chain may override any of them in its own file (TROUPE_DEPLOY_CONFIG, see `load`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

DEVELOPMENT_CHAIN = 31337
DEVELOPMENT = "development"
"""Name of the network of the development chain; nothing else may have it."""
ZERO_ADDRESS = "0x" + "00" * 20
NATIVE = ZERO_ADDRESS
DAY = 86_400
YEAR = 365 * DAY
TRP = 10**18

ADMIN, PUBLISHER, MINTER, MODERATOR, GUARDIAN, SELLER = range(6)
"""Role ids in the AccessManager. TroupeGovernor.GUARDIAN_ROLE must equal GUARDIAN. SELLER is apart from MINTER, so that
what sells characters and items never mints tokens."""

ROLE_NAMES = {
    ADMIN: "ADMIN",
    PUBLISHER: "PUBLISHER",
    MINTER: "MINTER",
    MODERATOR: "MODERATOR",
    GUARDIAN: "GUARDIAN",
    SELLER: "SELLER",
}

RESTRICTED: Mapping[str, Mapping[str, int]] = {
    "TroupeToken": {"mint": MINTER},
    "WorkRegistry": {
        "setStatus": MODERATOR,
        "correctAiLabel": MODERATOR,
        "revoke": ADMIN,
        "setRoyaltyBps": ADMIN,
        "setContractURI": ADMIN,
        "signal": ADMIN,
    },
    "WorkStanding": {
        "uphold": ADMIN,
        "dismiss": ADMIN,
        "setBond": ADMIN,
    },
    "RevenueLedger": {
        "freeze": MODERATOR,
        "pause": GUARDIAN,
        "unpause": ADMIN,
        "setFeeBps": ADMIN,
        "setTokenAllowed": ADMIN,
        "replaceSplit": ADMIN,
    },
    "Characters": {
        "mint": SELLER,
        "setPlatform": ADMIN,
        "setContractURI": ADMIN,
        "setTraitMetadataURI": ADMIN,
    },
    "Items": {"mint": SELLER, "mintBatch": SELLER},
    "RewardDistributor": {
        "propose": PUBLISHER,
        "kill": GUARDIAN,
        "resolve": ADMIN,
        "setCaps": ADMIN,
        "setParameters": ADMIN,
        "sweep": ADMIN,
    },
}
"""Every restricted function of every contract, and the one role that may call it. ADMIN is the Timelock alone. What is
minted of a work is its owner's to mint too, or a platform's (docs/contracts.md)."""


def expected_members(manifest: Mapping[str, Any]) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """(role, address) of everybody who has a role in the AccessManager, and in the Timelock, by a manifest."""
    people = manifest["parameters"]["people"]
    timelock = manifest["contracts"]["TimelockController"]["address"]
    governor = manifest["contracts"]["TroupeGovernor"]["address"]
    manager = {
        (ROLE_NAMES[ADMIN], timelock),
        (ROLE_NAMES[PUBLISHER], people["publisher"]),
        (ROLE_NAMES[MINTER], timelock),
        (ROLE_NAMES[MODERATOR], people["moderator"]),
        (ROLE_NAMES[MODERATOR], timelock),
        (ROLE_NAMES[GUARDIAN], people["guardian"]),
        (ROLE_NAMES[SELLER], manifest["contracts"]["Storefront"]["address"]),
    }
    return manager, {
        ("DEFAULT_ADMIN_ROLE", timelock),
        ("PROPOSER_ROLE", governor),
        ("CANCELLER_ROLE", governor),
        ("EXECUTOR_ROLE", ZERO_ADDRESS),
    }


class PlanError(Exception):
    """The configuration can't be deployed; the text says why."""


@dataclass(frozen=True)
class Token:
    """How the TroupeToken starts. Parts are basis points of `genesis`."""

    name: str = "Troupe"
    symbol: str = "TRP"
    cap: int = 1_000_000_000 * TRP
    genesis: int = 400_000_000 * TRP
    treasury_bps: int = 5_000
    rewards_bps: int = 4_000
    founders_bps: int = 1_000
    publisher: int = 100_000 * TRP
    """Out of the treasury's part, for the publisher's bonds."""
    vesting: int = 4 * YEAR


@dataclass(frozen=True)
class Governance:
    """The Governor's and the Timelock's settings."""

    voting_delay: int = DAY
    voting_period: int = 5 * DAY
    proposal_threshold: int = 400_000 * TRP
    quorum_percent: int = 4
    late_quorum_extension: int = DAY
    timelock_delay: int = 2 * DAY


@dataclass(frozen=True)
class Rewards:
    """The RewardDistributor's parameters."""

    window: int = 2 * DAY
    resolve_period: int = 14 * DAY
    publisher_bond: int = 10_000 * TRP
    min_challenger_bond: int = 1_000 * TRP
    max_challenger_bond: int = 64_000 * TRP
    epoch_cap: int = 3_200_000 * TRP
    """2% of the stream's funds at launch."""
    account_cap: int = 64_000 * TRP
    """2% of the epoch's."""
    voice: int = 25 * TRP
    """What the price of a voice is taken for in the token; fees in it verify nobody all the same."""


@dataclass(frozen=True)
class Caps:
    """Caps of a stream beside the token's own: what an epoch may add and what an account may claim of it at most."""

    epoch: int
    account: int
    voice: int = 0
    """The price of a voice, in platform fees of an epoch (docs/rewards.md); prices in all tokens should be worth about
    the same. 0: fees in this token verify nobody, and a voice pays nothing out of its stream."""


@dataclass(frozen=True)
class People:
    """Who plays which role; addresses as EIP-55."""

    publisher: str
    moderator: str
    guardian: str
    founders: tuple[str, ...]
    voters: Mapping[str, int] = field(default_factory=dict)
    """Development only: amounts of the token out of the treasury's part, so that votes can be held."""


@dataclass(frozen=True)
class Plan:
    """All that a deployment depends on, besides the key that pays for it."""

    network: str
    people: People
    token: Token = Token()
    governance: Governance = Governance()
    rewards: Rewards = Rewards()
    fee_bps: int = 250
    royalty_bps: int = 500
    dispute_bond: int = 1_000 * TRP
    """What contesting a work's registration takes at least."""
    platform_split: Mapping[str, int] = field(default_factory=lambda: {"treasury": 500_000, "rewards": 500_000})
    """Work 0's split: what the platform earns goes to the Timelock and to the reward stream by these weights."""
    contract_uri: str = 'data:application/json;utf8,{"name":"Troupe Works"}'
    characters_uri: str = 'data:application/json;utf8,{"name":"Troupe Characters"}'
    traits_uri: str = (
        'data:application/json;utf8,{"traits":{"checkedIn":'
        '{"displayName":"Checked in","dataType":{"type":"epochSeconds"},"validateOnSale":"requireEq"}}}'
    )
    """Where the traits of characters are described (ERC-7496)."""
    native_caps: Caps = Caps(epoch=1_000 * 10**18, account=20 * 10**18, voice=10**14)
    tokens: Mapping[str, Caps] = field(default_factory=dict)
    """Further ERC-20s that works can be paid in, by address, with their streams' caps in the token's base units."""
    finality: Mapping[str, Any] = field(default_factory=lambda: {"mode": "tag"})
    mock_usd_caps: Caps = Caps(epoch=1_000_000 * 10**6, account=20_000 * 10**6, voice=250_000)
    """Development only."""

    def allocations(self) -> dict[str, int]:
        """Parts of the genesis supply by receiver; they add up to it exactly. Raises PlanError if they can't."""
        token = self.token
        if token.treasury_bps + token.rewards_bps + token.founders_bps != 10_000:
            raise PlanError("the parts of the genesis supply must add up to 10,000 basis points")
        rewards = token.genesis * token.rewards_bps // 10_000
        founders = token.genesis * token.founders_bps // 10_000
        given = token.publisher + sum(self.people.voters.values())
        treasury = token.genesis - rewards - founders - given
        if treasury < 0 or not self.people.founders:
            raise PlanError("there must be a founder, and publisher and voters must fit into the treasury's part")
        return {"treasury": treasury, "rewards": rewards, "founders": founders, "publisher": token.publisher}


def split_file(leaves: list[tuple[str, int]]) -> bytes:
    """The published tree file of a split (canonical JSON); its sha256 is the split's treeDigest."""
    document = {
        "format": "troupe-split/1",
        "leaves": [{"account": account, "weight": str(weight)} for account, weight in leaves],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def tree_digest(leaves: list[tuple[str, int]]) -> bytes:
    return hashlib.sha256(split_file(leaves)).digest()


def _part(current: Any, given: Mapping[str, Any], name: str) -> Any:
    known = {f.name for f in fields(current)}
    if unknown := sorted(set(given) - known):
        raise PlanError(f"unknown keys in {name!r}: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return replace(current, **given)


def load(path: Path) -> Plan:
    """Read a network's configuration: JSON with `network`, `people` and any parameter that differs from the defaults.

    Raises PlanError for a missing file, an unknown key or a missing role.
    """
    try:
        given = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PlanError(f"{path} is not a readable JSON file: {error}") from None
    try:
        roles = given.pop("people")
        people = People(
            roles.pop("publisher"), roles.pop("moderator"), roles.pop("guardian"), tuple(roles.pop("founders"))
        )
        plan = Plan(given.pop("network"), people)
    except (KeyError, AttributeError) as error:
        raise PlanError(
            f"{path} lacks {error}: it needs network and people.publisher/moderator/guardian/founders"
        ) from None
    if plan.network == DEVELOPMENT:
        raise PlanError(f"{DEVELOPMENT!r} is the network of chain {DEVELOPMENT_CHAIN}: give this one another name")
    if roles:
        raise PlanError(f"unknown people: {', '.join(sorted(roles))}")
    parts: dict[str, Any] = {}
    for name in ("token", "governance", "rewards"):
        if name in given:
            parts[name] = _part(getattr(plan, name), given.pop(name), name)
    if "native_caps" in given:
        parts["native_caps"] = Caps(**given.pop("native_caps"))
    if "tokens" in given:
        parts["tokens"] = {address: Caps(**caps) for address, caps in given.pop("tokens").items()}
    return _part(replace(plan, **parts), given, "configuration")


def parameters(plan: Plan) -> dict[str, Any]:
    """The plan as a manifest states it: camelCase keys, amounts as decimal strings, times as seconds."""

    def amounts(part: Any, *names: str) -> dict[str, Any]:
        return {_camel(k): str(v) if k in names else v for k, v in asdict(part).items()}

    return {
        "token": amounts(plan.token, "cap", "genesis", "publisher"),
        "governance": amounts(plan.governance, "proposal_threshold"),
        "feeBps": plan.fee_bps,
        "royaltyBps": plan.royalty_bps,
        "disputeBond": str(plan.dispute_bond),
        "contractUri": plan.contract_uri,
        "charactersUri": plan.characters_uri,
        "traitsUri": plan.traits_uri,
    }


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
