"""What is in the shop, read from the mirror: offers, items and who holds them, characters, plans, subscriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from eth_utils.address import to_checksum_address
from sqlalchemy import ColumnElement, RowMapping, Select, or_, select, tuple_
from sqlalchemy.orm import Session

from backend.chain import ChainInfo
from backend.content.cid import CID
from backend.content.store import ContentStore
from backend.errors import NotFound
from backend.mirror import Head
from backend.payouts.schemas import TokenInfo
from backend.shop.offers import Kind, Offer, plan_state
from backend.shop.prices import Division as Divided
from backend.shop.prices import Rates, first_sale
from backend.shop.schemas import (
    CharacterOut,
    ClassOut,
    Division,
    HoldingOut,
    ItemOut,
    ListingOut,
    PlanOut,
    SubscriptionOut,
)
from backend.works.catalogue import content_url, described
from backend.works.metadata import Described
from backend.works.rules import Status
from backend.works.schemas import MediaOut
from indexer.models import event, view

NOBODY: Final = bytes(20)
LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999; the chain counts farther."""
_NOTHING: Final = Described()


def moment(seconds: int) -> datetime | None:
    """As calendar, 0 for none."""
    return calendar(seconds) if seconds else None


def calendar(seconds: int) -> datetime:
    """A time of the chain; what lies beyond the calendar is its last second."""
    return datetime.fromtimestamp(min(seconds, LAST_SECOND), UTC)


def rates(session: Session) -> Rates:
    """The policy in force."""
    policy = view("policy").c
    row = session.execute(select(policy.fee_bps, policy.royalty_bps)).one()
    return Rates(row.fee_bps or 0, row.royalty_bps or 0)


def token_info(chain: ChainInfo, token: bytes) -> TokenInfo:
    """A currency; one that the deployment doesn't list is shown by its address, in base units."""
    address = to_checksum_address(token)
    try:
        known = chain.token(address)
    except LookupError:
        return TokenInfo(address=address, symbol=f"{address[:6]}…{address[-4:]}", decimals=0)
    return TokenInfo(address=known.address, symbol=known.symbol, decimals=known.decimals)


def division(divided: Divided) -> Division:
    """As it is answered."""
    return Division(**divided._asdict())


def arrived(row: RowMapping, head: Head) -> dict[str, Any]:
    """Since when the chain has something."""
    return {
        "created_at": datetime.fromtimestamp(row["created_at"], UTC),
        "block": int(row["created_block"]),
        "tx_hash": row["created_tx"],
        "stage": head.stage_of(row["created_block"]),
    }


@dataclass(frozen=True, slots=True)
class Reader:
    """What showing things of the shop takes."""

    session: Session
    store: ContentStore
    chain: ChainInfo
    head: Head

    def said(self, rows: Sequence[RowMapping]) -> dict[bytes, Described]:
        """What the metadata files of these rows say, as far as they are kept here."""
        return described(self.session, self.store, [row["cid_digest"] for row in rows])


