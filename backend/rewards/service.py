"""Epochs from the end of their time to a published root: fix the events, score them, plan a root for each stream.

Each step is one transaction and may run again. What happened on chain is read from the mirror and never written down
here, so a reorganisation needs no repair.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import structlog
from sqlalchemy import ARRAY, any_, cast, func, or_, select, text
from sqlalchemy.orm import Session

from backend import mirror
from backend.chain import ChainInfo, encode_call
from backend.consent import reads, writes
from backend.consent.gate import read
from backend.consent.persons import everybody, person_of
from backend.content import service as content
from backend.content.media import TEXT
from backend.content.store import ContentStore
from backend.models.rewards import RewardEpoch, RewardLeaf, RewardRoot, RewardScore
from backend.models.sender import OutboxIntent
from backend.rewards import engine, epochs, payers, streams
from backend.rewards.calendar import INTAKE_LOCK
from backend.rewards.epochs import EMPTY_LOG_ROOT, Inputs, Rewards
from backend.rewards.terms import Terms, raw
from backend.sender.service import Effect, enqueue, find
from backend.sender.states import State
from backend.vault.vault import Vault
from indexer.db import Uint256
from indexer.models import block, view
from indexer.types import Epoch

log = structlog.get_logger(__name__)

TICK_LOCK = 0x54524F5550455245
"""Advisory lock under which one process at a time works on epochs."""
MAX_ATTEMPTS = 5
"""Tries of one effect that may fail before the operator has to look."""
UINT256_MAX = 2**256 - 1
SUSPENDED = 2
"""WorkStatus from which on a work earns nothing: suspended, revoked."""

PROPOSE, FINALIZE, APPROVE = "reward_propose", "reward_finalize", "reward_approve_bond"
"""Kinds of outbox intents, see publishing.py."""
WITHDRAWN = "withdrawn"
"""Void: the root was rejected and the operator let it go; its epoch rewards nobody in this stream."""


def alone(session: Session) -> bool:
    """Whether this transaction is the only one that works on epochs now."""
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": TICK_LOCK}))


# --- 1. fix -----------------------------------------------------------------------------------------------------------


def closable(session: Session, terms: Terms) -> int | None:
    """The next epoch to fix: its time is over on the chain, and every mirrored block of its time is final."""
    epoch = (session.scalar(select(func.max(RewardEpoch.epoch))) or 0) + 1
    end = terms.end(epoch)
    head = mirror.head(session)
    if head.time < end:
        return None
    not_final = select(block.c.number).where(block.c.number > head.final_number, block.c.time < end).limit(1)
    return epoch if session.scalar(not_final) is None else None


def fix(session: Session, epoch: int, *, now: datetime) -> RewardEpoch:
    """Fix an epoch's events: intake under way is waited for, and what comes later belongs to the next epoch."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": INTAKE_LOCK})
    row = RewardEpoch(epoch=epoch, fixed_at=now)
    session.add(row)
    session.flush()
    log.info("rewards.fixed", epoch=epoch)
    return row


# --- 2. score ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Works:
    """Who made and who owns the works of a log."""

    creators: Mapping[int, bytes]
    owners: Mapping[int, bytes]


