"""The vault: data keys in files, what is sealed with them, and what refuses to open."""

from __future__ import annotations

import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backend.vault import master_key
from backend.vault.master_key import MasterKey, MasterKeyError
from backend.vault.vault import SEALED, Erased, NoKey, Place, Sealed, Tampered, Vault, VaultError

AT = Place("note", "7", "text")


@pytest.fixture
def master_file(tmp_path: Path) -> Path:
    master_key.create(tmp_path / "master.key")
    return tmp_path / "master.key"


@pytest.fixture
def vault(tmp_path: Path, master_file: Path) -> Vault:
    return Vault(tmp_path / "vault", master_file)


def another(vault: Vault) -> Vault:
    """The same vault as another process sees it."""
    return Vault(vault.folder, vault.master_file)


@pytest.fixture
def person() -> uuid.UUID:
    return uuid.uuid4()


@pytest.mark.feature("C4")
def test_what_is_sealed_opens_in_its_place_alone(vault: Vault, person: uuid.UUID) -> None:
    sealed = vault.seal(person, "a secret", AT)
    assert b"secret" not in sealed
    assert another(vault).unseal_text(person, sealed, AT) == "a secret"
    assert vault.seal(person, "a secret", AT) != sealed  # a nonce of its own each time


@pytest.mark.feature("C4")
@pytest.mark.parametrize(
    "wrong",
    [
        Place("notes", "7", "text"),
        Place("note", "8", "text"),
        Place("note", "7", "title"),
        Place("note7", "", "text"),
        Place("note", "7text", ""),
    ],
    ids=str,
)
def test_a_ciphertext_moved_to_another_place_is_refused(vault: Vault, person: uuid.UUID, wrong: Place) -> None:
    sealed = vault.seal(person, b"a secret", AT)
    with pytest.raises(Tampered, match=r"note"):
        vault.unseal(person, sealed, wrong)


@pytest.mark.feature("C4")
def test_another_persons_ciphertext_is_refused(vault: Vault, person: uuid.UUID) -> None:
    other = uuid.uuid4()
    vault.ensure(other)
    with pytest.raises(Tampered):
        vault.unseal(other, vault.seal(person, b"a secret", AT), AT)


@pytest.mark.feature("C4")
def test_every_changed_byte_of_a_ciphertext_is_refused(vault: Vault, person: uuid.UUID) -> None:
    sealed = vault.seal(person, b"a secret", AT)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(Tampered):
            vault.unseal(person, bytes(changed), AT)
    for cut in (b"", sealed[:2], sealed[:29], sealed[:-1], b"plaintext"):
        with pytest.raises(Tampered):
            vault.unseal(person, cut, AT)


@pytest.mark.feature("C4")
def test_every_changed_byte_of_a_key_file_is_refused(vault: Vault, person: uuid.UUID) -> None:
    sealed = vault.seal(person, b"a secret", AT)
    path = vault.path(person)
    good = path.read_bytes()
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises((Tampered, MasterKeyError)):  # a changed version number names a key that is not there
            another(vault).unseal(person, sealed, AT)
    for cut in (b"", good[:-1], good + b"\0"):
        path.write_bytes(cut)
        with pytest.raises(Tampered):
            another(vault).unseal(person, sealed, AT)
    path.write_bytes(good)
    assert another(vault).unseal(person, sealed, AT) == b"a secret"


@pytest.mark.feature("C4")
def test_swapped_key_files_are_refused(vault: Vault, person: uuid.UUID) -> None:
    other = uuid.uuid4()
    sealed = vault.seal(person, b"a secret", AT)
    vault.ensure(other)
    vault.path(person).write_bytes(vault.path(other).read_bytes())
    with pytest.raises(Tampered, match="another person's"):
        vault.unseal(person, sealed, AT)  # also by the process that had the right key in memory


@pytest.mark.feature("C4")
def test_a_key_of_another_master_key_is_refused(vault: Vault, person: uuid.UUID, tmp_path: Path) -> None:
    vault.ensure(person)
    master_key.create(tmp_path / "other.key")
    with pytest.raises(Tampered, match="another master key"):
        Vault(vault.folder, tmp_path / "other.key").unseal(person, b"", AT)


def test_a_sealed_column_takes_no_plaintext() -> None:
    column = Sealed()
    for plain in (b"secret", "secret", 7):
        with pytest.raises(TypeError, match=r"Vault\.seal"):
            column.process_bind_param(plain, None)
    assert column.process_bind_param(None, None) is None
    assert column.process_bind_param(SEALED + b"...", None) == SEALED + b"..."


@pytest.mark.feature("C4")
def test_v10_after_an_erasure_nothing_opens_and_no_key_is_made_again(vault: Vault, person: uuid.UUID) -> None:
    sealed = vault.seal(person, b"a secret", AT)
    elsewhere = another(vault)
    assert elsewhere.unseal(person, sealed, AT) == b"a secret"  # so that its memory has the key
    wrapped = vault.path(person).read_bytes()[41:]
    assert vault.destroy(person)
    assert not vault.destroy(person)
    for each in (vault, elsewhere, another(vault)):
        with pytest.raises(Erased):
            each.unseal(person, sealed, AT)
        with pytest.raises(Erased):
            each.seal(person, b"more", AT)
        with pytest.raises(Erased):
            each.derive(person, "export")
    assert vault.state(person) == "erased"
    assert list(vault.people("erased")) == [person]
    assert list(vault.people()) == []
    assert not any(wrapped[:16] in path.read_bytes() for path in vault.folder.rglob("*") if path.is_file())


