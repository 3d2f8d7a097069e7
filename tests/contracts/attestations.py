"""What the tests of AttestationRegistry share: statements, their openings and signatures, and the model."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from eth_abi import encode
from eth_utils import keccak, to_checksum_address
from kit import Refused, domain, sign

NONE = b"\0" * 32
NEVER = 0
FOR_EVER = 2**48 - 1
LIKENESS = keccak(text="LIKENESS_CONSENT")
ATTEST = [
    ("address", "attester"),
    ("bytes32", "schema"),
    ("bytes32", "subject"),
    ("bytes32", "commitment"),
    ("bytes32", "refUid"),
    ("uint48", "expires"),
    ("uint256", "nonce"),
    ("uint48", "deadline"),
]
REVOKE = [("bytes32", "uid"), ("uint256", "nonce"), ("uint48", "deadline")]

_numbers = itertools.count(1)


def word(text: str) -> bytes:
    """A word that a text stands for."""
    return keccak(text=text)


def committed(payload: bytes, salt: bytes) -> bytes:
    """The commitment to a payload: keccak256(abi.encode(keccak256(payload), salt))."""
    return keccak(keccak(payload) + salt)


class Statement(NamedTuple):
    """An AttestationRequest."""

    attester: str
    schema: bytes
    subject: bytes
    commitment: bytes
    ref_uid: bytes
    expires: int

    @property
    def words(self) -> tuple[Any, ...]:
        """What `attest` takes."""
        return tuple(self[1:])


def statement(attester: Any, **given: Any) -> Statement:
    """A consent to the use of a likeness, with a fresh commitment, if not told otherwise."""
    fresh = Statement(str(attester), LIKENESS, word("a work"), word(f"commitment {next(_numbers)}"), NONE, NEVER)
    return fresh._replace(**given)


def uid_of(registry: Any, made: Statement, chain_id: int = 31337) -> bytes:
    """A statement's uid."""
    kinds = ["uint256", "address", "address", "bytes32", "bytes32", "bytes32", "uint48"]
    return keccak(
        encode(
            kinds, [chain_id, str(registry), made.attester, made.schema, made.subject, made.commitment, made.expires]
        )
    )


def attested(registry: Any, sender: Any, **given: Any) -> tuple[Statement, bytes]:
    """Attest as `sender`; the statement and its uid."""
    made = statement(sender, **given)
    registry.attest(*made.words, {"from": sender})
    return made, uid_of(registry, made)


def _signed(registry: Any, key: str, primary: str, fields: list[tuple[str, str]], values: Any, **where: Any) -> bytes:
    message = {name: value for (_, name), value in zip(fields, values, strict=True)}
    return sign(key, domain("Troupe AttestationRegistry", registry) | where, primary, fields, message)


def signed_attestation(
    registry: Any, key: str, made: Statement, nonce: int = 0, deadline: int = FOR_EVER, **where: Any
) -> list[Any]:
    """Arguments of `attestBySig`; `where` changes the domain that is signed for."""
    signature = _signed(registry, key, "Attest", ATTEST, (*made, nonce, deadline), **where)
    return [tuple(made), nonce, deadline, signature]


def signed_revocation(
    registry: Any, key: str, uid: bytes, nonce: int = 0, deadline: int = FOR_EVER, **where: Any
) -> list[Any]:
    """Arguments of `revokeBySig`."""
    return [uid, nonce, deadline, _signed(registry, key, "Revoke", REVOKE, (uid, nonce, deadline), **where)]


# --- the model


@dataclass(frozen=True)
class Entry:
    """What the registry keeps of an attestation."""

    attester: str
    attested_at: int
    expires: int
    commitment: bytes
    revoked_at: int = 0


@dataclass
class Model:
    """AttestationRegistry without a chain."""

    registry: str
    entries: dict[bytes, Entry] = field(default_factory=dict)
    nonces: dict[str, int] = field(default_factory=dict)

    def attest(self, made: Statement, time: int) -> None:
        if NONE in (made.schema, made.subject, made.commitment):
            raise Refused("AttestationEmptyHash")
        if made.expires and made.expires <= time:
            raise Refused("AttestationExpired")
        if made.ref_uid != NONE and made.ref_uid not in self.entries:
            raise Refused("AttestationUnknown")
        uid = uid_of(self.registry, made)
        if uid in self.entries:
            raise Refused("AttestationExists")
        self.entries[uid] = Entry(made.attester, time, made.expires, made.commitment)

    def revoke(self, uid: bytes, sender: str, time: int) -> None:
        if uid not in self.entries:
            raise Refused("AttestationUnknown")
        if self.entries[uid].attester != sender:
            raise Refused("AttestationNotAttester")
        if self.entries[uid].revoked_at:
            raise Refused("AttestationAlreadyRevoked")
        self.entries[uid] = replace(self.entries[uid], revoked_at=time)

    def attest_by_sig(self, made: Statement, nonce: int, time: int) -> None:
        self._check_nonce(made.attester, nonce)
        self.attest(made, time)
        self.nonces[made.attester] = nonce + 1

    def revoke_by_sig(self, uid: bytes, nonce: int, time: int) -> None:
        if uid not in self.entries:
            raise Refused("AttestationUnknown")
        attester = self.entries[uid].attester
        self._check_nonce(attester, nonce)
        self.revoke(uid, attester, time)
        self.nonces[attester] = nonce + 1

    def _check_nonce(self, account: str, nonce: int) -> None:
        if nonce != self.nonces.get(account, 0):
            raise Refused("InvalidAccountNonce")

    def is_live(self, uid: bytes, time: int) -> bool:
        entry = self.entries.get(uid)
        return entry is not None and not entry.revoked_at and (not entry.expires or time < entry.expires)

    def fold(self, name: str, args: dict[str, Any], time: int) -> None:
        """Take an event in: events alone are enough."""
        if name == "Attested":
            attester = to_checksum_address(args["attester"])
            self.entries[args["uid"]] = Entry(attester, time, args["expires"], args["commitment"])
        elif name == "Revoked":
            self.entries[args["uid"]] = replace(self.entries[args["uid"]], revoked_at=time)