def score(
    session: Session,
    store: ContentStore,
    chain: ChainInfo,
    vault: Vault,
    epoch: int,
    *,
    now: datetime,
    links: Iterable[tuple[bytes, bytes]] = (),
    salt: Callable[[], bytes] = lambda: secrets.token_bytes(16),
) -> RewardEpoch:
    """Score a fixed epoch and pin its log and its scores.

    The consent to `behaviour` is read here again (promise V11): whoever has withdrawn it since is not in the log.
    `links` are pairs of accounts that belong together. The log shows pseudonyms; `salt` makes the random part of each.
    What somebody did with works of their own counts nothing and is left out: the chain says whose the work is, so it
    would tell whose the pseudonym is, and with it all else that the person watched.
    """
    head = mirror.head(session)
    row = session.get_one(RewardEpoch, epoch, with_for_update=True)
    all_found = _events(session, vault, epoch, now=now)
    clusters = engine.clusters(links)
    everything = _works(session, {each.work_id for _, each in all_found})
    found = [(who, each) for who, each in all_found if not _own(who.address, each.work_id, everything, clusters)]
    people: dict[bytes, writes.Viewer] = {}
    for who in sorted({who for who, _ in found}, key=lambda who: who.account_id):
        own = salt()
        name = epochs.tag(epoch, who.address, own)
        people[who.address] = writes.Viewer(who.person_id, who.account_id, own, name, verified=False)
    events = epochs.ordered(
        engine.Signal(
            epochs.logged_id(each.event_id.bytes, people[who.address].salt),
            people[who.address].tag,
            each.work_id,
            each.kind,
            each.duration_ms,
            each.completion_bps,
        )
        for who, each in found
    )
    seen = {event.work_id for event in events}
    creators = {work_id: creator for work_id, creator in everything.creators.items() if work_id in seen}
    for address in verified(session, chain, set(people), epoch=epoch, clusters=clusters):
        people[address] = people[address]._replace(verified=True)
    inputs = Inputs(
        creators=creators,
        clusters={creator: clusters[creator] for creator in set(creators.values()) if creator in clusters},
        verified=frozenset(person.tag for person in people.values() if person.verified),
    )
    scores = epochs.score_log(events, inputs)
    tree = epochs.log_tree(chain.chain_id, epoch, events)
    log_file = epochs.log_file(chain.chain_id, epoch, events)
    log_root = tree.root if tree else EMPTY_LOG_ROOT
    log_sha256 = sha256(log_file).digest()
    scores_file = epochs.scores_file(
        chain_id=chain.chain_id, epoch=epoch, log=log_sha256, log_root=log_root, inputs=inputs, scores=scores
    )
    for file in (log_file, scores_file):
        content.keep(session, store, [file], TEXT)
    writes.keep_viewers(session, vault, epoch, people.values())
    session.add_all(
        RewardScore(epoch=epoch, creator=creator, voice=parts.voice, value=parts.value, viewers=parts.viewers)
        for creator, parts in scores.items()
    )
    row.scored_at, row.event_count = now, len(events)
    row.block_number, row.block_hash = head.number, head.hash
    row.log_root, row.log_sha256, row.scores_sha256 = log_root, log_sha256, sha256(scores_file).digest()
    session.flush()
    log.info("rewards.scored", epoch=epoch, events=len(events), people=len(people), creators=len(scores))
    return row


class Viewer(NamedTuple):
    """A person with an address, whose events may count."""

    person_id: uuid.UUID
    account_id: uuid.UUID
    address: bytes


def _events(session: Session, vault: Vault, epoch: int, *, now: datetime) -> list[tuple[Viewer, Any]]:
    """The epoch's events of everybody who allows it and has an address, each with who it was."""
    rows = read(session, reads.REWARD_EVENTS, now=now, epoch=epoch)
    wanted = {row.person_id for row in rows}
    known = {
        each.person_id: Viewer(each.person_id, each.account_id, each.address)
        for each in (everybody(session, vault) if wanted else ())
        if each.person_id in wanted and each.address is not None
    }
    return [(known[row.person_id], row) for row in rows if row.person_id in known]


def _works(session: Session, work_ids: set[int]) -> Works:
    work = view("work")
    rows = session.execute(
        select(work.c.work_id, work.c.creator, work.c.owner).where(
            work.c.work_id == any_(cast(sorted(work_ids), ARRAY(Uint256))), work.c.status < SUSPENDED
        )
    ).all()
    return Works(
        {int(row.work_id): bytes(row.creator) for row in rows}, {int(row.work_id): bytes(row.owner) for row in rows}
    )


def _own(viewer: bytes, work_id: int, works: Works, clusters: Mapping[bytes, bytes]) -> bool:
    """Whether a viewer and a work belong together: made or owned by the viewer, or by an account linked to it."""
    if work_id not in works.creators:
        return False
    makers = (works.creators[work_id], works.owners[work_id])
    return clusters.get(viewer, viewer) in {clusters.get(maker, maker) for maker in makers}


def verified(
    session: Session,
    chain: ChainInfo,
    accounts: set[bytes],
    *,
    epoch: int,
    clusters: Mapping[bytes, bytes],
) -> set[bytes]:
    """Which of the accounts are verified persons in an epoch: see `engine.trust_by_fees` and docs/rewards.md.

    Payments and purchases in blocks of the epoch's own time count, each by its fee; a payment to the platform itself in
    full. A voice that was paid once and counted for ever would cost nothing an epoch.
    """
    terms, storefront = Terms.of(chain), raw(chain.address("Storefront"))
    payments = payers.fees(
        session, accounts, storefront=storefront, since=terms.calendar.start(Epoch(epoch)), until=terms.end(epoch)
    )
    return set(engine.trust_by_fees(payments, minimum=terms.voice.fee, cluster_of=clusters))


