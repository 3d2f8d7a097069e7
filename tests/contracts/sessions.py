"""What the tests of SessionForwarder share: scopes, signed requests and grants, and the model.

A client that signs for a session does what is here: the request is OpenZeppelin's EIP-712 type with the *account's*
nonce, and the key's signature is followed by the key and by the proof that the function is in the grant's scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from eth_utils import keccak, to_canonical_address, to_checksum_address
from kit import Refused, domain, sign

NAME = "Troupe SessionForwarder"
FOR_EVER = 2**48 - 1
ETHER = 10**18
REQUEST = [
    ("address", "from"),
    ("address", "to"),
    ("uint256", "value"),
    ("uint256", "gas"),
    ("uint256", "nonce"),
    ("uint48", "deadline"),
    ("bytes", "data"),
]
GRANT = [
    ("address", "account"),
    ("address", "key"),
    ("bytes32", "scopeRoot"),
    ("uint128", "valueLimit"),
    ("uint48", "expires"),
    ("uint64", "generation"),
    ("uint256", "nonce"),
    ("uint48", "deadline"),
]


def selector(signature: str) -> bytes:
    """The first four bytes of a function's hash."""
    return bytes(keccak(text=signature)[:4])


class Scope:
    """Functions that a key may call: the Merkle tree over (target, selector)."""

    def __init__(self, *functions: tuple[Any, bytes]) -> None:
        self.functions = [(str(target).lower(), bytes(chosen)) for target, chosen in functions]
        self.levels = [[self.leaf(*function) for function in self.functions]]
        while len(level := self.levels[-1]) > 1:
            pairs = [keccak(b"".join(sorted(level[i : i + 2]))) for i in range(0, len(level) - 1, 2)]
            self.levels.append(pairs + level[2 * len(pairs) :])

    @staticmethod
    def leaf(target: str, chosen: bytes) -> bytes:
        """keccak256(keccak256(abi.encode(target, selector)))."""
        return keccak(keccak(to_canonical_address(target).rjust(32, b"\0") + chosen.ljust(32, b"\0")))

    @property
    def root(self) -> bytes:
        return self.levels[-1][0]

    def proof(self, target: Any, chosen: bytes) -> list[bytes]:
        """Siblings from the leaf up; ValueError for a function that is not in it."""
        index = self.functions.index((str(target).lower(), bytes(chosen)))
        nodes = []
        for level in self.levels[:-1]:
            if index ^ 1 < len(level):
                nodes.append(level[index ^ 1])
            index //= 2
        return nodes


class Request(NamedTuple):
    """What is signed, less the nonce."""

    account: str
    to: str
    value: int
    gas: int
    deadline: int
    data: bytes

    def signed(self, signature: bytes) -> tuple[Any, ...]:
        """A ForwardRequestData."""
        return (*self, signature)


def request(account: Any, to: Any, data: Any, value: int = 0, gas: int = 500_000, deadline: int = FOR_EVER) -> Request:
    """A request; `data` is bytes or what `encode_input` gives."""
    raw = bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else bytes(data)
    return Request(str(account), str(to), value, gas, deadline, raw)


def signature(forwarder: Any, key: Any, made: Request, nonce: int | None = None, **where: Any) -> bytes:
    """65 bytes by `key`, for the account's present nonce if not told otherwise; `where` changes the domain."""
    chosen = int(forwarder.nonces(made.account)) if nonce is None else nonce
    values = (made.account, made.to, made.value, made.gas, chosen, made.deadline, made.data)
    message = {name: value for (_, name), value in zip(REQUEST, values, strict=True)}
    return sign(key.key, domain(NAME, forwarder) | where, "ForwardRequest", REQUEST, message)


def by_account(forwarder: Any, key: Any, made: Request, nonce: int | None = None, **where: Any) -> tuple[Any, ...]:
    """The request as its account signs it."""
    return made.signed(signature(forwarder, key, made, nonce, **where))


