"""Whether this process can serve, part by part, and what to do about a part that is not well."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from backend.content.cid import CID
from backend.content.store import ContentError
from backend.deps import Core
from backend.migrations.upgrade import current, head
from backend.node import Node, NodeRefused, NodeUnreachable
from backend.vault.master_key import MasterKeyError
from backend.vault.vault import Vault
from indexer import models as chain
from indexer.errors import Fatal
from indexer.migrate import require_current

NODE_TIMEOUT_S = 2
EMPTY_FILE = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
"""The CID of no bytes: what a content store is asked about to see whether it answers."""
MIGRATE = "Run `./troupe migrate`."


@dataclass(frozen=True)
class Check:
    """One part: whether it is well, what was seen or is wrong, and what to do."""

    name: str
    ok: bool
    detail: str
    fix: str | None = None


def examine(core: Core) -> list[Check]:
    """Ask every part. A part that is away is a finding, never an exception."""
    node, seen = _node(core)
    return [*_database(core), _redis(core), node, _mirror(core, seen), _content(core), _vault(core)]


def _database(core: Core) -> list[Check]:
    """The connection, and the two schemas on it."""
    try:
        with core.database.engine.connect() as connection:
            found = current(connection)
            raw = connection.connection.driver_connection
            assert raw is not None
            problem = _stale(lambda: require_current(raw))
    except SQLAlchemyError:
        away = Check("database", False, "The database does not answer.", "Start it, or mend TROUPE_DATABASE_URL.")
        return [away, Check("migrations", False, "Not known: the database does not answer.", away.fix)]
    answers = Check("database", True, "Answers.")
    if found != _needed():
        return [
            answers,
            Check("migrations", False, f"At revision {found}, and this version needs {_needed()}.", MIGRATE),
        ]
    if problem is not None:
        what, _, fix = problem.rpartition(": ")
        return [answers, Check("migrations", False, f"{what}.", f"{fix[:1].upper()}{fix[1:]}.")]
    return [answers, Check("migrations", True, f"Revision {found}; the chain tables are of this version.")]


@cache
def _needed() -> str | None:
    return head()


def _stale(ask: Callable[[], None]) -> str | None:
    try:
        ask()
    except Fatal as error:
        return str(error)
    return None


def _redis(core: Core) -> Check:
    try:
        core.redis.ping()
    except (RedisError, OSError):
        what = "Redis does not answer; work in the background waits."
        return Check("redis", False, what, "Start it, or mend TROUPE_REDIS_URL.")
    return Check("redis", True, "Answers.")


def _node(core: Core) -> tuple[Check, int | None]:
    wanted = core.settings.chain_id
    try:
        with Node(core.settings.rpc_url, timeout_s=NODE_TIMEOUT_S) as node:
            found = node.chain_id()
            number = int(str(node.ask("eth_blockNumber")), 16)
    except (NodeUnreachable, NodeRefused, ValueError):
        return Check("node", False, "The chain's node does not answer.", "Start it, or mend TROUPE_RPC_URL."), None
    if found != wanted:
        what = f"The node is on chain {found}, and this deployment is on {wanted}."
        return Check("node", False, what, "Mend TROUPE_RPC_URL."), None
    return Check("node", True, f"Chain {found}, at block {number}."), number


def mirrored(core: Core) -> int | None:
    """The mirror's head; None before there is one. Raises SQLAlchemyError."""
    with core.database.engine.connect() as connection:
        number = connection.scalar(select(chain.cursor.c.head_number))
    return None if number is None else int(number)


def _mirror(core: Core, seen: int | None) -> Check:
    try:
        at = mirrored(core)
    except SQLAlchemyError:
        return Check("mirror", False, "Not known: the database does not answer.", "See `database`.")
    if at is None:
        return Check(
            "mirror", False, "Nothing is mirrored yet: is the indexer running?", "Start `python -m indexer run`."
        )
    if seen is None:
        return Check("mirror", True, f"At block {at}; how far behind is not known.")
    lag = max(0, seen - at)
    limit = core.settings.ready_lag_blocks
    if lag > limit:
        what = f"At block {at}, {lag} behind the node; at most {limit} is well."
        return Check("mirror", False, what, "Look at `python -m indexer status` and its log; it may be catching up.")
    return Check("mirror", True, f"At block {at}, {lag} behind the node.")


def _content(core: Core) -> Check:
    settings = core.settings
    if settings.ipfs_api is None:
        folder = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
        if not os.access(folder, os.W_OK | os.X_OK):
            what = "The embedded store's folder cannot be written."
            return Check("content", False, what, "Give this user the folder of TROUPE_DATA_DIR.")
        return Check("content", True, "The embedded store.")
    from backend.content.client import KuboStore  # noqa: PLC0415 - as in backend.content.service

    try:
        KuboStore(settings.ipfs_api, timeout_s=NODE_TIMEOUT_S).is_pinned(CID.parse(EMPTY_FILE))
    except ContentError:
        return Check("content", False, "The IPFS node does not answer.", "Start it, or mend TROUPE_IPFS_API.")
    return Check("content", True, "The IPFS node answers.")


def _vault(core: Core) -> Check:
    """The master key as it is now, and the folder of the keys."""
    settings = core.settings
    try:
        Vault.open(settings)
    except (MasterKeyError, OSError):
        fix = "Bring the file of TROUPE_MASTER_KEY_FILE back from its copy, with mode 0600."
        return Check("vault", False, "The master key cannot be used.", fix)
    folder = next(path for path in (settings.vault, *settings.vault.parents) if path.exists())
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Check("vault", False, "The folder of the keys cannot be used.", "Give this user TROUPE_VAULT_DIR.")
    return Check("vault", True, "The master key opens it.")