class Mine(NamedTuple):
    """A person in an epoch's log: the name there, and the client's id for each event's name."""

    tag: bytes
    salt: bytes
    verified: bool
    ids: Mapping[bytes, uuid.UUID]


def mine(session: Session, vault: Vault, account_id: uuid.UUID, epoch: int, *, now: datetime) -> Mine | None:
    """What an epoch's log has of a person, for that person; None when nothing."""
    person = person_of(session, vault, account_id)
    if person is None:
        return None
    rows = read(session, reads.MY_VIEWER, person=person, now=now, epoch=epoch)
    if not rows:
        return None
    salt = vault.unseal(account_id, rows[0].salt, writes.viewer_salt(person, epoch))
    found = read(session, reads.MY_EVENT_IDS, person=person, now=now, epoch=epoch)
    ids = {epochs.logged_id(row.event_id.bytes, salt): row.event_id for row in found}
    return Mine(bytes(rows[0].tag), salt, rows[0].verified, ids)


# --- 3. plan ----------------------------------------------------------------------------------------------------------

Status = Literal[
    "nothing_due", "publishing", "pending", "challenged", "final", "rejected", "not_published", "withdrawn"
]


def proposal_of(row: RewardRoot, proposals: Iterable[streams.Proposal]) -> streams.Proposal | None:
    """The newest proposal of a planned root, by the digest of its tree file, which no other root shares."""
    return next((each for each in reversed(list(proposals)) if each.tree_digest == row.tree_sha256), None)


def status_of(row: RewardRoot, proposals: Iterable[streams.Proposal]) -> Status:
    """Where a planned root stands, by the mirror."""
    if row.void is not None:
        return "withdrawn" if row.void == WITHDRAWN else "not_published"
    if row.root is None:
        return "nothing_due"
    proposal = proposal_of(row, proposals)
    return proposal.status if proposal else "publishing"


def planned(session: Session, token: bytes) -> list[RewardRoot]:
    """The roots of a stream that count, oldest first."""
    return list(
        session.scalars(
            select(RewardRoot).where(RewardRoot.token == token, RewardRoot.void.is_(None)).order_by(RewardRoot.epoch)
        )
    )


def void_what_failed(session: Session, token: bytes) -> RewardRoot | None:
    """Void the stream's last root if its proposal ended without reaching the chain, so that it is planned anew."""
    rows = planned(session, token)
    if not rows or rows[-1].outbox_key is None:
        return None
    row, intent = rows[-1], find(session, rows[-1].outbox_key)
    ended = intent is not None and intent.state in (State.FAILED, State.REPLACED, State.EXPIRED)
    if intent is None or not ended or proposal_of(row, streams.proposals(session, token)):
        return None
    row.void = f"{intent.code}: {intent.detail}"
    log.error("rewards.not_published", epoch=row.epoch, token=token.hex(), attempt=row.attempt, why=row.void)
    session.flush()
    return row


def count_what_was_mined(session: Session, token: bytes) -> RewardRoot | None:
    """Let an attempt count that was given up and that the chain has taken after all, in place of the later one.

    A development chain that was killed comes back before a block that was final, and a transaction that had reverted
    there is sent again. Without this its root would be taken for a stranger's, and the stream would stand still.
    """
    proposals = streams.proposals(session, token)
    if not proposals or proposals[-1].status == "rejected":
        return None
    row = session.scalars(
        select(RewardRoot).where(
            RewardRoot.tree_sha256 == proposals[-1].tree_digest,
            RewardRoot.root == proposals[-1].root,
            RewardRoot.token == token,
            RewardRoot.void != WITHDRAWN,  # which none is that counts: then it is NULL
        )
    ).one_or_none()
    if row is None:
        return None
    for later in planned(session, token):
        if later.epoch == row.epoch:
            later.void = f"attempt {row.attempt} was mined after all"
    row.void = None
    log.warning("rewards.mined_after_all", epoch=row.epoch, token=token.hex(), attempt=row.attempt)
    session.flush()
    return row


