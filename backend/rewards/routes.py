"""Reward epochs over HTTP: what was counted, why it was awarded, and what can be claimed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from eth_utils.address import to_checksum_address
from fastapi import APIRouter, Path, Query
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.chain import ChainInfo, Token, decode_error
from backend.content.routes import Store
from backend.content.service import read_by_sha256
from backend.deps import Chain, DbSession, Now, VaultDep
from backend.edge.scoped import RewardsReader
from backend.errors import NotFound, Unavailable
from backend.intents import Intent, call_intent
from backend.mirror import ChainHead, Head
from backend.models.content import Content
from backend.models.rewards import RewardEpoch, RewardLeaf, RewardRoot, RewardScore
from backend.pagination import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor, page
from backend.rewards import claims, epochs, service, streams
from backend.rewards.engine import BPS
from backend.rewards.merkle import Node
from backend.rewards.schemas import (
    AccountRewards,
    AwardOut,
    ClaimOut,
    CountedEvent,
    CountedEvents,
    CurrentEpoch,
    EpochDetail,
    EpochOut,
    EpochPage,
    FileOut,
    ProofNode,
    RootOut,
    RuleOut,
    ScoreOut,
    VoiceOut,
)
from backend.rewards.terms import Terms, raw
from backend.rewards.voices import Voice
from backend.schemas import AddressStr
from indexer.types import Epoch

router = APIRouter(prefix="/v1/rewards", tags=["rewards"])

EpochNumber = Annotated[int, Path(ge=1, le=2**31, description="The epoch's number; the first is 1")]


@router.get("/epochs")
def list_reward_epochs(
    session: DbSession, chain: Chain, head: ChainHead, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> EpochPage:
    """Epochs whose events are fixed, newest first, with what each added to each stream and where its root stands."""
    terms = Terms.of(chain)
    query = select(RewardEpoch).order_by(RewardEpoch.epoch.desc()).limit(limit + 1)
    if cursor is not None:
        (before,) = decode_cursor("reward-epochs", cursor, int)
        query = query.where(RewardEpoch.epoch < before)
    rows, following = page(session.scalars(query).all(), limit, lambda row: encode_cursor("reward-epochs", row.epoch))
    current = terms.calendar.epoch_at(head.time)
    return EpochPage(
        current=CurrentEpoch(
            epoch=current,
            starts_at=_time(terms.calendar.start(current)),
            ends_at=_time(terms.end(current)),
            voice=[_voice(token, terms.voice) for token in chain.tokens.values()],
        ),
        items=[_epoch(session, chain, head, row.epoch, row) for row in rows],
        next=following,
        as_of=head.as_of,
    )


@router.get("/epochs/{epoch}")
def get_reward_epoch(
    *,
    session: DbSession,
    chain: Chain,
    head: ChainHead,
    store: Store,
    epoch: EpochNumber,
    limit: Annotated[int, Query(ge=1, le=1_000, description="Creators shown, strongest first")] = 100,
) -> EpochDetail:
    """One epoch: its files, its roots, and every creator's score with the parts it is made of.

    Anyone can compute the root again from the files: `python -m backend.rewards.recompute`.
    """
    terms = Terms.of(chain)
    row = session.get(RewardEpoch, epoch)
    if row is None and epoch > terms.calendar.epoch_at(head.time):
        raise NotFound(f"Epoch {epoch} has not begun.", code="epoch_not_found", title="No such epoch")
    rule = None
    if row is not None and row.scores_sha256 is not None:
        file = read_by_sha256(session, store, row.scores_sha256, service.MAX_FILE_BYTES)
        rule = epochs.read_scores(file).inputs.rule if file else None
    voices, creators, scores = _scores(session, chain, epoch, limit)
    return EpochDetail(
        epoch=_epoch(session, chain, head, epoch, row),
        rule=RuleOut.model_validate(rule) if rule else None,
        voices=voices,
        creators=creators,
        scores=scores,
        as_of=head.as_of,
    )


@router.get("/epochs/{epoch}/mine")
def get_my_counted_events(
    *,
    session: DbSession,
    vault: VaultDep,
    me: RewardsReader,
    store: Store,
    now: Now,
    epoch: EpochNumber,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> CountedEvents:
    """Your own events in an epoch's log, each with the proof that it was counted. Only you are told which are yours."""
    row = session.get(RewardEpoch, epoch)
    person = service.mine(session, vault, me.id, epoch, now=now)
    if row is None or person is None or row.log_sha256 is None or row.log_root is None:
        raise NotFound(
            f"Nothing of yours is in the log of epoch {epoch}.", code="epoch_log_empty", title="Nothing of yours"
        )
    file = read_by_sha256(session, store, row.log_sha256, service.MAX_FILE_BYTES)
    if file is None:
        raise Unavailable("The epoch's log can't be read just now; nothing is lost.", code="content_store_unavailable")
    chain_id, _, events = epochs.read_log(file)
    tree = epochs.log_tree(chain_id, epoch, events)
    assert tree is not None
    after = b"" if cursor is None else decode_cursor("reward-log", cursor, bytes.fromhex)[0]
    mine = [
        (index, event) for index, event in enumerate(events) if event.viewer == person.tag and event.event_id > after
    ]
    shown, following = page(mine[: limit + 1], limit, lambda each: encode_cursor("reward-log", each[1].event_id.hex()))
    items = []
    for index, event in shown:
        proof = tree.proof(index)
        items.append(
            CountedEvent(
                id=person.ids.get(event.event_id),
                logged_as=event.event_id,
                work_id=event.work_id,
                kind=event.kind,
                duration_ms=event.watched_ms,
                completion_bps=event.completion_bps,
                leaf=tree.leaves[index].hash,
                path=proof.path,
                proof=_proof(proof.nodes),
            )
        )
    return CountedEvents(
        epoch=epoch,
        pseudonym=person.tag,
        salt=person.salt,
        verified=person.verified,
        log_root=row.log_root,
        items=items,
        next=following,
    )


