"""The backup file: a zip of tables and content files, with a manifest that says the digest of each.

tables/<table>.copy    rows as PostgreSQL's COPY writes them; what is personal in them is ciphertext
content/<cid>          a file that the chain names, or that this installation publishes
drafts/<draft>.<part>  a file of a draft as it lies on the disk: sealed under its author's key
manifest.json          written last
"""

from __future__ import annotations

import hashlib
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

FORMAT: Final = "troupe-backup"
VERSION: Final = 1
MANIFEST: Final = "manifest.json"
MANIFEST_LIMIT: Final = 256 * 1024 * 1024
PIECE: Final = 262_144


class BackupError(Exception):
    """A backup that cannot be made or used; the text is a sentence that says what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(_Part):
    """One file of the zip."""

    name: str
    bytes: int
    sha256: str


class TablePart(_Part):
    """The rows of one table."""

    table: str
    columns: list[str]
    rows: int
    member: Member


class ContentPart(_Part):
    """One file of the content store."""

    cid: str
    member: Member


class DraftPart(_Part):
    """One sealed file of a draft."""

    account: uuid.UUID
    """Under whose key it is."""
    draft: uuid.UUID
    part: Literal["media", "metadata", "split"]
    member: Member


class Manifest(_Part):
    """What a backup is, and what is in it."""

    format: Literal["troupe-backup"] = FORMAT
    version: int = VERSION
    made_at: str
    revision: str
    """Of the product tables."""
    chain_id: int
    registry: str
    """Address of the WorkRegistry whose works the rows speak of."""
    tables: list[TablePart]
    sequences: dict[str, int]
    people: Member
    """The ids of all who had a key then, 16 bytes each."""
    content: list[ContentPart]
    drafts: list[DraftPart]
    missing: list[str]
    """CIDs, and files of drafts, that had a row and no file."""

    @property
    def members(self) -> list[Member]:
        return [
            self.people,
            *(part.member for part in self.tables),
            *(part.member for part in self.content),
            *(part.member for part in self.drafts),
        ]


class Writer:
    """Writes a backup beside its final name and gives it that name when it is whole and on the disk."""

    def __init__(self, partial: Path) -> None:
        self._file = partial.open("xb")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)

    def add(self, name: str, pieces: Iterable[bytes]) -> Member:
        """Add one member and say its size and digest."""
        sha, size = hashlib.sha256(), 0
        with self._zip.open(name, "w", force_zip64=True) as member:
            for piece in pieces:
                sha.update(piece)
                size += len(piece)
                member.write(piece)
        return Member(name=name, bytes=size, sha256=sha.hexdigest())

    def close(self, manifest: Manifest | None) -> None:
        """End the file; with its manifest it is a backup."""
        with self._file:
            with self._zip:
                if manifest is not None:
                    self._zip.writestr(MANIFEST, manifest.model_dump_json(indent=1))
            self._file.flush()


class Reader:
    """A backup that can be read: a zip of ours, of a version that this code knows."""

    def __init__(self, path: Path) -> None:
        """Raises BackupError for what is no backup, is cut off, or was made by a newer version."""
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise BackupError(f"there is no file {path}") from None
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise BackupError(
                f"{path.name} is no backup of Troupe, or it is cut off ({error}): take another one"
            ) from error
        self.path = path
        try:
            self.manifest = self._read_manifest()
        except BaseException:
            self._zip.close()
            raise

    def _read_manifest(self) -> Manifest:
        try:
            if self._zip.getinfo(MANIFEST).file_size > MANIFEST_LIMIT:
                raise BackupError(f"{self.path.name} is no backup of Troupe: its manifest is too large to be one")
            text = self._zip.read(MANIFEST)
        except KeyError:
            raise BackupError(f"{self.path.name} is a zip, but no backup of Troupe: it has no manifest") from None
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise BackupError(f"{self.path.name} is damaged: its manifest cannot be read ({error})") from error
        try:
            head = _Head.model_validate_json(text)
        except ValidationError:
            raise BackupError(f"{self.path.name} is a zip, but no backup of Troupe: it has another manifest") from None
        if head.version > VERSION:
            raise BackupError(
                f"{self.path.name} was made by a newer version of Troupe (format {head.version}, this one reads"
                f" {VERSION}): restore it with that version"
            )
        try:
            return Manifest.model_validate_json(text)
        except ValidationError as error:
            raise BackupError(
                f"{self.path.name} is damaged: its manifest lacks what a backup has"
                f" ({error.errors()[0]['loc']}: {error.errors()[0]['msg']})"
            ) from None

    def pieces(self, member: Member) -> Iterator[bytes]:
        """A member's bytes. Raises BackupError at the end of one that is not what the manifest says."""
        sha, size = hashlib.sha256(), 0
        try:
            with self._zip.open(member.name) as file:
                while piece := file.read(PIECE):
                    sha.update(piece)
                    size += len(piece)
                    yield piece
        except (KeyError, zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
            raise BackupError(f"{self.path.name} is damaged: {member.name} cannot be read ({error})") from error
        if (size, sha.hexdigest()) != (member.bytes, member.sha256):
            raise BackupError(f"{self.path.name} is damaged: {member.name} is not what its manifest says")

    def close(self) -> None:
        self._zip.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Head(BaseModel):
    """What a manifest of any version has."""

    format: Literal["troupe-backup"]
    version: int
