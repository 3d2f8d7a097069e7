"""The exact integer twin of RevenueLedger: what is owed to whom, by events or by operations. Standard library only.

The payout service predicts each withdrawal with it; tests compare every balance of the contract with it after random
operations, and fold the ledger's events through it. `indexer verify` does without: it imports nothing of the backend
and compares the mirror with the contract's own getters. All amounts are base units of one token (wei), all weights and
shares are integers, and every division says which way it rounds.

The arithmetic (docs/money.md tells it by an example). For a work w and a token, with direct D and inherited H, the
lifetime income of w, and for each edge e of w to a parent:

    basis(e) = D + H   if e is relative, else D
    due(e)   = floor(basis(e) * bps / 10000)                               grows with the basis, whatever the order
    net(D,H) = D + H - ceil(((D + H) * relative_bps + D * absolute_bps) / 10000)

and for a leaf of weight x in version v of w's split, whose first credit found (D0,H0) and whose last left (D1,H1):

    share(x) = floor((net(D1,H1) - net(D0,H0)) * x / total_weight)

A version that was never credited in a token has accrued nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

BPS = 10_000
MAX_FEE_BPS = 1_000
MAX_EDGES = 16
MAX_UPSTREAM_BPS = 8_000
MAX_COUNTER = 2**112 - 1
PLATFORM = 0
"""The work that stands for the platform itself; its split is the revenue policy, and fees are its income."""
FIRST_VERSION = 1
SPLIT_INTERVAL_S = 7 * 24 * 3600
NATIVE = "0x0000000000000000000000000000000000000000"

ACTIVE, DISPUTED, SUSPENDED, SUSPENDED_DISPUTED, REVOKED = range(5)
"""A work's status as the registry pushes it; only a revoked work takes no payments."""


class LedgerError(Exception):
    """The ledger refuses an operation; the subclasses bear the names of the contract's errors."""


class UnknownWork(LedgerError):
    """The work was never opened."""


class WorkNotPayable(LedgerError):
    """The work is revoked."""


class ZeroAmount(LedgerError):
    """A payment of nothing."""


class NothingDue(LedgerError):
    """Nothing to withdraw for this leaf, version and token."""


class FeeTooHigh(LedgerError):
    """A platform fee above 1,000 basis points."""


class NotYet(LedgerError):
    """The pending split may not become a version yet, or there is none."""


class Frozen(LedgerError):
    """Withdrawals of the work are stopped for a time."""


class NotDisputed(LedgerError):
    """Nobody contested the work's registration, so its split is its holders' alone."""


class EdgeLimit(LedgerError):
    """Too many edges, too much for the parents, or an edge to a work that isn't older."""


class InvalidShare(LedgerError):
    """A leaf that isn't in the split, or new leaves that don't add up to the one they replace."""


class Overflow(LedgerError):
    """A counter would pass 2**112 - 1."""


class EventMismatch(LedgerError):
    """An event says something else than the twin reckons: the message has both figures."""


class Edge(NamedTuple):
    """The part of a work's income that goes to one parent; fixed when the work is opened."""

    parent: int
    bps: int
    relative: bool


class Counters(NamedTuple):
    """Lifetime income of a (work, token) in base units: paid to the work itself, and settled up from derived works."""

    direct: int = 0
    inherited: int = 0

    @property
    def gross(self) -> int:
        return self.direct + self.inherited

    def plus(self, direct: int = 0, inherited: int = 0) -> Counters:
        """The counters after a credit; raises Overflow where the contract's uint112 would."""
        grown = Counters(self.direct + direct, self.inherited + inherited)
        if grown.direct > MAX_COUNTER or grown.inherited > MAX_COUNTER:
            raise Overflow(f"a counter would become {max(grown)}, above {MAX_COUNTER}")
        return grown


class Accrual(NamedTuple):
    """What a split version found at its first credit in a token, and what its last credit left."""

    before: Counters
    after: Counters


class Leaf(NamedTuple):
    """A holder's share in one version: position = (1 << proof length) | path, unique in the tree."""

    position: int
    account: str
    weight: int