@router.get("/{address}")
def get_account_rewards(session: DbSession, chain: Chain, head: ChainHead, address: AddressStr) -> AccountRewards:
    """What an account was awarded and can claim in each stream, with proof and the transaction that pays it.

    A claim covers all epochs at once. What is above the account's allowance stays claimable in later epochs.
    """
    current = Terms.of(chain).calendar.epoch_at(head.time)
    found = claims.claimable(session, chain, raw(address), current_epoch=current)
    payable = [each for each in found if each.now and each.proof]
    return AccountRewards(
        account=address,
        streams=[_claim(chain, address, each) for each in found],
        claim_all=_claim_all(chain, address, payable) if payable else None,
        as_of=head.as_of,
    )


# --- rows into answers ------------------------------------------------------------------------------------------------


def _epoch(session: Session, chain: ChainInfo, head: Head, epoch: int, row: RewardEpoch | None) -> EpochOut:
    terms = Terms.of(chain)
    roots = session.scalars(
        select(RewardRoot).where(RewardRoot.epoch == epoch).order_by(RewardRoot.token, RewardRoot.attempt)
    )
    if row is None:
        state = "open" if head.time < terms.end(epoch) else "over"
    else:
        state = "fixed" if row.scored_at is None else "scored"
    return EpochOut.model_validate(
        {
            "epoch": epoch,
            "starts_at": _time(terms.calendar.start(Epoch(epoch))),
            "ends_at": _time(terms.end(epoch)),
            "state": state,
            "events": row.event_count if row else None,
            "log_root": row.log_root if row else None,
            "log": _file(session, row.log_sha256) if row else None,
            "scores": _file(session, row.scores_sha256) if row else None,
            "roots": [_root(session, chain, each) for each in roots],
        }
    )


def _voice(token: Token, voice: Voice) -> VoiceOut:
    address = raw(token.address)
    return VoiceOut(
        token=token.address,
        symbol=token.symbol,
        decimals=token.decimals,
        fee=voice.fee.get(address),
        payout=voice.payout.get(address, 0),
    )


def _root(session: Session, chain: ChainInfo, row: RewardRoot) -> RootOut:
    token = _token(chain, row.token)
    proposals = streams.proposals(session, row.token)
    proposal = service.proposal_of(row, proposals) if row.root else None
    reason = row.void if row.void not in (None, service.WITHDRAWN) else None
    return RootOut(
        token=token.address,
        symbol=token.symbol,
        decimals=token.decimals,
        status=service.status_of(row, proposals),
        attempt=row.attempt,
        granted=row.granted,
        carried=row.carried,
        pool=row.pool,
        rewarded=row.granted + row.carried - row.rollover,
        rollover=row.rollover,
        total=row.total,
        root=row.root,
        tree=_file(session, row.tree_sha256),
        finalizable_at=_time(proposal.finalizable_at) if proposal else None,
        proposed_tx=proposal.tx_hash if proposal else None,
        reason=_words(reason) or (proposal.reason if proposal else None),
    )


