"""Who has access to a work, by which rights, and until when: Storefront.hasAccess and hasAccessBy from the mirror."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from backend.mirror import Head
from backend.shop.catalogue import moment
from backend.shop.schemas import Access, Right, RightOut
from backend.works.catalogue import find_work
from indexer.models import view

MAX_RIGHTS = 100
"""Of a kind: who holds more items or characters of one work than this sees those that last longest."""


class Held(NamedTuple):
    """A right at some moment; `until` is a block time, 0 for one without an end."""

    by: Right
    until: int = 0
    item_id: int | None = None
    token_id: int | None = None


def access(session: Session, head: Head, work_id: int, account: bytes) -> Access:
    """By which rights an account has access to a work now, by the chain's clock. Raises NotFound."""
    owner = bytes(find_work(session, work_id)["owner"])
    rights = [Held("owner")] if owner == account else []
    rights += _subscriptions(session, head.time, work_id, account)
    rights += _items(session, head.time, work_id, account)
    by_list = bool(rights)
    rights += _characters(session, head.time, work_id, account)
    rights.sort(key=lambda right: (right.until != 0, -right.until))
    return Access(
        work_id=work_id,
        account=account,  # type: ignore[arg-type]  # an AddressStr takes 20 bytes
        access=bool(rights),
        until=moment(rights[0].until) if rights else None,
        rights=[RightOut(**right._asdict() | {"until": moment(right.until)}) for right in rights],
        has_access=by_list,
        as_of=head.as_of,
    )


def _subscriptions(session: Session, now: int, work_id: int, account: bytes) -> list[Held]:
    subscription = view("subscription").c
    query = select(subscription.expires_at).where(
        subscription.work_id == work_id, subscription.subscriber == account, subscription.expires_at > now
    )
    return [Held("subscription", until) for until in session.scalars(query)]


def _items(session: Session, now: int, work_id: int, account: bytes) -> list[Held]:
    item, balance = view("item").c, view("item_balance").c
    query = (
        select(item.item_id, item.expires_at)
        .join_from(view("item"), view("item_balance"), balance.item_id == item.item_id)
        .where(item.work_id == work_id, balance.account == account, or_(item.expires_at == 0, item.expires_at > now))
        .order_by((item.expires_at != 0), item.expires_at.desc(), item.item_id)
        .limit(MAX_RIGHTS)
    )
    return [Held("item", row.expires_at, item_id=int(row.item_id)) for row in session.execute(query)]


def _characters(session: Session, now: int, work_id: int, account: bytes) -> list[Held]:
    """Those that it owns and has not lent, and those that it was lent."""
    character = view("character").c
    lent = and_(character.user_expires > now, character.user_ != bytes(20))
    query = (
        select(character.token_id, character.user_expires, lent.label("lent"))
        .where(
            character.work_id == work_id,
            or_(and_(lent, character.user_ == account), and_(~lent, character.owner == account)),
        )
        .order_by(lent, character.user_expires.desc(), character.token_id)
        .limit(MAX_RIGHTS)
    )
    return [
        Held("rental" if row.lent else "character", int(row.user_expires) if row.lent else 0, token_id=row.token_id)
        for row in session.execute(query)
    ]
