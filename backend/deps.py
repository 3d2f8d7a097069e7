"""What routes ask for, as annotated types: `session: DbSession, me: CurrentAccount`.

The session is committed once, after the route function returned and before the answer is sent; an exception rolls it
back. Services never commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Final, NamedTuple, cast

from fastapi import BackgroundTasks, Depends, Request, Security
from fastapi.concurrency import contextmanager_in_threadpool
from fastapi.security import APIKeyCookie, HTTPBearer, SecurityScopes
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from redis import Redis
from sqlalchemy.orm import Session
from starlette.requests import cookie_parser

from backend.accounts import keys, roles, sign_in
from backend.accounts import service as accounts
from backend.accounts.memory import SessionMemory
from backend.accounts.roles import Role
from backend.chain import ChainInfo
from backend.db import AsyncPool, Database, InSession, conninfo
from backend.edge.quotas import SAFE_METHODS
from backend.edge.ratelimit import Principal
from backend.edge.routing import calls
from backend.edge.script_line import ScriptLine
from backend.errors import Forbidden, Unauthorized, WalletRequired
from backend.models.accounts import Account, AuthSession
from backend.node import Node
from backend.settings import Settings
from backend.vault.vault import Vault

Clock = Callable[[], datetime]
OPTIONAL_SCHEME: Final = "optional"
"""Marks in OpenAPI, while it is built, what serves nobody too."""


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


@dataclass
class Core:
    """What one process shares between its requests or tasks. Nothing connects before it is used."""

    settings: Settings
    clock: Clock = wall_clock
    _scripts: tuple[asyncio.AbstractEventLoop, ScriptLine] | None = None

    @cached_property
    def database(self) -> Database:
        made = Database(self.settings.database_url.get_secret_value())
        self.sessions.watch(made.engine)
        return made

    @cached_property
    def redis(self) -> Redis:
        """A pool of connections; they are closed with the process."""
        client: Redis = Redis.from_url(
            self.settings.redis_url, socket_connect_timeout=2, socket_timeout=5, health_check_interval=30
        )
        return client

    @property
    def scripts(self) -> ScriptLine:
        """Redis for coroutines that run scripts: one connection for the event loop that runs."""
        loop = asyncio.get_running_loop()
        if self._scripts is None or self._scripts[0] is not loop:
            self._scripts = (loop, ScriptLine(self.settings.redis_url))
        return self._scripts[1]

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

    @cached_property
    def seen(self) -> sign_in.Seen:
        """Which accounts signed in through this process lately."""
        return sign_in.Seen()

    @cached_property
    def sessions(self) -> SessionMemory:
        """Whose tokens are whose, for a few seconds."""
        return SessionMemory()

    async def close(self) -> None:
        if "sessions" in self.__dict__:
            await self.sessions.stop()
        if "database" in self.__dict__:
            await self.database.close()
        if "redis" in self.__dict__:
            self.redis.close()
        if self._scripts is not None:
            await self._scripts[1].aclose()
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
    """The request's transaction. One with an Idempotency-Key has it already (backend.edge.idempotency)."""
    unit = request.scope["state"].get("unit")
    with core.database.session() if unit is None else unit.work() as session:
        yield session


@asynccontextmanager
async def async_unit_of_work(request: Request, core: Core) -> AsyncIterator[AsyncConnection[DictRow]]:
    """As `unit_of_work`, for the measured hot routes: a connection of the async pool, committed at the end."""
    unit = request.scope["state"].get("unit")
    if unit is None:
        async with core.database.async_pool.connection() as connection:
            yield connection
        return
    async with contextmanager_in_threadpool(unit.work()) as session:
        yield cast("AsyncConnection[DictRow]", InSession(session))


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


def raw_token(headers: Mapping[bytes, bytes], settings: Settings) -> str | None:
    """The token of a request as it stands there, whoever sent it: only to count requests by."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and token.strip():
        return token.strip().decode("latin-1")
    cookies = headers.get(b"cookie")
    return cookie_parser(cookies.decode("latin-1")).get(session_cookie(settings)) or None if cookies else None


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


# these only describe the sign-in in OpenAPI, and are None where a route runs (backend.edge.routing): presented_token
# reads the token, with errors of our own
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
OptionalScheme = Annotated[object, Security(HTTPBearer(auto_error=False, scheme_name=OPTIONAL_SCHEME))]


class Caller(NamedTuple):
    """Who makes a request: by a session, or by an API key that has the route's scopes."""

    account: Account
    session: AuthSession | None


