"""Each person's data key, in a file of its own outside the database, and what is sealed with it.

    vault/ab/<person>.key     128 bytes: the data key, wrapped (AES-256-GCM) by a version of the master key

A data key never enters PostgreSQL, Redis, a log or an archive, so that overwriting its file is the erasure of all that
it sealed. The file of an erased person stays as a mark without a key: no process makes the person a new key by mistake,
and a restored database learns from it whose rows to drop again.

Writers of a folder `ab` take its lock, readers take none: a file changes its bytes in one step, and a reader that meets
one in between reads again.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import LargeBinary
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import TypeDecorator

from backend.files import PARTIAL, sync, write_durably
from backend.settings import Settings
from backend.telemetry import metrics
from backend.vault import master_key
from backend.vault.master_key import MasterKey, MasterKeyError, VaultError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SEALED: Final = b"\xf5\x01"
"""Begins every sealed value: format version 1 after a byte that no UTF-8 text holds."""
CACHE_TTL_S: Final = 60.0
CACHE_LIMIT: Final = 10_000
SHARDS: Final = tuple(f"{number:02x}" for number in range(256))

_RECORD: Final = struct.Struct(">8sB16sI12s48s39x")
_PADDING: Final = 39
_MAGIC: Final = b"TROUPEK1"
_KEY, _ERASED = 1, 0
_MARK_BYTES: Final = 64
"""A mark of an erasure is shorter than a key, so that even within one tick of the file's clock it is told from it."""

State = Literal["absent", "present", "erased"]


class NoKey(VaultError):
    """The person has no data key: nothing was ever sealed for them here."""


class Erased(NoKey):
    """The person's data key was destroyed: what it sealed cannot be read by anybody, and there won't be another."""


class Tampered(VaultError):
    """A sealed value or a key file is not what was written in this place for this person."""


class Place(NamedTuple):
    """Where a sealed value stands. It can be opened in this place alone."""

    table: str
    row: str
    column: str


def place(column: InstrumentedAttribute[Any], row: object) -> Place:
    """The place of a model's column: `place(AuthSession.user_agent, session.id)`. `row` is what the row is known by."""
    table, name = _names(column)
    return Place(table, str(row), name)


@cache
def _names(column: InstrumentedAttribute[Any]) -> tuple[str, str]:
    found = column.property.columns[0]
    return found.table.name, found.name


