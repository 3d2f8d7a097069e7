"""Take your data with you, freeze it, erase it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from fastapi import APIRouter, BackgroundTasks, Response, status
from fastapi.responses import JSONResponse, StreamingResponse

from backend.consent import erasure, export
from backend.consent.gate import freeze, frozen_since, thaw
from backend.consent.own_schemas import (
    ErasureIn,
    ErasureMeaning,
    ErasureOut,
    ExportList,
    ExportOut,
    RestrictionIn,
    RestrictionOut,
)
from backend.consent.persons import make_person, person_of
from backend.consent.tasks import erase, make_export, workshop
from backend.deps import (
    AccountOrVisitor,
    ConfirmedAccountOrVisitor,
    ConfirmedSession,
    CoreDep,
    CurrentSession,
    DbSession,
    Now,
    SettingsDep,
    VaultDep,
    session_cookie,
)
from backend.models.own_data import DataExport, Erasure
from backend.wake import wake

router = APIRouter(prefix="/v1", tags=["your data"])


def shown(row: DataExport) -> ExportOut:
    """An export as its owner sees it."""
    return ExportOut(
        id=row.id,
        state=row.state,  # type: ignore[arg-type]  # the table's check
        asked_at=row.asked_at,
        done=row.done,
        total=row.total,
        problem=row.problem,
        size_bytes=row.size_bytes,
        ready_at=row.ready_at,
        expires_at=row.expires_at,
        download=f"/v1/me/exports/{row.id}/file" if row.state == "ready" else None,
    )


@router.post("/me/exports", status_code=status.HTTP_202_ACCEPTED)
def create_export(
    session: DbSession, me: ConfirmedAccountOrVisitor, now: Now, response: Response, after: BackgroundTasks
) -> ExportOut:
    """Ask for everything that is kept of you: a zip of JSON Lines and CSV, with proofs of what is on chain.

    While one is being made, asking again answers with that one. An older one is dropped.
    """
    row = export.ask(session, account_id=me.id, now=now)
    after.add_task(wake, make_export, str(row.id))
    response.headers["Location"] = f"/v1/me/exports/{row.id}"
    return shown(row)


@router.get("/me/exports")
def list_exports(session: DbSession, me: AccountOrVisitor) -> ExportList:
    """Your exports, newest first."""
    return ExportList(items=[shown(row) for row in export.listed(session, account_id=me.id)])


@router.get("/me/exports/{export_id}")
def get_export(session: DbSession, me: AccountOrVisitor, export_id: uuid.UUID) -> ExportOut:
    """How far an export of yours is."""
    return shown(export.find(session, account_id=me.id, export_id=export_id))


@router.delete("/me/exports/{export_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_export(session: DbSession, me: AccountOrVisitor, export_id: uuid.UUID) -> None:
    """Drop an export of yours before it expires."""
    export.drop(session, account_id=me.id, export_id=export_id)


@router.get("/me/exports/{export_id}/file", response_class=StreamingResponse)
def download_export(
    session: DbSession, core: CoreDep, me: ConfirmedAccountOrVisitor, now: Now, export_id: uuid.UUID
) -> StreamingResponse:
    """The zip of an export. It stays for an hour after the first download."""
    row = export.find(session, account_id=me.id, export_id=export_id)
    pieces: Iterator[bytes] = export.opened(workshop(core), row, now=now)
    name = f"troupe-your-data-{now:%Y-%m-%d}.zip"
    return StreamingResponse(
        pieces,
        media_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(row.size_bytes),
            "Cache-Control": "no-store",
        },
    )


# --- freeze -----------------------------------------------------------------------------------------------------------


@router.get("/me/restriction")
def get_restriction(session: DbSession, vault: VaultDep, me: AccountOrVisitor) -> RestrictionOut:
    """Whether your data is frozen."""
    person = person_of(session, vault, me.id)
    since = None if person is None else frozen_since(session, person)
    return RestrictionOut(frozen=since is not None, since=since)


@router.put("/me/restriction")
def set_restriction(
    session: DbSession, vault: VaultDep, me: AccountOrVisitor, now: Now, body: RestrictionIn
) -> RestrictionOut:
    """Freeze your data: it is kept, and nothing reads it but you. It acts on the next request; lift it as easily."""
    person = make_person(session, vault, me.id)
    if body.frozen:
        freeze(session, person, now=now)
    else:
        thaw(session, person)
    return get_restriction(session, vault, me)


# --- erasure ----------------------------------------------------------------------------------------------------------


@router.get("/me/erasure")
def get_erasure_meaning(
    session: DbSession, vault: VaultDep, me: AccountOrVisitor, current: CurrentSession, now: Now
) -> ErasureMeaning:
    """What erasing your data would destroy, and what would remain. Changes nothing."""
    means = erasure.meaning(session, vault, me.id)
    return ErasureMeaning(destroyed=means.destroyed, remains=means.remains, fresh=erasure.is_fresh(current, now=now))


@router.post("/me/erasure", status_code=status.HTTP_202_ACCEPTED)
def erase_me(  # noqa: PLR0917 - FastAPI calls it by name
    session: DbSession,
    vault: VaultDep,
    settings: SettingsDep,
    current: ConfirmedSession,
    now: Now,
    body: ErasureIn,
    response: Response,
    after: BackgroundTasks,
) -> ErasureOut:
    """Erase everything that is kept of you. It cannot be taken back.

    With a wallet the sign-in must be of the last ten minutes. All your sessions end now; the answer's `id` leads to the
    progress and the receipt, without an account: keep it.
    """
    row = erasure.begin(session, vault, current, now=now)
    after.add_task(wake, erase, str(row.id))
    response.delete_cookie(
        session_cookie(settings), path="/", secure=settings.secure_cookies, httponly=True, samesite="lax"
    )
    response.headers["Location"] = f"/v1/erasures/{row.id}"
    return _told(row)


def _told(row: Erasure) -> ErasureOut:
    return ErasureOut.model_validate(erasure.receipt(row))


@router.get("/erasures/{erasure_id}")
def get_erasure(session: DbSession, erasure_id: uuid.UUID) -> ErasureOut:
    """How far an erasure is, by its secret id; when it is done, its receipt."""
    return _told(erasure.find(session, erasure_id))


@router.get("/erasures/{erasure_id}/receipt")
def download_erasure_receipt(session: DbSession, erasure_id: uuid.UUID) -> JSONResponse:
    """The receipt as a file to keep."""
    row = erasure.find(session, erasure_id)
    return JSONResponse(
        erasure.receipt(row),
        headers={"Content-Disposition": f'attachment; filename="troupe-erasure-{row.asked_at:%Y-%m-%d}.json"'},
    )
