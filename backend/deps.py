"""What routes ask for, as annotated types: `session: DbSession, me: CurrentAccount`.

The session is committed once, after the route function returned and before the answer is sent; an exception rolls it
back. Services never commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from sqlalchemy.orm import Session
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from backend.accounts import service as accounts
from backend.chain import ChainInfo
from backend.db import AsyncPool, Database
from backend.errors import Forbidden, Unauthorized, WalletRequired
from backend.models.accounts import Account, AuthSession
from backend.node import Node
from backend.quotas import SAFE_METHODS
from backend.ratelimit import Principal
from backend.settings import Settings
from backend.vault import Vault

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


@dataclass
class Core:
    """What one process shares between its requests or tasks. Nothing connects before it is used."""

    settings: Settings
    clock: Clock = wall_clock
    _redis_async: tuple[asyncio.AbstractEventLoop, AsyncRedis] | None = None

    @cached_property
    def database(self) -> Database:
        return Database(self.settings.database_url.get_secret_value())

    @cached_property
    def redis(self) -> Redis:
        """A pool of connections; they are closed with the process."""
        client: Redis = Redis.from_url(
            self.settings.redis_url, socket_connect_timeout=2, socket_timeout=5, health_check_interval=30
        )
        return client

    @property
    def redis_async(self) -> AsyncRedis:
        """The same for coroutines: one pool for the event loop that runs."""
        loop = asyncio.get_running_loop()
        if self._redis_async is None or self._redis_async[0] is not loop:
            client: AsyncRedis = AsyncRedis.from_url(
                self.settings.redis_url, socket_connect_timeout=5, socket_timeout=5, health_check_interval=30
            )
            self._redis_async = (loop, client)
        return self._redis_async[1]

    @cached_property
    def node(self) -> Node:
        """One keep-alive client of the node for all threads: making one costs more than a request."""
        return Node(self.settings.rpc_url)

    @cached_property
    def vault(self) -> Vault:
        """The data keys. Raises MasterKeyError."""
        return Vault.open(self.settings)

    @cached_property
    def chain(self) -> ChainInfo:
        """The deployment. Raises ManifestError when its manifest is missing or malformed."""
        return ChainInfo.load(self.settings.deployment)

    async def close(self) -> None:
        if "database" in self.__dict__:
            await self.database.close()
        if "redis" in self.__dict__:
            self.redis.close()
        if self._redis_async is not None:
            await self._redis_async[1].aclose()
        if "node" in self.__dict__:
            self.node.close()


async def get_core(request: Request) -> Core:
    core: Core = request.app.state.core
    return core


CoreDep = Annotated[Core, Depends(get_core)]


async def get_settings(core: CoreDep) -> Settings:
    return core.settings


async def get_chain(core: CoreDep) -> ChainInfo:
    return core.chain


async def get_redis(core: CoreDep) -> Redis:
    return core.redis


async def get_now(core: CoreDep) -> datetime:
    return core.clock()


async def get_async_pool(core: CoreDep) -> AsyncPool:
    return core.database.async_pool


async def get_vault(core: CoreDep) -> Vault:
    return core.vault


@contextmanager
def unit_of_work(request: Request, core: Core) -> Iterator[Session]:
    """The request's transaction. One with an Idempotency-Key has it already (backend.idempotency)."""
    unit = request.scope["state"].get("unit")
    with core.database.session() if unit is None else unit.work() as session:
        yield session


def get_session(request: Request, core: CoreDep) -> Iterator[Session]:
    with unit_of_work(request, core) as session:
        yield session


def secret_answer(request: Request) -> None:
    """For routes that hand out a secret, as `dependencies=[Depends(secret_answer)]`: the answer is kept nowhere."""
    request.state.secret_answer = True


SettingsDep = Annotated[Settings, Depends(get_settings)]
Chain = Annotated[ChainInfo, Depends(get_chain)]
VaultDep = Annotated[Vault, Depends(get_vault)]
RedisDep = Annotated[Redis, Depends(get_redis)]
Now = Annotated[datetime, Depends(get_now)]
"""The wall clock at the start of the request, UTC. Never for what the chain decides."""
AsyncDb = Annotated[AsyncPool, Depends(get_async_pool)]
"""For the measured hot routes: `async with db.connection() as connection: ...` gives rows as dicts."""
DbSession = Annotated[Session, Depends(get_session, scope="function")]
"""A sync session, committed once when the route has returned."""


def session_cookie(settings: Settings) -> str:
    """The cookie's name; `__Host-` binds it to this host and to https where there is https."""
    return "__Host-troupe_session" if settings.secure_cookies else "troupe_session"


