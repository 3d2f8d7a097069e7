"""Random histories of the revenue ledger, written as plain operations so that any of them can be replayed.

A history is a list of tuples of small integers. `play` gives them meaning against the ledger's present state (the
third work, the second holder...), so that every generated list is a valid history and shrinks well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from hypothesis import strategies as st

from backend.payouts.ledger import (
    Edge,
    Leaf,
    Ledger,
    NothingDue,
    NotYet,
    Settle,
)

TOKENS = ("native", "usd")
WEIGHT = 1_000_000
AMOUNTS = (1, 3, 7, 999, 10**9 + 7, 10**18, 2**96)
WEEK = 7 * 24 * 3600

Operation = tuple[str, int, int, int]

operations: st.SearchStrategy[list[Operation]] = st.lists(
    st.tuples(
        st.sampled_from(["open", "pay", "pay", "pay", "settle", "withdraw", "reassign", "activate", "fee", "vote"]),
        st.integers(0, 40),
        st.integers(0, 40),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=60,
)


def edges_for(ledger: Ledger, seed: int, shape: int) -> list[Edge]:
    """Up to three edges to older works, absolute and relative mixed, within the 80% that parents may take."""
    works = [work for work in ledger.works if work]
    chosen = {works[(seed * 7 + step * shape) % len(works)] for step in range(shape % 4)} if works else set()
    return [
        Edge(parent, (333, 1500, 2600)[(parent + seed) % 3], relative=bool((parent + shape) % 2))
        for parent in sorted(chosen)
    ]


def divide(leaf: Leaf, parts: int, tag: int) -> list[Leaf]:
    """A holder keeps a part of a leaf and gives the rest to one or two others, at positions below its own."""
    if leaf.weight < 3 or parts % 3 == 0:
        return [leaf._replace(account=f"holder{tag}")]
    third = leaf.weight // 3
    left, right = leaf.position << 1, leaf.position << 1 | 1
    if parts % 3 == 1:
        return [Leaf(left, leaf.account, leaf.weight - third), Leaf(right, f"holder{tag}", third)]
    return [
        Leaf(left, leaf.account, leaf.weight - 2 * third),
        Leaf(right << 1, f"holder{tag}", third),
        Leaf(right << 1 | 1, leaf.account, third),
    ]


def step(ledger: Ledger, operation: Operation, now: int) -> None:
    """Run one operation; what the ledger rightly refuses is passed over."""
    name, a, b, c = operation
    works = sorted(ledger.works)
    work, token = works[a % len(works)], TOKENS[b % len(TOKENS)]
    if name == "open":
        number = len(works)
        ledger.open(
            number, edges_for(ledger, a, b), leaves=[Leaf(1, f"creator{c}", WEIGHT)], total_weight=WEIGHT, now=now
        )
    elif name == "pay":
        ledger.pay(work, token, AMOUNTS[c % len(AMOUNTS)])
    elif name == "settle" and ledger.works[work].edges:
        ledger.settle(work, c % len(ledger.works[work].edges), token)
    elif name == "withdraw":
        known = list(ledger.leaves(work))
        version, leaf = known[c % len(known)]
        with suppress(NothingDue):
            ledger.withdraw(work, token, version, leaf.position, leaf.weight, now=now)
    elif name == "reassign" and work:
        target = ledger.works[work]
        current = target.split.leaves if target.pending is None else target.pending
        leaf = current[c % len(current)]
        if leaf.position.bit_length() < 30:
            ledger.reassign(work, leaf.position, divide(leaf, b, c), now=now)
    elif name == "activate":
        with suppress(NotYet):
            ledger.activate(work, now=now)
    elif name == "fee":
        ledger.set_fee(c * 25)
    elif name == "vote":
        ledger.replace_split(
            0,
            leaves=[Leaf(2, "treasury", WEIGHT - c), Leaf(3, "rewards", c)] if c else [Leaf(1, "treasury", WEIGHT)],
            total_weight=WEIGHT,
            now=now,
        )


def play(history: Sequence[Operation], ledger: Ledger | None = None) -> Ledger:
    """The ledger after a history; two days pass with every operation."""
    book = ledger or Ledger(fee_bps=500)
    for _ in states(history, book):
        pass
    return book


def states(history: Sequence[Operation], ledger: Ledger) -> Iterator[Ledger]:
    """The same ledger after each operation of a history."""
    for index, operation in enumerate(history):
        step(ledger, operation, now=index * 2 * 24 * 3600)
        yield ledger


def all_settles(ledger: Ledger, token: str) -> list[Settle]:
    return [Settle(work, edge, token) for work in sorted(ledger.works) for edge in range(len(ledger.works[work].edges))]


def settle_everything(ledger: Ledger, token: str, order: Sequence[int] = ()) -> None:
    """Settle until nothing is owed, in a given order of edges (any order: more rounds, the same end)."""
    settles = all_settles(ledger, token)
    ranked = [settles[i] for i in order if i < len(settles)] + settles
    while ledger.settle_many(ranked):
        pass


def withdraw_everything(ledger: Ledger, token: str) -> None:
    for work in list(ledger.works):
        for version, leaf in list(ledger.leaves(work)):
            try:
                ledger.withdraw(work, token, version, leaf.position, leaf.weight)
            except NothingDue:
                continue