def test_an_erasure_that_crashed_between_its_two_steps_holds(vault: Vault, person: uuid.UUID) -> None:
    vault.ensure(person)
    vault.destroy(person)
    mark = vault.path(person).read_bytes()
    vault.path(person).write_bytes(mark.ljust(128, b"\0"))  # the mark was written, the file not yet cut
    assert vault.state(person) == "erased"
    vault.path(person).write_bytes(os.urandom(128))  # torn by a power cut: nothing opens it, and erasing ends it
    with pytest.raises(Tampered):
        vault.derive(person, "export")
    assert vault.destroy(person)
    assert vault.path(person).read_bytes() == mark


def test_somebody_without_a_key_is_told_from_somebody_erased(vault: Vault, person: uuid.UUID) -> None:
    with pytest.raises(NoKey, match="no data key"):
        vault.unseal(person, b"", AT)
    assert vault.state(person) == "absent"
    assert vault.destroy(person)  # before the first key: none can be made any more
    with pytest.raises(Erased):
        vault.ensure(person)


@pytest.mark.feature("C4")
def test_of_many_who_make_a_persons_key_at_once_one_wins_and_none_is_lost(vault: Vault) -> None:
    people = [uuid.uuid4() for _ in range(10)]
    together = threading.Barrier(8)

    def seal_all(number: int) -> list[bytes]:
        mine = another(vault)
        together.wait()
        return [mine.seal(person, f"{number}", AT) for person in people]

    with ThreadPoolExecutor(8) as pool:
        sealed = list(pool.map(seal_all, range(8)))
    reader = another(vault)
    for number, each in enumerate(sealed):
        assert [reader.unseal_text(person, value, AT) for person, value in zip(people, each, strict=True)] == [
            str(number)
        ] * len(people)


def test_an_opened_key_is_forgotten_after_its_time(tmp_path: Path, master_file: Path, person: uuid.UUID) -> None:
    ticks = [0.0]
    vault = Vault(tmp_path / "vault", master_file, ttl_s=60, clock=lambda: ticks[0], limit=2)
    vault.ensure(person)
    memo = vault.memo(person)
    ticks[0] = 59
    assert vault.memo(person) is memo
    ticks[0] = 60
    assert vault.memo(person) is not memo
    for other in (uuid.uuid4(), uuid.uuid4(), uuid.uuid4()):
        vault.ensure(other)
        vault.memo(other)
    assert len(vault._cache) == 2  # no more than the limit


def test_files_are_private_whatever_the_umask(vault: Vault, person: uuid.UUID) -> None:
    before = os.umask(0)
    try:
        vault.ensure(person)
        master_key.save(vault.master_file, MasterKey.new())
    finally:
        os.umask(before)
    assert vault.path(person).stat().st_mode & 0o777 == 0o600
    assert vault.path(person).parent.stat().st_mode & 0o777 == 0o700
    assert vault.master_file.stat().st_mode & 0o777 == 0o600


def test_derived_keys_differ_by_person_and_context(vault: Vault, person: uuid.UUID) -> None:
    other = uuid.uuid4()
    vault.ensure(person)
    vault.ensure(other)
    keys = {vault.derive(who, context) for who in (person, other) for context in ("export", "draft")}
    assert len(keys) == 4
    assert another(vault).derive(person, "export") in keys


def test_a_blind_index_finds_equal_values_of_one_index(vault: Vault) -> None:
    assert vault.blind("email", b"a@b.example") == another(vault).blind("email", b"a@b.example")
    assert len({vault.blind(index, value) for index in ("email", "phone") for value in (b"1", b"2")}) == 4


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no master key at"),
        (lambda path: path.chmod(0o640), r"can be read by others \(mode 0640\): run `chmod 600"),
        (lambda path: path.write_bytes(b""), "it is damaged"),
        (lambda path: path.write_bytes(b"[" * 100_000), "it is damaged"),
        (lambda path: path.write_text(path.read_text().replace("master-key/1", "master-key/9")), "its format is not"),
        (lambda path: path.write_text(path.read_text().replace('"1": "', '"1": "ab')), "wrong length"),
        (lambda path: path.write_text(path.read_text().replace('"current": 1', '"current": 2')), "current version"),
        (lambda path: path.write_text(path.read_text().replace('"1": "', '"1": "zz')), "it is damaged"),
        (lambda path: (path.unlink(), path.mkdir(mode=0o700)), "is not a file"),
        (lambda path: (path.rename(path.with_name("y")), path.symlink_to(path.with_name("y"))), "cannot be opened"),
    ],
)
def test_a_master_key_that_cannot_be_used_is_one_sentence(master_file: Path, spoil: object, message: str) -> None:
    key = master_key.read(master_file).keys[1].hex()
    assert callable(spoil)
    spoil(master_file)
    with pytest.raises(MasterKeyError, match=message) as caught:
        Vault(master_file.parent / "vault", master_file)
    assert "\n" not in str(caught.value)
    assert key not in str(caught.value)


def test_keys_do_not_show_in_representations(vault: Vault, person: uuid.UUID, master_file: Path) -> None:
    master = master_key.read(master_file)
    assert master.keys[1].hex() not in repr(master)
    assert repr(master.keys[1]) not in repr(master)
    assert repr(master.index) not in repr(master)
    with pytest.raises(VaultError):
        vault.derive(person, "")