def next_to_plan(session: Session, token: bytes) -> int | None:
    """The first scored epoch that has no root in this stream yet, and was not withdrawn from it."""
    done = select(RewardRoot.epoch).where(
        RewardRoot.token == token, or_(RewardRoot.void.is_(None), RewardRoot.void == WITHDRAWN)
    )
    return session.scalar(
        select(RewardEpoch.epoch)
        .where(RewardEpoch.scored_at.is_not(None), RewardEpoch.epoch.not_in(done))
        .order_by(RewardEpoch.epoch)
        .limit(1)
    )


def plan(
    session: Session, store: ContentStore, chain: ChainInfo, token: bytes, *, operator: bytes, now: datetime
) -> RewardRoot | None:
    """Make the next root of a stream and queue its proposal, in one transaction; None when it has to wait.

    Roots follow one another: the one before must be final, and the contract takes one an epoch. The tree file is pinned
    before anything refers to it.
    """
    terms, head = Terms.of(chain), mirror.head(session)
    current = terms.calendar.epoch_at(head.time)
    epoch = next_to_plan(session, token)
    if epoch is None:
        return None
    proposals, rows = streams.proposals(session, token), planned(session, token)
    base = next((row for row in reversed(rows) if row.root is not None), None)
    here = streams.stream(session, token, epoch=current)
    if here.root_epoch >= current or not _settled(base, proposals):
        return None
    attempt = 1 + (
        session.scalar(
            select(func.count()).select_from(RewardRoot).where(RewardRoot.token == token, RewardRoot.epoch == epoch)
        )
        or 0
    )
    if attempt > MAX_ATTEMPTS:
        log.critical("rewards.gave_up", epoch=epoch, token=token.hex(), attempts=attempt - 1)
        return None

    before = _cumulative(session, base)
    epoch_row = session.get_one(RewardEpoch, epoch)
    assert epoch_row.scores_sha256 is not None
    assert epoch_row.log_root is not None
    scores_file = content.read_by_sha256(session, store, epoch_row.scores_sha256, MAX_FILE_BYTES)
    if scores_file is None:
        raise LookupError(f"the scores of epoch {epoch} are not in the content store: score it again")
    scored = epochs.read_scores(scores_file)
    budget = epochs.budget(
        at_end=streams.stream(session, token, epoch=epoch, before=terms.end(epoch)),
        now=here,
        carried=rows[-1].rollover if rows else 0,
        promised=sum(before.values()),
        current_epoch=current,
    )
    per_voice = terms.voice.payout.get(token, 0)
    shared = epochs.share(scored.scores, scored.inputs, budget.pool, per_voice=per_voice)
    rewards = Rewards(
        chain_id=chain.chain_id,
        distributor=raw(chain.address(streams.CONTRACT)),
        token=token,
        epoch=epoch,
        attempt=attempt,
        scores=epoch_row.scores_sha256,
        previous=base.tree_sha256 if base else None,
        budget=budget,
        per_voice=per_voice,
        rewards=shared.rewards,
        cumulative=epochs.add(before, shared.rewards),
    )
    row = RewardRoot(
        epoch=epoch,
        token=token,
        attempt=attempt,
        previous_id=base.id if base else None,
        granted=budget.granted,
        carried=budget.carried,
        pool=budget.pool,
        rollover=rewards.rollover,
        total=sum(rewards.cumulative.values()),
        planned_at=now,
    )
    if rewards.rewards:
        _publish(session, store, chain, row, rewards, operator=operator, log_root=epoch_row.log_root)
    session.add(row)
    session.flush()
    if rewards.rewards:
        session.add_all(
            RewardLeaf(
                root_id=row.id,
                index=index,
                account=account,
                cumulative=amount,
                amount=rewards.rewards.get(account, 0),
            )
            for index, (account, amount) in enumerate(rewards.leaves)
        )
        session.flush()
    log.info("rewards.planned", epoch=epoch, token=token.hex(), pool=budget.pool, creators=len(rewards.rewards))
    return row


MAX_FILE_BYTES = 1 << 30
"""Our own files are read back whole."""


def _settled(base: RewardRoot | None, proposals: list[streams.Proposal]) -> bool:
    """Whether a root may follow `base` now; says why not where only a person can help."""
    if proposals and proposals[-1].status in ("pending", "challenged"):
        return False
    if base is None:
        return True
    status = status_of(base, proposals)
    if status == "rejected":
        log.error("rewards.rejected", epoch=base.epoch, token=base.token.hex(), remedy="withdraw or propose it again")
    return status == "final"


