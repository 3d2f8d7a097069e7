"""A work's standing: the dispute about who made it, what contesting it takes, the consents it was registered with.

`fold` is WorkStanding's state machine over its events, pure; a test compares it with the contract's getters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final

from eth_utils.address import to_checksum_address
from sqlalchemy import RowMapping, func, select
from sqlalchemy.orm import Session

from backend.allowances import approve_first
from backend.chain import ChainInfo, decode_result, encode_call
from backend.errors import Conflict, Invalid
from backend.intents import call_intent
from backend.mirror import Head
from backend.models.accounts import Account
from backend.models.works import Draft
from backend.node import Node, NodeRefused, NodeUnreachable
from backend.vault.vault import Vault
from backend.web.format import exact
from backend.works.catalogue import find_work
from backend.works.consents import CONSENTS, attestations, is_live
from backend.works.drafts import index_of, opened
from backend.works.rules import Status
from backend.works.schemas import ConsentOut, ContestIntent, DisputeOut, EndedDispute, StandingOut
from backend.works.service import REGISTRY, commitment
from indexer.models import event, view

STANDING: Final = "WorkStanding"
BOND_TOKEN: Final = "TroupeToken"
MAX_DOUBLINGS: Final = 3


class Outcome(IntEnum):
    """How a dispute ended."""

    ENFORCED = 1
    DISMISSED = 2
    EXPIRED = 3
    REVOKED = 4
    SUPERSEDED = 5


@dataclass(frozen=True, slots=True)
class Dispute:
    """One that runs; times are block times."""

    claimant: bytes
    committed_at: int
    bond: int
    ruling_until: int
    enforceable_at: int = 0
    root: bytes | None = None
    tree_digest: bytes | None = None


@dataclass
class History:
    """What the disputes about a work have come to."""

    running: Dispute | None = None
    doublings: int = 0
    won_since: int = 0
    """When the latest winner had committed; 0 for none."""
    dismissed: set[bytes] = field(default_factory=set)
    """Who can't contest it any more, whether or not a claim of theirs ran when the vote was executed."""
    ended: list[tuple[Dispute, Outcome, int]] = field(default_factory=list)
    """With the block time of the end."""

    def bar(self, registration: int) -> int:
        """What a commitment must be older than, to contest the work now."""
        return self.running.committed_at if self.running else self.won_since or registration

    def contested(self, row: RowMapping) -> None:
        self.running = Dispute(
            bytes(row["claimant"]), int(row["committed_at"]), int(row["bond"]), int(row["ruling_until"])
        )

    def announced(self, row: RowMapping) -> None:
        assert self.running is not None, "a split is announced in a dispute alone"
        was = self.running
        self.running = Dispute(
            was.claimant,
            was.committed_at,
            was.bond,
            was.ruling_until,
            int(row["enforceable_at"]),
            bytes(row["root"]),
            bytes(row["tree_digest"]),
        )

    def barred(self, row: RowMapping) -> None:
        self.dismissed.add(bytes(row["claimant"]))

    def closed(self, row: RowMapping) -> None:
        assert self.running is not None, "only a dispute that runs is closed"
        outcome, was = Outcome(row["outcome"]), self.running
        if outcome in (Outcome.DISMISSED, Outcome.EXPIRED):
            self.doublings = min(self.doublings + 1, MAX_DOUBLINGS)
        if outcome is Outcome.ENFORCED:
            self.won_since = was.committed_at
        self.ended.append((was, outcome, int(row["block_time"])))
        self.running = None


def fold(events: Iterable[tuple[str, RowMapping]]) -> History:
    """The history of a work's disputes from its events in the chain's order."""
    history = History()
    steps = {
        "WorkContested": history.contested,
        "SplitAnnounced": history.announced,
        "ClaimDismissed": history.barred,
        "DisputeClosed": history.closed,
    }
    for name, row in events:
        steps[name](row)
    return history


