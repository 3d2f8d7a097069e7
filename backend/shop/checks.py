"""What the contracts would refuse, refused before a transaction is made, in words."""

from __future__ import annotations

from typing import Any

from eth_utils.address import to_checksum_address
from sqlalchemy import RowMapping, select
from sqlalchemy.orm import Session

from backend.errors import Conflict, Forbidden, Invalid
from backend.shop.catalogue import find
from backend.shop.holding import minted_to
from backend.shop.offers import MAX_CHARACTERS, WHY, Kind, Offer
from backend.works.catalogue import find_work
from backend.works.rules import Status
from indexer.models import event


def owned_work(session: Session, work_id: int, account: bytes) -> RowMapping:
    """The work, if the account owns it. Raises NotFound, Forbidden."""
    row = find_work(session, work_id)
    if bytes(row["owner"]) != account:
        raise Forbidden(
            f"Work {work_id} belongs to {to_checksum_address(row['owner'])}; only its owner can do this.",
            code="not_the_owner",
            work_id=work_id,
        )
    return row


def not_stopped(work: RowMapping) -> None:
    """Raise Conflict for a work that is suspended or revoked."""
    if work["status"] >= Status.SUSPENDED:
        raise Conflict(
            f"Work {work['work_id']} is suspended or revoked: nothing of it is sold.",
            code="work_stopped",
            work_id=int(work["work_id"]),
        )


def closed(what: str, state: str, **data: Any) -> Conflict:
    """The refusal of an offer or plan that can't be bought of."""
    return Conflict(f"{what} can't be bought: {WHY[state]}.", code="offer_closed", state=state, **data)


def is_open(offer: Offer, now: int) -> None:
    """Raise Conflict unless it can be bought of."""
    state = offer.state(now)
    if state != "open":
        raise closed(f"Listing {offer.listing_id}", state, listing_id=offer.listing_id)


def enough_left(session: Session, offer: Offer, qty: int, to: bytes, now: int) -> None:
    """Raise Invalid or Conflict unless that many can be bought for an account."""
    if offer.kind is Kind.CHARACTER and qty > MAX_CHARACTERS:
        raise Invalid(f"At most {MAX_CHARACTERS} are sold at once, not {qty}.", code="quantity_invalid")
    left = min([offer.left, *_mintable(session, offer, to, now)])
    if qty > left:
        raise Conflict(
            f"{left} of listing {offer.listing_id} can be bought for this account now, not {qty}.",
            code="not_enough_left",
            left=str(left),
        )


def price_as_seen(total: int, max_total: int | None) -> None:
    """Raise Conflict if it costs more than the buyer was told."""
    if max_total is not None and total > max_total:
        raise Conflict(
            f"It costs {total} base units now, more than {max_total}: its price was changed. Look at it again.",
            code="price_changed",
            total=str(total),
        )


def sellable_class(row: RowMapping) -> None:
    """Raise Conflict for a class that only its platform mints."""
    if any(row["platform_id"]):
        raise Conflict(f"Only its platform mints class {row['class_id']}.", code="platform_only")


def _mintable(session: Session, offer: Offer, to: bytes, now: int) -> list[int]:
    """The bounds of the asset itself on what is minted to an account. Raises NotFound, when it was just taken back."""
    if offer.kind is Kind.CHARACTER:
        row = find(session, "character_class", "class_id", offer.asset_id, "class")
        sellable_class(row)
        return [row["max_supply"] - row["minted"]]
    if offer.kind is not Kind.EDITION:
        return []
    row = find(session, "item", "item_id", offer.asset_id, "item")
    if row["expires_at"] and now >= row["expires_at"]:
        raise Conflict(f"Item {offer.asset_id} has expired; no more of it is sold.", code="asset_expired")
    cap = row["per_account_cap"]
    bounds = [row["max_supply"] - row["minted"]]
    return [*bounds, cap - minted_to(session, offer.asset_id, to)] if cap else bounds


def platform_known(session: Session, platform_id: bytes) -> None:
    """Raise Invalid unless a platform is registered now."""
    said = event("Characters", "PlatformSet").c
    key = session.scalar(
        select(said.key)
        .where(said.platform_id == platform_id)
        .order_by(said.block_number.desc(), said.log_index.desc())
        .limit(1)
    )
    if key is None or not any(key):
        raise Invalid("No such platform is registered; a vote registers them.", code="platform_unknown")


def lendable(character: RowMapping) -> None:
    """Raise Conflict for a character that can't be lent."""
    token = int(character["token_id"])
    if character["soulbound"]:
        raise Conflict(f"Character {token} is soulbound: it can't be lent.", code="character_locked")
    if character["exported"]:
        raise Conflict(
            f"Character {token} is on another platform; it can be lent once it is back.", code="character_locked"
        )
