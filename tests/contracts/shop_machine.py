"""A random history of the storefront beside its model in exact integers: every refusal, every unit, who has what.

Money in is what the ledger credited and what sellers got; the storefront holds nothing after any call. Operations come
from a seeded generator; transactions go out by JSON-RPC, without a gas price, at times that both sides know.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, ClassVar

from brownie import web3
from eth_utils import keccak
from kit import DAY, ZERO, mine_at, next_block_at, now
from money import NATIVE, NONE, SUSPENDED, hexed, keyed, plain
from shop import (
    CHARACTER,
    EDITION,
    NEVER,
    NO_PIN,
    REF,
    RENTAL,
    WORK,
    Shop,
    class_created,
    item_created,
    listing,
    minted,
)
from works import registered

FEE_BPS = 250
PRICES = [0, 1, 7, 19, 1_001, 99_999, 10**18 + 3]


@dataclass
class Offer:
    """A listing as the model keeps it."""

    seller: str
    work: int
    kind: int
    asset: int
    token: str
    price: int
    supply: int
    starts: int
    ends: int
    period: int
    sold: int = 0
    closed: bool = False


@dataclass
class Signed:
    """An order that somebody signed."""

    order: tuple[Any, ...]
    signature: bytes
    filled: int = 0
    cancelled: bool = False


@dataclass
class Model:
    """Who has what, and what everybody was paid."""

    owners: dict[int, str] = field(default_factory=dict)
    status: dict[int, int] = field(default_factory=dict)
    items: dict[int, list[int]] = field(default_factory=dict)
    held: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    classes: dict[int, list[int]] = field(default_factory=dict)
    characters: dict[int, str] = field(default_factory=dict)
    users: dict[int, tuple[str, int]] = field(default_factory=dict)
    offers: dict[int, Offer] = field(default_factory=dict)
    rentals: dict[int, int] = field(default_factory=dict)
    plans: dict[int, list[Any]] = field(default_factory=dict)
    until: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    counters: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    royalty_bps: int = 500
    balance: dict[tuple[str, str], int] = field(default_factory=dict)
    direct: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))

    def pay_work(self, work: int, token: str, amount: int) -> None:
        fee = amount * FEE_BPS // 10_000
        self.direct[work, token] += amount - fee
        self.direct[0, token] += fee

    def sell(self, work: int, token: str, total: int, buyer: str, seller: str) -> None:
        """A holder's sale: the work has its royalty, the seller the rest."""
        royalty = total * self.royalty_bps // 10_000
        self.balance[buyer, token] -= total
        self.balance[seller, token] += total - royalty
        self.pay_work(work, token, royalty)


