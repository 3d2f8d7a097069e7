"""A signed order: what a holder signs to sell (EIP-712), its hash, and whose signature it carries. Pure.

The struct, its type and its domain are Storefront's; a test compares the hash with the contract's `hashOf`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from eth_abi.abi import encode
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

DOMAIN_NAME: Final = "Troupe Storefront"
HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Half of the order of secp256k1: OpenZeppelin's ECDSA takes no larger s."""

FIELDS: Final = (
    ("address", "seller"),
    ("address", "collection"),
    ("uint256", "tokenId"),
    ("uint256", "amount"),
    ("address", "token"),
    ("uint256", "price"),
    ("address", "taker"),
    ("uint256", "shareWeight"),
    ("uint256", "shareNonce"),
    ("uint256", "counter"),
    ("uint256", "salt"),
    ("uint48", "deadline"),
)
TYPEHASH: Final = keccak(text=f"Order({','.join(f'{kind} {name}' for kind, name in FIELDS)})")
_DOMAIN_TYPEHASH: Final = keccak(
    text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)


class Order(NamedTuple):
    """In the order of the contract's struct; addresses EIP-55. No share of a work's revenue goes with it."""

    seller: str
    collection: str
    token_id: int
    amount: int
    token: str
    price: int
    taker: str
    share_weight: int
    share_nonce: int
    counter: int
    salt: int
    deadline: int


def typed_data(order: Order, domain: dict[str, Any]) -> dict[str, Any]:
    """The members of `TypedData` that the seller's wallet signs; integers as decimal strings."""
    values = [str(value) if isinstance(value, int) else value for value in order]
    return {
        "domain": domain,
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Order": [{"name": name, "type": kind} for kind, name in FIELDS],
        },
        "primaryType": "Order",
        "message": dict(zip((name for _, name in FIELDS), values, strict=True)),
    }


def order_hash(order: Order, domain: dict[str, Any]) -> bytes:
    """What is signed, and the order's key at the storefront."""
    separator = keccak(
        encode(
            ("bytes32", "bytes32", "bytes32", "uint256", "address"),
            (
                _DOMAIN_TYPEHASH,
                keccak(text=domain["name"]),
                keccak(text=domain["version"]),
                domain["chainId"],
                domain["verifyingContract"],
            ),
        )
    )
    struct = keccak(TYPEHASH + encode([kind for kind, _ in FIELDS], order))
    return bytes(keccak(b"\x19\x01" + separator + struct))


def signer(digest: bytes, signature: bytes) -> str | None:
    """The address whose key made a signature, as OpenZeppelin's ECDSA recovers it; None where it refuses."""
    if len(signature) != 65 or signature[64] not in (27, 28) or int.from_bytes(signature[32:64]) > HALF_ORDER:
        return None
    try:
        made = Signature(signature[:64] + bytes([signature[64] - 27]))
        return str(made.recover_public_key_from_msg_hash(digest).to_checksum_address())
    except (BadSignature, ValidationError):
        return None
