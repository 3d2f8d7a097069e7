"""What `./troupe doctor` looks at: each check is a function of a Target, changes nothing, and says the fix."""

from __future__ import annotations

import errno
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import distributions
from pathlib import Path

import psycopg
from eth_utils.crypto import keccak
from redis import Redis as RedisClient
from redis.exceptions import RedisError

from backend.db import conninfo
from backend.migrations.upgrade import head as needed_revision
from backend.personalization.person import portable
from backend.settings import taste_key_beside
from backend.vault.inspection import Inspection, inspect, orphans
from backend.vault.master_key import VaultError
from backend.vault.vault import Vault
from indexer.migrate import expected as expected_fingerprint
from indexer.migrate import present as present_fingerprint
from stack import anvil, roles, rpc
from stack.anvil import ROOT
from stack.console import readable
from stack.errors import StackError
from stack.processes import port_is_free
from stack.supervisor import (
    MINIMUM_FREE_BYTES,
    WORKER_NAME,
    Ports,
    require_folder,
    require_same_make,
    worker_answers,
)
from stack.target import Target

LAG_WARNING_BLOCKS = 5
CLOCK_WARNING_S = 60
NODE_MINIMUM = 20
START = "start the stack with `./troupe dev`"
SETUP = "run `make setup`"


class Level(StrEnum):
    """How a check came out; `off` is a part of a stack that was not started."""

    OK = "ok"
    OFF = "off"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do about it."""

    level: Level
    detail: str
    fix: str = ""


def ok(detail: str) -> Finding:
    return Finding(Level.OK, detail)


def warn(detail: str, fix: str) -> Finding:
    return Finding(Level.WARN, detail, fix)


def fail(detail: str, fix: str) -> Finding:
    return Finding(Level.FAIL, detail, fix)


def _version_of(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return (done.stdout or done.stderr).strip().splitlines()[0]


# --- what is installed --------------------------------------------------------------------------------------------


def check_python(_: Target) -> Finding:
    version = platform.python_version()
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        return fail(version, "install Python 3.11 or 3.12 and run `make setup` with it")
    return ok(version)


def locked(lock: Path) -> dict[str, str]:
    """Package -> version of a lock file."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def check_environments(_: Target) -> Finding:
    wrong = []
    for name in ("app", "chain"):
        folders = [str(path) for path in (ROOT / ".venv" / name / "lib").glob("python3*/site-packages")]
        if not folders:
            return fail(f"the environment {name} is missing", SETUP)
        installed = {re.sub(r"[-_.]+", "-", d.name).lower(): d.version for d in distributions(path=folders)}
        for package, version in locked(ROOT / "requirements" / f"{name}.lock").items():
            if installed.get(package) != version:
                wrong.append(f"{name}: {package} {installed.get(package, 'missing')}, not {version}")
    if wrong:
        return fail(f"{len(wrong)} packages are not those of the locks ({wrong[0]})", SETUP)
    return ok("app and chain hold exactly what their locks name")


def check_node(_: Target) -> Finding:
    node = shutil.which("node")
    if not node:
        return fail("node is not on PATH", f"install Node {NODE_MINIMUM} or newer, which brings npm")
    version = _version_of([node, "--version"])
    if int(version.lstrip("v").split(".")[0]) < NODE_MINIMUM:
        return fail(version, f"install Node {NODE_MINIMUM} or newer")
    return ok(version)


def check_anvil(_: Target) -> Finding:
    try:
        binary = anvil.binary()
    except StackError as error:
        return fail("not installed", str(error).split(": ", 1)[1])
    return ok(_version_of([str(binary), "--version"]).removeprefix("anvil Version: "))


