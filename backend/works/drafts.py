"""Drafts as their authors keep them: until the chain has a work, its words and files are sealed under their key.

`draft.record` holds the words, and the files lie in a folder of their own:

    <data>/drafts/<account>/<draft>.media.sealed        and .metadata.sealed, .split.sealed

Their content ids are worked out from the plain bytes before these are sealed, so that anybody can check later that what
was published is what was registered.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.content.store import ContentError, ContentUnavailable
from backend.content.uploads import PIECE_BYTES
from backend.files import PARTIAL, write_pieces_durably
from backend.models.works import Draft
from backend.settings import Settings
from backend.vault.sealed_files import NotOpened, open_stream, seal_stream
from backend.vault.vault import Vault, place

Part = Literal["media", "metadata", "split"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
INDEX: Final = "draft content"
"""Of the blind index by which a registration's content hash finds its draft."""
KEPT_UNNAMED: Final = timedelta(hours=1)
"""How long a file without a row is kept: the upload that it belongs to may be under way."""


class DraftFileLost(ContentError):
    """A sealed file of a draft is not there, or is not what was written."""


@dataclass(frozen=True, slots=True)
class DraftFile:
    """One file of a draft by its content."""

    cid: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a registration needs, opened. It never changes."""

    title: str
    kind: int
    ai_label: int
    licence_id: int
    """Licence for the work's own derivations; 0: none may be made."""
    parents: tuple[tuple[int, int], ...]
    """(work_id, share_bps) by ascending work_id, as the registry wants them."""
    consents: tuple[bytes, ...]
    """Uids of attestations, in the order of the registration."""
    content_hash: bytes
    """sha256 of the media file."""
    salt: bytes
    """Random; hides the content hash in a commitment that is made before the registration."""
    media: DraftFile
    metadata: DraftFile
    split: DraftFile

    def file(self, part: Part) -> DraftFile:
        """One of the three."""
        found: DraftFile = getattr(self, part)
        return found

    @property
    def cids(self) -> list[str]:
        """Of all files, each once."""
        return sorted({self.file(part).cid for part in PARTS})

    def encode(self) -> bytes:
        """As `draft.record` seals it."""
        document: dict[str, Any] = {name: getattr(self, name) for name in ("title", "kind", "ai_label", "licence_id")}
        document |= {
            "parents": [list(parent) for parent in self.parents],
            "consents": [uid.hex() for uid in self.consents],
            "content_hash": self.content_hash.hex(),
            "salt": self.salt.hex(),
        }
        for part in PARTS:
            file = self.file(part)
            document[part] = {"cid": file.cid, "media_type": file.media_type}
        return json.dumps(document, ensure_ascii=False).encode()


def decode(data: bytes) -> Prepared:
    """What `encode` wrote."""
    document: Mapping[str, Any] = json.loads(data)
    return Prepared(
        **{name: document[name] for name in ("title", "kind", "ai_label", "licence_id")},
        parents=tuple((int(work_id), int(share_bps)) for work_id, share_bps in document["parents"]),
        consents=tuple(bytes.fromhex(uid) for uid in document["consents"]),
        content_hash=bytes.fromhex(document["content_hash"]),
        salt=bytes.fromhex(document["salt"]),
        media=DraftFile(**document["media"]),
        metadata=DraftFile(**document["metadata"]),
        split=DraftFile(**document["split"]),
    )


def index_of(vault: Vault, content_hash: bytes) -> bytes:
    """What finds the drafts of a file: whoever has the database alone cannot tell which file."""
    return vault.blind(INDEX, content_hash)


def made(vault: Vault, *, draft_id: uuid.UUID, account_id: uuid.UUID, prepared: Prepared) -> Draft:
    """A new draft's row. Raises Erased."""
    return Draft(
        id=draft_id,
        account_id=account_id,
        record=vault.seal(account_id, prepared.encode(), place(Draft.record, draft_id)),
        content_index=index_of(vault, prepared.content_hash),
        files="sealed",
    )


def opened(vault: Vault, draft: Draft) -> Prepared:
    """What a draft says. Raises Tampered, NoKey, Erased."""
    return decode(vault.unseal(draft.account_id, draft.record, place(Draft.record, draft.id)))


