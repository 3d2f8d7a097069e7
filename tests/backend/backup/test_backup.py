"""A backup is one moment of the database; a restore is whole or has not happened."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import uuid
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from backend.backup import keys, signing, tables
from backend.backup.archive import BackupError, Reader
from backend.backup.service import Installation, put_back, take
from backend.content.cid import CID
from backend.content.media import TEXT
from backend.content.service import cid_of, keep, open_store
from backend.migrations.upgrade import head
from backend.models import registry
from backend.models.accounts import Account
from backend.models.base import uuid7
from backend.personalization.person import portable
from backend.settings import Settings
from backend.vault.vault import Place, Vault
from backend.works.drafts import PARTS, DraftFile, DraftFiles, Prepared, made
from stack.postgres import DatabaseUrls

NOW = datetime(2026, 11, 21, 20, tzinfo=UTC)
MEDIA = b"the film that nobody has seen yet " * 20_000
PUBLIC = b'{"a split tree": "published"}'


@pytest.fixture
def place(module_db_urls: DatabaseUrls, manifest: Path, tmp_path: Path) -> Installation:
    settings = Settings(
        env="test",
        database_url=module_db_urls.backend,  # type: ignore[arg-type]
        redis_url="unix:///nowhere",
        rpc_url="http://127.0.0.1:1",
        chain_id=31337,
        deployment=manifest,
        data_dir=tmp_path / "data",
        public_url="http://127.0.0.1:8000",
    )
    made = Installation(settings, module_db_urls.admin, Vault.open(settings))
    empty(made)
    return made


@pytest.fixture
def filled(place: Installation) -> Account:
    """An account with a draft, and a public file that belongs to nobody."""
    engine = create_engine(place.admin_url)
    with Session(engine, expire_on_commit=False) as session, session.begin():
        account = Account(wallet=b"\x01" * 20)
        session.add(account)
        keep(session, open_store(place.settings), [PUBLIC], TEXT)
        session.flush()
        bodies = {"media": MEDIA, "metadata": b'{"title": "Secret"}', "split": b"{}"}
        files = {part: DraftFile(cid_of([body]), TEXT) for part, body in bodies.items()}
        said = Prepared(
            title="Secret",
            kind=1,
            ai_label=1,
            licence_id=0,
            parents=((1, 500),),
            consents=(),
            content_hash=b"\x07" * 32,
            salt=b"\x08" * 32,
            **files,  # type: ignore[arg-type]
        )
        draft_id = uuid7()
        for part in PARTS:
            place.drafts.write(account.id, draft_id, part, [bodies[part]])
        session.add(made(place.vault, draft_id=draft_id, account_id=account.id, prepared=said))
    engine.dispose()
    return account


def dump(urls: str) -> dict[str, list[Any]]:
    """Everything in the kept product tables."""
    with psycopg.connect(urls.replace("+psycopg", "")) as connection:
        return {
            table.name: connection.execute(f"SELECT t::text FROM app.{table.name} t ORDER BY 1").fetchall()
            for table in tables.kept(registry.load())
        }


def empty(place: Installation) -> None:
    """What a lost database and a lost disk leave."""
    with psycopg.connect(place.admin_url.replace("+psycopg", "")) as connection:
        connection.execute("TRUNCATE app.account, app.content, chain.work_registry_work_registered CASCADE")
    for path in place.settings.data_dir.rglob("*"):
        if path.is_file():
            path.unlink()


@pytest.mark.feature("Q2", via="cli")
def test_what_was_backed_up_comes_back_row_by_row_and_file_by_file(
    place: Installation, filled: Account, tmp_path: Path
) -> None:
    before = dump(place.admin_url)
    shown: list[tuple[str, int, int]] = []
    taken = take(place, tmp_path / "to", now=NOW, progress=lambda *step: shown.append(step))
    assert taken.path.name == "troupe-20261121T200000Z.backup"
    assert taken.path.stat().st_mode & 0o077 == 0
    assert {name for name, _, _ in shown} == {"tables", "content", "drafts"}
    assert all(done <= total for _, done, total in shown)
    empty(place)
    assert dump(place.admin_url) != before
    restored = put_back(place, taken.path, replace=False)
    assert dump(place.admin_url) == before
    assert (restored.files, restored.closed) == (4, 0)
    store = open_store(place.settings)
    with psycopg.connect(place.admin_url.replace("+psycopg", "")) as connection:
        for (cid,) in connection.execute("SELECT cid FROM app.content").fetchall():
            assert store.is_pinned(CID.parse(cid))
            assert b"".join(store.cat(CID.parse(cid)))
        assert connection.execute("SELECT version_num FROM app.alembic_version").fetchall() == [(head(),)]
        assert connection.execute("SELECT to_regnamespace('app_before_restore')").fetchone() == (None,)


@pytest.mark.feature("Q2", via="cli")
def test_roles_and_numbers_go_on_after_a_restore(place: Installation, filled: Account, tmp_path: Path) -> None:
    with psycopg.connect(place.admin_url.replace("+psycopg", "")) as connection:
        connection.execute("SELECT setval('app.consent_receipt_number_seq', 41)")
    taken = take(place, tmp_path / "to", now=NOW)
    empty(place)
    put_back(place, taken.path, replace=False)
    backend = place.settings.database_url.get_secret_value().replace("+psycopg", "")
    with psycopg.connect(backend) as connection:
        assert connection.execute("SELECT nextval('app.consent_receipt_number_seq')").fetchone() == (42,)
        connection.execute("DELETE FROM app.account")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DROP TABLE app.account")


@pytest.mark.feature("C4", via="cli")
def test_V10_a_draft_that_nobody_may_see_yet_is_ciphertext_in_the_backup(
    place: Installation, filled: Account, tmp_path: Path
) -> None:
    taken = take(place, tmp_path / "to", now=NOW)
    with zipfile.ZipFile(taken.path) as archive:
        bytes_of = {name: archive.read(name) for name in archive.namelist()}
    assert not any(MEDIA[:60] in data or b"Secret" in data for data in bytes_of.values())
    assert any(PUBLIC in data for name, data in bytes_of.items() if name.startswith("content/"))
    assert {part.account for part in taken.manifest.drafts} == {filled.id}
    empty(place)
    put_back(place, taken.path, replace=False)
    (draft,) = {part.draft for part in taken.manifest.drafts}
    assert b"".join(place.drafts.read(filled.id, draft, "media")) == MEDIA, "and comes back to its author"


@pytest.mark.feature("C3", via="cli")
def test_V10_files_of_a_person_whose_key_is_gone_do_not_come_back(
    place: Installation, filled: Account, tmp_path: Path
) -> None:
    taken = take(place, tmp_path / "to", now=NOW)
    empty(place)
    place.vault.destroy(filled.id)
    restored = put_back(place, taken.path, replace=False)
    assert (restored.closed, restored.erased) == (3, 1)
    left = dump(place.admin_url)
    assert (len(left["account"]), len(left["draft"]), len(left["content"])) == (0, 0, 1)
    assert not list(place.settings.data_dir.rglob("*.sealed"))


def altered(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy of a backup in which something was changed, as a well-formed zip."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    other = path.with_name("altered.backup")
    with zipfile.ZipFile(other, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return other


def edit(**changes: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | changes).encode()

    return change


def flip(members: dict[str, bytes]) -> None:
    members["tables/account.copy"] = members["tables/account.copy"].replace(b"\\\\x01", b"\\\\x02")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (flip, ["damaged", "tables/account.copy"]),
        (lambda m: m.pop("tables/account.copy"), ["damaged", "tables/account.copy"]),
        (lambda m: m.pop("manifest.json"), ["no backup of Troupe"]),
        (edit(version=99), ["newer version", "99"]),
        (edit(format="other"), ["no backup of Troupe"]),
        (edit(revision="0009_cafe"), ["revision 0009_cafe", "does not know"]),
        (edit(chain_id=1), ["another deployment", "chain 1,"]),
        (edit(registry="0x" + "22" * 20), ["another deployment", "0x2222"]),
        (edit(tables=None), ["damaged", "tables"]),
    ],
)
@pytest.mark.feature("Q2", via="cli")
def test_a_damaged_foreign_or_newer_file_is_refused_with_a_sentence(
    place: Installation, filled: Account, tmp_path: Path, change: Callable[[dict[str, bytes]], None], words: list[str]
) -> None:
    taken = take(place, tmp_path / "to", now=NOW)
    before = dump(place.admin_url)
    with pytest.raises(BackupError) as refused:
        put_back(place, altered(taken.path, change), replace=True)
    for word in words:
        assert word in str(refused.value)
    assert dump(place.admin_url) == before


@pytest.mark.parametrize("how", ["absent", "empty", "text", "half"])
def test_what_is_no_backup_at_all_is_refused(place: Installation, filled: Account, tmp_path: Path, how: str) -> None:
    path = tmp_path / "some.backup"
    if how == "half":
        whole = take(place, tmp_path / "to", now=NOW).path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif how != "absent":
        path.write_bytes(b"" if how == "empty" else b"hello")
    with pytest.raises(BackupError, match="no file" if how == "absent" else "no backup of Troupe"):
        put_back(place, path, replace=True)


def test_accounts_that_are_there_are_replaced_only_when_that_is_said_and_nobody_works_with_them(
    place: Installation, filled: Account, tmp_path: Path
) -> None:
    taken = take(place, tmp_path / "to", now=NOW)
    with pytest.raises(BackupError, match=r"holds 1 accounts.*--replace"):
        put_back(place, taken.path, replace=False)
    backend = place.settings.database_url.get_secret_value().replace("+psycopg", "")
    with psycopg.connect(backend), pytest.raises(BackupError, match="stop them first"):
        put_back(place, taken.path, replace=True)
    assert put_back(place, taken.path, replace=True).rows > 0


def killed(work: Callable[[Callable[[str, int, int], None]], object], what: str, at: int) -> None:
    """Do the work in a process that is killed with SIGKILL at a step of it."""
    child = os.fork()
    if child == 0:
        try:
            work(lambda name, done, _: os.kill(os.getpid(), signal.SIGKILL) if (name, done) == (what, at) else None)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"{what} {at} was not reached"


@pytest.mark.feature("Q2", via="cli")
@pytest.mark.slow
@pytest.mark.parametrize(("what", "at"), [("check", 1), ("content", 1), ("rows", 0), ("rows", 3)])
def test_a_restore_that_is_killed_leaves_the_database_as_it_was_and_can_be_repeated(
    place: Installation, filled: Account, tmp_path: Path, what: str, at: int
) -> None:
    taken = take(place, tmp_path / "to", now=NOW)
    with psycopg.connect(place.admin_url.replace("+psycopg", "")) as connection:
        connection.execute("INSERT INTO app.content SELECT 'later', sha256, 1, 'text/plain' FROM app.content LIMIT 1")
    before = dump(place.admin_url)
    killed(lambda progress: put_back(place, taken.path, replace=True, progress=progress), what, at)
    assert dump(place.admin_url) == before
    put_back(place, taken.path, replace=True)
    assert ("later" in str(dump(place.admin_url)["content"])) is False


@pytest.mark.slow
@pytest.mark.parametrize(("what", "at"), [("tables", 0), ("tables", 5), ("content", 1)])
def test_a_backup_that_is_killed_leaves_no_file_with_a_backups_name(
    place: Installation, filled: Account, tmp_path: Path, what: str, at: int
) -> None:
    to = tmp_path / "to"
    killed(lambda progress: take(place, to, now=NOW, progress=progress), what, at)
    assert list(to.glob("*.backup")) == []
    taken = take(place, to, now=NOW)
    with Reader(taken.path) as reader:
        assert reader.manifest.revision == head()
    assert [path.name for path in to.iterdir()] == [taken.path.name]


def test_a_backup_is_one_moment_though_people_go_on_writing(
    place: Installation, filled: Account, tmp_path: Path
) -> None:
    """A row that is written while the tables are read is in none of them."""
    seen = []

    def write_meanwhile(what: str, done: int, _total: int) -> None:
        if (what, done) == ("tables", 1) and not seen:
            seen.append(True)
            with psycopg.connect(place.admin_url.replace("+psycopg", "")) as connection:
                connection.execute(
                    "INSERT INTO app.draft (id, account_id, record, content_index, files)"
                    " SELECT gen_random_uuid(), account_id, record, content_index, files FROM app.draft LIMIT 1"
                )

    taken = take(place, tmp_path / "to", now=NOW, progress=write_meanwhile)
    assert seen
    drafts = next(part for part in taken.manifest.tables if part.table == "draft")
    assert drafts.rows == 1


def test_every_table_is_kept_or_left_out_with_a_reason() -> None:
    metadata = registry.load()
    names = {table.name for table in metadata.sorted_tables}
    assert set(tables.LEFT_OUT) <= names
    assert {table.name for table in tables.kept(metadata)} >= {"account", "draft", "consent_receipt", "content"}
    assert all(tables.LEFT_OUT.values())


def test_a_planted_cut_is_found_by_the_digest_alone(place: Installation, filled: Account, tmp_path: Path) -> None:
    """The check of digests is what finds it: without it the rows would be believed."""
    taken = take(place, tmp_path / "to", now=NOW)
    path = altered(taken.path, lambda m: m.update({"tables/account.copy": b""}))
    with Reader(path) as reader:
        member = next(part.member for part in reader.manifest.tables if part.table == "account")
        with pytest.raises(BackupError, match="not what its manifest says"):
            list(reader.pieces(member))
        forged = member.model_copy(update={"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()})
        assert list(reader.pieces(forged)) == []


# --- keys ------------------------------------------------------------------------------------------------------------


def sealed_for(place: Installation, *people: uuid.UUID) -> list[bytes]:
    return [place.vault.seal(person, "mine", Place("t", "1", "c")) for person in people]


@pytest.mark.feature("C4", via="cli")
def test_V10_keys_are_mirrored_as_they_are_now_and_an_erasure_reaches_the_mirror(
    place: Installation, filled: Account, tmp_path: Path
) -> None:
    bob, folder = uuid.uuid4(), tmp_path / "keys"
    sealed = sealed_for(place, filled.id, bob)
    key = place.vault.path(filled.id).read_bytes()
    done = keys.mirror(place.vault, folder)
    assert (done.people, done.written, done.erased) == (2, 2, 0)
    assert keys.mirror(place.vault, folder).written == 0
    assert keys.destroy_everywhere(place.vault, filled.id) == []
    for path in (*folder.rglob("*"), *place.vault.folder.rglob("*")):
        assert not path.is_file() or key[-48:] not in path.read_bytes()
    assert Vault(folder, place.vault.master_file).unseal(bob, sealed[1], Place("t", "1", "c")) == b"mine"
    shutil.rmtree(folder)
    assert keys.destroy_everywhere(place.vault, bob) == [folder], "one that is away is named"


@pytest.mark.feature("Q2", via="cli")
def test_V10_keys_come_back_from_the_mirror_and_a_mark_of_an_erasure_always_wins(
    place: Installation, filled: Account, tmp_path: Path
) -> None:
    bob, folder = uuid.uuid4(), tmp_path / "keys"
    sealed = sealed_for(place, filled.id, bob)
    keys.mirror(place.vault, folder)
    taken = take(place, tmp_path / "to", now=NOW)
    place.vault.destroy(filled.id)  # after the mirror was made, which stays behind
    lost = place.vault.path(bob)
    lost.unlink()
    place.vault.forget()
    with pytest.raises(BackupError, match="lacks the keys of 1 of the backup's 2 people"):
        put_back(place, taken.path, replace=True)
    done = keys.bring_back(place.vault, folder)
    assert (done.written, place.vault.state(filled.id)) == (1, "erased")
    assert place.vault.unseal(bob, sealed[1], Place("t", "1", "c")) == b"mine"
    put_back(place, taken.path, replace=True)
    keys.mirror(place.vault, folder)
    assert Vault(folder, place.vault.master_file).state(filled.id) == "erased", "the next backup mends the mirror"
    shutil.copytree(folder, tmp_path / "old")
    with pytest.raises(BackupError, match="another folder"):
        keys.mirror(place.vault, place.vault.folder)
    with pytest.raises(BackupError, match="is no folder"):
        keys.bring_back(place.vault, tmp_path / "nowhere")


@pytest.mark.feature("Q2", via="cli")
def test_the_key_that_signs_taste_documents_has_a_wrapped_copy_in_the_mirror_and_comes_back(
    place: Installation, tmp_path: Path
) -> None:
    folder, file, master = tmp_path / "keys", place.settings.taste_key, place.settings.master_key
    keys.mirror(place.vault, folder)
    assert not signing.mirror(file, master, folder), "none was made yet, and a backup makes none"
    assert (file.exists(), signing.bring_back(file, master, folder)) == (False, "none")
    made = portable.key_of(file)
    assert signing.mirror(file, master, folder)
    copy = folder / signing.NAME
    assert copy.stat().st_mode & 0o077 == 0
    assert made.private_bytes_raw() not in copy.read_bytes()
    assert made.private_bytes_raw().hex().encode() not in copy.read_bytes()
    assert signing.bring_back(file, master, folder) == "same"
    file.unlink()
    assert signing.bring_back(file, master, folder) == "brought"
    assert portable.read_key(file).private_bytes_raw() == made.private_bytes_raw()
    assert file.stat().st_mode & 0o077 == 0
    file.unlink()
    other = portable.key_of(file)
    assert signing.bring_back(file, master, folder) == "other"
    assert portable.read_key(file).private_bytes_raw() == other.private_bytes_raw(), "what is here stays"


@pytest.mark.feature("C4", via="cli")
def test_a_copy_of_the_signing_key_follows_a_rotation_and_one_that_does_not_open_is_refused(
    place: Installation, tmp_path: Path
) -> None:
    folder, file, master = tmp_path / "keys", place.settings.taste_key, place.settings.master_key
    made = portable.key_of(file)
    keys.mirror(place.vault, folder)
    signing.mirror(file, master, folder)
    copy = folder / signing.NAME
    before = copy.read_bytes()
    signing.mirror(file, master, folder)
    assert copy.read_bytes() == before
    place.vault.add_version()
    signing.mirror(file, master, folder)
    assert copy.read_bytes() != before
    place.vault.drop_old_versions()
    file.unlink()
    copy.write_bytes(before)
    with pytest.raises(BackupError, match="version 1 of the master key"):
        signing.bring_back(file, master, folder)
    for wrong in (b"", before[:-1], bytes(3) + b"\x02" + before[4:]):
        copy.write_bytes(wrong)
        with pytest.raises(BackupError, match="does not open with the master key"):
            signing.bring_back(file, master, folder)
    assert not file.exists()
    portable.write_key(file, made)
    file.chmod(0o644)
    with pytest.raises(BackupError, match="chmod 600"):
        signing.mirror(file, master, folder)


def test_V10_the_look_into_a_backup_finds_drafts_that_were_opened_for_it(
    place: Installation, filled: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: files of drafts go into the backup as their authors read them."""
    monkeypatch.setattr(DraftFiles, "sealed", DraftFiles.read)
    taken = take(place, tmp_path / "to", now=NOW)
    with zipfile.ZipFile(taken.path) as archive:
        assert any(MEDIA[:60] in archive.read(name) for name in archive.namelist())