def _cumulative(session: Session, base: RewardRoot | None) -> dict[bytes, int]:
    if base is None:
        return {}
    leaves = session.scalars(select(RewardLeaf).where(RewardLeaf.root_id == base.id))
    return {leaf.account: leaf.cumulative for leaf in leaves}


def _publish(
    session: Session,
    store: ContentStore,
    chain: ChainInfo,
    row: RewardRoot,
    rewards: Rewards,
    *,
    operator: bytes,
    log_root: bytes,
) -> None:
    """Pin the tree file and queue bond and proposal."""
    tree, file = rewards.tree(), rewards.file()
    assert tree is not None
    content.keep(session, store, [file], TEXT)
    row.root, row.tree_sha256 = tree.root, sha256(file).digest()
    row.outbox_key = f"reward-propose:{chain.chain_id}:{row.token.hex()}:{row.epoch}:{row.attempt}"
    _approve_bond(session, chain, operator)
    token = "0x" + row.token.hex()
    data = encode_call(streams.CONTRACT, "propose", [token, tree.root, tree.total, row.tree_sha256, log_root])
    effect = Effect(chain.chain_id, operator, rewards.distributor, data)
    enqueue(session, effect, kind=PROPOSE, key=row.outbox_key)


def _approve_bond(session: Session, chain: ChainInfo, operator: bytes) -> None:
    """Let the distributor, which is immutable and takes a bond at each proposal, take it from the operator's tokens."""
    distributor = chain.address(streams.CONTRACT)
    data = encode_call("ERC20", "approve", [distributor, UINT256_MAX])
    effect = Effect(chain.chain_id, operator, raw(chain.address("TroupeToken")), data)
    again(session, effect, kind=APPROVE, key=f"reward-approve:{chain.chain_id}:{distributor}:{operator.hex()}")


def again(session: Session, effect: Effect, *, kind: str, key: str) -> OutboxIntent | None:
    """Queue an effect under the first number of its key that has not failed; None when MAX_ATTEMPTS have."""
    for attempt in range(1, MAX_ATTEMPTS + 1):
        intent = enqueue(session, effect, kind=kind, key=f"{key}:{attempt}")
        if intent.state not in (State.FAILED, State.REPLACED, State.EXPIRED):
            return intent
    log.critical("rewards.gave_up", key=key, attempts=MAX_ATTEMPTS)
    return None


# --- 4. finalize ------------------------------------------------------------------------------------------------------


def finalize(session: Session, chain: ChainInfo, token: bytes, *, operator: bytes) -> OutboxIntent | None:
    """Queue the finalization of the pending root once its window has passed on the chain's clock."""
    proposals = streams.proposals(session, token)
    if not proposals or proposals[-1].status != "pending":
        return None
    pending = proposals[-1]
    if mirror.head(session).time < pending.finalizable_at:
        return None
    if not any(proposal_of(row, [pending]) for row in planned(session, token)):
        log.critical("rewards.foreign_root", token=token.hex(), root=pending.root.hex(), tx=pending.tx_hash.hex())
        return None
    data = encode_call(streams.CONTRACT, "finalize", ["0x" + token.hex()])
    effect = Effect(chain.chain_id, operator, raw(chain.address(streams.CONTRACT)), data)
    place = f"{pending.contract_epoch}:{pending.tree_digest.hex()}"
    return again(session, effect, kind=FINALIZE, key=f"reward-finalize:{chain.chain_id}:{token.hex()}:{place}")


# --- after a rejection ------------------------------------------------------------------------------------------------


def withdraw(session: Session, *, epoch: int, token: bytes) -> RewardRoot:
    """Let a rejected root go: its epoch rewards nobody in this stream, and its budget stays in the stream's funds.

    Raises LookupError unless the stream's last root is that epoch's and was rejected on chain.
    """
    rows = planned(session, token)
    proposals = streams.proposals(session, token)
    if not rows or rows[-1].epoch != epoch or status_of(rows[-1], proposals) != "rejected":
        raise LookupError(f"epoch {epoch} has no rejected root in this stream that could be withdrawn")
    rows[-1].void = WITHDRAWN
    session.flush()
    return rows[-1]


def repropose(session: Session, *, epoch: int, token: bytes) -> RewardRoot:
    """Plan a rejected root's epoch anew (same scores, budget of today). Raises LookupError as `withdraw` does."""
    row = withdraw(session, epoch=epoch, token=token)
    row.void = "rejected: to be proposed again"
    session.flush()
    return row
