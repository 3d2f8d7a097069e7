"""Sign-in and sessions."""

from __future__ import annotations

from fastapi import APIRouter

from backend.deps import CurrentAccount
from backend.schemas import AddressStr, Schema, Time

router = APIRouter(prefix="/v1", tags=["accounts"])


class Me(Schema):
    """The signed-in account."""

    address: AddressStr
    created_at: Time


@router.get("/me")
def get_me(me: CurrentAccount) -> Me:
    """The account that is signed in."""
    return Me(address=me.address, created_at=me.created_at)  # type: ignore[arg-type]  # bytes, checked by the type
