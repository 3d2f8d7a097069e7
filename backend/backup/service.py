"""Take a backup of the product tables and the kept content, and put one back whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from alembic import command
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from backend.backup import tables
from backend.backup.archive import BackupError, ContentPart, DraftPart, Manifest, Reader, TablePart, Writer
from backend.backup.tables import Copied
from backend.chain import ChainInfo
from backend.consent import service as consents
from backend.consent.gate import gated_tables
from backend.consent.persons import everybody
from backend.content.cid import CID
from backend.content.service import open_store
from backend.content.store import ContentCorrupt, ContentError, ContentMissing, ContentStore, ContentUnavailable
from backend.files import sync
from backend.migrations.roles import BACKEND, ensure_roles
from backend.migrations.upgrade import LOCK, config, current, head, known
from backend.models import registry
from backend.models.accounts import Account
from backend.models.base import SCHEMA
from backend.models.engagement import NOBODY
from backend.settings import Settings
from backend.vault.vault import Vault
from backend.vault.vault import place as vault_place
from backend.works.drafts import PARTS, SEALED_TOO, DraftFileLost, DraftFiles

Progress = Callable[[str, int, int], None]
"""Told what is being done, and how far: `("tables", 3, 14)`."""

BEFORE: Final = f"{SCHEMA}_before_restore"
LOCK_WAIT: Final = "10s"

_DRAFTS: Final = "SELECT account_id, id FROM app.draft WHERE files = ANY(%s) ORDER BY id"
"""The drafts whose files are sealed, registered or not."""


def quiet(what: str, done: int, total: int) -> None:
    """No progress is shown."""


@dataclass(frozen=True)
class Installation:
    """What is backed up, or restored to."""

    settings: Settings
    admin_url: str
    vault: Vault

    @property
    def store(self) -> ContentStore:
        return open_store(self.settings)

    @property
    def drafts(self) -> DraftFiles:
        return DraftFiles.of(self.settings, self.vault)

    @property
    def registry(self) -> str:
        """Address of the WorkRegistry: which deployment the rows speak of."""
        return str(ChainInfo.load(self.settings.deployment).address("WorkRegistry"))


@contextmanager
def _connected(admin_url: str) -> Iterator[tuple[Connection, tables.Connection]]:
    """A connection as SQLAlchemy and as psycopg have it. Raises BackupError for a database that is away."""
    engine = create_engine(admin_url, connect_args={"options": f"-c timezone=UTC -c lock_timeout={LOCK_WAIT}"})
    try:
        with engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            yield connection, raw
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise BackupError(f"the database cannot be reached: {reason}") from error
    finally:
        engine.dispose()


# --- take ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Taken:
    """A backup that is on the disk."""

    path: Path
    manifest: Manifest


def take(place: Installation, to: Path, *, now: datetime, progress: Progress = quiet) -> Taken:
    """Write a backup into the folder `to`, all of it as of one moment of the database.

    It has its name only once it is whole and flushed; what an interrupted one left is removed by the next. Raises
    BackupError.
    """
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    for leftover in to.glob(".troupe-*.partial"):
        leftover.unlink()
    path = to / f"troupe-{now:%Y%m%dT%H%M%SZ}.backup"
    if path.exists():
        raise BackupError(f"{path} exists already: wait a second, or move it away")
    unfinished = to / f".{path.stem}.partial"
    writer = Writer(unfinished)
    unfinished.chmod(0o600)
    try:
        manifest = _write(place, writer, now=now, progress=progress)
        writer.close(manifest)
    except BaseException:
        writer.close(None)
        unfinished.unlink(missing_ok=True)
        raise
    sync(unfinished)
    unfinished.rename(path)
    sync(to)
    return Taken(path, manifest)


def _write(place: Installation, writer: Writer, *, now: datetime, progress: Progress) -> Manifest:
    with _connected(place.admin_url) as (connection, raw):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        revision = current(connection)
        if revision != head():
            raise BackupError(
                f"the product tables are at revision {revision or 'none'} and this version needs {head()}:"
                " run `./troupe migrate` first"
            )
        listed = tables.kept(registry.load())
        parts = []
        for number, table in enumerate(listed):
            progress("tables", number, len(listed))
            copied = Copied()
            member = writer.add(f"tables/{table.name}.copy", tables.read(raw, table, copied))
            names = tables.columns(table)
            parts.append(TablePart(table=table.name, columns=names, rows=copied.rows, member=member))
        progress("tables", len(listed), len(listed))
        standing = tables.sequences(raw)
        wanted = [cid for (cid,) in raw.execute("SELECT cid FROM app.content ORDER BY cid")]
        sealed = [(account, draft) for account, draft in raw.execute(_DRAFTS, (list(SEALED_TOO),))]
    content, missing = _write_content(place, writer, wanted, progress)
    drafts, lost = _write_drafts(place, writer, sealed, progress)
    people = writer.add("people", (person.bytes for person in place.vault.people()))
    return Manifest(
        made_at=now.isoformat(),
        revision=revision,
        chain_id=place.settings.chain_id,
        registry=place.registry,
        tables=parts,
        sequences=standing,
        people=people,
        content=content,
        drafts=drafts,
        missing=[*missing, *lost],
    )


def _write_content(
    place: Installation, writer: Writer, wanted: list[str], progress: Progress
) -> tuple[list[ContentPart], list[str]]:
    store, parts, missing = place.store, [], []
    for number, cid in enumerate(wanted):
        progress("content", number, len(wanted))
        try:
            pieces = store.cat(CID.parse(cid))
        except (ContentMissing, ContentCorrupt):
            missing.append(cid)
            continue
        except ContentError as error:
            raise BackupError(str(error)) from error
        parts.append(ContentPart(cid=cid, member=writer.add(f"content/{cid}", pieces)))
    progress("content", len(wanted), len(wanted))
    return parts, missing


def _write_drafts(
    place: Installation, writer: Writer, wanted: list[tuple[uuid.UUID, uuid.UUID]], progress: Progress
) -> tuple[list[DraftPart], list[str]]:
    """Copy sealed files as they lie there; those of somebody who is being erased are left out."""
    files, parts, missing = place.drafts, [], []
    for number, (account, draft) in enumerate(wanted):
        progress("drafts", number, len(wanted))
        if place.vault.state(account) != "present":
            continue
        for part in PARTS:
            name = f"drafts/{draft}.{part}"
            if not files.path(account, draft, part).exists():
                missing.append(name)
                continue
            member = writer.add(name, files.sealed(account, draft, part))
            parts.append(DraftPart(account=account, draft=draft, part=part, member=member))
    progress("drafts", len(wanted), len(wanted))
    return parts, missing


# --- put back --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restored:
    """What a restore has put back."""

    manifest: Manifest
    rows: int
    files: int
    closed: int
    """Files of people whose key is no more."""
    erased: int
    """People of the backup who were erased since, and were erased again."""
    withdrawn: int
    """Consents that have to be given anew."""


def put_back(
    place: Installation,
    file: Path,
    *,
    replace: bool,
    ask_consents_again: datetime | None = None,
    progress: Progress = quiet,
) -> Restored:
    """Put a backup back: the files first, then all rows in one transaction that swaps the schema.

    Killed at any moment, it leaves the database as it was; files that were added by then are named by their content
    and harm nothing. Raises BackupError for a file that is damaged, foreign or newer, before anything is changed, and
    for a database that is in use, or that holds accounts when `replace` was not said.
    """
    with Reader(file) as reader:
        manifest = reader.manifest
        _require_ours(place, manifest, file)
        _require_whole(reader, progress)
        _require_keys(place, reader)
        _require_ground(place, replace=replace)
        _put_content(place, reader, progress)
        closed = _put_drafts(place, reader, progress)
        rows, erased, withdrawn = _put_tables(place, reader, ask_consents_again, progress)
    files = len(manifest.content) + len(manifest.drafts) - closed
    return Restored(manifest, rows, files, closed, erased, withdrawn)


def _require_ours(place: Installation, manifest: Manifest, file: Path) -> None:
    if (manifest.chain_id, manifest.registry) != (place.settings.chain_id, place.registry):
        raise BackupError(
            f"{file.name} is of another deployment (chain {manifest.chain_id}, WorkRegistry {manifest.registry}) and"
            f" this one is on chain {place.settings.chain_id} with {place.registry}: its rows speak of other works"
        )
    if manifest.revision not in known():
        raise BackupError(
            f"{file.name} holds product tables of revision {manifest.revision}, which this version does not know (it"
            f" has {head()}): restore it with the version that made it, or a later one"
        )


def _require_whole(reader: Reader, progress: Progress) -> None:
    """Read everything once, so that damage is found before anything is touched."""
    members = reader.manifest.members
    for number, member in enumerate(members):
        progress("check", number, len(members))
        for _ in reader.pieces(member):
            pass
    progress("check", len(members), len(members))


def _require_keys(place: Installation, reader: Reader) -> None:
    """Without its owners' keys a backup is noise; whoever was erased has none, and that is as it should be."""
    data = b"".join(reader.pieces(reader.manifest.people))
    people = [uuid.UUID(bytes=data[i : i + 16]) for i in range(0, len(data), 16)]
    lacking = sum(place.vault.state(person) == "absent" for person in people)
    if lacking:
        raise BackupError(
            f"the vault {place.vault.folder} lacks the keys of {lacking} of the backup's {len(people)} people: bring"
            " them back with --keys and the folder that mirrors them"
        )