def get_optional_caller(
    *,
    request: Request,
    core: CoreDep,
    session: DbSession,
    scopes: SecurityScopes,
    background: BackgroundTasks,
    _scheme: OptionalScheme = None,
) -> Caller | None:
    token = presented_token(request, core.settings)
    if token is None:
        return None
    now = core.clock()
    if not by_key(request, token):
        found = session_of(request, core, session, token)
        return Caller(found.account, found)
    key = keys.authenticate(session, token=token, now=now)
    request.state.principal = Principal("key", str(key.id))
    keys.require(key.scopes, scopes.scopes)
    if keys.use_is_due(key.last_used_at, now):
        background.add_task(keys.note_use, core.database, key.id, now)
    return Caller(key.account, None)


def by_key(request: Request, token: str) -> bool:
    """Whether a request is made with an API key; a cookie never holds one."""
    return keys.is_key(token) and "authorization" in request.headers


def session_of(request: Request, core: Core, session: Session, token: str) -> AuthSession:
    """The session of a token. Raises Unauthorized."""
    found = accounts.authenticate(session, token=token, now=core.clock())
    if found.account.wallet is not None:  # a visitor's requests are counted by address: anybody can be many visitors
        request.state.principal = Principal("person", str(found.account_id))
    return found


def page_session(request: Request, core: Core, session: Session) -> AuthSession | None:
    """The live session of a browser; one that is over reads pages as nobody."""
    token = presented_token(request, core.settings)
    try:
        return None if token is None else session_of(request, core, session, token)
    except Unauthorized:
        return None


OptionalCaller = Annotated[Caller | None, Depends(get_optional_caller)]


def nobody(request: Request) -> Unauthorized:
    """401 for a request that names nobody, with the ways in that its route takes."""
    asked = set(calls(request.scope["route"].dependant))
    if asked & {get_current_account, get_current_person, get_confirmed_wallet_session}:
        return Unauthorized("Sign in with your wallet first: POST /v1/auth/nonce, then /v1/auth/verify.")
    return Unauthorized(
        "Say who you are first: be a visitor without a wallet (POST /v1/visitors), or sign in with one"
        " (POST /v1/auth/nonce, then /v1/auth/verify)."
    )


def get_caller(
    request: Request, caller: OptionalCaller, _bearer: BearerScheme = None, _cookie: CookieScheme = None
) -> Caller:
    if caller is None:
        raise nobody(request)
    return caller


CurrentCaller = Annotated[Caller, Depends(get_caller)]


def get_current_session(caller: CurrentCaller) -> AuthSession:
    if caller.session is None:
        keys.require((), ())
    assert caller.session is not None
    return caller.session


CurrentSession = Annotated[AuthSession, Depends(get_current_session)]
"""The session of who is signed in or visits; 401 for nobody, 403 for an API key."""


def get_optional_account(caller: OptionalCaller) -> Account | None:
    return caller.account if caller is not None and caller.account.wallet is not None else None


def get_account_or_visitor(caller: CurrentCaller) -> Account:
    return caller.account


def get_current_account(caller: CurrentCaller) -> Account:
    if caller.account.wallet is None:
        raise WalletRequired
    return caller.account


def get_confirmed_session(session: CurrentSession, core: CoreDep) -> AuthSession:
    try:
        sign_in.confirm(core.node, session)
    except Unauthorized:
        with core.database.session() as own:  # the request's transaction is taken back
            accounts.revoke(own, account=session.account, session_id=session.id)
        raise
    return session


ConfirmedSession = Annotated[AuthSession, Depends(get_confirmed_session)]
"""As CurrentSession, for what only the person may do: a contract wallet is asked again whose it is."""


def get_confirmed_account_or_visitor(session: ConfirmedSession) -> Account:
    return session.account


def get_confirmed_wallet_session(session: ConfirmedSession) -> AuthSession:
    if session.account.wallet is None:
        raise WalletRequired
    return session


