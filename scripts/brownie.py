"""Run Brownie with a home, a compiler and ports of our own: `python scripts/brownie.py test tests/contracts`.

Brownie keeps its state in ~/.brownie, downloads compilers, and attaches to whatever listens on the port of its
network, reverting that chain afterwards. Here it gets a throw-away home below .tools, the npm compiler, and for the
network `development` a free port on which its own anvil starts. The network `troupe` is the chain at TROUPE_RPC_URL.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
ANVIL_ARGS = {"base-fee": 0}

NETWORKS = """\
live:
- name: Troupe
  networks:
  - name: the chain at TROUPE_RPC_URL
    id: troupe
    chainid: {chain_id}
    host: {rpc_url}
development:
- name: anvil on a port of ours
  id: development
  cmd: anvil
  host: http://127.0.0.1
  timeout: 120
  cmd_settings:
    port: {port}
    accounts: 10
    mnemonic: test test test test test test test test test test test junk
    evm_version: cancun
    gas_limit: 60000000
"""


def anvil_binary() -> Path:
    """The native anvil. The npm command around it is a Node wrapper that swallows signals."""
    found = sorted((ROOT / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil"))
    if not found:
        sys.exit("anvil is not installed for this platform: run `make setup`")
    return found[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path) -> dict[str, str]:
    """The environment for Brownie: its home, the compiler wrapper, and `anvil` with a base fee of 0 on PATH."""
    binaries = home / "bin"
    binaries.mkdir()
    flags = " ".join(f"--{name} {value}" for name, value in ANVIL_ARGS.items())
    launcher = binaries / "anvil"
    launcher.write_text(f'#!/bin/sh\nexec "{anvil_binary()}" {flags} "$@"\n')
    launcher.chmod(0o755)
    return os.environ | {
        "HOME": str(home),
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "SOLCX_BINARY_PATH": str(TOOLS / "solcx"),
        "TROUPE_ROOT": str(ROOT),
        "TROUPE_COMPILER_LOG": str(TOOLS / "compiler.log"),
        "TROUPE_COMPILER_CACHE": str(TOOLS / "compiler-cache"),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }


def ended(process: subprocess.Popen[bytes]) -> int:
    """The exit status. Ctrl-C reaches Brownie as well, which knows what to do about it: the console goes on."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def main(argv: list[str]) -> int:
    python = ROOT / ".venv" / "chain" / "bin" / "python"
    if not python.exists():
        sys.exit("the chain environment is missing: run `make setup`")
    home = Path(tempfile.mkdtemp(prefix="brownie-", dir=TOOLS))
    try:
        rpc_url = os.environ.get("TROUPE_RPC_URL", "http://127.0.0.1:8545")
        if urlsplit(rpc_url).scheme not in ("http", "https"):
            sys.exit(f"TROUPE_RPC_URL is {rpc_url!r}: give an http or https address")
        chain_id = os.environ.get("TROUPE_CHAIN_ID") or "31337"
        if not (chain_id.isascii() and chain_id.isdigit()):
            sys.exit(f"TROUPE_CHAIN_ID is {chain_id!r}: give the number of the chain, such as 31337")
        (home / ".brownie").mkdir()
        (home / ".brownie" / "network-config.yaml").write_text(
            NETWORKS.format(port=free_port(), rpc_url=rpc_url, chain_id=chain_id)
        )
        command = [str(python.parent / "brownie"), *argv]
        return ended(subprocess.Popen(command, cwd=ROOT, env=environment(home)))
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