def _require_ground(place: Installation, *, replace: bool) -> None:
    with _connected(place.admin_url) as (_, raw):
        _require_unused(raw)
        there = raw.execute("SELECT to_regclass('app.account') IS NOT NULL").fetchone()
        if there and there[0] and not replace:
            found = raw.execute("SELECT count(*) FROM app.account").fetchone()
            if found and found[0]:
                raise BackupError(
                    f"the database holds {found[0]} accounts, and restoring replaces all product tables:"
                    " say --replace if that is meant, and take a backup of it first"
                )


def _require_unused(connection: tables.Connection) -> None:
    found = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = %s", (BACKEND,)
    ).fetchone()
    if found and found[0]:
        raise BackupError(
            f"{found[0]} connections of the API or the workers are open: stop them first, and start them again after"
        )


def _put_content(place: Installation, reader: Reader, progress: Progress) -> None:
    """Add every public file."""
    store, parts = place.store, reader.manifest.content
    for number, part in enumerate(parts):
        progress("content", number, len(parts))
        try:
            added = store.add(reader.pieces(part.member))
        except ContentError as error:
            raise BackupError(str(error)) from error
        if str(added.cid) != part.cid:
            store.unpin(added.cid)
            raise BackupError(f"{part.member.name} has the content id {added.cid}: the backup is damaged")
    progress("content", len(parts), len(parts))


