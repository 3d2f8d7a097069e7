"""Files of any size under a person's key: AES-256-GCM in chunks, read and written as streams. Pure.

The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online authenticated encryption and its nonce-reuse
misuse-resistance, 2015): each chunk's nonce is a counter and a mark of the last one, so that chunks can neither be
left out, swapped nor cut off. Each file has a key of its own, derived from the person's by HKDF with a random salt and
the file's context, so that one file cannot stand for another.

    magic | salt (32) | chunk + tag (16) | chunk + tag | ...          every chunk but the last is CHUNK bytes
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC: Final = b"troupe-sealed/1\n"
CHUNK: Final = 65_536
SALT: Final = 32
TAG: Final = 16


class NotOpened(Exception):
    """The file was sealed by another key or for another context, or it is damaged or cut off."""


def _cipher(key: bytes, salt: bytes, context: str) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt, MAGIC + context.encode()).derive(key))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def seal_stream(pieces: Iterable[bytes], *, key: bytes, context: str) -> Iterator[bytes]:
    """The sealed bytes of a file that comes in pieces. `context` names the file; to open it, it must be the same."""
    salt = os.urandom(SALT)
    cipher = _cipher(key, salt, context)
    yield MAGIC + salt
    number, waiting = 0, bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) > CHUNK:  # the last chunk may be full, and nobody knows yet which is the last
            yield cipher.encrypt(_nonce(number, last=False), bytes(waiting[:CHUNK]), None)
            del waiting[:CHUNK]
            number += 1
    yield cipher.encrypt(_nonce(number, last=True), bytes(waiting), None)


def open_stream(file: BinaryIO, *, key: bytes, context: str) -> Iterator[bytes]:
    """The bytes of a sealed file, each chunk checked before it is given out.

    Raises NotOpened, at the first chunk for a wrong key and at its end for a file that was cut off: what is done with
    the bytes must wait for the end where that matters.
    """
    if file.read(len(MAGIC)) != MAGIC:
        raise NotOpened("this is no sealed file")
    salt = file.read(SALT)
    cipher = _cipher(key, salt, context)
    number, chunk = 0, file.read(CHUNK + TAG)
    while True:
        following = file.read(CHUNK + TAG)
        try:
            yield cipher.decrypt(_nonce(number, last=not following), chunk, None)
        except (InvalidTag, ValueError) as error:
            raise NotOpened("the file does not open: another key, another file's name, or damage") from error
        if not following:
            return
        number, chunk = number + 1, following