def history_of(session: Session, work_id: int) -> History:
    """A work's disputes, from the mirror."""
    found: list[tuple[str, RowMapping]] = []
    for name in ("WorkContested", "SplitAnnounced", "ClaimDismissed", "DisputeClosed"):
        table = event(STANDING, name)
        found += [(name, row) for row in session.execute(select(table).where(table.c.work_id == work_id)).mappings()]
    return fold(sorted(found, key=lambda each: (each[1]["block_number"], each[1]["log_index"])))


def bond_of(session: Session, history: History) -> int:
    """What contesting a work takes now."""
    least = session.scalar(select(view("policy").c.dispute_bond))
    return int(least or 0) << history.doublings


def _registered_at(session: Session, work_id: int) -> int:
    """Since when the work's owner can claim the content: its own commitment, or the registration."""
    registered = event(REGISTRY, "WorkRegistered").c
    return int(session.scalars(select(registered.committed_at).where(registered.work_id == work_id)).one())


# --- reading ----------------------------------------------------------------------------------------------------------


def standing(session: Session, head: Head, work_id: int) -> StandingOut:
    """A work's standing. Raises NotFound."""
    work = find_work(session, work_id)
    history = history_of(session, work_id)
    return StandingOut(
        work_id=work_id,
        status=Status(work["status"]).name.lower(),  # type: ignore[arg-type]  # the literals are the names
        dispute=_show_running(history.running),
        bond=bond_of(session, history),
        older_than=history.bar(_registered_at(session, work_id)),  # type: ignore[arg-type]  # a block time
        ended=[
            EndedDispute(
                claimant=dispute.claimant,  # type: ignore[arg-type]  # an AddressStr takes 20 bytes
                outcome=outcome.name.lower(),  # type: ignore[arg-type]
                bond=dispute.bond,
                ended_at=time,  # type: ignore[arg-type]  # a block time
            )
            for dispute, outcome, time in history.ended
        ],
        consents=consents_of(session, head, work_id),
        as_of=head.as_of,
    )


def _show_running(dispute: Dispute | None) -> DisputeOut | None:
    if dispute is None:
        return None
    return DisputeOut(
        claimant=dispute.claimant,  # type: ignore[arg-type]  # an AddressStr takes 20 bytes
        committed_at=dispute.committed_at,  # type: ignore[arg-type]  # block times
        bond=dispute.bond,
        ruling_until=dispute.ruling_until,  # type: ignore[arg-type]
        enforceable_at=dispute.enforceable_at or None,  # type: ignore[arg-type]
        root=dispute.root,
        tree_digest=dispute.tree_digest,
    )


def consents_of(session: Session, head: Head, work_id: int) -> list[ConsentOut]:
    """The consents that a work was registered with, and whether they stand."""
    linked = event(STANDING, "ConsentLinked").c
    uids = session.scalars(select(linked.attestation_uid).where(linked.work_id == work_id).order_by(linked.log_index))
    order = [bytes(uid) for uid in uids]
    known = attestations(session, order)
    return [
        ConsentOut(
            uid=uid,
            kind=CONSENTS[bytes(known[uid]["schema"])],  # type: ignore[arg-type]  # the literals are these names
            attester=known[uid]["attester"],
            live=is_live(known[uid], head.time),
        )
        for uid in order
    ]


# --- contesting -------------------------------------------------------------------------------------------------------


