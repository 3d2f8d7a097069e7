"""Settings of the indexer's process, from environment variables that begin with TROUPE_."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from indexer.errors import IndexerError

DEVELOPMENT_CHAIN_ID = 31337


class SettingsError(IndexerError):
    """A setting is missing or makes no sense; the text names its variable."""


class IndexerSettings(BaseSettings):
    """What the indexer needs to know of its surroundings. What stands below a field is also told when it is wrong."""

    model_config = SettingsConfigDict(env_prefix="TROUPE_", frozen=True, extra="ignore", use_attribute_docstrings=True)

    indexer_database_url: str
    """The database as role troupe_indexer, such as postgresql+psycopg://troupe_indexer@/troupe?host=/socket/folder."""
    rpc_url: str = "http://127.0.0.1:8545"
    """The URL of an Ethereum node's JSON-RPC, such as http://127.0.0.1:8545."""
    deployment: Path = Path(".troupe/deployment.json")
    """The path of the deployment manifest."""
    admin_database_url: str | None = None
    """Only for `migrate`: the database as a role that may make roles and schemas where they are missing."""
    indexer_port: int = Field(default=8001, ge=0, le=65535)
    """The loopback port of /health, /ready and /metrics, at most 65535; 0 takes a free one."""
    indexer_poll_ms: int | None = Field(default=None, ge=1)
    """Milliseconds between two looks at the head; by default 50 on the development chain and 1,000 elsewhere."""
    indexer_stall_s: float = Field(default=15.0, gt=0)
    """Seconds without progress after which the process is not ready."""
    indexer_lock_wait_s: float = Field(default=10.0, ge=0)
    """Seconds to wait for another writer to let go of the mirror."""
    indexer_range_bytes: int = Field(default=4_000_000, ge=10_000)
    """Bytes of an answer that the backfill aims at, 10,000 or more."""

    @field_validator("indexer_database_url", "admin_database_url")
    @classmethod
    def _is_postgresql(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("postgresql://", "postgresql+psycopg://")):
            raise ValueError("must begin with postgresql+psycopg://")
        return url


def load_settings() -> IndexerSettings:
    """The settings of this process. Raises SettingsError with one sentence for each variable that is wrong."""
    try:
        return IndexerSettings()  # type: ignore[call-arg]  # they come from the environment
    except ValidationError as error:
        raise SettingsError("; ".join(map(_reason, error.errors()))) from None


def _reason(problem: ErrorDetails) -> str:
    """Which variable is wrong, how, and what it is. A value is shown only where it can hold no password."""
    field = str(problem["loc"][0])
    words = (IndexerSettings.model_fields[field].description or "").rstrip(".")
    about = words[:1].lower() + words[1:]
    name = f"TROUPE_{field.upper()}"
    if problem["type"] == "missing":
        return f"{name} is not set ({about})"
    said = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be").partition(",")[0]
    value = "" if field.endswith("_url") else f", not {problem['input']!r}"
    return f"{name} {said}{value} ({about})"