class Settle(NamedTuple):
    """One settlement to run: edge number `edge` of `work`, in `token`."""

    work: int
    edge: int
    token: str


class Entry(NamedTuple):
    """One line of double-entry bookkeeping; the lines of one event add up to zero (V1).

    `account` is "world" for money that comes in or goes out, or "work:<id>" for what the ledger holds for a work.
    """

    account: str
    token: str
    amount: int


# --- the formulas ------------------------------------------------------------------------------------------------


def fee_of(amount: int, fee_bps: int) -> int:
    """The platform's fee on a payment, rounded down."""
    return amount * fee_bps // BPS


def edge_due(edge: Edge, counters: Counters) -> int:
    """What an edge owes its parent over the work's whole life, rounded down once."""
    basis = counters.gross if edge.relative else counters.direct
    return basis * edge.bps // BPS


def upstream_bps(edges: Iterable[Edge]) -> tuple[int, int]:
    """The sums of the relative and of the absolute edges' basis points."""
    relative = absolute = 0
    for edge in edges:
        if edge.relative:
            relative += edge.bps
        else:
            absolute += edge.bps
    return relative, absolute


def net(counters: Counters, relative_bps: int, absolute_bps: int) -> int:
    """What stays for the work's own holders, the parents' part rounded up once."""
    upstream = counters.gross * relative_bps + counters.direct * absolute_bps
    return counters.gross - (upstream + BPS - 1) // BPS


def accrued(accrual: Accrual | None, relative_bps: int, absolute_bps: int) -> int:
    """What one split version has earned for its holders; None means never credited, which is zero."""
    if accrual is None:
        return 0
    return net(accrual.after, relative_bps, absolute_bps) - net(accrual.before, relative_bps, absolute_bps)


def share(amount: int, weight: int, total_weight: int) -> int:
    """A leaf's part of what its version accrued, rounded down."""
    return amount * weight // total_weight


# --- the machine -------------------------------------------------------------------------------------------------


@dataclass
class Split:
    """One version of a work's split. `leaves` may be fewer than the tree's: the rest is then unknown, not absent."""

    total_weight: int
    leaves: tuple[Leaf, ...]


@dataclass
class Work:
    """A work's fixed edges, its split versions, and what the registry and moderators set on it."""

    edges: tuple[Edge, ...]
    splits: dict[int, Split]
    version: int = FIRST_VERSION
    status: int = ACTIVE
    frozen_until: int = 0
    activated_at: int = 0
    pending: tuple[Leaf, ...] | None = None
    relative_bps: int = field(init=False)
    absolute_bps: int = field(init=False)

    def __post_init__(self) -> None:
        self.relative_bps, self.absolute_bps = upstream_bps(self.edges)

    @property
    def split(self) -> Split:
        return self.splits[self.version]

    @property
    def disputed(self) -> bool:
        return self.status in (DISPUTED, SUSPENDED_DISPUTED)


Key = tuple[int, str]
"""(work, token)"""


