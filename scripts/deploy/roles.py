"""Who holds a role, from the events of AccessManager and Timelock, so that no member can hide.

Needs a node's logs alone: `verify` reads them through Brownie, `./troupe doctor` without it (stack/roles.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from eth_utils import keccak, to_checksum_address

from scripts.deploy.history import Difference, Logs
from scripts.deploy.plan import ROLE_NAMES, ZERO_ADDRESS, expected_members

Role = tuple[str, str]
"""A role's name and a member's address."""
MANAGER_GRANTED, MANAGER_REVOKED = "RoleGranted(uint64,address,uint32,uint48,bool)", "RoleRevoked(uint64,address)"
TIMELOCK_GRANTED, TIMELOCK_REVOKED = "RoleGranted(bytes32,address,address)", "RoleRevoked(bytes32,address,address)"
FUNCTION_ROLE_UPDATED = "TargetFunctionRoleUpdated(address,bytes4,uint64)"

TIMELOCK_ROLES = {
    bytes(32): "DEFAULT_ADMIN_ROLE",
    **{keccak(text=name): name for name in ("PROPOSER_ROLE", "CANCELLER_ROLE", "EXECUTOR_ROLE")},
}


class Chain(Logs, Protocol):
    """The logs of a manifest's contracts, and the manifest."""

    manifest: Mapping[str, Any]


class Standing(NamedTuple):
    """Whether somebody holds a role now, and the event that made it so."""

    holds: bool
    log: Any


def word_address(word: bytes) -> str:
    """The address in the last 20 bytes of a word, as EIP-55."""
    return str(to_checksum_address(bytes(word)[-20:]))


def called(manifest: Mapping[str, Any], address: str) -> str:
    """An address with the name it has in the manifest, if any."""
    names = {entry["address"]: name for name, entry in manifest["contracts"].items()} | {ZERO_ADDRESS: "anyone"}
    for role, who in manifest["parameters"]["people"].items():
        for person in [who] if isinstance(who, str) else who:
            names.setdefault(person, role)
    return f"{names[address]} {address}" if address in names else address


def _replayed(
    chain: Chain, contract: str, granted: str, revoked: str, name: Callable[[bytes], str]
) -> dict[Role, Standing]:
    logs = [(log, True) for log in chain.logs(contract, granted)]
    logs += [(log, False) for log in chain.logs(contract, revoked)]
    logs.sort(key=lambda each: (each[0]["blockNumber"], each[0]["logIndex"]))
    return {
        (name(bytes(log["topics"][1])), word_address(log["topics"][2])): Standing(holds, log) for log, holds in logs
    }


def manager_members(chain: Chain) -> dict[Role, Standing]:
    """Everybody who ever held a role of the AccessManager."""

    def name(role: bytes) -> str:
        number = int.from_bytes(role, "big")
        return ROLE_NAMES.get(number, str(number))

    return _replayed(chain, "AccessManager", MANAGER_GRANTED, MANAGER_REVOKED, name)


def timelock_members(chain: Chain) -> dict[Role, Standing]:
    """Everybody who ever held a role of the Timelock; the zero address stands for anyone."""

    def name(role: bytes) -> str:
        return TIMELOCK_ROLES.get(role, "0x" + role.hex())

    return _replayed(chain, "TimelockController", TIMELOCK_GRANTED, TIMELOCK_REVOKED, name)


def member_differences(chain: Chain) -> Iterator[Difference]:
    """Everybody who holds a role and should not, or the other way round."""
    manager, timelock = expected_members(chain.manifest)
    for where, ever, expected in (
        ("AccessManager", manager_members(chain), manager),
        ("Timelock", timelock_members(chain), timelock),
    ):
        for (role, account), standing in sorted(ever.items()):
            if standing.holds and (role, account) not in expected:
                text = f"{where}: {called(chain.manifest, account)} has role {role} and should not"
                yield Difference(text, standing.log)
        for role, account in sorted(expected):
            last = ever.get((role, account))
            if last is None or not last.holds:
                yield Difference(f"{where}: {called(chain.manifest, account)} lacks role {role}", last and last.log)


def function_updates(chain: Chain) -> dict[tuple[str, str], Any]:
    """The last change of each function's role: (contract's address, selector as 0x-hex) -> log."""
    logs = chain.logs("AccessManager", FUNCTION_ROLE_UPDATED)
    return {(word_address(log["topics"][1]), "0x" + bytes(log["data"])[:4].hex()): log for log in logs}


def misplaced(name: str, function: str, found: int, stated: int) -> str:
    """What to say of a function whose role is another one than the table's."""
    return f"{name}.{function} is for role {ROLE_NAMES.get(found, found)}, not {ROLE_NAMES[stated]}"
