"""Where the parts of an installation are: a stack's own, or the servers that the environment names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stack import anvil
from stack.postgres import ADMIN
from stack.processes import HOST, Identity
from stack.supervisor import Ports, Settings, recorded_ports, state_from_environment


@dataclass(frozen=True)
class Target:
    """Where the parts are. Addresses are as the settings have them."""

    embedded: bool
    """True: the parts are those of a stack in a folder; False: servers that the environment names."""
    running: bool
    """Whether the embedded stack runs; always True for servers."""
    state: Path
    ports: Ports
    database_url: str | None
    """As a role that may read the schemas `app` and `chain`."""
    redis_url: str | None
    rpc_url: str | None
    manifest: Path | None
    data_dir: Path | None
    vault: Path | None
    master_key: Path | None
    public_url: str | None
    indexer_url: str | None
    ipfs_api: str | None
    chain_id: int | None
    processes: Mapping[str, Identity] = field(default_factory=dict)


def target(state: Path | None = None, environment: Mapping[str, str] = os.environ) -> Target:
    """The servers of TROUPE_DATABASE_URL and its companions where that is set, else the stack in a folder."""
    folder = state.resolve() if state else state_from_environment(environment)
    ports = Ports.from_environment(environment)
    get = environment.get
    if get("TROUPE_DATABASE_URL") and state is None:
        port = get("TROUPE_INDEXER_PORT", "8001")
        return Target(
            embedded=False,
            running=True,
            state=folder,
            ports=ports,
            database_url=get("TROUPE_ADMIN_DATABASE_URL") or get("TROUPE_DATABASE_URL"),
            redis_url=get("TROUPE_REDIS_URL"),
            rpc_url=get("TROUPE_RPC_URL"),
            manifest=Path(path) if (path := get("TROUPE_DEPLOYMENT")) else None,
            data_dir=Path(path) if (path := get("TROUPE_DATA_DIR")) else None,
            vault=_beside(get("TROUPE_VAULT_DIR"), get("TROUPE_DATA_DIR"), "-vault"),
            master_key=_beside(get("TROUPE_MASTER_KEY_FILE"), get("TROUPE_DATA_DIR"), "-master.key"),
            public_url=get("TROUPE_PUBLIC_URL"),
            indexer_url=f"http://{HOST}:{port}",
            ipfs_api=get("TROUPE_IPFS_API"),
            chain_id=int(chain) if (chain := get("TROUPE_CHAIN_ID", "")).isdecimal() else None,
        )
    processes = recorded(folder)
    settings = Settings(folder, recorded_ports(folder) or ports)
    return Target(
        embedded=True,
        running=bool(processes),
        state=folder,
        ports=settings.ports,
        database_url=settings.database.url(ADMIN),
        redis_url=settings.redis.url,
        rpc_url=settings.rpc_url,
        manifest=settings.manifest,
        data_dir=settings.state / "content",
        vault=settings.vault,
        master_key=settings.master_key,
        public_url=settings.api_url,
        indexer_url=settings.indexer_url,
        ipfs_api=get("TROUPE_IPFS_API"),
        chain_id=anvil.CHAIN_ID,
        processes=processes,
    )


def recorded(state: Path) -> dict[str, Identity]:
    """The processes that the supervisor of a folder has written down; none where no stack runs."""
    try:
        records = json.loads((state / "processes.json").read_text())
    except (OSError, ValueError):
        return {}
    return {
        name: Identity(record["pid"], record["started"], tuple(record["command"])) for name, record in records.items()
    }


def _beside(named: str | None, data_dir: str | None, suffix: str) -> Path | None:
    """Where the settings name it; else beside the data folder, as development has it."""
    if named:
        return Path(named)
    return Path(data_dir).with_name(Path(data_dir).name + suffix) if data_dir else None