# --- files ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DraftFiles:
    """The sealed files of all drafts, for any number of processes of one data folder."""

    folder: Path
    vault: Vault

    @classmethod
    def of(cls, settings: Settings, vault: Vault) -> DraftFiles:
        """Those of an installation."""
        return cls(settings.data_dir / "drafts", vault)

    def path(self, account_id: uuid.UUID, draft_id: uuid.UUID, part: Part) -> Path:
        """Where a file is."""
        return self.folder / str(account_id) / f"{draft_id}.{part}.sealed"

    def _key(self, account_id: uuid.UUID, draft_id: uuid.UUID) -> bytes:
        return self.vault.derive(account_id, f"draft|{draft_id}")

    def write(self, account_id: uuid.UUID, draft_id: uuid.UUID, part: Part, pieces: Iterable[bytes]) -> None:
        """Seal a file; it is on the disk when this returns. Raises ContentUnavailable, Erased."""
        self.vault.ensure(account_id)
        self.put(account_id, draft_id, part, seal_stream(pieces, key=self._key(account_id, draft_id), context=part))

    def put(self, account_id: uuid.UUID, draft_id: uuid.UUID, part: Part, sealed: Iterable[bytes]) -> None:
        """Write a file that is sealed already, as a restore does. Raises ContentUnavailable."""
        path = self.path(account_id, draft_id, part)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_pieces_durably(path, sealed)
        except OSError as error:
            raise ContentUnavailable(f"drafts can't be written ({error.strerror}); free space, retry") from error

    def read(self, account_id: uuid.UUID, draft_id: uuid.UUID, part: Part) -> Iterator[bytes]:
        """A file's bytes, opened. Raises DraftFileLost, at its end for one that was cut off; NoKey, Erased."""
        key, path = self._key(account_id, draft_id), self.path(account_id, draft_id, part)
        if not path.exists():
            raise DraftFileLost(f"the {part} file of draft {draft_id} is not there; upload it again")

        def pieces() -> Iterator[bytes]:
            try:
                with path.open("rb") as file:
                    yield from open_stream(file, key=key, context=part)
            except (FileNotFoundError, NotOpened) as error:
                raise DraftFileLost(f"the {part} file of draft {draft_id} is damaged: {error}") from error

        return pieces()

    def sealed(self, account_id: uuid.UUID, draft_id: uuid.UUID, part: Part) -> Iterator[bytes]:
        """A file's bytes as they lie on the disk. Raises FileNotFoundError when they are asked for."""
        with self.path(account_id, draft_id, part).open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    def whole(self, account_id: uuid.UUID, draft_id: uuid.UUID) -> bool:
        """Whether all sealed files of a draft are there."""
        return all(self.path(account_id, draft_id, part).exists() for part in PARTS)

    def forget(self, account_id: uuid.UUID) -> None:
        """Remove all files of an account."""
        shutil.rmtree(self.folder / str(account_id), ignore_errors=True)

    def sweep(self, session: Session, *, now: datetime) -> int:
        """Remove files that no draft needs: published for good, of rows that are gone, left by killed uploads.

        Returns how many. A file without a row is left for an hour: its upload may be under way.
        """
        needed = {str(found) for found in session.scalars(select(Draft.id).where(Draft.files.in_(SEALED_TOO)))}
        known = {str(found) for found in session.scalars(select(Draft.id).where(Draft.files.not_in(SEALED_TOO)))}
        removed = 0
        for path in self.folder.glob("*/*"):
            named = path.name.removeprefix(PARTIAL)[:36]
            whole = not path.name.startswith(PARTIAL)
            fresh = now.timestamp() - path.stat().st_mtime < KEPT_UNNAMED.total_seconds()
            if (whole and named in needed) or (named not in known and fresh) or (not whole and fresh):
                continue
            path.unlink(missing_ok=True)
            removed += 1
        for folder in self.folder.glob("*"):
            if not any(folder.iterdir()):
                try:
                    os.rmdir(folder)
                except OSError:
                    continue  # an upload has just begun
        return removed


SEALED_TOO: Final = ("sealed", "publishing", "published")
"""States of a draft whose sealed files are there."""