def _put_drafts(place: Installation, reader: Reader, progress: Progress) -> int:
    """Put the sealed files of drafts where they were; returns how many nobody can open any more, and are left out."""
    parts, closed = reader.manifest.drafts, 0
    for number, part in enumerate(parts):
        progress("drafts", number, len(parts))
        if place.vault.state(part.account) != "present":
            closed += 1
            continue
        try:
            place.drafts.put(part.account, part.draft, part.part, reader.pieces(part.member))
            for _ in place.drafts.read(part.account, part.draft, part.part):
                pass
        except ContentUnavailable as error:
            raise BackupError(str(error)) from error
        except DraftFileLost as error:
            place.drafts.path(part.account, part.draft, part.part).unlink()
            raise BackupError(
                f"{part.member.name} does not open with the key of its owner: is this vault the one of the backup?"
            ) from error
    progress("drafts", len(parts), len(parts))
    return closed


def _put_tables(
    place: Installation, reader: Reader, ask_again: datetime | None, progress: Progress
) -> tuple[int, int, int]:
    """Load the rows into a fresh schema and let it take the old one's place.

    Returns how many rows, people erased again, and consents withdrawn.
    """
    manifest = reader.manifest
    try:
        with _connected(place.admin_url) as (connection, raw), connection.begin():
            raw.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            raw.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            raw.execute(f"ALTER SCHEMA {SCHEMA} RENAME TO {BEFORE}")
            ensure_roles(raw)
            command.upgrade(config(connection), manifest.revision)
            rows = 0
            for number, part in enumerate(manifest.tables):
                progress("rows", number, len(manifest.tables))
                rows += _load(raw, reader, part)
            tables.set_sequences(raw, manifest.sequences)
            command.upgrade(config(connection), "head")
            erased = _erase_again(raw, place.vault)
            withdrawn = 0 if ask_again is None else _ask_consents_again(connection, place, ask_again)
            _require_unused(raw)
            raw.execute(f"DROP SCHEMA {BEFORE} CASCADE")
            progress("rows", len(manifest.tables), len(manifest.tables))
            return rows, erased, withdrawn
    except LockNotAvailable as error:
        raise BackupError("somebody works with the product tables: stop the API and the workers first") from error
    except psycopg.Error as error:
        raise BackupError(f"the rows do not fit the tables: {str(error).strip().splitlines()[0]}") from error


