"""Settings of the indexer's process, from environment variables that begin with TROUPE_."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from indexer.errors import IndexerError

DEVELOPMENT_CHAIN_ID = 31337


class SettingsError(IndexerError):
    """A setting is missing or makes no sense; the text names its variable."""


class IndexerSettings(BaseSettings):
    """What the indexer needs to know of its surroundings."""

    model_config = SettingsConfigDict(env_prefix="TROUPE_", frozen=True, extra="ignore")

    indexer_database_url: str
    """postgresql+psycopg://troupe_indexer@/troupe?host=..."""
    rpc_url: str = "http://127.0.0.1:8545"
    """JSON-RPC of an Ethereum node."""
    deployment: Path = Path(".troupe/deployment.json")
    """The deployment manifest."""
    admin_database_url: str | None = None
    """Only for `migrate`: makes the roles and the schema where they are missing."""
    indexer_port: int = Field(default=8001, ge=0, le=65535)
    """/health, /ready and /metrics on the loopback; 0 takes a free port."""
    indexer_poll_ms: int | None = Field(default=None, ge=1)
    """Wait between two looks at the head; by default 50 on the development chain and 1,000 elsewhere."""
    indexer_stall_s: float = Field(default=15.0, gt=0)
    """Without progress for so long the process is not ready."""
    indexer_lock_wait_s: float = Field(default=10.0, ge=0)
    """How long to wait for another writer to let go of the mirror."""
    indexer_range_bytes: int = Field(default=4_000_000, ge=10_000)
    """Size of an answer that the backfill aims at."""


def load_settings() -> IndexerSettings:
    """The settings of this process. Raises SettingsError with one sentence for each variable that is wrong."""
    try:
        return IndexerSettings()  # type: ignore[call-arg]  # they come from the environment
    except ValidationError as error:
        reasons = [f"TROUPE_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors()]
        raise SettingsError("; ".join(reasons)) from None
