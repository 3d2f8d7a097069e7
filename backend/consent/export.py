"""Exports: everything of a person in a zip of JSON Lines and CSV, with proofs, a manifest and a page that explains it.

The work goes page by page. Each page is a file of its own, sealed under the person's key, and is noted in the row once
it is on the disk: killed at any moment, the work goes on at the next page. At the end the pages become one zip, sealed
too, which is opened while it is downloaded. Neither needs more memory for more rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from backend.chain import ChainInfo
from backend.consent import explain, proofs
from backend.consent.persons import person_of
from backend.consent.rows import Owner, Row, Source, sources
from backend.content.cid import CID
from backend.content.store import ContentError, ContentStore
from backend.csvtext import csv_text
from backend.errors import Conflict, NotFound, Unavailable
from backend.files import sync
from backend.models.accounts import Account
from backend.models.own_data import DataExport
from backend.models.works import Draft
from backend.vault.sealed_files import open_stream, seal_stream
from backend.vault.vault import NoKey, Vault
from backend.works import drafts
from backend.works.drafts import PARTS, SEALED_TOO, DraftFiles, Part
from backend.zipping import zip_stream

log = structlog.get_logger()

FORMAT: Final = "troupe-export/1"
KEPT: Final = timedelta(days=7)
KEPT_AFTER_DOWNLOAD: Final = timedelta(hours=1)
STATEMENT_TIMEOUT_MS: Final = 600_000
"""A page of the chain's events is looked for in every event table."""
UNFINISHED: Final = ("asked", "working")

Unit = Callable[[], AbstractContextManager[Session]]
"""Opens one transaction, committed at its end."""
At = Callable[[str], None]
"""Told at each labelled point, so that a test can kill the process there."""

POINTS: Final = ("page_written", "page_noted", "zip_written", "ready")


def nothing(_point: str) -> None:
    """Nobody is told."""


# --- asking -----------------------------------------------------------------------------------------------------------


def ask(session: Session, *, account_id: uuid.UUID, now: datetime) -> DataExport:
    """The account's export that is being made, or a new one; asking again while it is made changes nothing.

    The older ones are dropped, their files with the next sweep.
    """
    session.execute(select(Account.id).where(Account.id == account_id).with_for_update(key_share=True))
    working = session.scalar(
        select(DataExport).where(DataExport.account_id == account_id, DataExport.state.in_(UNFINISHED)).limit(1)
    )
    if working is not None:
        return working
    session.execute(delete(DataExport).where(DataExport.account_id == account_id))
    made = DataExport(account_id=account_id, state="asked", asked_at=now, total=0, done=0, parts=[])
    session.add(made)
    session.flush()
    return made


def listed(session: Session, *, account_id: uuid.UUID) -> Sequence[DataExport]:
    """The account's exports, newest first."""
    query = select(DataExport).where(DataExport.account_id == account_id).order_by(DataExport.asked_at.desc())
    return session.scalars(query).all()


def find(session: Session, *, account_id: uuid.UUID, export_id: uuid.UUID) -> DataExport:
    """One of the account's exports. Raises NotFound."""
    found = session.get(DataExport, export_id)
    if found is None or found.account_id != account_id:
        raise NotFound("You have no such export; it may have expired. Ask for a new one.")
    return found


def drop(session: Session, *, account_id: uuid.UUID, export_id: uuid.UUID) -> None:
    """Forget an export; its file goes with the next sweep. Raises NotFound."""
    session.delete(find(session, account_id=account_id, export_id=export_id))


# --- making -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workshop:
    """What an export is made with."""

    unit: Unit
    vault: Vault
    store: ContentStore
    drafts: DraftFiles
    chain: ChainInfo
    folder: Path
    """Below it is a file for each export, and a folder of pages while it is made."""

    def pages(self, export_id: uuid.UUID) -> Path:
        return self.folder / f"{export_id}.pages"

    def file(self, export_id: uuid.UUID) -> Path:
        return self.folder / f"{export_id}.zip.sealed"

    def draft_file(self, cid: str, draft: Draft, part: Part) -> Iterator[bytes]:
        """A file of a draft, wherever it is. Raises ContentError, Erased."""
        if draft.files in SEALED_TOO:
            return self.drafts.read(draft.account_id, draft.id, part)
        return self.store.cat(CID.parse(cid))

    def key(self, account_id: uuid.UUID, export_id: uuid.UUID) -> bytes:
        """The key of one export. Raises NoKey, Erased."""
        return self.vault.derive(account_id, f"export|{export_id}")


