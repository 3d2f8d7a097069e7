"""Moving shares: the transactions of `reassign` and `activate`, what they settle, and the file that is published."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.content import service as content
from backend.content.media import TEXT
from backend.errors import Conflict, Forbidden, Invalid, NotFound
from backend.intents import call_intent
from backend.mirror import Head
from backend.payouts.ledger import PLATFORM, SPLIT_INTERVAL_S, Settle
from backend.payouts.reading import Books
from backend.payouts.reassignment import CannotMove, Move, plan
from backend.payouts.schemas import ActivateIntent, ReassignIntent, ReassignRequest, Recipient
from backend.payouts.service import SETTLES_A_TRANSACTION, Payouts, step
from backend.works.catalogue import splits_of
from backend.works.rules import IN_DISPUTE
from backend.works.splits import Leaf, Share, Splits, SplitTree
from indexer.models import view

GRACE_S = 14 * 24 * 3600
"""How long after the earliest moment a reassignment may still become active, where the holder names no time."""


class Movable(NamedTuple):
    """A work whose shares can move: its splits, and from when the next version can begin (block time)."""

    splits: Splits
    active_from: int


def reassign_intent(
    session: Session, payouts: Payouts, *, books: Books, work_id: int, request: ReassignRequest
) -> ReassignIntent:
    """Plan the move of a share of the books' account, and publish the file of the new shares.

    Raises NotFound (no such work, or no share in it), Forbidden (the platform), Conflict (disputed, frozen, the tree
    isn't known, several shares and none named), Invalid (what can't be given that way).
    """
    movable = _movable(session, payouts, books.head, work_id)
    _check_not_stopped(books, work_id)
    tree = movable.splits.movable
    if tree is None:
        raise Conflict(
            f"The tree file of work {work_id}'s split is not kept here, so no proof can be made; add the file first.",
            code="tree_unknown",
            work_id=work_id,
        )
    leaf = _own_leaf(tree, books.account, work_id, request.position)
    try:
        move = plan(tree, leaf.position, [Share(to.account, to.weight) for to in request.recipients])
    except CannotMove as error:
        raise Invalid(f"{str(error)[0].upper()}{str(error)[1:]}.", code="cannot_move") from error
    earliest = max(movable.active_from, books.head.time)
    activate_by = earliest + GRACE_S
    if request.activate_by is not None:
        activate_by = int(request.activate_by.timestamp())
        if activate_by < earliest:
            raise Invalid("The next version of the split can't begin that early.", code="too_early", earliest=earliest)
    file = content.keep(session, payouts.store, [move.file], TEXT)
    return _answer(
        payouts, books=books, work_id=work_id, movable=movable, move=move, activate_by=activate_by, cid=file.cid
    )


def _answer(
    payouts: Payouts, *, books: Books, work_id: int, movable: Movable, move: Move, activate_by: int, cid: str
) -> ReassignIntent:
    settles = _settles(books, work_id)
    first, inside = settles[:-SETTLES_A_TRANSACTION], settles[-SETTLES_A_TRANSACTION:]
    given = sum(share.weight for share in move.shares if share.account != books.account)
    total = books.ledger.works[work_id].split.total_weight
    order = (work_id, books.account, move.leaf.weight, move.path, move.new_hash, move.digest, activate_by)
    intent = call_intent(
        payouts.chain,
        "RevenueLedger",
        "reassign",
        [order, [tuple(node) for node in move.proof], [tuple(settle) for settle in inside]],
        description=f"Give {given * 10_000 // total / 100:.2f}% of work {work_id} to others",
    )
    return ReassignIntent(
        as_of=books.head.as_of,
        intents=[*payouts.settle_intents(first), intent],
        position=move.leaf.position,
        weight=move.leaf.weight,
        settles=[step(books.ledger, settle) for settle in settles],
        new_hash=move.new_hash,
        tree_digest=move.digest,
        tree_cid=cid,
        shares=[Recipient(account=share.account, weight=str(share.weight)) for share in move.shares],  # type: ignore[arg-type]
        active_from=movable.active_from,  # type: ignore[arg-type]  # a block time
    )


def activate_intent(session: Session, payouts: Payouts, *, head: Head, work_id: int) -> ActivateIntent:
    """The transaction that makes the gathered reassignments the next version.

    Raises NotFound, Forbidden, and Conflict when nothing is pending or it is too early.
    """
    movable = _movable(session, payouts, head, work_id)
    if not movable.splits.gathered:
        raise Conflict(f"No reassignment of work {work_id} is waiting.", code="nothing_pending", work_id=work_id)
    if head.time < movable.active_from:
        raise Conflict(
            f"The next version of work {work_id}'s split can't begin before block time {movable.active_from}.",
            code="too_early",
            active_from=movable.active_from,
        )
    return ActivateIntent(
        as_of=head.as_of,
        intents=[
            call_intent(
                payouts.chain,
                "RevenueLedger",
                "activate",
                [work_id],
                description=f"Make the gathered moves of work {work_id}'s shares take effect",
            )
        ],
        active_from=movable.active_from,  # type: ignore[arg-type]  # a block time
    )


def _movable(session: Session, payouts: Payouts, head: Head, work_id: int) -> Movable:
    if work_id == PLATFORM:
        raise Forbidden("The platform's split is changed by vote only.", code="platform_split")
    split, work = view("split"), view("work")
    active = session.execute(
        select(split.c.block_time).where(split.c.work_id == work_id).order_by(split.c.version.desc()).limit(1)
    ).scalar()
    if active is None:
        raise NotFound(f"There is no work {work_id} on chain.", code="work_not_found", work_id=work_id)
    if session.scalar(select(work.c.status).where(work.c.work_id == work_id)) in IN_DISPUTE:
        raise Conflict(f"Work {work_id} is disputed; its shares can't move until that is ruled.", code="work_disputed")
    splits = splits_of(session, payouts.store, work_id)
    return Movable(splits, active + SPLIT_INTERVAL_S)


def _check_not_stopped(books: Books, work_id: int) -> None:
    until = books.stopped_until(work_id)
    if until is not None:
        raise Conflict(
            f"Work {work_id} is frozen or the ledger is paused until block time {until}.",
            code="work_frozen",
            until=until,
        )


def _own_leaf(tree: SplitTree, account: str, work_id: int, position: int | None) -> Leaf:
    own = [leaf for leaf in tree.leaves() if leaf.account == account]
    if position is not None:
        own = [leaf for leaf in own if leaf.position == position]
    if not own:
        raise NotFound(f"You hold no such share of work {work_id}.", code="share_not_found", work_id=work_id)
    if len(own) > 1:
        positions = [leaf.position for leaf in own]
        raise Conflict(
            f"You hold {len(own)} shares of work {work_id}; name one of the positions {positions}.",
            code="position_needed",
            positions=positions,
        )
    return own[0]


def _settles(books: Books, work_id: int) -> list[Settle]:
    """All that has not come up to the work yet, in every currency, child first."""
    ledger = books.ledger.copy()
    return [settle for token in sorted(books.tokens) for settle, _ in ledger.settle_below([work_id], token)]
