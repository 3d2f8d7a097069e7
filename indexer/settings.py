"""Settings of the indexer's process, from environment variables that begin with TROUPE_."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from indexer.errors import IndexerError

DEVELOPMENT_CHAIN_ID = 31337
PREFIX = "TROUPE_"
DATABASES = ("postgresql://", "postgresql+psycopg://")


class SettingsError(IndexerError):
    """A setting is missing or makes no sense; the text names its variable."""


def _number(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError("must be a valid " + ("integer" if kind is int else "number")) from None
        if value < least:
            raise ValueError(f"must be greater than or equal to {least:g}")
        if not value <= most:
            raise ValueError(f"must be less than or equal to {most:g}")
        return value

    return read


def _database(text: str) -> str:
    if not text.startswith(DATABASES):
        raise ValueError("must begin with postgresql+psycopg://")
    return text


def _given(about: str, read: Callable[[str], Any] = str, **more: Any) -> Any:
    """A setting: what it is, also told when it is wrong, and how its text is read."""
    return field(metadata={"about": about, "read": read}, **more)


@dataclass(frozen=True, kw_only=True)
class IndexerSettings:
    """What the indexer needs to know of its surroundings."""

    indexer_database_url: str = _given(
        "the database as role troupe_indexer, such as postgresql+psycopg://troupe_indexer@/troupe?host=/socket/folder",
        _database,
    )
    rpc_url: str = _given(
        "the URL of an Ethereum node's JSON-RPC, such as http://127.0.0.1:8545; several with commas between",
        default="http://127.0.0.1:8545",
    )
    rpc_websocket_url: str | None = _given(
        "the ws(s) URL whose newHeads say when to look; by default the development node's own; none if empty",
        default=None,
    )
    deployment: Path = _given(  # noqa: RUF009  a dataclass field, frozen default and all
        "the path of the deployment manifest", Path, default=Path(".troupe/deployment.json")
    )
    admin_database_url: str | None = _given(
        "only for `migrate`: the database as a role that may make roles and schemas where they are missing",
        _database,
        default=None,
    )
    indexer_port: int = _given(
        "the loopback port of /health, /ready and /metrics, at most 65535; 0 takes a free one",
        _number(int, 0, 65_535),
        default=8001,
    )
    indexer_poll_ms: int | None = _given(
        "milliseconds between two looks at the head; by default 50 on the development chain and 1,000 elsewhere",
        _number(int, 1, 3_600_000),
        default=None,
    )
    indexer_stall_s: float = _given(
        "seconds without progress after which the process is not ready", _number(float, 0.001, 86_400), default=15.0
    )
    indexer_lock_wait_s: float = _given(
        "seconds to wait for another writer to let go of the mirror", _number(float, 0, 86_400), default=10.0
    )
    indexer_range_bytes: int = _given(
        "bytes of an answer that the backfill aims at, 10,000 or more",
        _number(int, 10_000, 64_000_000),
        default=4_000_000,
    )


def load_settings(environment: Mapping[str, str] = os.environ) -> IndexerSettings:
    """The settings of this process. Raises SettingsError with one sentence for each variable that is wrong."""
    given: dict[str, Any] = {}
    wrong = []
    for each in fields(IndexerSettings):
        variable = PREFIX + each.name.upper()
        text = environment.get(variable)
        if text is not None:
            try:
                given[each.name] = each.metadata["read"](text)
            except ValueError as error:
                wrong.append(_reason(each, variable, str(error), text))
        elif each.name == "indexer_database_url":
            wrong.append(f"{variable} is not set ({each.metadata['about']})")
    if wrong:
        raise SettingsError("; ".join(wrong))
    return IndexerSettings(**given)


def _reason(setting: Field[Any], variable: str, said: str, text: str) -> str:
    """Which variable is wrong, how, and what it is. A value is shown only where it can hold no password."""
    value = "" if setting.name.endswith("_url") else f", not {text!r}"
    return f"{variable} {said}{value} ({setting.metadata['about']})"
