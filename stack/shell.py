"""Brownie's console on the chain of a running stack; its commands are in scripts/console."""

from __future__ import annotations

import os
import subprocess

from stack import rpc
from stack.deployment import BROWNIE, environment
from stack.errors import StackError
from stack.target import Target


def console(target: Target) -> int:
    """Open Brownie's console on a running stack's chain; its exit status. Raises StackError when no stack runs."""
    url, manifest = target.rpc_url, target.manifest
    if not (url and manifest and _answers(url)):
        raise StackError(
            f"no stack runs in {target.state}: start one with `make dev`, then come back in another terminal"
        )
    settings = environment(url, manifest) | {"TROUPE_PUBLIC_URL": target.public_url or ""}
    command = [*BROWNIE, "run", "console/main", "-I", "--network", "troupe"]
    return subprocess.run(command, env=os.environ | settings, check=False).returncode


def _answers(url: str) -> bool:
    try:
        return bool(rpc.call(url, "eth_chainId"))
    except OSError:
        return False
