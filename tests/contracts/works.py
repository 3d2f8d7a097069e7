"""What the registry's tests share: registrations with sensible defaults, and their signatures."""

from __future__ import annotations

import itertools
from typing import Any

from eth_abi import encode
from eth_utils import keccak
from kit import domain, send_as, sign
from money import DIGEST, DISPUTED, NONE, Leaf, Tree, node, placed, witness

NO_LICENCE = 0
STORY = 1
UNSPECIFIED, HUMAN, AI_ASSISTED, AI_GENERATED = range(4)
DERIVATIVES, EXPIRED, SHARE_ALIKE, COMMERCIAL, TRAINING = range(1, 6)
CID = bytes.fromhex("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")
REGISTER = [
    ("address", "owner"),
    ("bytes32", "contentHash"),
    ("bytes32", "cidDigest"),
    ("uint8", "kind"),
    ("uint8", "aiLabel"),
    ("uint32", "licenceId"),
    ("uint64[]", "parents"),
    ("uint16[]", "shares"),
    ("bytes32", "splitRoot"),
    ("uint256", "splitTotal"),
    ("bytes32", "treeDigest"),
    ("bytes32[]", "consents"),
    ("bytes32", "salt"),
    ("uint256", "nonce"),
    ("uint48", "deadline"),
]

_numbers = itertools.count(1)


def content(number: int | None = None) -> bytes:
    """A content hash; a fresh one without a number."""
    return keccak(text=f"content {next(_numbers) if number is None else number}")


def licence(**terms: Any) -> tuple[Any, ...]:
    """A Licence: derivatives and commercial use for 10%, absolute, if not told otherwise."""
    fields = {
        "minShareBps": 1_000,
        "commercial": True,
        "derivatives": True,
        "approvalRequired": False,
        "shareAlike": False,
        "attribution": True,
        "fanFiction": False,
        "relative": False,
        "aiTraining": False,
        "expires": 0,
        "termsHash": DIGEST,
    }
    assert not set(terms) - set(fields)
    return tuple((fields | terms).values())


def params(owner: Any, *, tree: Tree | None = None, **given: Any) -> list[Any]:
    """RegisterParams: a fresh work of one holder without parents, if not told otherwise."""
    split = tree if tree is not None else Leaf(str(owner), 1_000_000)
    root = node(split)
    fields = {
        "owner": str(owner),
        "contentHash": content(),
        "cidDigest": CID,
        "kind": STORY,
        "aiLabel": HUMAN,
        "licenceId": NO_LICENCE,
        "parents": [],
        "shares": [],
        "splitRoot": root.hash,
        "splitTotal": root.sum,
        "treeDigest": DIGEST,
        "leaf": witness(next(placed(split))),
        "consents": [],
        "salt": NONE,
    }
    assert not set(given) - set(fields)
    return list((fields | given).values())


def registered(registry: Any, owner: Any, **given: Any) -> int:
    """Register a work; returns its id."""
    tx = registry.register(params(owner, **given), {"from": owner})
    return int(tx.events["WorkRegistered"]["workId"])


def signed_registration(
    registry: Any,
    key: str,
    given: list[Any],
    nonce: int = 0,
    deadline: int = 2**48 - 1,
    contract: Any = None,
    chain_id: int = 31337,
) -> list[Any]:
    """What `registerBySig` takes: RegisterParams signed with a key, for this registry and chain by default."""
    values = [*given[:11], given[12], given[13], nonce, deadline]
    message = {name: value for (_, name), value in zip(REGISTER, values, strict=True)}
    where = domain("Troupe WorkRegistry", contract or registry) | {"chainId": chain_id}
    return [given, nonce, deadline, sign(key, where, "Register", REGISTER, message)]


def licensed(registry: Any, sender: Any, **terms: Any) -> int:
    """Create a licence; returns its id."""
    return int(registry.createLicence(licence(**terms), {"from": sender}).events["LicenceCreated"]["licenceId"])


def commitment(registry: Any, account: Any, content_hash: bytes, salt: bytes, chain_id: int = 31337) -> bytes:
    """What `commit` takes."""
    kinds = ["uint256", "address", "address", "bytes32", "bytes32"]
    return keccak(encode(kinds, [chain_id, str(registry), str(account), content_hash, salt]))


def disputed(registry: Any, work: int) -> None:
    """Mark a work disputed, as its contract of standings does after `contest`."""
    send_as(registry, registry.setStanding, work, DISPUTED, True, NONE, sender=registry.standing())