def run(shop: Workshop, export_id: uuid.UUID, *, now: datetime, at: At = nothing) -> bool:
    """Make an export, from wherever an earlier attempt was broken off; False when there is none to make.

    One process makes it: another that comes meanwhile goes away. The lock ends with the process that holds it.
    """
    with shop.unit() as session:
        locked = session.scalar(select(func.pg_try_advisory_xact_lock(_lock(export_id))))
        row = session.get(DataExport, export_id)
        if not locked or row is None or row.state not in UNFINISHED:
            return False
        try:
            _make(shop, row.id, row.account_id, now, at)
        except NoKey:
            return False  # erased meanwhile
        except Exception as error:  # whatever it was, the person is told, and can ask again
            log.exception("export_failed", export=str(export_id))
            _failed(shop, export_id, error)
            return False
        return True


def _lock(export_id: uuid.UUID) -> int:
    return int.from_bytes(export_id.bytes[-8:], "big", signed=True)


def _failed(shop: Workshop, export_id: uuid.UUID, error: Exception) -> None:
    away = isinstance(error, Unavailable | ContentError)
    words = str(error) if away else "Something on our side went wrong; nothing of yours was changed. Ask again."
    with shop.unit() as session:
        session.execute(update(DataExport).where(DataExport.id == export_id).values(state="failed", problem=words))


