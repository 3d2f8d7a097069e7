"""Troupe's own process tree: which parts there are, how each is started, what must be true before.

`Stack` is what `./troupe dev`, the demo and the end-to-end tests start: the same parts, in another folder and on other
ports. Everything that it keeps is in its state folder.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from celery import Celery

from backend.settings import celery_broker
from scripts.deploy import keys
from stack import anvil, deployment, rpc
from stack.anvil import CHAIN_ID, ROOT, Anvil
from stack.errors import Missing, StackError, WrongUsage
from stack.postgres import VERSION as POSTGRES_VERSION
from stack.postgres import DatabaseUrls, Postgres, ensure_database
from stack.processes import HOST, Service, free_port, require_free_port
from stack.redis import Redis
from stack.tree import Stage, Supervisor, Task, clear

FORMAT = 1
"""Of the state folder; another number means that this version cannot read it."""
MINIMUM_FREE_BYTES = 500 * 10**6
DEFAULT_STATE = ROOT / ".troupe"
MARK = "stack.json"


@dataclass(frozen=True)
class Ports:
    """The TCP ports of the loopback that the stack opens; PostgreSQL and Redis are on unix sockets."""

    api: int = 8000
    indexer: int = 8001
    anvil: int = 8545

    @staticmethod
    def variable(name: str) -> str:
        return f"TROUPE_PORT_{name.upper()}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Ports:
        """The defaults, or what TROUPE_PORT_API, TROUPE_PORT_INDEXER, TROUPE_PORT_ANVIL say. Raises WrongUsage."""
        chosen: dict[str, int] = {}
        for part in fields(cls):
            text = environment.get(cls.variable(part.name))
            if text is None:
                continue
            if not text.isdecimal() or not 1 <= int(text) <= 65535:
                raise WrongUsage(f"{cls.variable(part.name)} is {text!r}: give a port number from 1 to 65535")
            chosen[part.name] = int(text)
        ports = cls(**chosen)
        ports._require_distinct()
        return ports

    def _require_distinct(self) -> None:
        seen: dict[int, str] = {}
        for part in fields(self):
            port = getattr(self, part.name)
            if port in seen:
                one, two = self.variable(seen[port]), self.variable(part.name)
                raise WrongUsage(f"{one} and {two} are both {port}: give each a port of its own")
            seen[port] = part.name

    @classmethod
    def free(cls) -> Ports:
        """Ports that nobody listens on now, for tests."""
        chosen: set[int] = set()
        while len(chosen) < len(fields(cls)):
            chosen.add(free_port())
        return cls(*chosen)


def state_from_environment(environment: Mapping[str, str] = os.environ) -> Path:
    """The state folder: TROUPE_STATE, or .troupe in the checkout."""
    return Path(environment.get("TROUPE_STATE") or DEFAULT_STATE).expanduser().resolve()


@dataclass(frozen=True)
class Settings:
    """Where the parts of one stack are; derived from a state folder and ports, nothing else."""

    state: Path
    ports: Ports = field(default_factory=Ports)
    extra: Mapping[str, str] = field(default_factory=dict)
    """More TROUPE_ settings for the product's processes."""

    @property
    def postgres(self) -> Postgres:
        return Postgres(self.state / "pg")

    @property
    def database(self) -> DatabaseUrls:
        return self.postgres.database()

    @property
    def redis(self) -> Redis:
        return Redis(self.state / "redis")

    @property
    def anvil(self) -> Anvil:
        state = self.state / "chain" / "state.json"
        return Anvil(self.ports.anvil, state=state, port_variable=Ports.variable("anvil"))

    @property
    def manifest(self) -> Path:
        return self.state / "deployment.json"

    @property
    def vault(self) -> Path:
        return self.state / "vault"

    @property
    def master_key(self) -> Path:
        return self.state / "master.key"

    @property
    def rpc_url(self) -> str:
        return self.anvil.url

    @property
    def api_url(self) -> str:
        return f"http://{HOST}:{self.ports.api}"

    @property
    def indexer_url(self) -> str:
        return f"http://{HOST}:{self.ports.indexer}"

    def environment(self) -> dict[str, str]:
        """What the backend's and the indexer's processes are told."""
        return {
            "TROUPE_ENV": "dev",
            "TROUPE_DATABASE_URL": self.database.backend,
            "TROUPE_INDEXER_DATABASE_URL": self.database.indexer,
            "TROUPE_REDIS_URL": self.redis.url,
            "TROUPE_RPC_URL": self.rpc_url,
            "TROUPE_CHAIN_ID": str(CHAIN_ID),
            "TROUPE_DEPLOYMENT": str(self.manifest),
            "TROUPE_DATA_DIR": str(self.state / "content"),
            "TROUPE_VAULT_DIR": str(self.vault),
            "TROUPE_MASTER_KEY_FILE": str(self.master_key),
            "TROUPE_PUBLIC_URL": self.api_url,
            "TROUPE_INDEXER_PORT": str(self.ports.indexer),
            "TROUPE_WEBHOOK_LOOPBACK": "true",
            "TROUPE_OPERATOR_KEY": operator_key(),
            "PYTHONUNBUFFERED": "1",
            **self.extra,
        }

    def admin_environment(self) -> dict[str, str]:
        """What the migrations are told beside: only they get the owner's address."""
        return self.environment() | {"TROUPE_ADMIN_DATABASE_URL": self.database.admin}