ConfirmedWalletSession = Annotated[AuthSession, Depends(get_confirmed_wallet_session)]
"""As ConfirmedSession, of somebody with an address."""


def get_confirmed_account(session: ConfirmedWalletSession) -> Account:
    return session.account


OptionalAccount = Annotated[Account | None, Depends(get_optional_account)]
"""Who is signed in with a wallet, or None. A token that is wrong or expired is an error, not None."""
CurrentAccount = Annotated[Account, Depends(get_current_account)]
"""Who is signed in with a wallet; 401 for nobody, 403 for a visitor, and for an API key (backend.edge.scoped)."""
AccountOrVisitor = Annotated[Account, Depends(get_account_or_visitor)]
"""Who is signed in or visits: for what needs no address. 401 for nobody."""
ConfirmedAccount = Annotated[Account, Depends(get_confirmed_account)]
"""As CurrentAccount, for what only the person may do: no key, and a contract wallet is asked again whose it is."""
ConfirmedAccountOrVisitor = Annotated[Account, Depends(get_confirmed_account_or_visitor)]
"""As ConfirmedAccount, for what needs no address."""


def get_moderator(session: DbSession, core: CoreDep, me: ConfirmedAccount) -> Account:
    roles.require(session, core.settings, me.address, Role.MODERATOR)
    return me


def get_operator(session: DbSession, core: CoreDep, me: ConfirmedAccount) -> Account:
    roles.require(session, core.settings, me.address, Role.OPERATOR)
    return me


CurrentModerator = Annotated[Account, Depends(get_moderator)]
"""As ConfirmedAccount, for moderators by the chain's roles; 403 for others."""
CurrentOperator = Annotated[Account, Depends(get_operator)]
"""As ConfirmedAccount, for operators by the settings; 403 for others."""


async def identify(request: Request, core: Core) -> accounts.Somebody | None:
    """Whose token a request bears, of whatever kind; what a key may do is not asked yet. Raises Unauthorized."""
    token = presented_token(request, core.settings)
    if token is None:
        return None
    if not by_key(request, token):
        return await person_of_session(request, core, token)
    holder = await keys.authenticate_async(core.database.async_pool, token=token, now=core.clock())
    request.state.principal = Principal("key", str(holder.key_id))
    return holder


async def person_of_session(request: Request, core: Core, token: str) -> accounts.Somebody:
    """As `session_of`, for async routes."""
    memory = core.sessions
    if (remembered := memory.get(token, core.clock())) is not None:
        found, notes = remembered
    else:
        memory.start(conninfo(core.database.url))
        asked = memory.ask()
        found, until = await accounts.authenticate_async(core.database.async_pool, token=token, now=core.clock())
        notes = memory.put(token, found, until, asked=asked)
    state = request.scope["state"]
    state["remembered"] = notes
    if isinstance(found, accounts.SignedIn):
        if "principal" not in notes:
            notes["principal"] = Principal("person", str(found.account_id))
        state["principal"] = notes["principal"]
    return found


async def get_optional_person_or_visitor(
    request: Request, scopes: SecurityScopes, background: BackgroundTasks, _scheme: OptionalScheme = None
) -> accounts.Somebody | None:
    core: Core = request.app.state.core  # by a dependency of its own it would be found in ten times the time
    found = await identify(request, core)
    if isinstance(found, keys.KeyHolder):
        keys.require(found.scopes, scopes.scopes)
        now = core.clock()
        if keys.use_is_due(found.used_at, now):
            background.add_task(keys.note_use, core.database, found.key_id, now)
    return found


OptionalPersonOrVisitor = Annotated[accounts.Somebody | None, Depends(get_optional_person_or_visitor)]
"""As AccountOrVisitor, for async routes that serve nobody too: the ids, read through the async pool."""


async def get_person_or_visitor(
    *,
    request: Request,
    scopes: SecurityScopes,
    background: BackgroundTasks,
    _bearer: BearerScheme = None,
    _cookie: CookieScheme = None,
) -> accounts.Somebody:
    person = await get_optional_person_or_visitor(request, scopes, background)
    if person is None:
        raise nobody(request)
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
