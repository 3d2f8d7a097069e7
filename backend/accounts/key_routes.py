"""API keys for programs, made and ended by the person."""

from __future__ import annotations

import uuid
from datetime import timedelta

from fastapi import APIRouter, Depends, status

from backend.accounts import keys
from backend.accounts.key_schemas import KeyIn, KeyInfo, KeyList, NewKey, RotateIn
from backend.accounts.scopes import Scope
from backend.deps import ConfirmedWalletSession, CurrentAccount, DbSession, Now, VaultDep, secret_answer
from backend.models.accounts import ApiKey
from backend.vault.vault import Vault

router = APIRouter(prefix="/v1/keys", tags=["accounts"])


def _info(vault: Vault, key: ApiKey) -> KeyInfo:
    return KeyInfo(
        id=key.id,
        name=keys.name_of(vault, key),
        hint=key.hint,
        scopes=[Scope(scope) for scope in key.scopes],
        created_at=key.created_at,
        issued_at=key.issued_at,
        expires_at=key.expires_at,
        previous_until=key.previous_until,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
    )


@router.post("", status_code=status.HTTP_201_CREATED, dependencies=[Depends(secret_answer)])
def create_key(session: DbSession, vault: VaultDep, me: ConfirmedWalletSession, now: Now, body: KeyIn) -> NewKey:
    """Make a key for a program of yours. Its token is shown in this answer and never again.

    A key acts as you, within its scopes. It cannot make keys, sign in, answer for your consents, or have your data
    exported or erased; what is signed, your wallet signs.
    """
    token, key = keys.create(
        session,
        vault,
        by=me,
        name=body.name,
        scopes=body.scopes,
        lifetime=timedelta(days=body.lifetime_days),
        now=now,
    )
    return NewKey(token=token, key=_info(vault, key))


@router.get("")
def list_keys(session: DbSession, vault: VaultDep, me: CurrentAccount) -> KeyList:
    """Your keys, newest first, with those that ended within 30 days."""
    return KeyList(items=[_info(vault, key) for key in keys.of(session, account=me)])


@router.post("/{key_id}/rotate", dependencies=[Depends(secret_answer)])
def rotate_key(
    *, session: DbSession, vault: VaultDep, me: ConfirmedWalletSession, now: Now, key_id: uuid.UUID, body: RotateIn
) -> NewKey:
    """Give a key a new token, which is shown in this answer and never again.

    The present token works on for `overlap_s`, so that programs can change over; one that was rotated out before it
    ends at once.
    """
    token, key = keys.rotate(
        session,
        by=me,
        key_id=key_id,
        overlap=timedelta(seconds=body.overlap_s),
        lifetime=timedelta(days=body.lifetime_days),
        now=now,
    )
    return NewKey(token=token, key=_info(vault, key))


@router.delete("/{key_id}", status_code=status.HTTP_204_NO_CONTENT)
def revoke_key(session: DbSession, me: CurrentAccount, now: Now, key_id: uuid.UUID) -> None:
    """End a key at once. Again it changes nothing."""
    keys.revoke(session, account=me, key_id=key_id, now=now)