def recorded_ports(state: Path) -> Ports | None:
    """The ports that the stack in a folder was started on, whatever the environment says now."""
    try:
        return Ports(**json.loads((state / "ports.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def operator_key() -> str:
    """The development publisher's key, known to everybody; the backend refuses it off chain 31337."""
    return "0x" + bytes(keys.dev_account(keys.DEV_ROLES.index("publisher")).key).hex()


def answers_http(url: str) -> bool:
    """Whether a GET answers 200."""
    try:
        with rpc.OPENER.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError:
        return False


class LogProbe:
    """Ready when the log has a line with `text` that this run wrote."""

    def __init__(self, log: Path, text: str) -> None:
        self.log = log
        self.text = text.encode()
        self.offset = 0

    def reset(self) -> None:
        self.offset = self.log.stat().st_size if self.log.exists() else 0

    def __call__(self) -> bool:
        with self.log.open("rb") as file:
            file.seek(self.offset)
            return self.text in file.read()


def worker_answers(redis_url: str, name: str) -> bool:
    """Whether a Celery worker of this name answers a ping."""
    with (
        Celery(broker=celery_broker(redis_url), set_as_current=False) as app,
        app.connection_for_write() as connection,  # its own: kombu's pools outlive the Redis of an earlier stack
    ):
        replies = app.control.ping(destination=[name], timeout=0.5, connection=connection)
        return any(name in reply for reply in replies)


WORKER_NAME = "worker@troupe"


def contracts_present(settings: Settings) -> bool:
    """Whether the manifest's contracts have code on the running chain."""
    try:
        contracts = json.loads(settings.manifest.read_text())["contracts"]
    except (FileNotFoundError, ValueError, KeyError):
        return False
    return bool(contracts) and all(
        rpc.call(settings.rpc_url, "eth_getCode", contract["address"], "latest") not in ("0x", None)
        for contract in contracts.values()
    )


def stages(settings: Settings, log: Callable[[str], Path]) -> list[Stage]:
    """The parts, stage by stage."""
    python = sys.executable
    environment = settings.environment()
    beat_started = LogProbe(log("beat"), "beat: Starting")
    beat_folder = settings.state / "beat"
    celery = [python, "-m", "celery", "-A", "backend.worker:celery"]

    def prepare_beat() -> None:
        beat_folder.mkdir(exist_ok=True)
        beat_started.reset()

    def port(name: str) -> Callable[[], None]:
        return lambda: require_free_port(getattr(settings.ports, name), name, Ports.variable(name))

    return [
        [settings.postgres.service(), settings.redis.service(), settings.anvil.service()],
        [
            Task("database", before=lambda: ensure_database(settings.database)),
            Task(
                "contracts",
                commands=lambda: [deployment.command()],
                env=deployment.environment(settings.rpc_url, settings.manifest),
                needed=lambda: not contracts_present(settings),
                after=lambda: require_contracts(settings),
            ),
            Task(
                "migrate",
                commands=lambda: [[python, "-m", "backend.cli", "migrate"]],
                env=settings.admin_environment(),
            ),
        ],
        [
            Service(
                name="indexer",
                command=[python, "-m", "indexer", "run"],
                env=environment,
                ready=lambda: answers_http(f"{settings.indexer_url}/ready"),
                url=settings.indexer_url,
                prepare=port("indexer"),
                ready_timeout_s=60,
            ),
            Service(
                name="api",
                command=[
                    *(python, "-m", "uvicorn", "--factory", "backend.app:create_app"),
                    *("--host", HOST, "--port", str(settings.ports.api)),
                    *("--timeout-graceful-shutdown", "3"),
                    "--no-access-log",  # each request has a line of its own
                    "--no-proxy-headers",  # who may be believed is a setting of ours (TROUPE_TRUSTED_PROXIES)
                ],
                env=environment,
                ready=lambda: answers_http(f"{settings.api_url}/ready"),
                url=settings.api_url,
                prepare=port("api"),
                ready_timeout_s=60,
            ),
            Service(
                name="worker",
                command=[
                    *celery,
                    "worker",
                    *("--hostname", WORKER_NAME, "--concurrency", "2", "--loglevel", "INFO"),
                    *("--without-gossip", "--without-mingle"),
                ],
                env=environment,
                ready=lambda: worker_answers(settings.redis.url, WORKER_NAME),
                ready_timeout_s=60,
                grace_s=8,
            ),
            Service(
                name="beat",
                command=[*celery, "beat", "--schedule", beat_folder / "schedule", "--pidfile=", "--loglevel", "INFO"],
                env=environment,
                ready=beat_started,
                prepare=prepare_beat,
                ready_timeout_s=60,
            ),
        ],
    ]


def require_contracts(settings: Settings) -> None:
    """Raises StackError when the deployment did not leave what its manifest says."""
    if not contracts_present(settings):
        raise StackError(
            f"the deployment ended well but {settings.manifest.name} names no contracts that have code on the chain:"
            " see `./troupe logs contracts`"
        )


class Stack(Supervisor):
    """The whole of Troupe in one process tree.

        with Stack(tmp_path, Ports.free()) as stack:
            httpx.get(stack.settings.api_url + "/health")
            stack.kill("worker")

    `start` raises StackError with a sentence that says what to do. See Supervisor for `watch`, `kill`, `log`, `stop`.
    """

    def __init__(
        self,
        state: Path | None = None,
        ports: Ports | None = None,
        *,
        extra: Mapping[str, str] | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        folder = state.resolve() if state else state_from_environment()
        self.settings = Settings(folder, ports or Ports.from_environment(), extra or {})
        super().__init__(
            stages(self.settings, lambda name: folder / "logs" / f"{name}.log"),
            folder,
            cwd=ROOT,
            on_change=on_change,
            every_second=self._keep_chain,
        )

    def running_settings(self) -> Settings:
        """Where the stack is that runs in this folder, whatever ports this process was told."""
        return Settings(self.state, recorded_ports(self.state) or self.settings.ports, self.settings.extra)

    def _keep_chain(self) -> None:
        state = self.settings.anvil.state
        if state:
            anvil.keep(state)

    def start(self) -> None:
        """Check the ground, then start every part. Raises StackError."""
        require_tools()
        require_folder(self.state)
        self.lock()
        self.end_leftovers()
        require_space(self.state)
        require_same_make(self.state)
        for part in fields(Ports):
            require_free_port(getattr(self.settings.ports, part.name), part.name, Ports.variable(part.name))
        (self.state / MARK).write_text(json.dumps(made_by()))
        (self.state / "ports.json").write_text(json.dumps(asdict(self.settings.ports)))
        super().start()

    def reset(self) -> list[tuple[str, int]]:
        """Remove everything in the state folder; returns names and bytes. Raises AlreadyRunning, StackError."""
        require_folder(self.state)
        self.lock()
        self.end_leftovers()
        return clear(self.state)


def made_by() -> dict[str, object]:
    """What a state folder depends on."""
    return {"format": FORMAT, "postgres": POSTGRES_VERSION, "contracts": deployment.contracts_hash()}


def require_folder(state: Path) -> None:
    """Raises StackError for a folder that holds something that no stack made."""
    if state == DEFAULT_STATE or not state.exists():
        return
    if not state.is_dir():
        raise StackError(f"{state} is not a folder: give --state a folder for the stack's data")
    names = {path.name for path in state.iterdir()}
    if names - {"lock"} and MARK not in names:
        raise StackError(
            f"{state} holds files that are no stack's ({sorted(names)[0]}, ...): give --state a new folder"
        )


def require_same_make(state: Path) -> None:
    """Raises StackError when the folder was made by another version, or for other contracts."""
    try:
        made = json.loads((state / MARK).read_text())
    except FileNotFoundError:
        return
    except ValueError:
        made = {}
    now = made_by()
    remedy = "start with --reset, which removes it, or give another folder with --state"
    if made.get("format") != now["format"] or made.get("postgres") != now["postgres"]:
        raise StackError(f"the data in {state} was made by another version of Troupe: {remedy}")
    if made.get("contracts") != now["contracts"]:
        raise StackError(f"the chain in {state} carries other contracts than this checkout has: {remedy}")


def require_space(state: Path, minimum_bytes: int = MINIMUM_FREE_BYTES) -> None:
    """Raises StackError when the disk is nearly full."""
    free = shutil.disk_usage(state).free
    if free < minimum_bytes:
        raise StackError(
            f"only {free / 1e6:.0f} MB are free where {state} is, and the stack needs"
            f" {minimum_bytes / 1e6:.0f} MB: free some space or give another folder with --state"
        )


def require_tools() -> None:
    """Raises Missing when something that set-up installs is not there."""
    anvil.binary()
    if not (ROOT / ".venv" / "chain" / "bin" / "brownie").exists():
        raise Missing("the chain environment (Brownie) is missing: run `make setup`")
    if not shutil.which("node"):
        raise Missing("node is not on PATH, and the contracts' compiler needs it: install Node 20 or newer")
