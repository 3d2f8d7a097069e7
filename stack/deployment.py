"""The contract set on a chain: deployed by scripts/deploy through Brownie, and kept as a state file for tests."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stack.anvil import ROOT, Anvil
from stack.errors import StackError
from stack.processes import Command, free_port, running

CACHE = ROOT / ".tools" / "cache"
DEPLOY_TIMEOUT_S = 300
BROWNIE = (sys.executable, str(ROOT / "scripts" / "brownie.py"))


def sources() -> list[Path]:
    """The files that decide what is deployed."""
    scripts = [path for path in (ROOT / "scripts" / "deploy").rglob("*.py") if path.is_file()]
    return [*(ROOT / "contracts").rglob("*.sol"), *scripts, ROOT / "brownie-config.yaml", ROOT / "package-lock.json"]


def _hash(files: Iterable[Path]) -> str:
    sha = hashlib.sha256()
    for path in sorted(files):
        sha.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


def content_hash() -> str:
    """The hash of what decides the deployment, its script included."""
    return _hash(sources())


def contracts_hash() -> str:
    """The hash of the contracts alone; another hash means that a chain carries another set."""
    return _hash([*(ROOT / "contracts").rglob("*.sol"), ROOT / "brownie-config.yaml"])


def deployable() -> bool:
    """Whether this checkout has a deployment script."""
    return (ROOT / "scripts" / "deploy" / "main.py").exists()


def command() -> Command:
    """What deploys the contracts to the chain at TROUPE_RPC_URL and writes the manifest to TROUPE_DEPLOYMENT."""
    return [*BROWNIE, "run", "deploy/main", "--network", "troupe"]


def environment(rpc_url: str, manifest: Path) -> dict[str, str]:
    return {"TROUPE_RPC_URL": rpc_url, "TROUPE_CHAIN_ID": "31337", "TROUPE_DEPLOYMENT": str(manifest)}


def deploy(rpc_url: str, manifest: Path, log: Path) -> None:
    """Deploy and wait. Raises StackError with the log's last lines when it fails or writes no manifest."""
    with log.open("ab") as output:
        done = subprocess.run(
            [os.fspath(part) for part in command()],
            cwd=ROOT,
            env=os.environ | environment(rpc_url, manifest),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=DEPLOY_TIMEOUT_S,
            check=False,
        )
    if done.returncode or not manifest.exists():
        raise StackError(f"the deployment failed (status {done.returncode}):\n{log.read_text()[-3000:]}")


@dataclass(frozen=True)
class Snapshot:
    """A chain with the contracts deployed, as files: load `state` into a fresh anvil, read addresses in `manifest`."""

    state: Path
    manifest: Path


def snapshot() -> Snapshot:
    """The snapshot of this checkout's contracts, made once for each content; several processes may ask at a time."""
    folder = CACHE / f"chain-{content_hash()[:24]}"
    kept = Snapshot(folder / "state.json", folder / "deployment.json")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            scratch = Path(tempfile.mkdtemp(prefix="making-", dir=CACHE))
            anvil = Anvil(free_port(), state=scratch / "state.json")
            with running(anvil.service(), scratch / "anvil.log"):
                deploy(anvil.url, scratch / "deployment.json", scratch / "deploy.log")
            scratch.rename(folder)
    return kept