def by_session(
    forwarder: Any, key: Any, made: Request, proof: Sequence[bytes] = (), nonce: int | None = None, **where: Any
) -> tuple[Any, ...]:
    """The request as a session key signs it."""
    tail = to_canonical_address(key.address) + b"".join(proof)
    return made.signed(signature(forwarder, key, made, nonce, **where) + tail)


def signed_grant(
    forwarder: Any, signer: Any, account: Any, session: Sequence[Any], *, generation: int = 0, nonce: int = 0,
    deadline: int = FOR_EVER, **where: Any,
) -> list[Any]:  # fmt: skip
    """Arguments of `grantBySig`; a session is (key, scopeRoot, valueLimit, expires)."""
    values = (str(account), *session, generation, nonce, deadline)
    message = {name: value for (_, name), value in zip(GRANT, values, strict=True)}
    signed = sign(signer.key, domain(NAME, forwarder) | where, "Grant", GRANT, message)
    return [str(account), tuple(session), nonce, deadline, signed]


# --- the model


@dataclass(frozen=True)
class Grant:
    """What the forwarder keeps of a grant."""

    expires: int
    value_left: int
    generation: int
    scope_root: bytes


NO_GRANT = Grant(0, 0, 0, b"\0" * 32)


@dataclass
class Model:
    """SessionForwarder without a chain."""

    grants: dict[tuple[str, str], Grant] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)
    nonces: dict[str, int] = field(default_factory=dict)

    def generation(self, account: str) -> int:
        return self.generations.get(account, 0)

    def grant_of(self, account: str, key: str) -> Grant:
        found = self.grants.get((account, key), NO_GRANT)
        return found if found.generation == self.generation(account) else NO_GRANT

    def grant(self, account: str, key: str, root: bytes, limit: int, expires: int, time: int) -> None:
        if expires <= time:
            raise Refused("SessionExpired")
        self.grants[account, key] = Grant(expires, limit, self.generation(account), root)

    def revoke(self, account: str, key: str) -> None:
        if self.grant_of(account, key) == NO_GRANT:
            raise Refused("SessionUnknown")
        del self.grants[account, key]

    def revoke_all(self, account: str) -> None:
        self.generations[account] = self.generation(account) + 1

    def execute(
        self, made: Request, key: str | None, root: bytes, nonce: int, time: int, *, fails: bool = False
    ) -> None:
        """Execute a request that `key` signed, or its account if that is None, with a proof for the scope `root`."""
        account = made.account
        granted = self.grant_of(account, key) if key else NO_GRANT
        if key is not None:
            if granted == NO_GRANT:
                raise Refused("SessionUnknown")
            if time >= granted.expires:
                raise Refused("SessionExpired")
            if root != granted.scope_root:
                raise Refused("SessionScope")
            if made.value > granted.value_left:
                raise Refused("SessionValueExceeded")
        if time > made.deadline:
            raise Refused("ERC2771ForwarderExpiredRequest")
        if nonce != self.nonces.get(account, 0):
            raise Refused("ERC2771ForwarderInvalidSigner")
        if fails:
            raise Refused("FailedCall")
        self.nonces[account] = nonce + 1
        if key is not None:
            self.grants[account, key] = replace(granted, value_left=granted.value_left - made.value)

    def fold(self, name: str, args: dict[str, Any]) -> None:
        """Take an event in: events alone are enough."""
        account = to_checksum_address(args.get("account") or args.get("signer", "0x" + "00" * 20))
        at = (account, to_checksum_address(args.get("key", "0x" + "00" * 20)))
        if name == "SessionGranted":
            generation = self.generation(account)
            self.grants[at] = Grant(args["expires"], args["valueLimit"], generation, args["scopeRoot"])
        elif name == "SessionValueSpent":
            self.grants[at] = replace(self.grants[at], value_left=args["valueLeft"])
        elif name == "SessionRevoked":
            del self.grants[at]
        elif name == "AllSessionsRevoked":
            self.generations[account] = args["generation"]
        elif name == "ExecutedForwardRequest":
            self.nonces[account] = args["nonce"] + 1