class Sealed(TypeDecorator[bytes]):
    """A column of sealed values. It takes what `Vault.seal` returns and nothing else: no plaintext by mistake."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        if value is not None and not (isinstance(value, bytes) and value.startswith(SEALED)):
            raise TypeError("a sealed column takes what Vault.seal returned")
        return value


def _aad(person: uuid.UUID, at: Place) -> bytes:
    """Who and where, each part with its length, so that no two places read the same."""
    parts = (SEALED, person.bytes, at.table.encode(), at.row.encode(), at.column.encode())
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def _wrapping(person: uuid.UUID, version: int) -> bytes:
    return _MAGIC + person.bytes + version.to_bytes(4)


@dataclass
class _Cached:
    cipher: AESGCM
    key: bytes
    seen: tuple[int, int, int]
    until: float
    memo: dict[str, Any]


class Vault:
    """All data keys of an installation. Safe for threads and for several processes on one folder.

    An opened key is kept in memory for `ttl_s` seconds at most, and its file is looked at in every use: an erasure by
    another process acts on the next use here. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        folder: Path,
        master_file: Path,
        *,
        ttl_s: float = CACHE_TTL_S,
        limit: int = CACHE_LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.master_file = master_file
        self._ttl_s, self._limit, self._clock = ttl_s, limit, clock
        self._cache: OrderedDict[uuid.UUID, _Cached] = OrderedDict()
        self._guard = threading.Lock()
        self._master = master_key.read(master_file)
        self._master_seen = self._master_signature()

    @classmethod
    def open(cls, settings: Settings) -> Vault:
        """The vault of the settings. Raises MasterKeyError.

        Development and tests get a master key when they have none; not so beside keys that it could not open.
        """
        if settings.env != "production" and not settings.master_key.exists():
            require_no_keys(settings.vault, settings.master_key)
            master_key.create(settings.master_key)
        return cls(settings.vault, settings.master_key)

    # --- sealing --------------------------------------------------------------------------------------------------

    def seal(self, person: uuid.UUID, value: bytes | str, at: Place) -> bytes:
        """Seal a value for its place under the person's key, which is made when there is none. Raises Erased."""
        try:
            cipher = self._opened(person).cipher
        except Erased:
            raise
        except NoKey:
            self.ensure(person)
            cipher = self._opened(person).cipher
        metrics.sealed_values.add("sealed")
        nonce = os.urandom(NONCE_BYTES)
        plain = value.encode() if isinstance(value, str) else value
        return SEALED + nonce + cipher.encrypt(nonce, plain, _aad(person, at))

    def unseal(self, person: uuid.UUID, sealed: bytes, at: Place) -> bytes:
        """What was sealed. Raises Tampered, NoKey, Erased; never returns anything but what was sealed in this place."""
        sealed = bytes(sealed)
        cipher = self._opened(person).cipher
        if not sealed.startswith(SEALED) or len(sealed) < len(SEALED) + NONCE_BYTES + TAG_BYTES:
            raise Tampered(f"{at.table}.{at.column} of row {at.row} holds nothing that was sealed")
        nonce = sealed[len(SEALED) : len(SEALED) + NONCE_BYTES]
        try:
            opened = cipher.decrypt(nonce, sealed[len(SEALED) + NONCE_BYTES :], _aad(person, at))
        except InvalidTag:
            metrics.sealed_values.add("refused")
            raise Tampered(
                f"{at.table}.{at.column} of row {at.row} was changed, or was sealed for another place or person"
            ) from None
        metrics.sealed_values.add("unsealed")
        return opened

    def unseal_text(self, person: uuid.UUID, sealed: bytes, at: Place) -> str:
        """As `unseal`, of a value that was a text."""
        return self.unseal(person, sealed, at).decode()

    def derive(self, person: uuid.UUID, context: str) -> bytes:
        """A key of 256 bits for one use, derived from the person's (HKDF-SHA256). Raises NoKey, Erased."""
        info = b"troupe-derived/1|" + context.encode()
        return HKDF(SHA256(), KEY_BYTES, person.bytes, info).derive(self._opened(person).key)

    def blind(self, index: str, value: bytes) -> bytes:
        """A blind index (HMAC-SHA256 under a key of its own): equal values of one index have equal results.

        Whoever has the database alone learns which rows are equal and nothing else; whoever has the master key file
        too can try values out. For look-ups that need it, not for what could be found by its row.
        """
        key = HKDF(SHA256(), KEY_BYTES, None, b"troupe-blind/1|" + index.encode()).derive(self._fresh().index)
        mac = HMAC(key, SHA256())
        mac.update(value)
        return mac.finalize()

    def memo(self, person: uuid.UUID) -> dict[str, Any]:
        """What this process may remember of a person as long as it remembers their key. Raises NoKey, Erased."""
        return self._opened(person).memo

    # --- a person's key -------------------------------------------------------------------------------------------

    def ensure(self, person: uuid.UUID) -> None:
        """Make the person's key if there is none; of several processes at once one makes it. Raises Erased."""
        with self._writing(person):
            state = self._state(person)
            if state == "erased":
                raise _erased(person)
            if state == "absent":
                master = self._fresh()
                write_durably(self.path(person), _wrap(master, person, os.urandom(KEY_BYTES)))

    def destroy(self, person: uuid.UUID) -> bool:
        """Overwrite the person's key with the mark of an erasure, on the disk before this returns; False when it was.

        There is a mark for a person without a key too: none can be made any more.
        """
        with self._writing(person):
            path, mark = self.path(person), _mark(person)
            try:
                was = self._state(person)
            except Tampered:
                was = "present"  # whatever it is, it goes
            if was == "absent":
                write_durably(path, mark)
            else:  # also when it was erased: a crash may have come before the bytes were on the disk
                _overwrite(path, mark)
                sync(path.parent)
        with self._guard:
            self._cache.pop(person, None)
        return was != "erased"

    def state(self, person: uuid.UUID) -> State:
        """Whether the person's key is there. Raises Tampered for a file that is neither a key nor a mark."""
        return self._state(person)

    def people(self, state: State = "present") -> Iterator[uuid.UUID]:
        """Everybody with a key, or everybody who was erased, in the order of the folders. Raises Tampered."""
        for shard in SHARDS:
            for person in self._in_shard(shard):
                if self._state(person) == state:
                    yield person

    def path(self, person: uuid.UUID) -> Path:
        """The person's file."""
        return self.folder / person.hex[-2:] / f"{person}.key"

    def forget(self) -> None:
        """Drop every opened key from this process's memory."""
        with self._guard:
            self._cache.clear()

    # --- rotation -------------------------------------------------------------------------------------------------

    def versions(self) -> dict[int, int]:
        """Master key version -> how many data keys it wraps; 0 for a version that wraps none. Raises Tampered."""
        counts = dict.fromkeys(self._fresh().keys, 0)
        for shard in SHARDS:
            for person in self._in_shard(shard):
                if (version := self.version_of(person)) is not None:
                    counts[version] = counts.get(version, 0) + 1
        return counts

    def version_of(self, person: uuid.UUID) -> int | None:
        """The master key version that wraps a person's key; None without a key. Raises Tampered."""
        try:
            record = _parse(person, self.path(person).read_bytes())
        except FileNotFoundError:
            return None
        return record.version if record.kind == _KEY else None

    def add_version(self) -> int:
        """Add a version to the master key file and make it current; every process uses it from its next writing on."""
        with self._locked(self.folder / ".master.lock"):
            for partial in self.master_file.parent.glob(f"{PARTIAL}{self.master_file.name}-*"):
                partial.unlink()  # of a killed process; it holds keys
            master = master_key.read(self.master_file).with_new_version()
            master_key.save(self.master_file, master)
        return self._fresh().current

    def settled(self, shard: str) -> list[uuid.UUID]:
        """The persons of a folder when nobody writes there: whoever writes later uses the current version."""
        if not (self.folder / shard).is_dir():
            return []
        with self._locked(self.folder / shard / ".lock"):
            return self._in_shard(shard)

    @contextmanager
    def rotating(self) -> Iterator[None]:
        """Be the one rotation at a time. Raises VaultError when there is another."""
        try:
            with self._locked(self.folder / ".rotation.lock", wait=False):
                yield
        except BlockingIOError:
            raise VaultError("Another rotation of this vault is under way: wait for it to end") from None

    def check(self, person: uuid.UUID) -> None:
        """Open the person's key, if there is one, and forget it. Raises Tampered, MasterKeyError."""
        if self._state(person) == "present":
            self._read_key(person)

    def known_versions(self) -> list[int]:
        """The versions in the master key file."""
        return sorted(self._fresh().keys)

    @property
    def current(self) -> int:
        """The version that wraps what is written now."""
        return self._fresh().current

    def rewrap(self, person: uuid.UUID) -> bool:
        """Wrap one person's key by the current version; False when it was, or when there is no key. Raises Tampered."""
        with self._writing(person):
            path, current = self.path(person), self._fresh().current
            if self._state(person) != "present" or self.version_of(person) == current:
                return False
            with path.open("r+b") as old:
                record = _parse(person, old.read())
                write_durably(path, _wrap(self._fresh(), person, self._unwrap(person, record)))
                old.seek(0)  # the bytes without a name: a later erasure could not reach them
                old.write(os.urandom(_RECORD.size))
                old.flush()
                os.fsync(old.fileno())
        return True

    def drop_old_versions(self) -> list[int]:
        """Take versions that wrap nothing any more out of the master key file; returns those it took."""
        with self._locked(self.folder / ".master.lock"):
            master = master_key.read(self.master_file)
            used = {version for version, count in self.versions().items() if count}
            gone = sorted(set(master.keys) - used - {master.current})
            if gone:
                kept = {version: key for version, key in master.keys.items() if version not in gone}
                master_key.save(self.master_file, MasterKey(master.current, kept, master.index))
        return gone

    def sweep(self) -> int:
        """Remove what killed processes left unfinished; returns how many files."""
        removed = 0
        for shard in SHARDS:
            folder = self.folder / shard
            if not folder.is_dir():
                continue
            with self._locked(folder / ".lock"):
                for partial in folder.glob(f"{PARTIAL}*"):
                    partial.unlink()
                    removed += 1
        return removed

    # --- within ---------------------------------------------------------------------------------------------------

    def _opened(self, person: uuid.UUID) -> _Cached:
        now = self._clock()
        try:
            found = os.stat(f"{self.folder}/{person.hex[-2:]}/{person}.key")  # as `path`, without making a Path
        except FileNotFoundError:
            raise _no_key(person) from None
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        with self._guard:
            self._expire(now)
            cached = self._cache.get(person)
            if cached is not None and cached.seen == seen:
                return cached
        key = self._read_key(person)
        made = _Cached(AESGCM(key), key, seen, now + self._ttl_s, {})
        with self._guard:
            self._cache[person] = made
            self._cache.move_to_end(person)
            while len(self._cache) > self._limit:
                self._cache.popitem(last=False)
        return made

    def _expire(self, now: float) -> None:
        while self._cache and next(iter(self._cache.values())).until <= now:
            self._cache.popitem(last=False)

    def _read_key(self, person: uuid.UUID) -> bytes:
        """Read and unwrap; again after what a writer may have done meanwhile."""
        for attempt in range(3):
            try:
                record = _parse(person, self.path(person).read_bytes())
                if record.kind == _ERASED:
                    raise _erased(person)
                return self._unwrap(person, record)
            except FileNotFoundError:
                raise _no_key(person) from None
            except (Tampered, MasterKeyError):
                if attempt == 2:
                    raise
        raise AssertionError

    def _unwrap(self, person: uuid.UUID, record: _Parsed) -> bytes:
        master = self._master if record.version in self._master.keys else self._fresh()
        if record.version not in master.keys:
            raise MasterKeyError(
                f"The key of {person} is wrapped by version {record.version} of the master key, and {self.master_file}"
                " holds no such version: bring back the file that does"
            )
        try:
            return AESGCM(master.keys[record.version]).decrypt(
                record.nonce, record.wrapped, _wrapping(person, record.version)
            )
        except InvalidTag:
            raise Tampered(
                f"the key file of {person} was changed, or belongs to another person or another master key"
            ) from None

    def _state(self, person: uuid.UUID) -> State:
        try:
            record = _parse(person, self.path(person).read_bytes())
        except FileNotFoundError:
            return "absent"
        return "present" if record.kind == _KEY else "erased"

    def _in_shard(self, shard: str) -> list[uuid.UUID]:
        folder = self.folder / shard
        return sorted(uuid.UUID(path.stem) for path in folder.glob("*.key") if not path.name.startswith("."))

    def _master_signature(self) -> tuple[int, int, int]:
        try:
            found = self.master_file.stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def _fresh(self) -> MasterKey:
        """The master key as its file is now. Raises MasterKeyError."""
        signature = self._master_signature()
        if signature != self._master_seen:
            self._master = master_key.read(self.master_file)
            self._master_seen = signature
        return self._master

    @contextmanager
    def _writing(self, person: uuid.UUID) -> Iterator[None]:
        """Alone among all processes with the files of the person's folder."""
        folder = self.path(person).parent
        if not folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            sync(self.folder)
        with self._locked(folder / ".lock"):
            yield

    @contextmanager
    def _locked(self, path: Path, *, wait: bool = True) -> Iterator[None]:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(handle)


