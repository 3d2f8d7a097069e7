"""Whether this process can serve: the database, Redis, the node, and how far the mirror is behind it."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import Gauge
from redis.exceptions import RedisError
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from backend.deps import Core
from backend.migrations.upgrade import current, head
from backend.node import Node, NodeRefused, NodeUnreachable
from indexer import models as chain

NODE_TIMEOUT_S = 2

mirror_head = Gauge("troupe_mirror_head_block", "The last block in the mirror, when readiness was last asked.")
node_head = Gauge("troupe_node_head_block", "The node's last block, when readiness was last asked.")


@dataclass(frozen=True)
class Check:
    """One part: whether it is well, and in words why not, or what was seen."""

    name: str
    ok: bool
    detail: str


def examine(core: Core) -> list[Check]:
    """Ask every part. A part that is away is a finding, never an exception."""
    return [_database(core), _redis(core), *_chain(core)]


def _database(core: Core) -> Check:
    try:
        with core.database.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            found, needed = current(connection), head()
    except SQLAlchemyError:
        return Check("database", False, "The database does not answer.")
    if found != needed:
        return Check(
            "database", False, f"It is at revision {found}, this version needs {needed}: run `./troupe migrate`."
        )
    return Check("database", True, f"Revision {found}.")


def _redis(core: Core) -> Check:
    try:
        core.redis.ping()
    except (RedisError, OSError):
        return Check("redis", False, "Redis does not answer; work in the background waits.")
    return Check("redis", True, "Answers.")


def _mirrored(core: Core) -> int | None:
    with core.database.engine.connect() as connection:
        number = connection.scalar(select(chain.cursor.c.head_number))
    return None if number is None else int(number)


def _chain(core: Core) -> list[Check]:
    node, seen = _node(core)
    try:
        mirrored = _mirrored(core)
    except SQLAlchemyError:
        return [node, Check("mirror", False, "The database does not answer.")]
    if mirrored is None:
        return [node, Check("mirror", False, "Nothing is mirrored yet: is the indexer running?")]
    mirror_head.set(mirrored)
    if seen is None:
        return [node, Check("mirror", True, f"At block {mirrored}; how far behind is not known.")]
    lag = max(0, seen - mirrored)
    limit = core.settings.ready_lag_blocks
    if lag > limit:
        return [node, Check("mirror", False, f"At block {mirrored}, {lag} behind the node; at most {limit} is well.")]
    return [node, Check("mirror", True, f"At block {mirrored}, {lag} behind the node.")]


def _node(core: Core) -> tuple[Check, int | None]:
    try:
        with Node(core.settings.rpc_url, timeout_s=NODE_TIMEOUT_S) as node:
            number = int(str(node.ask("eth_blockNumber")), 16)
    except (NodeUnreachable, NodeRefused, ValueError):
        return Check("node", False, "The chain's node does not answer."), None
    node_head.set(number)
    return Check("node", True, f"At block {number}."), number
