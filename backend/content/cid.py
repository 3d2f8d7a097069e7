"""Content identifiers: CIDv0 and CIDv1 over sha2-256, with the base32 and base58 text forms.

Pure, standard library only. Sources: the CID, multihash, multibase, multicodec and unsigned-varint specifications of
multiformats. Only sha2-256 is read: a digest that this code can't recompute is of no use to a store that checks every
block, so any other hash is refused by name.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Final, Self

RAW: Final = 0x55
"""Multicodec of a block that is plain bytes."""
DAG_PB: Final = 0x70
"""Multicodec of a MerkleDAG protobuf node."""
SHA2_256: Final = 0x12

_CODEC_NAMES: Final = {RAW: "raw", DAG_PB: "dag-pb"}
_MULTIHASH_PREFIX: Final = bytes([SHA2_256, 32])
_BASE58_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUES: Final = {char: value for value, char in enumerate(_BASE58_ALPHABET)}
_MAX_TEXT: Final = 80  # the longest CID that can be meant here has 60 characters; base58 decoding is quadratic
_VARINT_MAX_BYTES: Final = 9


class InvalidCid(ValueError):
    """The text or bytes are no CID that this store can check; the message says why."""


def encode_varint(value: int) -> bytes:
    """Encode a non-negative integer as an unsigned varint (LEB128, least significant group first)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes, offset: int = 0) -> tuple[int, int]:
    """Decode the unsigned varint at `offset`; return its value and the offset after it.

    Raises:
        InvalidCid: it is cut off, longer than nine bytes, or not the shortest form of its value.
    """
    value = 0
    for index, byte in enumerate(data[offset : offset + _VARINT_MAX_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index:
                raise InvalidCid("a varint is not in its shortest form")
            return value, offset + index + 1
    raise InvalidCid("a varint is cut off or too long")


def encode_base58(data: bytes) -> str:
    """Encode bytes in base58btc; leading zero bytes become leading `1`s."""
    value = int.from_bytes(data, "big")
    out: list[str] = []
    while value:
        value, digit = divmod(value, 58)
        out.append(_BASE58_ALPHABET[digit])
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + "".join(reversed(out))


def decode_base58(text: str) -> bytes:
    """Decode base58btc. Raises InvalidCid for a character outside its alphabet."""
    value = 0
    for char in text:
        digit = _BASE58_VALUES.get(char)
        if digit is None:
            raise InvalidCid(f"{char!r} is not a base58 character")
        value = value * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + value.to_bytes((value.bit_length() + 7) // 8, "big")


def encode_base32(data: bytes) -> str:
    """Encode bytes in RFC 4648 base32, lower case, no padding (multibase `b`, without the prefix)."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def decode_base32(text: str) -> bytes:
    """Decode lower-case base32 without padding.

    Raises:
        InvalidCid: a foreign character, an impossible length, or left-over bits that are not zero (so that each value
            has one text only).
    """
    if text != text.lower():
        raise InvalidCid("base32 CIDs are written in lower case")
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError as error:
        raise InvalidCid("not base32") from error
    if encode_base32(data) != text:
        raise InvalidCid("not the canonical base32 of its bytes")
    return data


@dataclass(frozen=True, slots=True)
class CID:
    """A content identifier: version, codec and the sha2-256 digest of one block."""

    version: int
    codec: int
    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != 32:
            raise InvalidCid(f"a sha2-256 digest has 32 bytes, not {len(self.digest)}")
        if self.codec not in _CODEC_NAMES:
            raise InvalidCid(f"codec 0x{self.codec:x} is neither raw (0x55) nor dag-pb (0x70)")
        if self.version not in (0, 1) or (self.version == 0 and self.codec != DAG_PB):
            raise InvalidCid(f"there is no CIDv{self.version} of codec {_CODEC_NAMES[self.codec]}")

    @classmethod
    def of(cls, block: bytes, codec: int, version: int = 1) -> Self:
        """The CID of a block: its sha2-256 under the given codec."""
        return cls(version, codec, hashlib.sha256(block).digest())

    @classmethod
    def raw(cls, digest: bytes) -> Self:
        """The CIDv1 of the raw block with this sha2-256 digest: what a work's `cidDigest` on chain stands for."""
        return cls(1, RAW, digest)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the binary form, as it stands in the link of a dag-pb node. Raises InvalidCid."""
        if data[:2] == _MULTIHASH_PREFIX and len(data) == 34:
            return cls(0, DAG_PB, data[2:])
        version, offset = decode_varint(data)
        if version != 1:
            raise InvalidCid(f"CID version {version} is not known")
        codec, offset = decode_varint(data, offset)
        hash_code, offset = decode_varint(data, offset)
        length, offset = decode_varint(data, offset)
        if hash_code != SHA2_256:
            raise InvalidCid(f"hash function 0x{hash_code:x} is not sha2-256")
        if length != 32 or len(data) - offset != 32:
            raise InvalidCid("a sha2-256 digest has 32 bytes")
        return cls(1, codec, data[offset:])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form: CIDv0 (`Qm...`), CIDv1 in base32 (`b...`) or base58 (`z...`). Raises InvalidCid."""
        if not text or len(text) > _MAX_TEXT or not text.isascii():
            raise InvalidCid("a CID is 1 to 80 ASCII characters")
        if len(text) == 46 and text.startswith("Qm"):
            return cls.decode(decode_base58(text))
        prefix, body = text[0], text[1:]
        if prefix == "b":
            data = decode_base32(body)
        elif prefix == "z":
            data = decode_base58(body)
        else:
            raise InvalidCid("a CID starts with Qm (version 0), b (base32) or z (base58)")
        if data[:1] != b"\x01":
            raise InvalidCid("only CIDv1 carries a multibase prefix")
        return cls.decode(data)

    @property
    def binary(self) -> bytes:
        """The binary form: what a dag-pb link holds."""
        multihash = _MULTIHASH_PREFIX + self.digest
        return multihash if self.version == 0 else encode_varint(1) + encode_varint(self.codec) + multihash

    def matches(self, block: bytes) -> bool:
        """Whether the block hashes to this CID."""
        return hashlib.sha256(block).digest() == self.digest

    def __str__(self) -> str:
        return encode_base58(self.binary) if self.version == 0 else "b" + encode_base32(self.binary)
