"""Rotation of the master key: nothing stands still meanwhile, and a kill at any point loses nothing."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from backend.files import PARTIAL
from backend.vault import master_key
from backend.vault.master_key import MasterKeyError, VaultError
from backend.vault.rotation import behind, rotate
from backend.vault.vault import Erased, Place, Tampered, Vault

AT = Place("note", "7", "text")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    master_key.create(tmp_path / "master.key")
    return Vault(tmp_path / "vault", tmp_path / "master.key")


def another(vault: Vault) -> Vault:
    return Vault(vault.folder, vault.master_file)


def fill(vault: Vault, count: int) -> dict[uuid.UUID, bytes]:
    """Persons with what was sealed for each: their own id."""
    return {person: vault.seal(person, person.bytes, AT) for person in (uuid.uuid4() for _ in range(count))}


def all_open(vault: Vault, sealed: dict[uuid.UUID, bytes]) -> bool:
    return all(vault.unseal(person, value, AT) == person.bytes for person, value in sealed.items())


@pytest.mark.feature("C4")
def test_a_rotation_wraps_every_key_anew_and_seals_nothing_anew(vault: Vault) -> None:
    sealed = fill(vault, 20)
    erased = uuid.uuid4()
    vault.ensure(erased)
    vault.destroy(erased)
    running = another(vault)
    assert all_open(running, sealed)
    seen: list[tuple[int, int]] = []
    done = rotate(vault, progress=lambda count, total: seen.append((count, total)))
    assert (done.version, done.wrapped, done.resumed, done.failed, done.dropped) == (2, 20, False, {}, [])
    assert seen[-1] == (256, 256)
    assert vault.versions() == {1: 0, 2: 20}
    for each in (running, another(vault)):
        assert all_open(each, sealed)
        with pytest.raises(Erased):
            each.ensure(erased)


def test_retiring_drops_what_wraps_nothing_and_old_copies_do_not_open(vault: Vault, tmp_path: Path) -> None:
    sealed = fill(vault, 3)
    person = next(iter(sealed))
    old_copy = vault.path(person).read_bytes()
    assert rotate(vault, retire=True).dropped == [1]
    assert master_key.read(vault.master_file).keys.keys() == {2}
    assert all_open(another(vault), sealed)
    vault.path(person).write_bytes(old_copy)
    with pytest.raises(MasterKeyError, match="wrapped by version 1"):
        another(vault).unseal(person, sealed[person], AT)


def test_what_is_indexed_blind_is_found_after_a_rotation(vault: Vault) -> None:
    before = vault.blind("email", b"a@b.example")
    rotate(vault, retire=True)
    assert another(vault).blind("email", b"a@b.example") == before


@pytest.mark.slow
@pytest.mark.feature("C4")
def test_reads_writes_new_people_and_erasures_go_on_during_rotations(vault: Vault) -> None:
    sealed = fill(vault, 30)
    stop, errors, made = threading.Event(), [], []

    def work() -> None:
        mine = another(vault)
        try:
            while not stop.is_set():
                mine.forget()  # so that every key is read from its file again
                assert all_open(mine, sealed)
                newcomer = uuid.uuid4()
                made.append((newcomer, mine.seal(newcomer, newcomer.bytes, AT)))
                gone = uuid.uuid4()
                mine.ensure(gone)
                mine.destroy(gone)
                assert mine.state(gone) == "erased"
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(3):
        rotate(vault, retire=True)
    stop.set()
    for worker in workers:
        worker.join()
    assert errors == []
    assert made
    assert all_open(another(vault), sealed | dict(made))
    assert vault.versions() == {4: len(sealed) + len(made)}


class Killed(Exception):
    """The child was killed at the point asked for."""


@contextmanager
def killed_at(point: int) -> Iterator[None]:
    """In this process: SIGKILL at the so-manieth call of what changes a file or makes it last."""
    calls = 0

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return counted

    for name in ("fsync", "replace", "rename", "link", "unlink", "pwrite", "ftruncate", "open", "fchmod"):
        setattr(os, name, counting(getattr(os, name)))
    yield


def in_a_child(point: int, action: Callable[[], object]) -> bool:
    """Do something in a forked process that is killed at a point; whether it came to its end before."""
    child = os.fork()
    if child == 0:
        try:
            with killed_at(point):
                action()
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


@pytest.mark.slow
@pytest.mark.feature("C4")
def test_a_rotation_killed_at_any_point_loses_nothing_and_goes_on(tmp_path: Path) -> None:
    point, ended = 0, False
    while not ended:
        point += 1
        folder = tmp_path / str(point)
        folder.mkdir()
        master_key.create(folder / "master.key")
        vault = Vault(folder / "vault", folder / "master.key")
        sealed = fill(vault, 2)
        ended = in_a_child(point, lambda vault=vault: rotate(vault, retire=True))
        assert all_open(another(vault), sealed), f"killed at {point}"
        newcomers = fill(another(vault), 1)
        rotate(another(vault), retire=True)
        after = another(vault)
        assert all_open(after, sealed | newcomers)
        assert list(after.versions().values()) == [3]
        assert not list(folder.rglob(f"{PARTIAL}*")), f"killed at {point}: a file with keys was left behind"
    assert point > 20


@pytest.mark.feature("C4")
def test_v10_an_erasure_killed_at_any_point_is_ended_by_the_next(tmp_path: Path) -> None:
    point, ended = 0, False
    while not ended:
        point += 1
        folder = tmp_path / str(point)
        folder.mkdir()
        master_key.create(folder / "master.key")
        vault = Vault(folder / "vault", folder / "master.key")
        ((person, value),) = fill(vault, 1).items()
        ended = in_a_child(point, lambda vault=vault, person=person: vault.destroy(person))
        with suppress(Erased, Tampered):
            assert another(vault).unseal(person, value, AT) == person.bytes
        another(vault).destroy(person)
        with pytest.raises(Erased):
            another(vault).unseal(person, value, AT)
    assert point > 3


def test_a_key_made_by_a_process_killed_at_any_point_is_whole_or_not_there(tmp_path: Path) -> None:
    point, ended = 0, False
    while not ended:
        point += 1
        folder = tmp_path / str(point)
        folder.mkdir()
        master_key.create(folder / "master.key")
        vault = Vault(folder / "vault", folder / "master.key")
        person = uuid.uuid4()
        ended = in_a_child(point, lambda vault=vault, person=person: vault.ensure(person))
        after = another(vault)
        after.ensure(person)
        assert after.unseal(person, after.seal(person, b"x", AT), AT) == b"x"
    assert point > 3


def test_two_rotations_at_once_are_refused(vault: Vault) -> None:
    with vault.rotating(), pytest.raises(VaultError, match="Another rotation"):
        rotate(another(vault))
    assert rotate(vault).version == 2


def test_a_damaged_key_file_is_named_and_keeps_its_version(vault: Vault) -> None:
    sealed = fill(vault, 3)
    person = next(iter(sealed))
    data = bytearray(vault.path(person).read_bytes())
    data[60] ^= 1
    vault.path(person).write_bytes(data)
    done = rotate(vault, retire=True)
    assert (done.wrapped, list(done.failed), done.dropped) == (2, [person], [])
    assert behind(vault) == 1
    data[60] ^= 1
    vault.path(person).write_bytes(data)
    again = rotate(vault, retire=True)
    assert (again.resumed, again.version, again.wrapped, again.dropped) == (True, 2, 1, [1])
    assert all_open(another(vault), sealed)
