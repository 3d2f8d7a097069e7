"""A work's shop as a page: what is on sale, what one gets, what it costs, who is paid."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from backend.errors import AppError
from backend.shop import catalogue as shop_catalogue
from backend.shop import orderbook
from backend.shop.catalogue import ListingFilter, Reader
from backend.shop.routes import MAX_ID, Shop
from backend.web import shop_page
from backend.web.routes import Visitor, VisitorDep
from backend.works import catalogue
from backend.works.catalogue import described
from indexer.models import view

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

SHOWN = 24
"""Offers of a kind on the page; the API lists all."""


@router.get("/works/{work_id}")
def work_page(work_id: Annotated[int, Path(ge=1, le=MAX_ID)], visitor: VisitorDep, shop: Shop) -> HTMLResponse:
    """What a work sells."""
    try:
        return _work_page(visitor, shop, work_id)
    except AppError as error:
        return visitor.trouble(error)


def _work_page(visitor: Visitor, shop: Reader, work_id: int) -> HTMLResponse:
    row = catalogue.find_work(shop.session, work_id)
    work = catalogue.show_works(shop.session, shop.head, [row])[0]
    wanted = ListingFilter(work_id=work_id, open_at=shop.head.time)
    listings = shop_catalogue.show_listings(
        shop, shop_catalogue.list_listings(shop.session, wanted, before=None, limit=SHOWN)
    )
    rows = shop_catalogue.list_rows(shop.session, "plan", "plan_id", before=None, limit=SHOWN, work_id=work_id)
    plans = [plan for plan in shop_catalogue.show_plans(shop, rows) if plan.state == "open"]
    orders = orderbook.open_of_work(shop, work_id, limit=SHOWN)
    names = _item_names(shop, [int(order.token_id) for order in orders if order.collection == "items"])
    tickets = _tickets(shop, work_id)
    goods = [
        *(shop_page.goods_of_listing(one, ticket=int(one.asset_id) in tickets and one.kind == "character")
          for one in listings),
        *map(shop_page.goods_of_plan, plans),
    ]  # fmt: skip
    titles = _titles(shop, [parent.work_id for parent in work.parents])
    return visitor.page(
        "work.html",
        work=work,
        name=work.title or f"Work {work_id}",
        head=shop.head,
        goods=goods,
        cheapest=shop_page.cheapest(goods, listings, plans),
        second_hand=[shop_page.goods_of_order(order, names) for order in orders],
        upstream=shop_page.upstream(work, titles),
    )


def _tickets(shop: Reader, work_id: int) -> set[int]:
    """The classes of a work that are tickets."""
    column = view("character_class").c
    return set(shop.session.scalars(select(column.class_id).where(column.work_id == work_id, column.ticket)))


def _item_names(shop: Reader, item_ids: list[int]) -> dict[int, str]:
    """What items are called, where their metadata is kept here."""
    item = view("item").c
    digests = dict(shop.session.execute(select(item.item_id, item.cid_digest).where(item.item_id.in_(item_ids))).all())
    said = described(shop.session, shop.store, list(digests.values()))
    named = {int(item_id): said[digest].title for item_id, digest in digests.items() if digest in said}
    return {item_id: title for item_id, title in named.items() if title}


def _titles(shop: Reader, work_ids: list[int]) -> dict[int, str]:
    """What works are called, where their metadata is kept here."""
    work = view("work")
    rows = shop.session.execute(select(work).where(work.c.work_id.in_(work_ids))).mappings().all()
    shown = catalogue.show_works(shop.session, shop.head, rows)
    return {one.work_id: one.title for one in shown if one.title}