class _Parsed(NamedTuple):
    kind: int
    version: int
    nonce: bytes
    wrapped: bytes


def _wrap(master: MasterKey, person: uuid.UUID, key: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    wrapped = AESGCM(master.keys[master.current]).encrypt(nonce, key, _wrapping(person, master.current))
    return _RECORD.pack(_MAGIC, _KEY, person.bytes, master.current, nonce, wrapped)


def _mark(person: uuid.UUID) -> bytes:
    return struct.pack(">8sB16s39x", _MAGIC, _ERASED, person.bytes)


def _parse(person: uuid.UUID, data: bytes) -> _Parsed:
    """Raises Tampered unless the bytes are a key or a mark of this person."""
    if data.startswith(_mark(person)) and not data[_MARK_BYTES:].strip(b"\0"):
        return _Parsed(_ERASED, 0, b"", b"")
    if len(data) != _RECORD.size or data[-_PADDING:].strip(b"\0"):
        _refuse(person)
    magic, kind, owner, version, nonce, wrapped = _RECORD.unpack(data)
    if magic != _MAGIC or kind != _KEY or owner != person.bytes:
        _refuse(person)
    return _Parsed(kind, version, nonce, wrapped)


def _refuse(person: uuid.UUID) -> NoReturn:
    raise Tampered(f"the key file of {person} is damaged, or is another person's")


def _overwrite(path: Path, mark: bytes) -> None:
    """Put a mark where a key is, in its own bytes, then cut the file to the mark; on the disk before this returns."""
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(handle, mark.ljust(max(_RECORD.size, os.fstat(handle).st_size), b"\0"), 0)
        os.fsync(handle)
        os.ftruncate(handle, len(mark))
        os.fsync(handle)
    finally:
        os.close(handle)


def _no_key(person: uuid.UUID) -> NoKey:
    return NoKey(f"there is no data key of {person}")


def _erased(person: uuid.UUID) -> Erased:
    return Erased(f"the data key of {person} was destroyed")


def require_no_keys(folder: Path, master_file: Path) -> None:
    """Raises MasterKeyError when there are data keys already: a new master key could not open them."""
    if next(folder.glob("??/*.key"), None) is not None:
        raise MasterKeyError(
            f"There are data keys in {folder} and no master key at {master_file}: bring it back from its copy, for a"
            " new one cannot open them"
        )
