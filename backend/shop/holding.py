"""Who holds a token of the set, and whether the storefront may move it: from the mirror's transfers and approvals."""

from __future__ import annotations

from typing import Any, Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.chain import ChainInfo
from indexer.models import event, view

CollectionName = Literal["works", "characters", "items"]
CONTRACTS: Final[dict[CollectionName, str]] = {"works": "WorkRegistry", "characters": "Characters", "items": "Items"}
SHOP: Final = "Storefront"


def held(session: Session, collection: CollectionName, token_id: int, account: bytes) -> int:
    """How many of a token an account holds: 0 or 1 unless it is an item."""
    if collection == "items":
        balance = view("item_balance").c
        found = session.scalar(select(balance.balance).where(balance.account == account, balance.item_id == token_id))
        return int(found or 0)
    table, key = ("work", "work_id") if collection == "works" else ("character", "token_id")
    token = view(table).c
    return int(session.scalar(select(token.owner).where(token[key] == token_id)) == account)


def work_of(session: Session, collection: CollectionName, token_id: int) -> int | None:
    """The work that a token belongs to; None if there is no such token."""
    table, key = {
        "works": ("work", "work_id"),
        "characters": ("character", "token_id"),
        "items": ("item", "item_id"),
    }[collection]
    token = view(table).c
    found = session.scalar(select(token.work_id).where(token[key] == token_id))
    return None if found is None else int(found)


def shop_may_move(session: Session, chain: ChainInfo, collection: CollectionName, token_id: int, owner: bytes) -> bool:
    """Whether an owner lets the storefront move a token, by itself or with all of them."""
    contract = CONTRACTS[collection]
    shop = bytes.fromhex(chain.address(SHOP)[2:])
    everything = event(contract, "ApprovalForAll").c
    holder = everything.account if collection == "items" else everything.owner
    said = session.scalar(
        select(everything.approved)
        .where(holder == owner, everything.operator == shop)
        .order_by(everything.block_number.desc(), everything.log_index.desc())
        .limit(1)
    )
    return bool(said) or (collection != "items" and _approved(session, contract, token_id) == shop)


def _approved(session: Session, contract: str, token_id: int) -> bytes | None:
    """Who is approved for an ERC-721 token: the last approval, unless the token has moved since."""
    approval, transfer = event(contract, "Approval").c, event(contract, "Transfer").c
    moved = _last(session, transfer, token_id)
    given = _last(session, approval, token_id, approval.approved)
    if given is None or (moved is not None and tuple(moved)[:2] > tuple(given)[:2]):
        return None
    return bytes(given[2])


def _last(session: Session, table: Any, token_id: int, *more: Any) -> Any:
    query = select(table.block_number, table.log_index, *more).where(table.token_id == token_id)
    return session.execute(query.order_by(table.block_number.desc(), table.log_index.desc()).limit(1)).one_or_none()


def minted_to(session: Session, item_id: int, account: bytes) -> int:
    """How many of an item were ever minted to an account."""
    move = view("item_move").c
    found = session.scalars(
        select(move.amount).where(move.item_id == item_id, move.to_ == account, move.from_ == bytes(20))
    )
    return sum(found)