def find(session: Session, name: str, column: str, number: int, what: str) -> RowMapping:
    """One row of a view of the shop. Raises NotFound."""
    table = view(name)
    row = session.execute(select(table).where(table.c[column] == number)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no {what} {number} on chain.", code="asset_not_found", **{f"{what}_id": str(number)})
    return row


# --- offers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListingFilter:
    """Which offers are wanted; None: any."""

    work_id: int | None = None
    kind: int | None = None
    seller: bytes | None = None
    asset_id: int | None = None
    open_at: int | None = None
    """Only those that can be bought at this time."""


def _listings() -> Select[Any]:
    listing, work = view("listing"), view("work")
    return select(listing, work.c.status).join(work, work.c.work_id == listing.c.work_id)


def list_listings(session: Session, wanted: ListingFilter, *, before: int | None, limit: int) -> Sequence[RowMapping]:
    """Offers, newest first, each with its work's status."""
    listing = view("listing").c
    conditions = equal_to(listing, work_id=wanted.work_id, kind=wanted.kind, seller=wanted.seller)
    conditions += equal_to(listing, asset_id=wanted.asset_id)
    if before is not None:
        conditions.append(listing.listing_id < before)
    if wanted.open_at is not None:
        conditions += [
            listing.closed.is_(False),
            listing.starts_at <= wanted.open_at,
            or_(listing.ends_at == 0, listing.ends_at > wanted.open_at),
            listing.seller == listing.owner,
            or_(listing.kind == Kind.RENTAL, listing.sold < listing.max_supply),
            view("work").c.status < Status.SUSPENDED,
        ]
    query = _listings().where(*conditions).order_by(listing.listing_id.desc()).limit(limit)
    return session.execute(query).mappings().all()


def equal_to(columns: Any, **values: Any) -> list[ColumnElement[bool]]:
    """Conditions for the values that are given."""
    return [columns[name] == value for name, value in values.items() if value is not None]


def find_listing(session: Session, listing_id: int) -> RowMapping:
    """One offer with its work's status. Raises NotFound."""
    row = session.execute(_listings().where(view("listing").c.listing_id == listing_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no listing {listing_id} on chain.", code="listing_not_found", listing_id=listing_id)
    return row


def offer_of(row: RowMapping) -> Offer:
    """A row of `list_listings` as the rules take it."""
    fields = {name: row[name] for name in Offer.__dataclass_fields__}
    return Offer(**fields | {"kind": Kind(row["kind"]), "status": Status(row["status"])})


def show_listings(reader: Reader, rows: Sequence[RowMapping]) -> list[ListingOut]:
    """Offers as they are answered."""
    if not rows:
        return []
    names, policy = asset_names(reader, rows), rates(reader.session)
    return [_show_listing(reader, row, names, policy) for row in rows]


def _show_listing(
    reader: Reader, row: RowMapping, names: Mapping[tuple[int, int], str | None], policy: Rates
) -> ListingOut:
    offer = offer_of(row)
    rental = offer.kind is Kind.RENTAL
    return ListingOut(
        listing_id=offer.listing_id,
        work_id=offer.work_id,
        kind=offer.kind.name.lower(),  # type: ignore[arg-type]  # the literals are the names
        asset_id=offer.asset_id,
        name=names.get((offer.kind, offer.asset_id)),
        seller=row["seller"],
        token=token_info(reader.chain, offer.token),
        price=offer.price,
        pays=division(offer.divide(offer.price, policy)),
        state=offer.state(reader.head.time),
        left=offer.left,
        sold=offer.sold,
        starts_at=moment(offer.starts_at),
        ends_at=moment(offer.ends_at),
        period_s=offer.period if rental else None,
        longest_s=offer.max_supply if rental else None,
        **arrived(row, reader.head),
    )


_NAMED_BY: Final = {
    Kind.EDITION: ("item", "item_id"),
    Kind.WORK: ("work", "work_id"),
    Kind.RENTAL: ("character", "token_id"),
}
"""Where the metadata file of an offer's asset is; characters that are sold carry it in the offer itself."""


def asset_names(reader: Reader, rows: Sequence[RowMapping]) -> dict[tuple[int, int], str | None]:
    """(kind, asset) -> what the metadata file of what is offered calls it."""
    digests = {(row["kind"], row["asset_id"]): row["cid_digest"] for row in rows if row["kind"] == Kind.CHARACTER}
    for kind, (name, key) in _NAMED_BY.items():
        ids = [row["asset_id"] for row in rows if row["kind"] == kind]
        table = view(name).c
        if ids:
            found = reader.session.execute(select(table[key], table.cid_digest).where(table[key].in_(ids)))
            digests |= {(kind, asset): digest for asset, digest in found}
    said = described(reader.session, reader.store, list(digests.values()))
    return {asset: said.get(digest, _NOTHING).title for asset, digest in digests.items()}


# --- items ------------------------------------------------------------------------------------------------------------


def list_rows(
    session: Session, name: str, key: str, *, before: int | None, limit: int, **wanted: Any
) -> Sequence[RowMapping]:
    """Rows of a view of the shop by falling `key`, those with the wanted values."""
    table = view(name)
    conditions = equal_to(table.c, **wanted)
    if before is not None:
        conditions.append(table.c[key] < before)
    query = select(table).where(*conditions).order_by(table.c[key].desc()).limit(limit)
    return session.execute(query).mappings().all()


def show_items(reader: Reader, rows: Sequence[RowMapping]) -> list[ItemOut]:
    """Items as they are answered."""
    said = reader.said(rows)
    return [
        ItemOut(
            item_id=int(row["item_id"]),
            work_id=int(row["work_id"]),
            max_supply=row["max_supply"],
            minted=row["minted"],
            supply=row["minted"] - row["burned"],
            per_account_cap=row["per_account_cap"],
            rarity=row["rarity"],
            soulbound=row["soulbound"],
            expires_at=moment(row["expires_at"]),
            **_words(row, said),
            **arrived(row, reader.head),
        )
        for row in rows
    ]


def _words(row: RowMapping, said: Mapping[bytes, Described]) -> dict[str, Any]:
    words = said.get(row["cid_digest"], _NOTHING)
    image = None
    if words.media_cid is not None:
        image = MediaOut(cid=words.media_cid, url=content_url(words.media_cid), media_type=words.media_type)
    return {
        "name": words.title,
        "description": words.description,
        "image": image,
        "metadata_cid": str(CID.raw(row["cid_digest"])),
    }


def list_holders(session: Session, item_id: int, *, after: bytes, limit: int) -> Sequence[RowMapping]:
    """Who holds an item, in the order of addresses."""
    balance = view("item_balance")
    query = select(balance).where(balance.c.item_id == item_id, balance.c.account > after)
    return session.execute(query.order_by(balance.c.account).limit(limit)).mappings().all()


def list_holdings(session: Session, account: bytes, *, after: int, limit: int) -> Sequence[RowMapping]:
    """The items that an account holds, oldest first."""
    balance = view("item_balance")
    query = select(balance).where(balance.c.account == account, balance.c.item_id > after)
    return session.execute(query.order_by(balance.c.item_id).limit(limit)).mappings().all()


def show_holdings(rows: Sequence[RowMapping]) -> list[HoldingOut]:
    """Holdings as they are answered."""
    return [HoldingOut(account=row["account"], item_id=int(row["item_id"]), balance=row["balance"]) for row in rows]


# --- characters -------------------------------------------------------------------------------------------------------


def show_classes(reader: Reader, rows: Sequence[RowMapping]) -> list[ClassOut]:
    """Classes as they are answered."""
    plain = ("class_id", "max_supply", "minted", "rarity", "soulbound", "ticket")
    return [
        ClassOut(
            work_id=int(row["work_id"]),
            organiser=_somebody(row["organiser"]),
            trait_setter=_somebody(row["trait_setter"]),
            platform_id=row["platform_id"] if any(row["platform_id"]) else None,
            **{name: row[name] for name in plain},
            **arrived(row, reader.head),
        )
        for row in rows
    ]


def _somebody(account: bytes | None) -> str | None:
    return None if account is None or account == NOBODY else str(to_checksum_address(account))


@dataclass(frozen=True, slots=True)
class CharacterFilter:
    """Which characters are wanted; None: any."""

    work_id: int | None = None
    class_id: int | None = None
    owner: bytes | None = None
    user_at: tuple[bytes, int] | None = None
    """An account, and a time at which it has the use of it."""


def list_characters(
    session: Session, wanted: CharacterFilter, *, before: tuple[int, int] | None, limit: int
) -> Sequence[RowMapping]:
    """Characters by falling id; `before` is a class and a number in it."""
    character = view("character")
    column = character.c
    conditions = equal_to(column, work_id=wanted.work_id, class_id=wanted.class_id, owner=wanted.owner)
    if wanted.user_at is not None:
        account, time = wanted.user_at
        conditions += [column.user_ == account, column.user_expires > time]
    if wanted.owner is not None:  # the view's owner is computed: begin at what ever came to the account
        came = event("Characters", "Transfer").c
        conditions.append(column.token_id.in_(select(came.token_id).where(came.to_ == wanted.owner)))
    if before is not None:
        conditions.append(tuple_(column.class_id, column.token_id) < (before[0], token_id(*before)))
    query = select(character).where(*conditions).order_by(column.class_id.desc(), column.token_id.desc()).limit(limit)
    return session.execute(query).mappings().all()


def token_id(class_id: int, number: int) -> int:
    """A character's id from its class and its number in it, as the contract makes it."""
    return (class_id << 32) | number


def number_of(token: int) -> int:
    """A character's number in its class."""
    return token & 0xFFFF_FFFF


def show_characters(reader: Reader, rows: Sequence[RowMapping]) -> list[CharacterOut]:
    """Characters as they are answered."""
    said = reader.said(rows)
    found = []
    for row in rows:
        used = row["user_expires"] > reader.head.time and row["user_"] != NOBODY
        found.append(
            CharacterOut(
                token_id=row["token_id"],
                class_id=row["class_id"],
                work_id=int(row["work_id"]),
                owner=_somebody(row["owner"]),
                user=_somebody(row["user_"]) if used else None,
                user_until=moment(row["user_expires"]) if used else None,
                ticket=row["ticket"],
                checked_in_at=moment(row["checked_in_at"]),
                soulbound=row["soulbound"],
                exported=row["exported"],
                **_words(row, said),
                **arrived(row, reader.head),
            )
        )
    return found


# --- plans and subscriptions ------------------------------------------------------------------------------------------


def show_plans(reader: Reader, rows: Sequence[RowMapping]) -> list[PlanOut]:
    """Plans as they are answered."""
    if not rows:
        return []
    work = view("work").c
    wanted = {row["work_id"] for row in rows}
    statuses = dict(reader.session.execute(select(work.work_id, work.status).where(work.work_id.in_(wanted))).all())
    policy = rates(reader.session)
    return [
        PlanOut(
            plan_id=int(row["plan_id"]),
            work_id=int(row["work_id"]),
            token=token_info(reader.chain, row["token"]),
            price=row["price"],
            period_s=row["period"],
            pays=division(first_sale(row["price"], policy)),
            state=plan_state(closed=row["closed"], status=Status(statuses[row["work_id"]])),
            **arrived(row, reader.head),
        )
        for row in rows
    ]


def list_subscriptions(session: Session, account: bytes, *, after: int, limit: int) -> Sequence[RowMapping]:
    """An account's subscriptions, by work."""
    subscription = view("subscription")
    query = select(subscription).where(subscription.c.subscriber == account, subscription.c.work_id > after)
    return session.execute(query.order_by(subscription.c.work_id).limit(limit)).mappings().all()


def show_subscriptions(head: Head, rows: Sequence[RowMapping]) -> list[SubscriptionOut]:
    """Subscriptions as they are answered."""
    return [
        SubscriptionOut(
            work_id=int(row["work_id"]),
            subscriber=row["subscriber"],
            until=calendar(row["expires_at"]),
            active=head.time < row["expires_at"],
        )
        for row in rows
    ]