class Ledger:
    """RevenueLedger in integers: the same operations, the same refusals, the same amounts.

    Time is an argument (seconds). Tokens and accounts are any strings that are used consistently. Work 0 is there
    from the start; its holders are given by `treasury`.
    """

    def __init__(
        self,
        *,
        fee_bps: int = 0,
        treasury: str = "treasury",
        treasury_weight: int = 1_000_000,
        split_interval_s: int = SPLIT_INTERVAL_S,
    ) -> None:
        self.fee_bps = 0
        self.split_interval_s = split_interval_s
        self.works: dict[int, Work] = {}
        self.counters: dict[Key, Counters] = {}
        self.accruals: dict[tuple[int, str, int], Accrual] = {}
        self.settled: dict[tuple[int, int, str], int] = {}
        self.withdrawn: dict[tuple[int, str, int, int], int] = {}
        self.paid_out: dict[tuple[int, str, int], int] = {}
        self.received: dict[str, int] = {}
        self.released: dict[str, int] = {}
        self.fees: dict[str, int] = {}
        self.entries: list[tuple[Entry, ...]] = []
        self.set_fee(fee_bps)
        self.works[PLATFORM] = Work((), {FIRST_VERSION: _whole(treasury, treasury_weight)})

    @classmethod
    def restored(
        cls,
        *,
        edges: Mapping[int, Sequence[Edge]],
        versions: Mapping[int, Mapping[int, int]],
        accruals: Mapping[tuple[int, str, int], Accrual],
        settled: Mapping[tuple[int, int, str], int],
        withdrawn: Mapping[tuple[int, str, int, int], int],
    ) -> Ledger:
        """A ledger in the state that rows of the mirror describe, to reckon with; it may hold a part of all works.

        `versions` gives each work's split versions with their total weights; the highest is live. A parent that isn't
        among the works can't be settled to.
        """
        book = cls()
        for work, weights in versions.items():
            splits = {version: Split(total, ()) for version, total in weights.items()}
            book.works[work] = Work(tuple(edges.get(work, ())), splits, version=max(splits))
        book.accruals = dict(accruals)
        for (work, token, _), accrual in accruals.items():
            # counters never fall, so the latest version's are the largest
            book.counters[work, token] = max(book.counters.get((work, token), accrual.after), accrual.after, key=sum)
        book.settled, book.withdrawn = dict(settled), dict(withdrawn)
        return book

    # operations

    def open(
        self,
        work: int,
        edges: Sequence[Edge] = (),
        *,
        leaves: Sequence[Leaf] = (),
        total_weight: int,
        now: int = 0,
    ) -> None:
        """Open a work's account with its edges and its first split version.

        Raises EdgeLimit when there are more than 16 edges, when they take more than 80%, or when a parent isn't an
        older, opened work other than the platform; InvalidShare when the leaves exceed the total weight.
        """
        if work in self.works:
            raise LedgerError(f"work {work} is open already")
        relative, absolute = upstream_bps(edges)
        if len(edges) > MAX_EDGES or relative + absolute > MAX_UPSTREAM_BPS:
            raise EdgeLimit(f"work {work}: {len(edges)} edges that take {relative + absolute} basis points")
        for edge in edges:
            if not PLATFORM < edge.parent < work or edge.parent not in self.works or edge.bps <= 0:
                raise EdgeLimit(f"work {work} can't have the edge {edge}")
        if total_weight <= 0 or sum(leaf.weight for leaf in leaves) > total_weight:
            raise InvalidShare(f"work {work}: leaves weigh more than {total_weight}")
        self.works[work] = Work(tuple(edges), {FIRST_VERSION: Split(total_weight, tuple(leaves))}, activated_at=now)

    def pay(self, work: int, token: str, amount: int) -> int:
        """Credit a payment to a work and its fee to the platform; returns the fee.

        The platform pays no fee to itself. Raises UnknownWork, WorkNotPayable, ZeroAmount, Overflow.
        """
        target = self._work(work)
        if target.status == REVOKED:
            raise WorkNotPayable(f"work {work} is revoked")
        if amount <= 0:
            raise ZeroAmount
        fee = 0 if work == PLATFORM else fee_of(amount, self.fee_bps)
        self._receive(work, token, amount, fee)
        return fee

    def owed(self, work: int, edge: int, token: str) -> int:
        """What `settle` would move now."""
        edges = self._work(work).edges
        if not 0 <= edge < len(edges):
            raise EdgeLimit(f"work {work} has no edge {edge}")
        due = edge_due(edges[edge], self.counters.get((work, token), Counters()))
        return due - self.settled.get((work, edge, token), 0)

    def settle(self, work: int, edge: int, token: str) -> int:
        """Move what an edge owes to its parent; returns the amount, 0 when there is nothing."""
        owed = self.owed(work, edge, token)
        if owed:
            self._settle(work, edge, token, owed)
        return owed

    def settle_many(self, settles: Iterable[Settle]) -> int:
        """Run settlements in the given order; returns their sum."""
        return sum(self.settle(*one) for one in settles)

    def due(self, work: int, token: str, version: int, position: int, weight: int) -> int:
        """What a leaf of a version can withdraw now: its share less what it has withdrawn.

        The caller vouches for (position, weight), as a proof does on chain.
        """
        target = self._work(work)
        if version not in target.splits:
            raise InvalidShare(f"work {work} has no split version {version}")
        earned = accrued(self.accrual(work, token, version), target.relative_bps, target.absolute_bps)
        total = share(earned, weight, target.splits[version].total_weight)
        return total - self.withdrawn.get((work, token, version, position), 0)

    def withdraw(self, work: int, token: str, version: int, position: int, weight: int, *, now: int = 0) -> int:
        """Pay a leaf what is due to it; returns the amount. Raises NothingDue, Frozen, UnknownWork, InvalidShare."""
        if now < self._work(work).frozen_until:
            raise Frozen(f"work {work} is frozen until {self.works[work].frozen_until}")
        amount = self.due(work, token, version, position, weight)
        if amount <= 0:
            raise NothingDue
        self._withdraw(work, token, version, position, amount)
        return amount

    def reassign(
        self, work: int, position: int, leaves: Sequence[Leaf], *, now: int, settles: Iterable[Settle] = ()
    ) -> None:
        """Replace one leaf by new leaves of the same sum, below its position; settles run first.

        The new split is pending until `activate`, which this runs by itself when the interval has passed. `leaves`
        may weigh less than the old one (a liar's sub-tree, or one whose file isn't known), never more.
        """
        target = self._work(work)
        if work == PLATFORM:
            raise InvalidShare("the platform's split changes by vote only")
        if target.disputed or now < target.frozen_until:
            raise Frozen(f"work {work} is disputed or frozen")
        current = target.split.leaves if target.pending is None else target.pending
        old = next((leaf for leaf in current if leaf.position == position), None)
        if old is None or sum(leaf.weight for leaf in leaves) > old.weight:
            raise InvalidShare(f"work {work}: position {position} can't become {leaves}")
        if any(not _is_below(leaf.position, position) for leaf in leaves):
            raise InvalidShare(f"a new leaf lies outside position {position}")
        self.settle_many(settles)
        target.pending = tuple(leaf for leaf in current if leaf.position != position) + tuple(leaves)
        if now >= target.activated_at + self.split_interval_s:
            self.activate(work, now=now)

    def activate(self, work: int, *, now: int) -> int:
        """Make the pending split the next version; returns its number. Raises NotYet."""
        target = self._work(work)
        if target.pending is None:
            raise NotYet(f"work {work} has no pending split")
        if now < target.activated_at + self.split_interval_s:
            raise NotYet(f"work {work} may change at {target.activated_at + self.split_interval_s}")
        return self.replace_split(work, leaves=target.pending, total_weight=target.split.total_weight, now=now)

    def replace_split(self, work: int, *, leaves: Sequence[Leaf], total_weight: int, now: int) -> int:
        """Start a version with given leaves (the platform's by vote, or an activation); clears what is pending."""
        target = self._work(work)
        target.version += 1
        target.splits[target.version] = Split(total_weight, tuple(leaves))
        target.pending = None
        target.activated_at = now
        return target.version

    def replace_disputed_split(
        self, work: int, leaves: Sequence[Leaf], *, now: int, settles: Iterable[Settle] = ()
    ) -> int:
        """Start the version that a ruling gave a disputed work; settles run first, for the former holders.

        The total stays, what is pending is dropped. Raises UnknownWork, NotDisputed.
        """
        target = self._work(work)
        if not target.disputed:
            raise NotDisputed(f"work {work} is not disputed")
        self.settle_many(settles)
        return self.replace_split(work, leaves=leaves, total_weight=target.split.total_weight, now=now)

    def set_fee(self, bps: int) -> None:
        """Set the platform fee of later payments."""
        if not 0 <= bps <= MAX_FEE_BPS:
            raise FeeTooHigh(f"{bps} basis points is above {MAX_FEE_BPS}")
        self.fee_bps = bps

    def set_status(self, work: int, status: int) -> None:
        """Take over a status that the registry pushed."""
        self._work(work).status = status

    def freeze(self, work: int, until: int) -> None:
        """Stop withdrawals and reassignments of a work until a time (0 lifts it)."""
        self._work(work).frozen_until = until

    # reading

    def accrual(self, work: int, token: str, version: int) -> Accrual | None:
        """The version's accrual, or None when no credit reached it: a version not yet opened counts as zero."""
        return self.accruals.get((work, token, version))

    def balance(self, token: str) -> int:
        """What the contract holds for its works: received less released."""
        return self.received.get(token, 0) - self.released.get(token, 0)

    def leaves(self, work: int) -> Iterator[tuple[int, Leaf]]:
        """Every known (version, leaf) of a work, oldest version first."""
        for version, split in self._work(work).splits.items():
            for leaf in split.leaves:
                yield version, leaf

    def unsettled(self, token: str) -> int:
        """The sum of what all edges owe their parents now."""
        return sum(
            self.owed(work, edge, token) for work, target in self.works.items() for edge in range(len(target.edges))
        )

    def payable(self, token: str) -> int:
        """The sum of what all known leaves could withdraw now."""
        return sum(
            self.due(work, token, version, leaf.position, leaf.weight)
            for work in self.works
            for version, leaf in self.leaves(work)
        )

    def residue_bound(self) -> int:
        """I5: at most this many base units of a token stay when everybody has settled and withdrawn."""
        edges = sum(len(work.edges) for work in self.works.values())
        return edges + sum(len(split.leaves) for work in self.works.values() for split in work.splits.values())

    def below(self, works: Iterable[int]) -> set[int]:
        """The works and all that derive from them (children have higher ids than their parents)."""
        found = set(works)
        for child in sorted(self.works):
            if any(edge.parent in found for edge in self.works[child].edges):
                found.add(child)
        return found

    def settle_below(self, works: Iterable[int], token: str) -> list[tuple[Settle, int]]:
        """Settle everything that leads up to `works`, children first; returns what moved something, with its amount."""
        below = self.below(works)
        moved = []
        for child in sorted(below, reverse=True):
            for index, edge in enumerate(self.works[child].edges):
                if edge.parent in below and (amount := self.settle(child, index, token)):
                    moved.append((Settle(child, index, token), amount))
        return moved

    def copy(self) -> Ledger:
        """An independent ledger in the same state (without the journal), to try operations on."""
        twin = Ledger.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.entries = []
        for name in ("counters", "accruals", "settled", "withdrawn", "paid_out", "received", "released", "fees"):
            setattr(twin, name, dict(getattr(self, name)))
        twin.works = {
            work: Work(w.edges, dict(w.splits), w.version, w.status, w.frozen_until, w.activated_at, w.pending)
            for work, w in self.works.items()
        }
        return twin

    # folding events

    def apply(self, event: str, args: Mapping[str, Any]) -> None:
        """Fold one RevenueLedger event, in chain order; argument names in either camelCase or snake_case.

        Amounts that can be reckoned are checked against the event. Raises EventMismatch when they differ. Splits
        carry no leaves here (an event has only the root): `due` takes position and weight from a proof.
        Events without effect on amounts (TokenAllowed, ShareReassigned, role changes) are passed over.
        """
        handler = getattr(self, f"_on_{_snake(event)}", None)
        if handler is not None:
            handler({_snake(name): value for name, value in args.items()})

    def _on_edge_opened(self, e: Mapping[str, Any]) -> None:
        work = self.works.setdefault(e["work_id"], Work((), {}, version=0))
        if e["index"] != len(work.edges):
            raise EventMismatch(f"edge {e['index']} of work {e['work_id']} comes after {len(work.edges)} edges")
        work.edges = (*work.edges, Edge(e["parent_id"], e["bps"], e["relative"]))
        work.__post_init__()

    def _on_split_activated(self, e: Mapping[str, Any]) -> None:
        work = self.works.setdefault(e["work_id"], Work((), {}, version=0))
        work.version = e["version"]
        work.splits[work.version] = Split(e["total_weight"], ())

    def _on_payment_received(self, e: Mapping[str, Any]) -> None:
        work, amount, fee = e["work_id"], e["amount"], e["fee"]
        expected = 0 if work == PLATFORM else fee_of(amount, self.fee_bps)
        if fee != expected:
            raise EventMismatch(f"fee of a payment of {amount} to work {work} is {fee}, not {expected}")
        self._work(work)
        self._receive(work, e["token"], amount, fee)

    def _on_edge_settled(self, e: Mapping[str, Any]) -> None:
        work, index, token = e["work_id"], e["index"], e["token"]
        owed = self.owed(work, index, token)
        if owed != e["amount"] or self.works[work].edges[index].parent != e["parent_id"]:
            raise EventMismatch(f"edge {index} of work {work} settled {e['amount']} in {token}, not {owed}")
        if owed:
            self._settle(work, index, token, owed)

    def _on_withdrawn(self, e: Mapping[str, Any]) -> None:
        work, token, version, amount = e["work_id"], e["token"], e["version"], e["amount"]
        target = self._work(work)
        if version not in target.splits:
            raise EventMismatch(f"work {work} has no split version {version}")
        self._withdraw(work, token, version, e["position"], amount)
        taken = self.paid_out[work, token, version]
        earned = accrued(self.accrual(work, token, version), target.relative_bps, target.absolute_bps)
        if taken > earned:
            raise EventMismatch(
                f"version {version} of work {work} paid out {taken} of the {earned} it earned in {token}"
            )

    def _on_fee_changed(self, e: Mapping[str, Any]) -> None:
        self.set_fee(e["new_bps"])

    def _on_status_pushed(self, e: Mapping[str, Any]) -> None:
        self.set_status(e["work_id"], e["status"])

    def _on_work_frozen(self, e: Mapping[str, Any]) -> None:
        self.freeze(e["work_id"], e["until"])

    # movements: the only places that change amounts

    def _work(self, work: int) -> Work:
        found = self.works.get(work)
        if found is None:
            raise UnknownWork(f"work {work} is not open")
        return found

    def _credit(self, work: int, token: str, *, direct: int = 0, inherited: int = 0) -> None:
        before = self.counters.get((work, token), Counters())
        after = before.plus(direct, inherited)
        version = self.works[work].version
        first = self.accruals.get((work, token, version))
        self.accruals[work, token, version] = Accrual(first.before if first else before, after)
        self.counters[work, token] = after

    def _receive(self, work: int, token: str, amount: int, fee: int) -> None:
        before = self.counters.get((work, token), Counters())
        before.plus(direct=amount - fee)  # refuses before anything is written
        if fee:
            self._credit(PLATFORM, token, direct=fee)
        self._credit(work, token, direct=amount - fee)
        self.received[token] = self.received.get(token, 0) + amount
        self.fees[token] = self.fees.get(token, 0) + fee
        self._post(token, ("world", -amount), (f"work:{work}", amount - fee), (f"work:{PLATFORM}", fee))

    def _settle(self, work: int, edge: int, token: str, owed: int) -> None:
        parent = self.works[work].edges[edge].parent
        self._credit(parent, token, inherited=owed)
        self.settled[work, edge, token] = self.settled.get((work, edge, token), 0) + owed
        self._post(token, (f"work:{work}", -owed), (f"work:{parent}", owed))

    def _withdraw(self, work: int, token: str, version: int, position: int, amount: int) -> None:
        key = (work, token, version, position)
        self.withdrawn[key] = self.withdrawn.get(key, 0) + amount
        self.paid_out[key[:3]] = self.paid_out.get(key[:3], 0) + amount
        self.released[token] = self.released.get(token, 0) + amount
        self._post(token, (f"work:{work}", -amount), ("world", amount))

    def _post(self, token: str, *lines: tuple[str, int]) -> None:
        self.entries.append(tuple(Entry(account, token, amount) for account, amount in lines if amount))


# --- helpers -----------------------------------------------------------------------------------------------------


def _whole(account: str, weight: int) -> Split:
    return Split(weight, (Leaf(1, account, weight),))


def _is_below(position: int, root: int) -> bool:
    """Whether a tree position is `root` or lies in the sub-tree that starts there."""
    shift = position.bit_length() - root.bit_length()
    return shift >= 0 and position >> shift == root


def _snake(name: str) -> str:
    """camelCase or CapWords to snake_case; names that are already snake_case stay as they are."""
    return "".join(
        f"_{letter.lower()}" if letter.isupper() and index else letter.lower() for index, letter in enumerate(name)
    ).lstrip("_")
