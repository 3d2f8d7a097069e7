"""The backend's settings: environment variables `TROUPE_*`, or a file of them named by TROUPE_ENV_FILE.

Made once by whoever starts a process and passed on; nothing reads the environment afterwards.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from eth_utils.address import is_checksum_address
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backend.edge.quotas import parse_quotas

DEVELOPMENT_CHAIN_ID = 31337
PREFIX = "TROUPE_"
BUILT_IN_EXPERIMENTS = Path(__file__).parent / "personalization" / "evaluation" / "experiments.toml"


def celery_broker(redis_url: str) -> str:
    """A Redis address as kombu takes it: a unix socket is redis+socket://."""
    return redis_url.replace("unix://", "redis+socket://", 1)


class SettingsError(Exception):
    """The settings cannot be used; the text is one line a problem and says what to set."""


class Settings(BaseSettings):
    """Everything that differs between one installation and another. A missing `env` means production."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    env: Literal["dev", "test", "production"] = "production"
    database_url: SecretStr
    """As role troupe_backend: postgresql+psycopg://troupe_backend@/troupe?host=/socket/folder"""
    indexer_database_url: SecretStr | None = None
    """As role troupe_indexer; the indexer's own setting, used here by `./troupe migrate` alone."""
    admin_database_url: SecretStr | None = None
    """As a role that may create roles and schemas; used by `./troupe migrate` alone."""
    redis_url: str
    """redis://host:port/0 or unix:///path/to/redis.sock"""
    rpc_url: str
    chain_id: int = Field(gt=0)
    deployment: Path
    """The deployment manifest (JSON)."""
    data_dir: Path
    """Content blocks, model snapshots, files that are not in the database."""
    vault_dir: Path | None = None
    """Each person's data key, a file each; in no archive with the database. Read it as `vault`."""
    master_key_file: Path | None = None
    """What wraps the data keys: a file of mode 0600, outside the vault. Read it as `master_key`."""
    public_url: str
    """Where people reach this API; the domain and URI of every sign-in message."""
    controller_name: str | None = Field(None, max_length=200)
    """Who is responsible for personal data here, as consent receipts name them; None: the domain."""
    controller_contact: str | None = Field(None, max_length=200)
    """Where to reach them; None: `public_url`."""
    ipfs_api: str | None = None
    """Kubo's RPC as a multiaddress, for instance /ip4/127.0.0.1/tcp/5001; None: the embedded block store."""
    session_ttl_s: int = Field(30 * 24 * 3600, gt=0, le=366 * 24 * 3600)
    visitor_ttl_s: int = Field(90 * 24 * 3600, gt=0, le=366 * 24 * 3600)
    """How long a visitor is kept who does not come back."""
    trusted_proxies: int = Field(0, ge=0, le=10)
    """How many proxies of yours stand before the API; each adds its caller to the forwarding header."""
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The one header that the proxies write; the other is ignored."""
    rate_limits: dict[str, str] = Field(default_factory=dict)
    """Quotas that differ from the built-in ones (docs/interface.md): {"read.address": "600/60"}."""
    cors_origins: frozenset[str] = frozenset()
    """Origins whose pages may read the API, without cookies; `*` for any."""
    cors_credentials: frozenset[str] = frozenset()
    """Origins whose pages may use the session cookie too; never `*`."""
    live_streams: int = Field(6, ge=1, le=1000)
    """Live streams that a person, or an address where nobody is signed in, may have at once in one process."""
    live_heartbeat_s: float = Field(15.0, gt=0, le=60)
    live_lifetime_s: float = Field(600.0, gt=0, le=24 * 3600)
    """A stream ends after so long, and its client comes back: connections spread over the processes that there are."""
    taste_issuers: dict[str, str] = Field(default_factory=dict)
    """Platforms whose taste documents people may bring along: {"https://other.example": "0x<Ed25519 public key>"}."""
    ready_lag_blocks: int = Field(100, ge=0)
    """How many blocks the mirror may be behind the node before /ready says no."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """At debug, each question to the chain's node has a line too."""
    otel_endpoint: str | None = None
    """Where OpenTelemetry traces go by OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces; None: no traces."""
    otel_ratio: float = Field(1.0, ge=0, le=1)
    """The part of the traces that is kept."""
    wish_model_url: str | None = None
    """A language model on this machine that reads wishes (docs/interface.md); None: the grammar alone does."""
    wish_model_timeout_s: float = Field(2.0, gt=0, le=30)
    """After so long without its answer the grammar reads the wish."""
    operators: frozenset[str] = frozenset()
    """Addresses whose sign-in counts as an operator's."""
    experiments: Path | None = None
    """The experiments that run (TOML; docs/personalization.md). Read it as `experiments_file`."""
    webhook_loopback: bool = False
    """Whether webhooks may go to this machine, over http too: to try them; refused in production."""
    operator_keystore: Path | None = None
    operator_password_file: Path | None = None
    operator_key: SecretStr | None = None
    """A private key in hex; only in env dev or test, and only on chain 31337."""

    @field_validator("database_url", "admin_database_url", "indexer_database_url")
    @classmethod
    def _is_psycopg(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith("postgresql+psycopg://"):
            raise ValueError("must begin with postgresql+psycopg:// (PostgreSQL is the only database)")
        return url

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: str) -> str:
        if urlsplit(url).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must be redis://, rediss:// or unix:///path")
        return url

    @field_validator("operators")
    @classmethod
    def _are_addresses(cls, addresses: frozenset[str]) -> frozenset[str]:
        for address in addresses:
            if not is_checksum_address(address):
                raise ValueError(f"{address} is no address with its EIP-55 checksum")
        return addresses

    @field_validator("rate_limits")
    @classmethod
    def _are_quotas(cls, quotas: dict[str, str]) -> dict[str, str]:
        parse_quotas(quotas)
        return quotas

    @field_validator("cors_origins", "cors_credentials")
    @classmethod
    def _are_origins(cls, origins: frozenset[str], info: ValidationInfo) -> frozenset[str]:
        for origin in origins:
            if origin == "*" and info.field_name == "cors_origins":
                continue
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}" or "@" in origin:
                raise ValueError(f"{origin} is no origin: say scheme://host or scheme://host:port, and nothing else")
            if origin != origin.lower():
                raise ValueError(f"{origin} must be in small letters, as browsers send it")
        return origins

    @field_validator("otel_endpoint")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
            raise ValueError("must be an http(s) address, such as http://127.0.0.1:4318/v1/traces")
        return url

    @field_validator("wish_model_url")
    @classmethod
    def _is_here(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme != "http" or urlsplit(url).hostname not in ("127.0.0.1", "::1")):
            raise ValueError("must be http://127.0.0.1:port/path: what people wish does not leave this machine")
        return url

    @field_validator("public_url")
    @classmethod
    def _is_origin(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment or "@" in url:
            raise ValueError("must be an http(s) address without query, such as https://troupe.example")
        if parts.path not in ("", "/"):
            raise ValueError("must have no path: the API is served at the root of its host")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.env == "production":
            if not self.public_url.startswith("https://"):
                raise ValueError("TROUPE_PUBLIC_URL must be https:// in production: the session cookie is Secure")
            if self.webhook_loopback:
                raise ValueError("TROUPE_WEBHOOK_LOOPBACK lets deliveries into this machine: not in production")
            if self.operator_key is not None:
                raise ValueError("TROUPE_OPERATOR_KEY is for development only: use TROUPE_OPERATOR_KEYSTORE")
            for name in ("vault_dir", "master_key_file"):
                if getattr(self, name) is None:
                    raise ValueError(f"TROUPE_{name.upper()} is not set: see docs/privacy.md for what it is")
        if self.vault.is_relative_to(self.data_dir) or self.master_key.is_relative_to(self.data_dir):
            raise ValueError("TROUPE_VAULT_DIR and TROUPE_MASTER_KEY_FILE must lie outside TROUPE_DATA_DIR")
        if self.master_key.is_relative_to(self.vault):
            raise ValueError("TROUPE_MASTER_KEY_FILE must lie outside TROUPE_VAULT_DIR: a copy of one is not of both")
        if self.operator_key is not None and self.chain_id != DEVELOPMENT_CHAIN_ID:
            raise ValueError(f"TROUPE_OPERATOR_KEY is refused on chain {self.chain_id}: it is for chain 31337 only")
        return self

    @property
    def vault(self) -> Path:
        """The folder of the data keys; development and tests have it beside the data folder."""
        return self.vault_dir or self.data_dir.with_name(f"{self.data_dir.name}-vault")

    @property
    def master_key(self) -> Path:
        """The master key file; development and tests have it beside the data folder."""
        return self.master_key_file or self.data_dir.with_name(f"{self.data_dir.name}-master.key")

    @property
    def experiments_file(self) -> Path | None:
        """The file of the experiments; None: none runs. In production one in twenty is held out unless a file says
        otherwise; in development and tests nobody's feed is drawn by lot."""
        if self.experiments is not None or self.env != "production":
            return self.experiments
        return BUILT_IN_EXPERIMENTS

    @property
    def taste_key(self) -> Path:
        """The key that taste documents are signed with: a file of mode 0600 beside the master key."""
        return taste_key_beside(self.master_key)

    @property
    def broker_url(self) -> str:
        """The Redis address as Celery's broker."""
        return celery_broker(self.redis_url)

    @property
    def domain(self) -> str:
        """Host, and port if it is not the scheme's own: the RFC 3986 authority of `public_url`."""
        return urlsplit(self.public_url).netloc

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies are marked Secure: always, but for development and tests on plain http."""
        return self.env == "production" or self.public_url.startswith("https://")


def taste_key_beside(master_key: Path) -> Path:
    """Where the key of taste documents lies that belongs to a master key."""
    return master_key.with_name(f"{master_key.stem}-taste.key")


def load_settings() -> Settings:
    """Settings from the environment, and from TROUPE_ENV_FILE where that is set; the environment wins.

    Raises SettingsError with a line for each variable that is missing, malformed or, in the file, unknown.
    """
    file = os.environ.get(f"{PREFIX}ENV_FILE")
    if file and not Path(file).is_file():
        raise SettingsError(f"TROUPE_ENV_FILE names {file}, and there is no such file")
    try:
        return Settings(_env_file=file)  # type: ignore[call-arg]  # pydantic-settings' own argument
    except ValidationError as error:
        raise SettingsError("\n".join(map(_line, error.errors()))) from None


def _line(problem: object) -> str:
    assert isinstance(problem, dict)
    place = ".".join(map(str, problem["loc"]))
    text = str(problem["msg"]).removeprefix("Value error, ")
    if not place:
        return text
    name = place if place.upper().startswith(PREFIX) else PREFIX + place
    if problem["type"] == "missing":
        return f"{name.upper()} is not set"
    if problem["type"] == "extra_forbidden":
        return f"{name.upper()} is no setting of Troupe: see docs/operations.md, or remove the line"
    return f"{name.upper()}: {text}"