def raw_token(headers: Headers, settings: Settings) -> str | None:
    """The token of a request as it stands there, whoever sent it: only to count requests by."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return cookie_parser(headers.get("cookie", "")).get(session_cookie(settings)) or None


def presented_token(request: Request, settings: Settings) -> str | None:
    """The session token of a request: the bearer token, else the cookie.

    A request that changes something and relies on the cookie must come from our own pages: a page of another origin
    can make a browser send the cookie, but cannot forge the Origin header. Raises Unauthorized, Forbidden.
    """
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("The Authorization header must be `Bearer <token>`.", code="session_unknown")
        return token.strip()
    token = request.cookies.get(session_cookie(settings), "")
    if not token:
        return None
    if request.method not in SAFE_METHODS and of_another_site(request, settings):
        raise Forbidden("This request was made by a page of another site; nothing was changed.", code="cross_origin")
    return token


def of_another_site(request: Request, settings: Settings) -> bool:
    """Whether a browser says that the request comes from a page that is neither ours nor named as trusted."""
    origin = request.headers.get("origin")
    if origin is not None:
        return origin != settings.public_url and origin not in settings.cors_credentials
    return request.headers.get("sec-fetch-site") in ("cross-site", "same-site")


def get_optional_session(request: Request, core: CoreDep, session: DbSession) -> AuthSession | None:
    token = presented_token(request, core.settings)
    if token is None:
        return None
    found = accounts.authenticate(session, token=token, now=core.clock())
    request.state.principal = Principal("person", str(found.account_id))
    return found


OptionalSession = Annotated[AuthSession | None, Depends(get_optional_session)]


# these two only describe the sign-in in OpenAPI: presented_token reads it, with errors of our own
BearerScheme = Annotated[
    object,
    Security(HTTPBearer(auto_error=False, scheme_name="bearer", description="The token of POST /v1/auth/verify")),
]
CookieScheme = Annotated[
    object,
    Security(
        APIKeyCookie(
            name="troupe_session",
            auto_error=False,
            scheme_name="cookie",
            description="Set by POST /v1/auth/verify; over https its name is `__Host-troupe_session`",
        )
    ),
]


def get_current_session(session: OptionalSession, _bearer: BearerScheme, _cookie: CookieScheme) -> AuthSession:
    if session is None:
        raise Unauthorized("Sign in with your wallet first: POST /v1/auth/nonce, then /v1/auth/verify.")
    return session


CurrentSession = Annotated[AuthSession, Depends(get_current_session)]
"""The session of who is signed in or visits; 401 for nobody."""


def get_optional_account(session: OptionalSession) -> Account | None:
    return session.account if session is not None and session.account.wallet is not None else None


def get_account_or_visitor(session: CurrentSession) -> Account:
    return session.account


def get_current_account(session: CurrentSession) -> Account:
    if session.account.wallet is None:
        raise WalletRequired
    return session.account


OptionalAccount = Annotated[Account | None, Depends(get_optional_account)]
"""Who is signed in with a wallet, or None. A token that is wrong or expired is an error, not None."""
CurrentAccount = Annotated[Account, Depends(get_current_account)]
"""Who is signed in with a wallet; 401 for nobody, 403 for a visitor."""
AccountOrVisitor = Annotated[Account, Depends(get_account_or_visitor)]
"""Who is signed in or visits: for what needs no address. 401 for nobody."""


async def get_optional_person_or_visitor(request: Request, core: CoreDep) -> accounts.Somebody | None:
    token = presented_token(request, core.settings)
    if token is None:
        return None
    found = await accounts.authenticate_async(core.database.async_pool, token=token, now=core.clock())
    request.state.principal = Principal("person", str(found.account_id))
    return found


OptionalPersonOrVisitor = Annotated[accounts.Somebody | None, Depends(get_optional_person_or_visitor)]
"""As AccountOrVisitor, for async routes that serve nobody too: the ids, read through the async pool."""


async def get_person_or_visitor(
    person: OptionalPersonOrVisitor, _bearer: BearerScheme, _cookie: CookieScheme
) -> accounts.Somebody:
    if person is None:
        raise Unauthorized("Sign in with your wallet first: POST /v1/auth/nonce, then /v1/auth/verify.")
    return person


PersonOrVisitor = Annotated[accounts.Somebody, Depends(get_person_or_visitor)]
"""As AccountOrVisitor, for async routes."""


async def get_optional_person(person: OptionalPersonOrVisitor) -> accounts.SignedIn | None:
    return person if isinstance(person, accounts.SignedIn) else None


OptionalPerson = Annotated[accounts.SignedIn | None, Depends(get_optional_person)]
"""As OptionalAccount, for async routes: ids and address."""


async def get_current_person(person: PersonOrVisitor) -> accounts.SignedIn:
    if not isinstance(person, accounts.SignedIn):
        raise WalletRequired
    return person


CurrentPerson = Annotated[accounts.SignedIn, Depends(get_current_person)]
"""As CurrentAccount, for async routes."""