def check_compiler(_: Target) -> Finding:
    solc = ROOT / ".tools" / "solcx" / "solc-v0.8.30"
    if not solc.exists():
        return fail("the Solidity compiler's wrapper is missing", SETUP)
    said = subprocess.run([solc, "--version"], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    if "0.8.30" not in said.stdout:
        return fail(f"the compiler does not answer: {said.stderr.strip()[-200:]}", f"{SETUP}; it needs node on PATH")
    return ok("solc 0.8.30")


def check_kubo(target: Target) -> Finding:
    if target.ipfs_api:
        return ok(f"configured: {target.ipfs_api}")
    found = shutil.which("ipfs") or (str(ROOT / ".tools" / "ipfs") if (ROOT / ".tools" / "ipfs").exists() else None)
    if found:
        return ok(f"{_version_of([found, '--version'])} is there; the embedded store is used")
    return ok("none; the embedded store is used (`make kubo` builds one for the tests against it)")


def check_disk(target: Target) -> Finding:
    folder = target.state if target.state.exists() else target.state.parent
    free = shutil.disk_usage(folder).free
    if free < MINIMUM_FREE_BYTES:
        return fail(f"{readable(free)} free at {folder}", f"free space until {readable(MINIMUM_FREE_BYTES)} are there")
    if free < 4 * MINIMUM_FREE_BYTES:
        return warn(f"{readable(free)} free at {folder}", "free some space soon")
    return ok(f"{readable(free)} free at {folder}")


# --- the stack ----------------------------------------------------------------------------------------------------


def check_stack(target: Target) -> Finding:
    if not target.embedded:
        return ok("servers of the environment (TROUPE_DATABASE_URL is set)")
    try:
        require_folder(target.state)
        require_same_make(target.state)
    except StackError as error:
        what, _, remedy = str(error).rpartition(": ")
        return fail(what, remedy)
    ended = [name for name, identity in target.processes.items() if not identity.process()]
    if ended:
        return fail(f"{', '.join(ended)} ended", f"see `./troupe logs {ended[0]}`, then {START}")
    if not target.running:
        return warn("not running", START)
    return ok(f"{len(target.processes)} processes run in {target.state}")


def check_ports(target: Target) -> Finding:
    if not target.embedded:
        return Finding(Level.OFF, "not ours to open")
    if target.running:
        ports = ", ".join(f"{part.name} {getattr(target.ports, part.name)}" for part in fields(Ports))
        return ok(ports)
    for part in fields(Ports):
        port = getattr(target.ports, part.name)
        if not port_is_free(port):
            remedy = f"stop it (`ss -ltnp sport = :{port}` names it) or set {Ports.variable(part.name)}"
            return fail(f"{port}, for {part.name}, is taken by another program", remedy)
    return ok("free")


def _named(value: object, variable: str) -> Finding | None:
    return None if value else fail(f"{variable} is not set", f"set {variable}")


# --- database -----------------------------------------------------------------------------------------------------


def check_database(target: Target) -> Finding:
    if target.database_url is None:
        return fail("TROUPE_DATABASE_URL is not set", "set it")
    try:
        with psycopg.connect(conninfo(target.database_url), connect_timeout=5) as connection:
            row = connection.execute("SELECT current_setting('server_version'), pg_database_size(current_database())")
            version, size = row.fetchone() or ("?", 0)
    except psycopg.OperationalError as error:
        remedy = "see `./troupe logs postgres`" if target.embedded else "start it, or mend TROUPE_DATABASE_URL"
        return fail(f"not reachable: {first_line(error)}", remedy)
    return ok(f"PostgreSQL {version.split()[0]}, {readable(size)}")


def first_line(error: Exception) -> str:
    """The first line of an error, or its kind when it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def check_product_tables(target: Target) -> Finding:
    assert target.database_url
    with psycopg.connect(conninfo(target.database_url), connect_timeout=5) as connection:
        if connection.execute("SELECT to_regclass('app.alembic_version')").fetchone() == (None,):
            return fail("never migrated", "run `./troupe migrate`")
        row = connection.execute("SELECT version_num FROM app.alembic_version").fetchone()
    current = row[0] if row else None
    if current != needed_revision():
        return fail(f"at revision {current}, and this version needs {needed_revision()}", "run `./troupe migrate`")
    return ok(f"at revision {current}")


def check_chain_tables(target: Target) -> Finding:
    assert target.database_url
    with psycopg.connect(conninfo(target.database_url), connect_timeout=5) as connection:
        found = present_fingerprint(connection)
    if found is None:
        return fail("never migrated", "run `./troupe migrate`")
    expected = expected_fingerprint()
    if (found.core, found.events) != (expected.core, expected.events):
        return fail("made for other contract ABIs than these", "run `python -m indexer rebuild`")
    if found != expected:
        return fail("the views are of another version", "run `./troupe migrate`")
    return ok("made for these ABIs")


def check_database_roles(target: Target) -> Finding:
    """PostgreSQL's own answer to who may write where (docs/architecture.md: one writer a table)."""
    assert target.database_url
    wanted = {
        ("troupe_backend", "app", "CREATE"): False,
        ("troupe_backend", "chain", "CREATE"): False,
        ("troupe_backend", "chain", "USAGE"): True,
        ("troupe_indexer", "chain", "CREATE"): True,
        ("troupe_indexer", "app", "USAGE"): False,
    }
    with psycopg.connect(conninfo(target.database_url), connect_timeout=5) as connection:
        for (role, schema, right), want in wanted.items():
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
                return fail(f"the role {role} is missing", "run `./troupe migrate`")
            row = connection.execute("SELECT has_schema_privilege(%s, %s, %s)", (role, schema, right)).fetchone()
            if row != (want,):
                verb = "may not" if want else "may"
                return fail(f"{role} {verb} {right} in schema {schema}", "run `./troupe migrate`, or mend the grant")
        row = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'chain' AND ("
            " has_table_privilege('troupe_backend', format('%I.%I', schemaname, tablename), 'INSERT, UPDATE, DELETE')"
            " OR NOT has_table_privilege('troupe_backend', format('%I.%I', schemaname, tablename), 'SELECT'))"
        ).fetchone()
    if row != (0,):
        return fail(f"{row and row[0]} chain tables are open to the backend or hidden from it", "mend the grants")
    return ok("the backend reads chain and writes app; the indexer writes chain")


# --- queue --------------------------------------------------------------------------------------------------------


def check_redis(target: Target) -> Finding:
    if missing := _named(target.redis_url, "TROUPE_REDIS_URL"):
        return missing
    remedy = f"see `./troupe logs redis`, then {START}" if target.embedded else "start it, or mend TROUPE_REDIS_URL"
    try:
        with RedisClient.from_url(str(target.redis_url), socket_timeout=5) as client:
            info = client.info()
    except RedisError as error:
        return fail(f"not reachable: {first_line(error)}", remedy)
    assert isinstance(info, dict)
    if info.get("aof_enabled") and info.get("aof_last_write_status") != "ok":
        return fail("cannot write its file", "free some space on its disk")
    if not info.get("aof_enabled"):
        return warn("keeps nothing over a crash", "set appendonly yes")
    return ok(f"Redis {info['redis_version']}, {readable(int(info['used_memory']))} used")


def check_worker(target: Target) -> Finding:
    assert target.redis_url
    if not target.embedded:
        return Finding(Level.OFF, "workers have names of their own here")
    if not worker_answers(target.redis_url, WORKER_NAME):
        return fail("does not answer a ping", "see `./troupe logs worker`")
    return ok("answers a ping")


def check_beat(target: Target) -> Finding:
    identity = target.processes.get("beat")
    if not target.embedded or identity is None:
        return Finding(Level.OFF, "not seen from here")
    return ok("runs") if identity.process() else fail("ended", "see `./troupe logs beat`")


# --- chain --------------------------------------------------------------------------------------------------------


def _manifest(target: Target) -> dict[str, object]:
    assert target.manifest
    found = json.loads(target.manifest.read_text())
    assert isinstance(found, dict)
    return found


def check_chain(target: Target) -> Finding:
    if missing := _named(target.rpc_url, "TROUPE_RPC_URL"):
        return missing
    url = str(target.rpc_url)
    remedy = f"see `./troupe logs anvil`, then {START}" if target.embedded else "start the node, or mend TROUPE_RPC_URL"
    try:
        chain_id = int(rpc.call(url, "eth_chainId", timeout_s=5), 16)
        head = rpc.call(url, "eth_getBlockByNumber", "latest", False, timeout_s=5)
    except (OSError, rpc.RpcError) as error:
        return fail(f"not reachable: {first_line(error)}", remedy)
    if target.chain_id is not None and chain_id != target.chain_id:
        remedy = "mend TROUPE_RPC_URL or TROUPE_CHAIN_ID"
        return fail(f"chain id {chain_id}, and {target.chain_id} is configured", remedy)
    number, age = int(head["number"], 16), time.time() - int(head["timestamp"], 16)
    detail = f"chain id {chain_id}, block {number:,}"
    if age < -CLOCK_WARNING_S and not target.embedded:
        return warn(f"{detail}, {-age:.0f} s ahead of this clock", "set this machine's clock by NTP")
    if age < -CLOCK_WARNING_S:
        detail += f", its clock moved {-age / 3600:.1f} h ahead"
    return ok(detail)


def check_contracts(target: Target) -> Finding:
    if missing := _named(target.manifest, "TROUPE_DEPLOYMENT"):
        return missing
    remedy = f"{START} --reset" if target.embedded else "deploy the contracts, or mend TROUPE_DEPLOYMENT"
    try:
        manifest = _manifest(target)
        contracts = manifest["contracts"]
        assert isinstance(contracts, dict)
    except FileNotFoundError:
        return fail(f"there is no manifest at {target.manifest}", remedy)
    except (ValueError, KeyError, AssertionError):
        return fail(f"{target.manifest} is no deployment manifest", remedy)
    wrong = _wrong_chain(str(target.rpc_url), manifest) or next(
        (said for name, each in contracts.items() if (said := _wrong_code(str(target.rpc_url), name, each))), None
    )
    return fail(wrong, remedy) if wrong else ok(f"{len(contracts)} contracts have the code that the manifest names")


def _wrong_chain(url: str, manifest: dict[str, object]) -> str | None:
    """What tells the node's chain from the manifest's, in words."""
    chain_id = int(rpc.call(url, "eth_chainId", timeout_s=5), 16)
    if manifest.get("chainId") != chain_id:
        return f"the manifest is of chain {manifest.get('chainId')}, the node of {chain_id}"
    genesis = rpc.call(url, "eth_getBlockByNumber", "0x0", False)
    if manifest.get("genesisHash") and genesis and genesis["hash"] != manifest["genesisHash"]:
        return "the manifest is of another chain with the same id (genesis differs)"
    return None


def _wrong_code(url: str, name: str, contract: dict[str, str]) -> str | None:
    """What tells a contract's code on chain from the manifest's, in words."""
    code = bytes.fromhex(rpc.call(url, "eth_getCode", contract["address"], "latest").removeprefix("0x"))
    if not code:
        return f"{name} has no code at {contract['address']}"
    expected = contract.get("codeHash")
    if expected and keccak(code).hex() != expected.removeprefix("0x"):
        return f"{name} at {contract['address']} has other code than the manifest says"
    return None


def check_roles(target: Target) -> Finding:
    """The table of roles as the chain has it (docs/contracts.md), beside the one that was deployed."""
    found = roles.compare(str(target.rpc_url), _manifest(target))
    if found.drift:
        return fail(_first(found.drift), "no vote has done this: find out who did, and treat it as a breach")
    if found.voted:
        return ok(f"every role and restricted function is as deployed, or as votes have made it: {_first(found.voted)}")
    return ok("every role and restricted function is as deployed; the deployer holds none")


def _first(lines: list[str]) -> str:
    return lines[0] + (f" (and {len(lines) - 1} more)" if lines[1:] else "")


# --- what follows the chain and serves -------------------------------------------------------------------------------


def check_indexer(target: Target) -> Finding:
    assert target.database_url
    assert target.rpc_url
    remedy = "see `./troupe logs indexer`" if target.embedded else "start `python -m indexer run`"
    with psycopg.connect(conninfo(target.database_url), connect_timeout=5) as connection:
        row = connection.execute("SELECT head_number, head_hash FROM chain.cursor").fetchone()
    head = int(rpc.call(target.rpc_url, "eth_blockNumber"), 16)
    if row is None:
        return fail("has indexed nothing yet", remedy)
    indexed, indexed_hash = int(row[0]), bytes(row[1])
    on_chain = rpc.call(target.rpc_url, "eth_getBlockByNumber", hex(indexed), False)
    if indexed <= head and on_chain and bytes.fromhex(on_chain["hash"][2:]) != indexed_hash:
        return warn(f"block {indexed:,} is of another fork than the node's", "wait a moment and look again; " + remedy)
    lag = head - indexed
    if lag > LAG_WARNING_BLOCKS:
        return warn(f"{lag:,} blocks behind (at {indexed:,} of {head:,})", "wait; if it does not shrink, " + remedy)
    return ok(f"at block {indexed:,}, {max(lag, 0)} behind the chain")


def check_api(target: Target) -> Finding:
    if missing := _named(target.public_url, "TROUPE_PUBLIC_URL"):
        return missing
    remedy = f"see `./troupe logs api`, then {START}" if target.embedded else "start it, or mend TROUPE_PUBLIC_URL"
    try:
        unwell = not_ready(str(target.public_url))
    except (OSError, ValueError) as error:
        return fail(f"{target.public_url} does not answer: {first_line(error)}", remedy)
    if unwell:
        return fail("not ready: " + " ".join(part.detail for part in unwell), " ".join(part.fix for part in unwell))
    return ok(str(target.public_url))


def not_ready(url: str) -> list[Finding]:
    """The parts that the API at `url` calls unwell, in its own words. Raises OSError, ValueError for no answer."""
    try:
        with rpc.OPENER.open(f"{url}/ready", timeout=10) as response:
            response.read()
            return []
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise
        parts = json.load(error)["checks"]
    return [fail(f"{part['name']}: {part['detail']}", part["fix"] or "") for part in parts if not part["ok"]]


def check_tasks(target: Target) -> Finding:
    """Tasks that were parked because they ended their worker again and again."""
    assert target.database_url
    with psycopg.connect(conninfo(target.database_url), connect_timeout=5) as connection:
        row = connection.execute("SELECT count(*) FROM app.task_attempt WHERE parked_at IS NOT NULL").fetchone()
    if row and row[0]:
        return warn(f"{row[0]} parked: they ended their worker too often", "look at `./troupe tasks`")
    return ok("none is parked")


def check_content(target: Target) -> Finding:
    if missing := _named(target.data_dir, "TROUPE_DATA_DIR"):
        return missing
    assert target.data_dir
    if not target.data_dir.exists():
        return ok("empty; nothing was added yet")
    try:
        with tempfile.TemporaryFile(dir=target.data_dir) as probe:
            probe.write(b"\0")
    except OSError as error:
        full = error.errno == errno.ENOSPC
        return fail(f"cannot be written: {error.strerror}", "free some space" if full else "give us the folder's owner")
    blocks = sum(1 for path in target.data_dir.rglob("*") if path.is_file() and path.parent.parent.name == "blocks")
    return ok(f"{blocks:,} blocks in {target.data_dir}")


def check_keys(target: Target) -> Finding:
    """The master key, every data key that it wraps, and whose they are; and what signs taste documents."""
    if missing := _named(target.vault, "TROUPE_VAULT_DIR") or _named(target.master_key, "TROUPE_MASTER_KEY_FILE"):
        return missing
    assert target.vault
    assert target.master_key
    assert target.database_url
    if not target.vault.exists() and not target.master_key.exists():
        return ok("none yet; nothing was sealed")
    back = "bring the file back from its copy; `./troupe keys status` names each key"
    try:
        vault = Vault(target.vault, target.master_key)
        found = inspect(vault)
    except (VaultError, OSError) as error:
        return fail(first_line(error), back)
    if found.damaged:
        return fail(f"{len(found.damaged):,} data keys do not open: {found.damaged[0][1]}", back)
    return _check_signing(target.master_key) or _check_owners(target.database_url, vault, found)


def _check_signing(master: Path) -> Finding | None:
    """What is wrong with the key that signs taste documents; where there is none, it is made when it is needed."""
    try:
        portable.read_key(taste_key_beside(master))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return fail(
            first_line(error),
            "give it to this user alone; or move it away, and `./troupe restore` brings it back from the mirror of the"
            " keys: with a new one nobody believes the taste documents that people carry",
        )
    return None


def _check_owners(database_url: str, vault: Vault, found: Inspection) -> Finding:
    """Whether each key has its account, and each account that has something sealed its key."""
    with psycopg.connect(conninfo(database_url), connect_timeout=5) as connection:
        rows = connection.execute("SELECT id, pseudonym IS NOT NULL FROM app.account").fetchall()
    shown = f"{sum(found.counts.values()):,} data keys, {found.erased:,} erased"
    sealed = [account for account, has_sealed in rows if has_sealed and account not in found.present]
    if lacking := sum(vault.state(account) == "absent" for account in sealed):
        return fail(
            f"{shown}; {lacking:,} accounts have something sealed and no key",
            "bring the vault back from its mirror (`./troupe backup --keys` made it): without it nobody reads them",
        )
    if left := orphans(vault, found, {account for account, _ in rows}, now=datetime.now(UTC)):
        return warn(
            f"{shown}; {len(left):,} of them are of no account, such as {left[0]}",
            "after a restore of an older database they belong to accounts that it lacks: keep them; else they open"
            " nothing that is left, and their files may be deleted",
        )
    return ok(shown)