def contest_intent(
    session: Session,
    *,
    vault: Vault,
    chain: ChainInfo,
    node: Node,
    head: Head,
    me: Account,
    work_id: int,
    salt: bytes | None,
) -> ContestIntent:
    """The transactions that contest a work by one's own older commitment: the approval of the bond, and `contest`.

    Without a salt those of one's own drafts of the same file are tried. Raises NotFound, Conflict, Invalid.
    """
    work = find_work(session, work_id)
    if work["status"] == Status.REVOKED:
        raise Conflict(f"Work {work_id} is revoked; there is nothing to contest.", code="work_revoked")
    history = history_of(session, work_id)
    _check_open(history, me.address, work_id, head.time)
    salts = [salt] if salt is not None else _drafted(session, vault, me, bytes(work["content_hash"]))
    found = [(time, each) for each in salts if (time := _committed_at(session, chain, me, work, each))]
    bar = history.bar(_registered_at(session, work_id))
    if not found:
        raise Conflict(
            "The chain knows no commitment of yours to this file with this salt; only who made one before can contest.",
            code="commitment_missing",
        )
    committed_at, chosen = min(found)
    if committed_at >= bar:
        raise Conflict(
            f"Your commitment is of block time {committed_at}; only one older than {bar} counts.",
            code="commitment_not_older",
            committed_at=committed_at,
            older_than=bar,
        )
    bond = bond_of(session, history)
    account = str(to_checksum_address(me.address))
    _check_balance(chain, node, account, bond)
    token = chain.token(chain.address(BOND_TOKEN)) if chain.address(BOND_TOKEN) in chain.tokens else None
    words = f"{exact(bond, token.decimals if token else 18)} {token.symbol if token else 'TRP'}"
    approve = approve_first(
        chain,
        node,
        token=chain.address(BOND_TOKEN),
        spender=STANDING,
        payer=account,
        amount=bond,
        description=f"Let the standing of works take a bond of {words} from you",
    )
    contest = call_intent(
        chain,
        STANDING,
        "contest",
        [work_id, chosen, bond],
        description=f"Contest work {work_id} with a bond of {words}",
    )
    return ContestIntent(
        intents=[*approve, contest],
        bond=bond,
        bond_token=chain.address(BOND_TOKEN),
        committed_at=datetime.fromtimestamp(committed_at, UTC),
        as_of=head.as_of,
    )


def _check_open(history: History, claimant: bytes, work_id: int, now: int) -> None:
    """Raise Conflict when no claim can be made, however old the commitment."""
    if claimant in history.dismissed:
        raise Conflict(f"Your claim to work {work_id} was dismissed; there is no other.", code="claim_dismissed")
    running = history.running
    if running is None:
        return
    if running.enforceable_at:
        raise Conflict(
            f"A ruling about work {work_id} is to be put in force or dismissed first.",
            code="dispute_ruled",
            enforceable_at=running.enforceable_at,
        )
    if now >= running.ruling_until:
        raise Conflict(
            f"The time for a ruling about work {work_id} is over: anybody can close that dispute, then claim.",
            code="dispute_over",
            ruling_until=running.ruling_until,
        )


def _drafted(session: Session, vault: Vault, me: Account, content_hash: bytes) -> list[bytes]:
    """The salts of one's drafts of a file."""
    query = select(Draft).where(Draft.account_id == me.id, Draft.content_index == index_of(vault, content_hash))
    return [opened(vault, draft).salt for draft in session.scalars(query)]


def _committed_at(session: Session, chain: ChainInfo, me: Account, work: RowMapping, salt: bytes) -> int:
    """When an account committed to a work's content with a salt; 0 for never, and without a salt."""
    if not any(salt):
        return 0
    wanted = commitment(chain, str(to_checksum_address(me.address)), bytes(work["content_hash"]), salt)
    made = event(REGISTRY, "WorkCommitted").c
    return int(session.scalar(select(func.min(made.block_time)).where(made.commitment == wanted)) or 0)


def _check_balance(chain: ChainInfo, node: Node, account: str, bond: int) -> None:
    """Raise Invalid when the node says that the account has less than the bond."""
    call = encode_call("ERC20", "balanceOf", [account])
    try:
        has: Any = decode_result("ERC20", "balanceOf", node.call(chain.address(BOND_TOKEN), call))
    except (NodeUnreachable, NodeRefused, ValueError):
        return  # then the wallet will say so
    if has < bond:
        raise Invalid(
            f"Contesting takes a bond of {bond} base units of the platform's token; you have {has}.",
            code="bond_short",
            bond=str(bond),
            balance=str(has),
        )