def _token(chain: ChainInfo, address: bytes) -> Token:
    """The stream's token; governance may open a stream for one that the manifest does not list."""
    try:
        return chain.token(address)
    except LookupError:
        return Token(address=to_checksum_address(address), symbol=f"0x{address.hex()[:8]}", decimals=0)


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _words(reason: str | None) -> str | None:
    """A reason with the contract's error decoded, where it ends in revert data."""
    code, _, data = (reason or "").rpartition(": 0x")
    try:
        return f"{code}: {decode_error(bytes.fromhex(data))}" if code else reason
    except ValueError:
        return reason


def _file(session: Session, sha256: bytes | None) -> FileOut | None:
    if sha256 is None:
        return None
    cid = session.scalar(select(Content.cid).where(Content.sha256 == sha256).limit(1))
    return FileOut(sha256=sha256, cid=cid, url=f"/v1/content/{cid}" if cid else None)


def _scores(session: Session, chain: ChainInfo, epoch: int, limit: int) -> tuple[int, int, list[ScoreOut]]:
    """(sum of all voices, creators, the strongest of them): one statement, because an epoch may be scored meanwhile."""
    found = session.execute(
        select(RewardScore, func.sum(RewardScore.voice).over(), func.count().over())
        .where(RewardScore.epoch == epoch)
        .order_by(RewardScore.voice.desc(), RewardScore.creator)
        .limit(limit)
    ).all()
    if not found:
        return 0, 0, []
    rows = [row for row, _, _ in found]
    voices, creators = int(found[0][1]), int(found[0][2])
    awards: dict[bytes, list[AwardOut]] = {}
    for leaf, root in session.execute(
        select(RewardLeaf, RewardRoot)
        .join(RewardRoot, RewardRoot.id == RewardLeaf.root_id)
        .where(
            RewardRoot.epoch == epoch,
            RewardRoot.void.is_(None),
            RewardLeaf.amount > 0,
            RewardLeaf.account.in_([row.creator for row in rows]),
        )
        .order_by(RewardRoot.token)
    ):
        token = _token(chain, root.token)
        awards.setdefault(leaf.account, []).append(
            AwardOut(
                token=token.address,
                symbol=token.symbol,
                amount=leaf.amount,
                share_of_pool_bps=leaf.amount * BPS // root.pool,
            )
        )
    shown = [
        ScoreOut(
            creator=to_checksum_address(row.creator),
            voice=row.voice,
            share_bps=row.voice * BPS // voices,
            value=row.value,
            viewers=row.viewers,
            awards=awards.get(row.creator, []),
        )
        for row in rows
    ]
    return voices, creators, shown


def _claim(chain: ChainInfo, address: str, found: claims.Claimable) -> ClaimOut:
    token = _token(chain, found.token)
    intent = None
    if found.now and found.proof:
        intent = call_intent(
            chain,
            streams.CONTRACT,
            "claim",
            [token.address, address, found.cumulative, found.proof.path, claims.as_tuples(found.proof.nodes)],
            description=f"Claim {_readable(found.now, token.decimals)} {token.symbol} of rewards for {address}",
        )
    return ClaimOut(
        token=token.address,
        symbol=token.symbol,
        decimals=token.decimals,
        cumulative=found.cumulative,
        claimed=found.claimed,
        due=found.due,
        claimable=found.now,
        allowance=found.allowance,
        pending=found.pending,
        pending_from=None if found.pending_from is None else _time(found.pending_from),
        root=found.root,
        path=found.proof.path if found.proof else None,
        proof=_proof(found.proof.nodes) if found.proof else [],
        intent=intent,
    )


def _claim_all(chain: ChainInfo, address: str, payable: list[claims.Claimable]) -> Intent:
    parts, listed = [], []
    for each in payable:
        assert each.proof is not None
        token = _token(chain, each.token)
        nodes = claims.as_tuples(each.proof.nodes)
        parts.append((token.address, address, each.cumulative, each.proof.path, nodes))
        listed.append(f"{_readable(each.now, token.decimals)} {token.symbol}")
    description = f"Claim {' and '.join(listed)} of rewards for {address}"
    return call_intent(chain, streams.CONTRACT, "claimMany", [parts], description=description)


def _proof(nodes: list[Node]) -> list[ProofNode]:
    return [ProofNode(hash=node.hash, sum=node.sum) for node in nodes]


def _readable(amount: int, decimals: int) -> str:
    """An amount in whole tokens, exactly."""
    whole, part = divmod(amount, 10**decimals)
    return f"{whole}.{part:0{decimals}d}".rstrip("0").rstrip(".") if decimals else str(whole)