def _erase_again(raw: tables.Connection, vault: Vault) -> int:
    """Drop the people whose mark is in the vault, with all that hangs on them, before anybody sees the rows."""
    gone = list(vault.people("erased"))
    erased = raw.execute("DELETE FROM app.account WHERE id = ANY(%s)", (gone,)).rowcount
    if erased:
        _forget_unowned(raw, vault)
    return erased


def _forget_unowned(raw: tables.Connection, vault: Vault) -> None:
    """Drop the rows of pseudonyms that no account has: whose they were, nobody can tell any more."""
    raw.execute("CREATE TEMPORARY TABLE owned (person_id uuid PRIMARY KEY) ON COMMIT DROP")
    linked = raw.execute("SELECT id, pseudonym FROM app.account WHERE pseudonym IS NOT NULL").fetchall()
    with raw.cursor() as cursor, cursor.copy("COPY owned FROM STDIN") as copy:
        for account, sealed in linked:
            person = vault.unseal(account, sealed, vault_place(Account.pseudonym, account))
            copy.write_row((uuid.UUID(bytes=person),))
    for table in gated_tables():
        whose = table.info["personal"].person
        raw.execute(
            f"DELETE FROM {table.fullname} t WHERE t.{whose} <> %s"
            f" AND NOT EXISTS (SELECT FROM owned WHERE owned.person_id = t.{whose})",
            (NOBODY,),
        )


def _ask_consents_again(connection: Connection, place: Installation, now: datetime) -> int:
    """Withdraw every consent, since one that was taken back after the backup would hold again; how many."""
    withdrawn = 0
    with Session(connection, join_transaction_mode="create_savepoint") as session:
        for person in list(everybody(session, place.vault)):
            for purpose, receipt in consents.current(session, place.vault, account_id=person.account_id).items():
                if receipt.granted:
                    withdrawn += 1
                    consents.record(
                        session,
                        place.vault,
                        account_id=person.account_id,
                        purpose=purpose,
                        granted=False,
                        at=now,
                        by=consents.controller(place.settings),
                    )
        session.commit()
    return withdrawn


def _load(raw: tables.Connection, reader: Reader, part: TablePart) -> int:
    """Put one table's rows back. Nothing is believed of the file's names but what this database has."""
    found = tables.write(raw, part.table, part.columns, reader.pieces(part.member))
    if found != part.rows:
        raise BackupError(f"{part.table} got {found} rows and its backup says {part.rows}: the backup is damaged")
    return found
