"""Looks for a person's secrets in the raw bytes of everything that a running Troupe leaves on a disk (promise V10).

    scanner = Scanner({"title": b"...", "key": data_key})
    scanner.scan({"database": pgdata, "redis": folder, "logs": folder, ...}) -> [Leak(medium, path, secret, form), ...]

A secret is looked for as it is, in hex and in base64 at each of its three alignments, as PostgreSQL's pglz leaves it in
a compressed value, and within zips. Each of its halves is looked for by itself, so that a page or chunk that ends
within it hides nothing. A secret must be 32 bytes at least, and random: `canary()` makes one.
"""

from __future__ import annotations

import base64
import io
import mmap
import secrets
import string
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

LEAST = 32
PGLZ_GROUP = 8
"""pglz puts a control byte before each eight items; bytes without a repetition are eight literals between two."""


class Leak(NamedTuple):
    """One secret found in one file."""

    medium: str
    path: str
    secret: str
    form: str


def canary(length: int = 48) -> str:
    """Random letters that are found nowhere by chance and that no three of recur, so that pglz keeps them literal."""
    letters = string.ascii_letters + string.digits
    while True:
        made = "".join(secrets.choice(letters) for _ in range(length))
        triples = [made[i : i + 3] for i in range(length - 2)]
        if len(set(triples)) == len(triples):
            return made


def base64_cores(data: bytes) -> Iterator[bytes]:
    """The part of a base64 text that is the same whatever stands before and after the data, at each alignment."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + data)
        start = -(-before * 8 // 6)
        whole = (before + len(data)) * 8 // 6
        yield text[start:whole]


def forms(data: bytes) -> dict[str, list[bytes]]:
    """Every way in which the bytes may be written down."""
    standard = list(base64_cores(data))
    return {
        "raw": [data],
        "hex": [data.hex().encode(), data.hex().upper().encode()],
        "base64": [*standard, *(core.replace(b"+", b"-").replace(b"/", b"_") for core in standard)],
    }


@dataclass(frozen=True)
class _Needle:
    secret: str
    form: str
    data: bytes
    after: bytes = b""
    """pglz: what stands one byte behind the data."""

    def within(self, text: bytes | mmap.mmap) -> bool:
        at = text.find(self.data)
        while at >= 0:
            behind = at + len(self.data) + 1
            if not self.after or text[behind : behind + len(self.after)] == self.after:
                return True
            at = text.find(self.data, at + 1)
        return False


def _needles(name: str, secret: bytes) -> Iterator[_Needle]:
    if len(secret) < LEAST:
        raise ValueError(f"the secret {name} has {len(secret)} bytes: {LEAST} are needed to tell it from chance")
    half = len(secret) // 2
    for part in (secret[:half], secret[half:]):
        for form, ways in forms(part).items():
            yield from (_Needle(name, form, way) for way in sorted(set(ways)))
    for start in range(PGLZ_GROUP):
        group = secret[start : start + PGLZ_GROUP]
        following = secret[start + PGLZ_GROUP : start + 2 * PGLZ_GROUP]
        yield _Needle(name, "pglz", group, following)


class Scanner:
    """Looks for the same secrets again and again."""

    def __init__(self, secrets: Mapping[str, bytes | str]) -> None:
        given = {name: value.encode() if isinstance(value, str) else value for name, value in secrets.items()}
        self._needles = [needle for name, value in given.items() for needle in _needles(name, value)]

    def scan(self, media: Mapping[str, Path], *, since: float = 0.0) -> list[Leak]:
        """Everything found below the folders, one leak a secret, file and form. A folder that is not there is an error:
        where nothing was looked at, nothing is known. Files that were last written before `since`, a time of the files'
        clock before the secrets were made, are left out: nothing of them can be there."""
        found = set()
        for medium, folder in media.items():
            files = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
            if not files:
                raise FileNotFoundError(f"there is nothing to look at in {folder}")
            for path in (path for path in files if path.stat().st_mtime >= since):
                found |= {Leak(medium, str(path), *hit) for hit in self._in_file(path)}
        return sorted(found)

    def _in_file(self, path: Path) -> set[tuple[str, str]]:
        if path.stat().st_size == 0:
            return set()
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            hits = self.within(text)
            if text[:2] == b"PK":
                hits |= self._in_zip(bytes(text))
        return hits

    def _in_zip(self, data: bytes) -> set[tuple[str, str]]:
        hits = set()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                hits |= self.within(archive.read(name)) | self.within(name.encode())
        return hits

    def within(self, text: bytes | mmap.mmap) -> set[tuple[str, str]]:
        """(secret, form) of everything that some bytes hold."""
        return {(needle.secret, needle.form) for needle in self._needles if needle.within(text)}
