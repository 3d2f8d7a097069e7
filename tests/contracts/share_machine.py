"""A random history of works that are sold with a share of their revenue, beside a model: the ledger's integer twin.

An order carries the seller's signed reassignment of a leaf. Between signing and filling the leaf may move, the split
change, the work be sold, the nonce be used; and a buyer may bring the share of another order. Whatever happens, price,
work and share change hands together or not at all, and every version pays whom the twin pays.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar

from kit import DAY, ZERO
from money import NATIVE, NONE, TIP, WEEK, Leaf, Placed, Tree, claim, grown, hexed, move, node, placed, plain, replaced
from shop import NEVER, NO_PIN, Shop
from shop_machine import FEE_BPS, PRICES, ShopMachine, Signed

from backend.payouts import ledger as twin

FREEZE, COOL_OFF = 30 * DAY, 30 * DAY


@dataclass(kw_only=True)
class Sale(Signed):
    """A signed order of a work, and the leaf of its split that goes with it."""

    leaf: Placed
    nonce: int
    activate_by: int
    share_deadline: int
    share_signature: bytes


def below(tree: Tree, at: int) -> list[twin.Leaf]:
    """The leaves at a position or below it, as the twin takes them."""
    found = [twin.Leaf(leaf.position, leaf.account, leaf.weight) for leaf in placed(tree)]
    return [leaf for leaf in found if twin._is_below(leaf.position, at)]


class ShareMachine(ShopMachine):
    """One history: three works whose splits divide and move, and orders of them that carry a share."""

    OPERATIONS: ClassVar[dict[str, int]] = {
        **{"sign": 12, "fill": 16, "move": 3, "activate": 3, "pay": 4, "wait": 3, "freeze": 2, "cancel_order": 1},
        **{"cancel_all": 1, "transfer": 1, "suspend": 1, "royalty": 1},
    }

    def __init__(self, shop: Shop, accounts: Any, seed: int) -> None:
        super().__init__(shop, accounts, seed)
        self.payer = str(accounts[7])
        self.twin = twin.Ledger(fee_bps=FEE_BPS, treasury=str(accounts[8]))
        self.trees: dict[tuple[int, int], Tree] = {}
        self.pending: dict[int, Tree] = {}
        self.used: dict[tuple[str, int], int] = defaultdict(int)
        for work, owner in self.model.owners.items():
            tree = self.trees[work, 1] = Leaf(owner, 1_000_000)
            at = int(plain(shop.books.workOf(work))[6])
            self.twin.open(work, [], leaves=below(tree, 1), total_weight=1_000_000, now=at)

    # --- operations

    def current(self, work: int) -> Tree:
        """The tree that the next move of a leaf starts from."""
        return self.pending.get(work) or self.trees[work, self.twin.works[work].version]

    def do_sign(self) -> None:
        """Mostly by the owner, of a leaf of its own; mostly each with a nonce that no other order has."""
        work, owner = self.dice.choice([*self.model.owners.items()])
        seller = self.mostly(owner, self.person())
        own = [leaf for leaf in placed(self.current(work)) if leaf.account == seller and leaf.weight]
        if not own:
            return
        leaf, at = self.dice.choice(own), self.now
        others = [sale.nonce for sale in self.orders if sale.order[0] == seller]
        nonce = self.mostly(len(self.orders) << 64, self.dice.choice(others or [0]))
        terms = {
            "token": self.dice.choice(self.tokens),
            "price": self.dice.choice(PRICES),
            "taker": self.mostly(ZERO, self.person()),
            "shareWeight": leaf.weight,
            "shareNonce": nonce,
            "counter": self.model.counters[seller],
            "salt": len(self.orders),
            "deadline": self.mostly(NEVER, at + DAY),
        }
        order, signature = self.shop.signed(self.keys[seller], seller, self.shop.registry, work, **terms)
        until, deadline = self.mostly(NEVER, at + 6 * DAY), self.mostly(NEVER, at + 2 * DAY)
        given = {"nonce": nonce, "activate_by": until, "deadline": deadline}
        share = self.shop.share(self.keys[seller], seller, work, leaf, **given)
        signed = {"order": order, "signature": signature, "leaf": leaf, "nonce": nonce, "activate_by": until}
        self.orders.append(Sale(**signed, share_deadline=deadline, share_signature=share[-1]))

    def in_place(self, sale: Sale) -> Placed | None:
        """The leaf that was signed for, with today's proof; None if it is no longer where it was."""
        leaves = placed(self.current(sale.order[2]))
        return next((one for one in leaves if (one.position, one[:2]) == (sale.leaf.position, sale.leaf[:2])), None)

    def share_of(self, sale: Sale) -> tuple[Any, ...]:
        """The share with a proof of today, where there is one."""
        proof = (self.in_place(sale) or sale.leaf).proof
        moved = move(sale.order[2], sale.leaf, None, sale.activate_by)
        return (moved, proof, [], sale.share_deadline, sale.share_signature)

    def after(self, sale: Sale, to: str) -> Tree | None:
        """The tree in which the leaf is the buyer's."""
        if not self.in_place(sale):
            return None
        return replaced(self.current(sale.order[2]), sale.leaf.position, Leaf(to, sale.leaf.weight))

    def do_fill(self) -> None:
        if not self.orders:
            return
        buyer, to = self.person(), self.mostly(self.person(), self.mostly(self.person(), ZERO))
        good = [sale for sale in self.orders if not self.unfillable(sale, buyer) | self.immovable(sale, to)]
        sale: Sale = self.mostly(self.dice.choice(good or self.orders), self.dice.choice(self.orders[-6:]))
        other: Sale = self.mostly(sale, self.dice.choice(self.orders))
        _, _, work, _, token, price, *_ = sale.order
        store, value = self.shop.store, price if token == NATIVE else 0
        if self.dice.random() < 0.05:
            args = (sale.order, sale.signature, 1, buyer, NO_PIN)
            self.attempt({"StoreShareMismatch"}, store.fillOrder, *args, sender=buyer, value=value)
            return
        if (other.order[2], other.leaf[:2]) != (work, sale.leaf[:2]):
            errors = {"StoreShareMismatch"}  # looked at before all else
        else:
            errors = self.unfillable(sale, buyer) | self.immovable(other, to)
            if other.nonce != sale.nonce:
                errors.add("RevenueInvalidSignature")
        args, after = (sale.order, sale.signature, to, NO_PIN, self.share_of(other)), self.after(other, to)
        if self.attempt(errors, store.fillOrderWithShare, *args, sender=buyer, value=value):
            assert after is not None
            self.sold(sale, to, buyer, other.leaf.position, after)

    def sold(self, sale: Sale, to: str, buyer: str, position: int, after: Tree) -> None:
        seller, _, work, _, token, price, *_ = sale.order
        sale.filled = 1
        self.used[seller, sale.nonce >> 64] += 1
        self.model.sell(work, token, price, buyer, seller)
        self.model.owners[work] = to
        self.share_sold(work, token, price * self.model.royalty_bps // 10_000, position, after)

    def share_sold(self, work: int, token: str, royalty: int, position: int, after: Tree) -> None:
        """The royalty of the sale is still the former holders'."""
        if royalty:
            self.twin.pay(work, token, royalty)
        self.moved(work, position, after)

    def unfillable(self, sale: Sale, buyer: str) -> set[str]:
        """Why the storefront, or the registry, refuses the order."""
        seller, _, work, _, _, _, taker, *_, counter, _, deadline = sale.order
        checks = {
            "StoreOrderExpired": self.now + 1 > deadline,
            "StoreNotTaker": taker not in (ZERO, buyer),
            "StoreOrderCancelled": sale.cancelled or counter != self.model.counters[seller],
            "StoreOrderExhausted": sale.filled,
            "StoreWorkStatus": self.model.status[work] >= 2,
            "ERC721IncorrectOwner": self.model.owners[work] != seller,
            "ERC721InsufficientApproval": self.model.owners[work] != seller,
        }
        return {name for name, applies in checks.items() if applies}

    def immovable(self, sale: Sale, to: str) -> set[str]:
        """Why the ledger refuses the share."""
        seller, work, at, after = sale.order[0], sale.order[2], self.now + 1, self.after(sale, to)
        target = self.twin.works[work]
        at_once = at >= target.activated_at + WEEK
        active = self.trees[work, target.version]
        checks = {
            "RevenueSignatureExpired": at > sale.share_deadline,
            "InvalidAccountNonce": self.used[seller, sale.nonce >> 64] != sale.nonce & (2**64 - 1),
            "RevenueFrozen": at < target.frozen_until,
            "RevenueInvalidProof": to == ZERO or after is None,
            "RevenueNotYet": sale.activate_by < (at if at_once else target.activated_at + WEEK),
            "RevenueNothingPending": at_once and after is not None and node(after) == node(active),
        }
        return {name for name, applies in checks.items() if applies}

    def moved(self, work: int, position: int, after: Tree) -> None:
        """A leaf was replaced: at once where the version is a week old, else it is gathered."""
        target = self.twin.works[work]
        version = target.version
        self.twin.reassign(work, position, below(after, position), now=self.now)
        if target.version == version:
            self.pending[work] = after
        else:
            self.pending.pop(work, None)
            self.trees[work, target.version] = after

    def do_move(self) -> None:
        """A holder divides a leaf or gives it away, without the storefront."""
        work = self.dice.choice([*self.model.owners])
        target, tree = self.twin.works[work], self.current(work)
        leaf, at = self.dice.choice([*placed(tree)]), self.now + 1
        if len(leaf.proof) > 10:
            return
        cuts = sorted(self.dice.randrange(leaf.weight + 1) for _ in range(self.dice.choice([0, 1, 1, 2])))
        bounds = [0, *cuts, leaf.weight]
        by = grown([(self.mostly(leaf.account, self.person()), high - low) for low, high in itertools.pairwise(bounds)])
        after = replaced(tree, leaf.position, by)
        errors = {"RevenueFrozen"} if at < target.frozen_until else set()
        if at >= target.activated_at + WEEK and node(after) == node(self.trees[work, target.version]):
            errors.add("RevenueNothingPending")
        args = (move(work, leaf, by), leaf.proof, [])
        if self.attempt(errors, self.shop.books.reassign, *args, sender=leaf.account):
            self.moved(work, leaf.position, after)

    def do_activate(self) -> None:
        work = self.dice.choice([*self.model.owners])
        target, tree, at = self.twin.works[work], self.pending.get(work), self.now + 1
        errors = {"RevenueFrozen"} if at < target.frozen_until else set()
        if tree is None or node(tree) == node(self.trees[work, target.version]):
            errors.add("RevenueNothingPending")
        if at < target.activated_at + WEEK:
            errors.add("RevenueNotYet")
        if self.attempt(errors, self.shop.books.activate, work, sender=self.payer):
            self.trees[work, self.twin.activate(work, now=self.now)] = self.pending.pop(work)

    def do_pay(self) -> None:
        work, amount = self.dice.choice([*self.model.owners]), self.dice.choice(PRICES[1:])
        args = (work, TIP, NONE)
        self.attempt(set(), self.shop.books.payNative, *args, sender=self.payer, value=amount)
        self.twin.pay(work, NATIVE, amount)
        self.model.pay_work(work, NATIVE, amount)

    def do_freeze(self) -> None:
        """Or thaw, mostly: a freeze is longer than a history."""
        at = self.now + 1
        frozen = [work for work, target in self.twin.works.items() if at < target.frozen_until]
        work = self.dice.choice(frozen or [*self.model.owners])
        end = self.twin.works[work].frozen_until
        thaw = at < end
        errors = {"RevenueNotYet"} if not thaw and end and at < end + COOL_OFF else set()
        if self.attempt(errors, self.shop.books.freeze, work, NONE, not thaw, sender=str(self.admin)):
            self.twin.freeze(work, self.now if thaw else self.now + FREEZE)

    def do_wait(self) -> None:
        self.now += self.dice.randrange(10 * DAY)

    # --- comparison

    def check(self) -> None:
        """Who has what, every version's split and revenue, and each holder's due when it is drawn."""
        self.now += FREEZE  # nothing is frozen any longer
        super().check()
        books = self.shop.books
        for work, target in self.twin.works.items():
            if work == 0:
                continue
            assert plain(books.workOf(work))[2] == target.version, f"work {work} has another version\n{self.story()}"
            waiting = hexed(node(self.pending[work]).hash) if work in self.pending else hexed(NONE)
            assert plain(books.pendingOf(work))[0] == waiting, f"something else is pending\n{self.story()}"
        for (work, version), tree in self.trees.items():
            assert plain(books.splitOf(work, version))[0] == hexed(node(tree).hash), "another split is active"
            for token, leaf in itertools.product(self.tokens, placed(tree)):
                self.draw(work, version, token, leaf)
        for (account, key), count in self.used.items():
            assert int(books.nonces["address,uint192"](account, key)) == (key << 64) + count

    def draw(self, work: int, version: int, token: str, leaf: Placed) -> None:
        if due := self.twin.due(work, token, version, leaf.position, leaf.weight):
            args = (claim(work, version, leaf, token), leaf.proof)
            self.attempt(set(), self.shop.books.withdraw, *args, sender=self.payer)
            self.twin.withdraw(work, token, version, leaf.position, leaf.weight, now=self.now)
            self.model.balance[leaf.account, token] += due
            self.check_money()