class ShopMachine:
    """One history: a deployed shop with three works, and its model."""

    OPERATIONS: ClassVar[dict[str, int]] = {
        **{"buy": 8, "rent": 4, "subscribe": 3, "sign": 4, "fill": 10, "list": 5, "reprice": 1, "cancel": 1, "plan": 4},
        **{"close_plan": 1, "cancel_order": 1, "cancel_all": 1, "transfer": 1, "suspend": 1, "royalty": 1, "wait": 1},
    }
    """The operations, and how often each is drawn."""

    def __init__(self, shop: Shop, accounts: Any, seed: int) -> None:
        self.shop, self.dice, self.admin = shop, random.Random(seed), accounts[0]
        self.people = [str(account) for account in accounts[1:6]]
        self.keys = {str(accounts[index]): keyed(index).key for index in range(1, 6)}
        self.tokens = [NATIVE, str(shop.usd)]
        self.model, self.orders, self.done = Model(), [], []
        self.counted: dict[tuple[str, str], int] = defaultdict(int)
        contracts = [shop.store, shop.items, shop.characters, shop.registry, shop.books]
        self.names = {
            hexed(keccak(text=f"{entry['name']}({','.join(i['type'] for i in entry['inputs'])})")[:4]): entry["name"]
            for contract in contracts
            for entry in contract.abi
            if entry["type"] == "error"
        }
        self._found(accounts)
        self.now = now()

    def _found(self, accounts: Any) -> None:
        """Three works, each with an item, a class and two characters; everybody has coins and trusts the storefront."""
        shop, model = self.shop, self.model
        for account in accounts[1:6]:
            shop.usd.mint(account, 10**24, {"from": account})
            shop.usd.approve(shop.store, 2**256 - 1, {"from": account})
            for collection in (shop.items, shop.characters, shop.registry):
                collection.setApprovalForAll(shop.store, True, {"from": account})
        for account in accounts[1:4]:
            work = registered(shop.registry, account)
            model.owners[work], model.status[work] = str(account), 0
            item = item_created(shop.items, work, account, supply=30)
            shop.items.mint(account, item, 10, {"from": account})
            model.items[item], model.held[item, str(account)] = [work, 30, 10], 10
            number = class_created(shop.characters, work, account, supply=12)
            model.classes[number] = [work, 12, 2]
            for _ in range(2):
                model.characters[minted(shop.characters, number, account, account)] = str(account)
        for person in self.people:
            web3.provider.make_request("anvil_setBalance", [person, hex(10**24)])
            model.balance[person, NATIVE] = 10**24
            model.balance[person, self.tokens[1]] = int(shop.usd.balanceOf(person))

    # --- the chain

    def attempt(self, errors: set[str], function: Any, *args: Any, sender: str, value: int = 0) -> Any:
        """It must be refused by one of these errors, or done if there are none. Returns the receipt if it was done."""
        self.now += 1
        name = function._name.partition(".")[2]
        self.counted[name, "refused" if errors else "done"] += 1
        self.done.append(f"{name} {args} by {sender} with {value}: {errors or 'done'}")
        request = {
            **{"from": sender, "to": function._address, "data": function.encode_input(*args), "value": value},
            **{"gas": 5_000_000, "gasPrice": 0},
        }
        next_block_at(self.now)
        if not errors:
            receipt = web3.eth.wait_for_transaction_receipt(web3.eth.send_transaction(request), poll_latency=0.001)
            assert receipt["status"] == 1, f"was refused\n{self.story()}"
            return receipt
        web3.provider.make_request("evm_mine", [])
        try:
            web3.eth.call(request)
        except ValueError as error:
            found = self.names.get(str(error.args[0].get("data"))[:10])
            assert found in errors, f"refused by {found}\n{self.story()}"
        else:
            raise AssertionError(f"went through\n{self.story()}")
        return None

    def story(self) -> str:
        return "\n".join(self.done[-8:])

    # --- operations

    def step(self) -> None:
        chosen = self.dice.choices([*self.OPERATIONS], [*self.OPERATIONS.values()])[0]
        getattr(self, f"do_{chosen}")()
        self.check_money()

    def person(self) -> str:
        return self.dice.choice(self.people)

    def mostly(self, usual: Any, other: Any) -> Any:
        return usual if self.dice.random() < 0.85 else other

    def payment(self, token: str, total: int) -> tuple[int, int, set[str]]:
        """Bound and value of a purchase, mostly right ones, and the errors of wrong ones."""
        errors = set()
        bound = self.mostly(total, max(0, total - 1))
        value = self.mostly(total if token == NATIVE else 0, 1 if token != NATIVE else total + 1)
        if bound < total:
            errors.add("StorePriceAboveMax")
        if value != (total if token == NATIVE else 0):
            errors.add("StoreWrongPayment")
        return bound, value, errors

    def do_list(self) -> None:
        dice, model = self.dice, self.model
        kind = dice.randrange(4)
        asset = dice.choice([*(model.items, model.classes, model.owners, model.characters)[kind]])
        work = asset if kind == WORK else self.work_of(asset) if kind == RENTAL else None
        work = work or (model.items if kind == EDITION else model.classes)[asset][0]
        owner = model.characters[asset] if kind == RENTAL else model.owners[work]
        sender = self.mostly(owner, self.person())
        token, price = dice.choice(self.tokens), dice.choice(PRICES)
        supply = 1 if kind == WORK else 10 * DAY if kind == RENTAL else dice.randrange(1, 9)
        starts, ends = self.mostly(0, self.now + DAY), self.mostly(0, self.now + 3 * DAY)
        period = DAY if kind == RENTAL else 0
        params = listing(kind, asset, price, token=token, maxSupply=supply, startsAt=starts, endsAt=ends, period=period)
        errors = set() if sender == owner else {"StoreUnauthorized"}
        if not self.attempt(errors, self.shop.store.list, params, sender=sender):
            return
        number = len(model.offers) + 1
        model.offers[number] = Offer(sender, work, kind, asset, token, price, supply, starts, ends, period)
        if kind == RENTAL:
            previous = model.rentals.get(asset)
            if previous:
                model.offers[previous].closed = True
            model.rentals[asset] = number

    def do_reprice(self) -> None:
        if not self.model.offers:
            return
        number, offer = self.dice.choice([*self.model.offers.items()])
        sender, price = self.mostly(offer.seller, self.person()), self.dice.choice(PRICES)
        errors = {"StoreUnauthorized"} if sender != offer.seller else {"StoreClosed"} if offer.closed else set()
        if self.attempt(errors, self.shop.store.reprice, number, price, sender=sender):
            offer.price = price

    def do_cancel(self) -> None:
        if not self.model.offers:
            return
        number, offer = self.dice.choice([*self.model.offers.items()])
        sender = self.mostly(offer.seller, self.person())
        errors = {"StoreUnauthorized"} if sender not in (offer.seller, self.owner_of(offer)) else set()
        if offer.closed:
            errors.add("StoreClosed")
        if self.attempt(errors, self.shop.store.cancelListing, number, sender=sender):
            offer.closed = True

    def do_buy(self) -> None:
        if not self.model.offers:
            return
        model, buyer, to = self.model, self.person(), self.person()
        number, offer = self.dice.choice([*model.offers.items()])
        qty = self.mostly(1, self.dice.randrange(4))
        total = offer.price * qty
        bound, value, errors = self.payment(offer.token, total)
        errors |= self.closed(offer)
        if offer.kind == RENTAL or qty == 0:
            errors.add("StoreQuantity")
        if qty > offer.supply - offer.sold:
            errors.add("StoreSoldOut")
        stock = {EDITION: model.items, CHARACTER: model.classes}.get(offer.kind, {}).get(offer.asset)
        if stock and qty > stock[1] - stock[2]:
            errors |= {"ItemSupplyExceeded", "CharacterSupplyExceeded"}
        store = self.shop.store
        if not self.attempt(errors, store.buy, number, qty, bound, to, REF, sender=buyer, value=value):
            return
        offer.sold += qty
        if offer.kind == WORK:
            model.sell(offer.work, offer.token, total, buyer, offer.seller)
            model.owners[offer.asset] = to
            return
        model.balance[buyer, offer.token] -= total
        model.pay_work(offer.work, offer.token, total)
        assert stock is not None
        if offer.kind == EDITION:
            model.held[offer.asset, to] += qty
        for index in range(qty if offer.kind == CHARACTER else 0):
            model.characters[(offer.asset << 32) + stock[2] + index + 1] = to
        stock[2] += qty

    def do_rent(self) -> None:
        model, user = self.model, self.person()
        asset = self.dice.choice([*model.characters])
        number = model.rentals.get(asset)
        duration = self.dice.choice([DAY, DAY, DAY + 1, 3 * DAY, 9 * DAY, DAY - 1, 10 * DAY + 1])
        store = self.shop.store
        if not number:
            self.attempt({"StoreUnknown"}, store.rent, asset, duration, 0, sender=user)
            return
        offer = model.offers[number]
        total = -(-offer.price * duration // offer.period)
        bound, value, errors = self.payment(offer.token, total)
        errors |= self.closed(offer)
        at = self.now + 1
        present, ends = model.users.get(asset, (ZERO, 0))
        running = ends > at
        expires = (ends if running and present == user else at) + duration
        if duration < DAY or duration > 10 * DAY or expires - at > 10 * DAY:
            errors.add("StoreDuration")
        if running and present != user:
            errors.add("CharacterRented")
        if self.attempt(errors, store.rent, number, duration, bound, sender=user, value=value):
            model.sell(offer.work, offer.token, total, user, offer.seller)
            model.users[asset] = (user, expires)

    def do_plan(self) -> None:
        model = self.model
        work = self.dice.choice([*model.owners])
        sender = self.mostly(model.owners[work], self.person())
        token, price, period = self.dice.choice(self.tokens), self.dice.choice(PRICES), self.dice.randrange(1, 9) * DAY
        errors = {"StoreUnauthorized"} if sender != model.owners[work] else {"StorePlanInvalid"} if not price else set()
        if self.attempt(errors, self.shop.store.createPlan, work, token, price, period, sender=sender):
            model.plans[len(model.plans) + 1] = [work, period, price, False, token]

    def do_close_plan(self) -> None:
        if not self.model.plans:
            return
        number, plan = self.dice.choice([*self.model.plans.items()])
        owner = self.model.owners[plan[0]]
        sender = self.mostly(owner, self.person())
        errors = {"StoreUnauthorized"} if sender != owner else {"StoreClosed"} if plan[3] else set()
        if self.attempt(errors, self.shop.store.closePlan, number, sender=sender):
            plan[3] = True

    def do_subscribe(self) -> None:
        if not self.model.plans:
            return
        model, payer, to = self.model, self.person(), self.person()
        number, (work, period, price, closed, token) = self.dice.choice([*model.plans.items()])
        periods = self.mostly(self.dice.randrange(1, 4), 0)
        total = price * periods
        bound, value, errors = self.payment(token, total)
        if closed:
            errors.add("StoreClosed")
        if not periods:
            errors.add("StoreQuantity")
        if model.status[work] >= 2:
            errors.add("StoreWorkStatus")
        store = self.shop.store
        if self.attempt(errors, store.subscribe, number, periods, bound, to, sender=payer, value=value):
            model.until[work, to] = max(self.now, model.until[work, to]) + period * periods
            model.balance[payer, token] -= total
            model.pay_work(work, token, total)

    def do_sign(self) -> None:
        """Signing takes no transaction. Some sign for what they don't have."""
        dice, model, shop = self.dice, self.model, self.shop
        collection = dice.choice([shop.items, shop.items, shop.characters, shop.registry])
        if collection == shop.items:
            asset, seller = dice.choice([*model.held])
            amount = dice.randrange(1, 5)
        else:
            asset, seller = dice.choice([*(model.owners if collection == shop.registry else model.characters).items()])
            amount = 1
        seller = self.mostly(seller, self.person())
        order, signature = shop.signed(
            self.keys[seller],
            seller,
            collection,
            asset,
            amount=amount,
            token=dice.choice(self.tokens),
            price=dice.choice(PRICES),
            taker=self.mostly(ZERO, self.person()),
            counter=model.counters[seller],
            salt=len(self.orders),
            deadline=self.mostly(NEVER, self.now + DAY),
        )
        self.orders.append(Signed(order, signature))

    def do_fill(self) -> None:
        if not self.orders:
            return
        model, buyer, to = self.model, self.person(), self.person()
        signed = self.dice.choice(self.orders[-12:])
        seller, collection, asset, amount, token, price, taker, *_, counter, _, deadline = signed.order
        qty = self.mostly(1, self.dice.randrange(3))
        total = price * qty
        _, value, errors = self.payment(token, total)
        errors.discard("StorePriceAboveMax")
        work = self.work_of_order(signed)
        at = self.now + 1
        checks = {
            "StoreOrderExpired": at > deadline,
            "StoreNotTaker": taker not in (ZERO, buyer),
            "StoreQuantity": qty == 0,
            "StoreOrderCancelled": signed.cancelled or counter != model.counters[seller],
            "StoreOrderExhausted": not signed.cancelled and qty > amount - signed.filled,
            "StoreWorkStatus": model.status[work] >= 2,
        }
        if collection == str(self.shop.items):
            checks["ERC1155InsufficientBalance"] = model.held[asset, seller] < qty
        elif collection == str(self.shop.registry):
            checks["ERC721IncorrectOwner"] = checks["ERC721InsufficientApproval"] = model.owners[asset] != seller
        else:
            moved = model.characters[asset] != seller
            checks["ERC721IncorrectOwner"] = checks["ERC721InsufficientApproval"] = moved
            checks["CharacterRented"] = model.users.get(asset, (ZERO, 0))[1] > at
        errors |= {name for name, applies in checks.items() if applies}
        args = (signed.order, signed.signature, qty, to, NO_PIN)
        if not self.attempt(errors, self.shop.store.fillOrder, *args, sender=buyer, value=value):
            return
        signed.filled += qty
        model.sell(work, token, total, buyer, seller)
        if collection == str(self.shop.items):
            model.held[asset, seller] -= qty
            model.held[asset, to] += qty
        elif collection == str(self.shop.registry):
            model.owners[asset] = to
        else:
            model.characters[asset] = to
            model.users.pop(asset, None)

    def do_cancel_order(self) -> None:
        if not self.orders:
            return
        signed = self.dice.choice(self.orders)
        sender = self.mostly(signed.order[0], self.person())
        errors = {"StoreUnauthorized"} if sender != signed.order[0] else set()
        if self.attempt(errors, self.shop.store.cancelOrder, signed.order, sender=sender):
            signed.cancelled = True

    def do_cancel_all(self) -> None:
        sender = self.person()
        self.attempt(set(), self.shop.store.cancelAllOrders, sender=sender)
        self.model.counters[sender] += 1

    def do_transfer(self) -> None:
        """A work changes hands without the storefront."""
        work, owner = self.dice.choice([*self.model.owners.items()])
        to = self.person()
        self.attempt(set(), self.shop.registry.transferFrom, owner, to, work, sender=owner)
        self.model.owners[work] = to

    def do_suspend(self) -> None:
        """Or reinstate: works are mostly active."""
        work = self.dice.choice([*self.model.owners])
        status = 0 if self.model.status[work] else SUSPENDED
        self.attempt(set(), self.shop.registry.setStatus, work, status, NONE, sender=str(self.admin))
        self.model.status[work] = status

    def do_royalty(self) -> None:
        bps = self.dice.choice([0, 1, 250, 500, 999, 1_000])
        self.attempt(set(), self.shop.registry.setRoyaltyBps, bps, sender=str(self.admin))
        self.model.royalty_bps = bps

    def do_wait(self) -> None:
        self.now += self.dice.randrange(2 * DAY)

    # --- the model's answers

    def work_of(self, character: int) -> int:
        return self.model.classes[character >> 32][0]

    def work_of_order(self, signed: Signed) -> int:
        _, collection, asset, *_ = signed.order
        if collection == str(self.shop.items):
            return self.model.items[asset][0]
        return int(asset) if collection == str(self.shop.registry) else self.work_of(asset)

    def owner_of(self, offer: Offer) -> str:
        return self.model.characters[offer.asset] if offer.kind == RENTAL else self.model.owners[offer.work]

    def closed(self, offer: Offer) -> set[str]:
        """Why nothing is sold of an offer now."""
        at = self.now + 1
        errors = {"StoreWorkStatus"} if self.model.status[offer.work] >= 2 else set()
        ended = bool(offer.ends) and at >= offer.ends
        if offer.closed or ended or at < offer.starts or self.owner_of(offer) != offer.seller:
            errors.add("StoreClosed")
        return errors

    # --- comparison

    def check_money(self) -> None:
        """Nothing stays in the storefront; money in is credited in the ledger and paid to sellers, to the unit."""
        store = self.shop.store.address
        for token in self.tokens:
            held = self.balance(store, token)
            assert held == 0, f"the storefront keeps {held} of {token}\n{self.story()}"
        for (person, token), expected in self.model.balance.items():
            assert self.balance(person, token) == expected, f"{person} has another sum of {token}\n{self.story()}"

    def balance(self, account: str, token: str) -> int:
        if token == NATIVE:
            return int(web3.eth.get_balance(account))
        data = "0x70a08231" + account[2:].rjust(64, "0")  # balanceOf; Brownie's own call takes ten times as long
        return int(web3.provider.make_request("eth_call", [{"to": token, "data": data}, "latest"])["result"], 16)

    def check(self) -> None:
        """Everything that can be asked for, at the machine's time: the last step may have been a wait."""
        self.now += 1
        mine_at(self.now)
        shop, model = self.shop, self.model
        for token in self.tokens:
            for work in (0, *model.owners):
                assert plain(shop.books.accountOf(work, token))[0] == model.direct[work, token]
            total = sum(amount for (_, its), amount in model.direct.items() if its == token)
            books = shop.books.balance() if token == NATIVE else shop.usd.balanceOf(shop.books)
            assert books == total, "the ledger holds what the works were credited"
        for work, owner in model.owners.items():
            assert shop.registry.ownerOf(work) == owner
            for person in self.people:
                assert shop.store.subscribedUntil(work, person) == model.until[work, person]
                holds = any(model.held[item, person] for item, facts in model.items.items() if facts[0] == work)
                expected = person == owner or self.now < model.until[work, person] or holds
                assert shop.store.hasAccess(person, work) == expected
        for item, (_, _, count) in model.items.items():
            assert shop.items.itemOf(item)[2] == count
            for person in self.people:
                assert shop.items.balanceOf(person, item) == model.held[item, person]
        for character, owner in model.characters.items():
            assert shop.characters.ownerOf(character) == owner
            user, ends = model.users.get(character, (ZERO, 0))
            holder = user if ends > self.now else owner
            for person in self.people:
                assert shop.store.hasAccessBy(person, self.work_of(character), character) == (person == holder)


class Rebuilt:
    """The storefront's state, folded from its events alone."""

    def __init__(self) -> None:
        self.listings: dict[int, list[Any]] = {}
        self.rentals: dict[int, int] = {}
        self.plans: dict[int, list[Any]] = {}
        self.until: dict[tuple[int, str], int] = {}
        self.filled: dict[str, int] = defaultdict(int)
        self.counters: dict[str, int] = {}

    def fold(self, name: str, args: dict[str, Any]) -> None:
        handler = getattr(self, f"on_{name}", None)
        if handler:
            handler(args)

    def on_Listed(self, e: dict[str, Any]) -> None:
        head = [e["seller"], e["workId"], e["kind"], None, False, e["token"], None, None, e["price"], e["maxSupply"], 0]
        self.listings[e["listingId"]] = head

    def on_ListingTerms(self, e: dict[str, Any]) -> None:
        one = self.listings[e["listingId"]]
        one[3], one[6], one[7] = e["paymentKind"], e["startsAt"], e["endsAt"]
        one += [e["assetId"], hexed(e["cidDigest"]), e["account"], e["period"], e["expectedState"]]
        if one[2] == RENTAL:
            self.rentals[e["assetId"]] = e["listingId"]

    def on_ListingRepriced(self, e: dict[str, Any]) -> None:
        self.listings[e["listingId"]][8] = e["price"]

    def on_ListingCancelled(self, e: dict[str, Any]) -> None:
        self.listings[e["listingId"]][4] = True

    def on_Purchased(self, e: dict[str, Any]) -> None:
        self.listings[e["listingId"]][10] += e["qty"]

    def on_PlanCreated(self, e: dict[str, Any]) -> None:
        self.plans[e["planId"]] = [e["workId"], e["period"], e["price"], False, e["token"]]

    def on_PlanClosed(self, e: dict[str, Any]) -> None:
        self.plans[e["planId"]][3] = True

    def on_Subscribed(self, e: dict[str, Any]) -> None:
        self.until[self.plans[e["planId"]][0], e["subscriber"]] = e["expiresAt"]

    def on_OrderFilled(self, e: dict[str, Any]) -> None:
        self.filled[hexed(e["orderHash"])] += e["qty"]

    def on_OrderCancelled(self, e: dict[str, Any]) -> None:
        self.filled[hexed(e["orderHash"])] = 2**256 - 1

    def on_OrdersCancelled(self, e: dict[str, Any]) -> None:
        self.counters[e["seller"]] = e["counter"]
