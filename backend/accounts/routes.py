"""Sign-in and sessions."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import datetime

from anyio import to_thread
from fastapi import APIRouter, Request, Response, status
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask

from backend.accounts import roles, service, sign_in, siwe, visitors
from backend.accounts.schemas import (
    BroughtAlong,
    Me,
    Nonce,
    NonceRequest,
    SessionInfo,
    SessionList,
    SignIn,
    SignInRequest,
    Visitor,
)
from backend.accounts.siwe import Expected
from backend.consent import service as consents
from backend.deps import (
    Core,
    CoreDep,
    CurrentSession,
    DbSession,
    Now,
    PersonOrVisitor,
    SettingsDep,
    VaultDep,
    of_another_site,
    presented_token,
    session_cookie,
    session_of,
)
from backend.errors import Unauthorized
from backend.models.accounts import Account, AuthSession
from backend.settings import Settings
from backend.vault.vault import Vault

router = APIRouter(prefix="/v1", tags=["accounts"])


def _expected(settings: Settings) -> Expected:
    return Expected(domain=settings.domain, uri=settings.public_url, chain_id=settings.chain_id)


def _info(vault: Vault, row: AuthSession, current: AuthSession) -> SessionInfo:
    return SessionInfo(
        id=row.id,
        created_at=row.created_at,
        expires_at=row.expires_at,
        user_agent=service.device_of(vault, row),
        current=row.id == current.id,
    )


def _set_cookie(
    request: Request, response: Response, settings: Settings, *, token: str, expires_at: datetime, now: datetime
) -> None:
    """Give the session to our own pages. A page of another site must not change who our pages are used as."""
    if of_another_site(request, settings):
        return
    response.set_cookie(
        session_cookie(settings),
        token,
        max_age=int((expires_at - now).total_seconds()),
        path="/",
        secure=settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )


def _forget_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(
        session_cookie(settings), path="/", secure=settings.secure_cookies, httponly=True, samesite="lax"
    )


@router.post("/auth/nonce")
def create_nonce(session: DbSession, settings: SettingsDep, now: Now, body: NonceRequest | None = None) -> Nonce:
    """Begin a sign-in: a nonce that can be used once within five minutes, and what the message must say."""
    expected = _expected(settings)
    row = sign_in.issue_nonce(session, now=now)
    address = body.address if body else None
    return Nonce(
        nonce=row.nonce,
        issued_at=now,
        expires_at=row.expires_at,
        domain=expected.domain,
        uri=expected.uri,
        chain_id=expected.chain_id,
        version=siwe.VERSION,
        statement=sign_in.STATEMENT,
        message=sign_in.message_for(address, nonce=row.nonce, expected=expected, now=now) if address else None,
    )


@router.post("/auth/verify", response_model=SignIn)
async def verify_sign_in(request: Request, body: SignInRequest) -> Response:
    """Sign in with a signed EIP-4361 message. Sets an HttpOnly cookie, and answers the token for programs.

    The message is refused unless every field is right: domain, URI, version, chain id, a nonce of ours that was not
    used before, times, and a canonical signature by the key of its address. Where the address is a contract wallet, the
    wallet is asked (ERC-1271; ERC-6492 where it is not deployed yet).
    """
    core: Core = request.app.state.core
    now, expected = core.clock(), _expected(core.settings)
    message = sign_in.judged(body.message, expected=expected, now=now)
    by = sign_in.SignIn(message, now, core.settings.session_ttl_s, request.headers.get("user-agent"))
    opened: sign_in.Opened | None = None
    brought: visitors.Brought | None = None
    if not body.bring_along:
        pool = core.database.async_pool
        opened = await sign_in.open_known(pool, core.vault, core.seen, by, text=body.message, signature=body.signature)
    if opened is None:
        first, brought = await to_thread.run_sync(_open_otherwise, request, core, by, body)
        opened = first
    made = SignIn.model_construct(  # nothing of it is anybody else's word
        token=opened.token,
        expires_at=opened.expires_at,
        address=message.address,
        session_id=opened.session_id,
        brought_along=BroughtAlong.model_validate(brought) if brought else None,
    )
    answer = Response(made.model_dump_json(), media_type="application/json")
    if brought is not None:
        answer.background = BackgroundTask(visitors.destroy_ended, core.database, core.vault)
    _set_cookie(request, answer, core.settings, token=opened.token, expires_at=opened.expires_at, now=now)
    return answer


def _open_otherwise(
    request: Request, core: Core, by: sign_in.SignIn, body: SignInRequest
) -> tuple[sign_in.Opened, visitors.Brought | None]:
    """Open a session of a wallet, or with what it needs to make or to move, in one transaction. Raises Unauthorized."""
    proof = sign_in.prove(body.message, body.signature, address=by.message.address, node=core.node)
    by = dataclasses.replace(by, wallet_proof=proof)
    with core.database.session() as session:
        opened, account = sign_in.open_first(session, core.vault, by)
        visitor = _present_visitor(request, core, session) if body.bring_along else None
        if visitor is None:
            return opened, None
        name = consents.controller(core.settings)
        return opened, visitors.bring_along(session, core.vault, visitor=visitor, to=account, now=by.now, by=name)


def _present_visitor(request: Request, core: Core, session: Session) -> Account | None:
    """The visitor whose token a request bears; None for a dead token, and for who is signed in with a wallet."""
    token = presented_token(request, core.settings)
    try:
        found = session_of(request, core, session, token) if token else None
    except Unauthorized:
        return None
    return found.account if found is not None and found.account.wallet is None else None


@router.post("/visitors", status_code=status.HTTP_201_CREATED)
def create_visitor(request: Request, session: DbSession, core: CoreDep, response: Response) -> Visitor:
    """Be here without an address: consents, engagement and a personal feed work, and nothing is known about you but
    what you let us keep. Sets an HttpOnly cookie, and answers the token for programs.

    Asked again with the same token or cookie, the visitor is the same and its time begins anew. A visitor whose time
    is over is forgotten, with all that it did.
    """
    now = core.clock()
    try:
        presented = presented_token(request, core.settings)
        current = session_of(request, core, session, presented) if presented else None
    except Unauthorized:  # of a session that is over: a browser cannot take the cookie away by itself
        current = None
    token, row = visitors.welcome(
        session,
        current=current,
        token=presented if current else None,
        now=now,
        ttl_s=core.settings.visitor_ttl_s,
    )
    if row is current:
        response.status_code = status.HTTP_200_OK
    _set_cookie(request, response, core.settings, token=token, expires_at=row.expires_at, now=now)
    return Visitor(token=token, expires_at=row.expires_at, session_id=row.id)


@router.get("/auth/session")
def get_session_info(current: CurrentSession, vault: VaultDep) -> SessionInfo:
    """The session that this request is made with."""
    return _info(vault, current, current)


@router.delete("/auth/session", status_code=status.HTTP_204_NO_CONTENT)
def sign_out(session: DbSession, current: CurrentSession, settings: SettingsDep, response: Response) -> None:
    """Sign out: end the session that this request is made with, at once."""
    service.revoke(session, account=current.account, session_id=current.id)
    _forget_cookie(response, settings)


@router.get("/auth/sessions")
def list_sessions(session: DbSession, vault: VaultDep, current: CurrentSession, now: Now) -> SessionList:
    """All open sessions of the signed-in account, newest first."""
    rows = service.live_sessions(session, account=current.account, now=now)
    return SessionList(items=[_info(vault, row, current) for row in rows])


@router.delete("/auth/sessions/{session_id}", status_code=status.HTTP_204_NO_CONTENT)
def revoke_session(
    session: DbSession, current: CurrentSession, settings: SettingsDep, session_id: uuid.UUID, response: Response
) -> None:
    """End one of the account's sessions at once, on whatever device it is."""
    service.revoke(session, account=current.account, session_id=session_id)
    if session_id == current.id:
        _forget_cookie(response, settings)


@router.get("/me", response_model=Me)
async def get_me(request: Request, person: PersonOrVisitor) -> Response:
    """The account that is signed in, or the visitor. A role that was given a moment ago shows within 5 s."""
    notes: dict[str, bytes] = request.scope["state"].get("remembered", {})
    if "me" not in notes:
        notes["me"] = (
            (await to_thread.run_sync(_me, request.app.state.core, person.account_id)).model_dump_json().encode()
        )
    return Response(notes["me"], media_type="application/json")


def _me(core: Core, account_id: uuid.UUID) -> Me:
    with core.database.session() as session:
        me = session.get(Account, account_id)
        if me is None:
            raise service.unknown_session()
        return Me(
            address=me.wallet,  # type: ignore[arg-type]  # bytes become EIP-55
            visitor=me.wallet is None,
            created_at=me.created_at,
            roles=roles.roles_of(session, core.settings, me.wallet) if me.wallet is not None else [],
        )