@dataclass(frozen=True)
class _Work:
    """One export that is being made."""

    shop: Workshop
    export_id: uuid.UUID
    owner: Owner
    key: bytes
    listed: Sequence[Source]

    @property
    def spool(self) -> Path:
        return self.shop.pages(self.export_id)

    def row(self, session: Session) -> DataExport:
        session.execute(text(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}"))
        return session.get_one(DataExport, self.export_id)


def _make(shop: Workshop, export_id: uuid.UUID, account_id: uuid.UUID, now: datetime, at: At) -> None:
    shop.vault.ensure(account_id)
    with shop.unit() as session:
        owner = owner_of(session, shop.vault, account_id)
    listed = [*sources(shop.vault), *proofs.sources(shop.chain, shop.store)]
    work = _Work(shop, export_id, owner, shop.key(account_id, export_id), listed)
    work.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    with shop.unit() as session:
        row = work.row(session)
        if row.state == "asked":
            row.total = sum(source.count(session, owner) for source in listed)
            row.state = "working"
    for source in listed:
        while _write_page(work, source, at):
            at("page_noted")
    with shop.unit() as session:
        made = _Zip(work, work.row(session).parts, _files(session, shop, owner), now)
    _write(shop.file(export_id), seal_stream(made.pieces(), key=work.key, context="zip"))
    at("zip_written")
    with shop.unit() as session:
        ready = {"state": "ready", "size_bytes": made.size, "ready_at": now, "expires_at": now + KEPT, "parts": []}
        # rows that came meanwhile, as the log of this very reading does, were not counted at the beginning
        session.execute(update(DataExport).where(DataExport.id == export_id).values(total=DataExport.done, **ready))
    at("ready")
    shutil.rmtree(work.spool, ignore_errors=True)


def owner_of(session: Session, vault: Vault, account_id: uuid.UUID) -> Owner:
    """Whose rows are to be read."""
    account = session.get_one(Account, account_id)
    return Owner(account_id, person_of(session, vault, account_id), account.wallet)


def _write_page(work: _Work, source: Source, at: At) -> bool:
    """Write the next page of a source in both formats; False when all of them are there."""
    with work.shop.unit() as session:
        row = work.row(session)
        there = [part for part in row.parts if part[0] == source.name]
        if there and there[-1][3] is None:
            return False
        number, after = len(there), there[-1][3] if there else None
        rows, following = source.page(session, work.owner, after)
        for form, lines in (("jsonl", jsonl(rows)), ("csv", records(source.columns, rows))):
            context = f"{source.name}|{number}|{form}"
            _write(work.spool / f"{source.name}.{number}.{form}", seal_stream(lines, key=work.key, context=context))
        at("page_written")
        row.parts = [*row.parts, [source.name, number, len(rows), following]]
        row.done += len(rows)
    return True


def jsonl(rows: Iterable[Row]) -> Iterator[bytes]:
    """A line of JSON for each row."""
    for row in rows:
        yield json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def records(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[bytes]:
    """A CSV record for each row, in which nothing is a formula; lists and objects are JSON."""
    for row in rows:
        yield csv_text(_cell(row[name]) for name in columns).encode()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else value


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file that is there whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    sync(path.parent)


def _files(session: Session, shop: Workshop, owner: Owner) -> dict[str, tuple[Draft, Part]]:
    """The files of the account's drafts: where each CID can be had."""
    query = select(Draft).where(Draft.account_id == owner.account_id)
    said = [(draft, drafts.opened(shop.vault, draft)) for draft in session.scalars(query)]
    return {its.file(part).cid: (draft, part) for draft, its in said for part in PARTS}


class _Zip:
    """The zip of an export, made while it is read."""

    def __init__(
        self, work: _Work, parts: Sequence[list[Any]], files: Mapping[str, tuple[Draft, Part]], now: datetime
    ) -> None:
        self._work, self._parts, self._files, self._now = work, parts, files, now
        self._digests: dict[str, dict[str, Any]] = {}
        self.size = 0

    def pieces(self) -> Iterator[bytes]:
        for piece in zip_stream(self._members()):
            self.size += len(piece)
            yield piece

    def _members(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        for source in self._work.listed:
            for form in ("jsonl", "csv"):
                name = f"{source.name}.{form}"
                yield name, self._counted(name, self._rows(source, form))
        for cid, (draft, part) in sorted(self._files.items()):
            name = f"files/{cid}"
            try:
                pieces = self._work.shop.draft_file(cid, draft, part)
            except ContentError as error:
                self._digests[name] = {"missing": str(error)}
                continue
            yield name, self._counted(name, pieces)
        page = explain.page(self._manifest()).encode()
        yield "index.html", self._counted("index.html", [page])
        yield "manifest.json", [json.dumps(self._manifest(), indent=1, ensure_ascii=False).encode()]

    def _rows(self, source: Source, form: str) -> Iterator[bytes]:
        if form == "csv":
            yield csv_text(source.columns).encode()
        for name, number, _, _ in self._parts:
            if name == source.name:
                with (self._work.spool / f"{name}.{number}.{form}").open("rb") as file:
                    yield from open_stream(file, key=self._work.key, context=f"{name}|{number}|{form}")

    def _counted(self, name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
        sha, size = hashlib.sha256(), 0
        for piece in pieces:
            sha.update(piece)
            size += len(piece)
            yield piece
        self._digests[name] = {"bytes": size, "sha256": sha.hexdigest()}

    def _manifest(self) -> dict[str, Any]:
        counts = {source.name: 0 for source in self._work.listed}
        for name, _, rows, _ in self._parts:
            counts[name] += rows
        return {
            "format": FORMAT,
            "made_at": self._now.isoformat().replace("+00:00", "Z"),
            "account": str(self._work.owner.account_id),
            "address": None if self._work.owner.address is None else "0x" + self._work.owner.address.hex(),
            "chain_id": self._work.shop.chain.chain_id,
            "tables": [
                {"name": s.name, "what": s.words, "columns": list(s.columns), "rows": counts[s.name]}
                for s in self._work.listed
            ],
            "files": dict(self._digests),
        }


# --- taking away ------------------------------------------------------------------------------------------------------


def opened(shop: Workshop, row: DataExport, *, now: datetime) -> Iterator[bytes]:
    """The zip of an export, opened piece by piece. Raises Conflict before it is ready, NotFound after it expired."""
    if row.state != "ready":
        raise Conflict(
            "This export is not ready yet; look at its progress." if row.state != "failed" else f"{row.problem}",
            code="export_not_ready",
            title="The export is not ready",
        )
    if row.expires_at is not None and row.expires_at <= now:
        raise NotFound("This export has expired. Ask for a new one.")
    try:
        file = shop.file(row.id).open("rb")
    except FileNotFoundError:
        raise NotFound("The file of this export is no longer here. Ask for a new one.") from None
    key = shop.key(row.account_id, row.id)

    def pieces() -> Iterator[bytes]:
        with file:
            yield from open_stream(file, key=key, context="zip")

    if row.downloaded_at is None:
        row.downloaded_at = now
        row.expires_at = min(row.expires_at or now + KEPT, now + KEPT_AFTER_DOWNLOAD)
    return pieces()


def sweep(session: Session, folder: Path, *, now: datetime) -> int:
    """Drop exports that have expired, and files that belong to none; how many files."""
    session.execute(delete(DataExport).where(DataExport.expires_at <= now))
    kept = {str(found) for found in session.scalars(select(DataExport.id))}
    removed = 0
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.name.removeprefix(".")[:36] in kept:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        removed += 1
    return removed


def waiting(session: Session) -> Sequence[uuid.UUID]:
    """Exports that are not finished, the oldest first: new ones, and those whose worker died."""
    query = select(DataExport.id).where(DataExport.state.in_(UNFINISHED)).order_by(DataExport.asked_at)
    return session.scalars(query).all()
