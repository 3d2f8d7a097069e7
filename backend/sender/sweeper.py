"""The sender: brings every intent of the outbox to its end, and no effect on chain twice (promises V6 and V8).

The database owns the state. A sweep may be killed anywhere: signed bytes are committed before they are sent, so the
next sweep sends the same bytes again, and a nonce is never given to another effect. One sweep at a time works for an
account (advisory lock on a connection of its own, so that it falls when the process dies); if that lock were lost all
the same, the account's row lock and UNIQUE (chain, account, nonce) still hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Engine, and_, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.models.sender import OutboxIntent, OutboxTransaction, SenderAccount
from backend.node import Block, Node, NodeRefused, NodeUnreachable, Receipt
from backend.sender.fees import Fees, bump, quote
from backend.sender.keys import OperatorKey
from backend.sender.policy import Answer, Finality, Kind, Policy, Sweep
from backend.sender.states import IN_FLIGHT, TERMINAL, Event, State, after

log = structlog.get_logger(__name__)


def _no_probe(point: str) -> None:
    return None


class Sender:
    """Sweeps the outbox of one operator account. Time, node, key and fault probes are passed in.

    `probe` is called before and after each of claim, nonce, sign, commit, send, ack, receipt, final and done; tests
    kill the process there.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        node: Node,
        key: OperatorKey,
        finality: Finality,
        kinds: Mapping[str, Kind] | None = None,
        policy: Policy | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        probe: Callable[[str], None] = _no_probe,
    ) -> None:
        self.engine = engine
        self.node = node
        self.key = key
        self.finality = finality
        self.kinds = kinds or {}
        self.policy = policy or Policy()
        self.now = now
        self.probe = probe
        self._sweep = Sweep()

    def sweep(self) -> Sweep:
        """Follow what is in flight, send what is signed, replace what is stuck, sign what is queued, end what is over.

        Raises nothing for an unreachable node or a halted account: the result says so, and the next sweep goes on.
        """
        self._sweep = Sweep()
        with self._exclusive() as held:
            if not held:
                self._sweep.busy = True
                return self._sweep
            try:
                self._run()
            except NodeUnreachable as error:
                self._sweep.unreachable = str(error)
                log.warning("sender.node_unreachable", error=str(error))
        with self._session() as session:
            self._sweep.halted = session.scalars(
                select(SenderAccount.halted_code).where(self._my_account())
            ).one_or_none()
        return self._sweep

    def _run(self) -> None:
        self._finish()
        if (chain_id := self.node.chain_id()) != self.key.chain_id:
            self._halt("wrong_chain", f"the node is on chain {chain_id}, the key is for chain {self.key.chain_id}")
            return
        self._heal("wrong_chain")
        head = self.node.block("latest")
        if head is None:
            raise NodeUnreachable("eth_getBlockByNumber: no latest block")
        self._follow(head)
        self._expire()
        self._broadcast(head)
        self._replace_stuck(head)
        waiting: set[int] = set()
        while (signed := self._sign_next(head, waiting)) is not None:
            if signed:
                self._broadcast(head)
        self._finish()

    # --- following the chain ------------------------------------------------------------------------------------------

    def _final_number(self, head: Block) -> int:
        if self.finality.mode == "depth":
            return max(head.number - self.finality.depth, 0)
        block = self.node.block("finalized")
        return block.number if block else 0

    def _follow(self, head: Block) -> None:
        final_number = self._final_number(head)
        # Counts are read before receipts: a nonce that is used by then has its receipt by then, unless it is foreign.
        count = self.node.nonce(self.key.address)
        final_count = self.node.nonce(self.key.address, final_number)
        watched: ColumnElement[bool] = OutboxIntent.state.in_(IN_FLIGHT)
        if self.finality.reopen:
            watched = or_(watched, OutboxIntent.state.in_(TERMINAL) & (OutboxIntent.nonce >= count))
        with self._session() as session:
            ids = session.scalars(
                select(OutboxIntent.id).where(self._mine(), watched).order_by(OutboxIntent.nonce)
            ).all()
        for intent_id in ids:
            with self._locked_intent(intent_id) as (session, intent):
                self._follow_one(session, intent, head, final_number, final_count)

    def _follow_one(
        self, session: Session, intent: OutboxIntent, head: Block, final_number: int, final_count: int
    ) -> None:
        self.probe("before_receipt")
        receipt = self._receipt(intent)
        if receipt is None:
            assert intent.nonce is not None
            if intent.state in (State.SIGNED, State.BROADCAST):
                if intent.nonce < final_count:
                    self._supersede(session, intent)
            else:
                self._apply(intent, Event.REORGANISE)
                intent.mined_hash = intent.mined_block = intent.mined_block_hash = None
                intent.succeeded = intent.cost = intent.done_at = intent.code = intent.detail = None
                newest = intent.transactions[-1]
                newest.sent_at, newest.sent_block = self.now(), head.number  # its age counts from here again
                session.commit()
            return
        if intent.state in TERMINAL:  # the development chain came back with it
            return
        if intent.state != State.MINED or intent.mined_block_hash != receipt.block_hash:
            self._apply(intent, Event.MINE)
            intent.mined_hash, intent.succeeded = receipt.tx_hash, receipt.succeeded
            intent.mined_block, intent.mined_block_hash = receipt.block_number, receipt.block_hash
            intent.cost = receipt.gas_used * receipt.gas_price
            intent.code = intent.detail = None
            session.commit()
        self.probe("after_receipt")
        if receipt.block_number > final_number:
            return
        if receipt.succeeded:
            self._apply(intent, Event.FINALISE)
        else:
            self._apply(intent, Event.REVERT)
            intent.code, intent.detail = "reverted", self._why_reverted(intent, receipt)
            log.error("sender.reverted", intent=intent.id, kind=intent.kind, why=intent.detail)
        self.probe("before_final")
        session.commit()
        self.probe("after_final")

    def _receipt(self, intent: OutboxIntent) -> Receipt | None:
        """The receipt of whichever of the nonce's transactions was mined."""
        for transaction in reversed(intent.transactions):
            if (receipt := self.node.receipt(transaction.hash)) is not None:
                return receipt
        return None

    def _supersede(self, session: Session, intent: OutboxIntent) -> None:
        self._apply(intent, Event.SUPERSEDE)
        intent.code = "nonce_taken"
        intent.detail = f"nonce {intent.nonce} was used by a transaction that is not ours"
        self._halt_in(session, "nonce_taken", f"{intent.detail}: is the key in use elsewhere?")
        session.commit()

    def _why_reverted(self, intent: OutboxIntent, receipt: Receipt) -> str:
        """The revert's reason, by calling again at the block before; only words for people depend on it."""
        call = self._call(intent)
        try:
            self.node.ask("eth_call", call, hex(max(receipt.block_number - 1, 0)))
        except NodeRefused as error:
            return error.data if error.data and error.data != "0x" else error.message
        return f"status 0 in block {receipt.block_number}; the same call succeeds at the block before"

    # --- sending ------------------------------------------------------------------------------------------------------

    def _broadcast(self, head: Block) -> None:
        """Send what was signed and not acknowledged, and again what no node knows any more (dropped, reorganised)."""
        with self._session() as session:
            ids = session.scalars(
                select(OutboxIntent.id)
                .where(self._mine(), OutboxIntent.state.in_((State.SIGNED, State.BROADCAST)))
                .order_by(OutboxIntent.nonce)
            ).all()
        for intent_id in ids:
            with self._locked_intent(intent_id) as (session, intent):
                if not self._send(session, intent, head):
                    return

    def _send(self, session: Session, intent: OutboxIntent, head: Block) -> bool:
        """Hand the newest bytes of an intent to the node; False when later nonces need not be tried."""
        transaction = intent.transactions[-1]
        if intent.state == State.BROADCAST and self.node.knows(transaction.hash):
            return True
        self.probe("before_send")
        refused = self.node.send(transaction.raw)
        self.probe("after_send")
        if refused is None or refused.reason == "known":
            if intent.state == State.SIGNED:
                self._apply(intent, Event.SEND)
                transaction.sent_at, transaction.sent_block = self.now(), head.number
                intent.code = intent.detail = None
                self._heal_in(session, "insufficient_funds")
                self.probe("before_ack")
                session.commit()
                self.probe("after_ack")
            return True
        log.warning("sender.refused", intent=intent.id, reason=refused.reason, message=refused.message)
        match refused.reason:
            case "nonce_too_low":  # mined by now, by us or by a stranger: following tells which
                return True
            case "underpriced":
                self._replace(session, intent, head)
                return False
            case "insufficient_funds":
                self._halt_in(session, "insufficient_funds", f"{self.key.address}: {refused.message}")
            case _:
                self._halt_in(session, "rejected", f"intent {intent.id}: {refused.message}")
        session.commit()
        return False

    # --- replacing ----------------------------------------------------------------------------------------------------

    def _replace_stuck(self, head: Block) -> None:
        """Raise the fees of the lowest nonce in flight when it has waited too long; the others wait for it."""
        with self._session() as session:
            first = session.scalars(
                select(OutboxIntent)
                .where(self._mine(), OutboxIntent.state.in_((State.SIGNED, State.BROADCAST)))
                .order_by(OutboxIntent.nonce)
                .limit(1)
            ).one_or_none()
            if first is None or first.state != State.BROADCAST:
                return
            sent = first.transactions[-1]
            assert sent.sent_at is not None
            assert sent.sent_block is not None
            blocks, age = head.number - sent.sent_block, self.now() - sent.sent_at
            intent_id = first.id
        if blocks < self.policy.stuck_blocks and age < timedelta(seconds=self.policy.stuck_s):
            return
        with self._locked_intent(intent_id) as (session, intent):
            if intent.state == State.BROADCAST and self._replace(session, intent, head):
                self._send(session, intent, head)

    def _replace(self, session: Session, intent: OutboxIntent, head: Block) -> bool:
        """Sign the same effect and nonce with higher fees, within the caps; False when a cap forbids."""
        old = intent.transactions[-1]
        fees = bump(Fees(old.max_fee, old.priority), self._fresh_fees(head), cap=self.policy.fee_cap)
        if fees is None:
            intent.code, intent.detail = "fee_cap", f"{old.max_fee} wei a gas can't be raised by 12.5 % below the cap"
        elif self._spent_today(session, without=intent.id) + old.gas * fees.max_fee > self.policy.daily_cap:
            intent.code, intent.detail = "daily_cap", "a replacement would exceed today's cap on gas"
        else:
            self._apply(intent, Event.BUMP)
            self._sign(session, intent, fees, old.gas)
            return True
        session.commit()
        return False

    # --- signing ------------------------------------------------------------------------------------------------------

    def _sign_next(self, head: Block, waiting: set[int]) -> bool | None:
        """Decide about the next queued intent: True signed, False ended or waits, None when there is nothing to do."""
        with self._session() as session:
            self.probe("before_claim")
            account = self._account(session)
            in_flight = session.scalar(select(func.count()).where(self._mine(), OutboxIntent.state.in_(IN_FLIGHT)))
            assert in_flight is not None
            if account.halted_code is not None or in_flight >= self.policy.max_in_flight:
                return None
            intent = session.scalars(
                select(OutboxIntent)
                .where(self._mine(), OutboxIntent.state == State.QUEUED, OutboxIntent.id.not_in(waiting))
                .order_by(OutboxIntent.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if intent is None:
                return None
            self.probe("after_claim")
            waiting.add(intent.id)  # whatever becomes of it, this sweep looks at it once
            intent_id = intent.id
            try:
                ready = self._prepare(session, intent, head, in_flight)
            except NodeUnreachable:
                raise
            except Exception as error:
                # Whatever a kind's check or the node's answer does, it must not keep the other intents from their ends.
                log.error("sender.stumbled", intent=intent_id, error=repr(error))  # no traceback: frames hold the key
                session.rollback()
                self._stumble(intent_id, f"{type(error).__name__}: {error}")
                return False
            if ready is None:
                session.commit()
                return False
            gas, fees = ready
            self.probe("before_nonce")
            following = session.scalar(select(func.coalesce(func.max(OutboxIntent.nonce) + 1, 0)).where(self._mine()))
            intent.nonce = max(self.node.nonce(self.key.address), following or 0)
            self.probe("after_nonce")
            self._apply(intent, Event.SIGN)
            self._sign(session, intent, fees, gas)
            return True

    def _prepare(self, session: Session, intent: OutboxIntent, head: Block, in_flight: int) -> tuple[int, Fees] | None:
        """Gas limit and fees for an intent that may be signed now; None when it has ended or waits, which is noted."""
        verdict = self.kinds.get(intent.kind, Kind()).check(session, intent, self.node)
        intent.code, intent.detail = verdict.code or None, verdict.detail or None
        match verdict.answer:
            case Answer.GO:
                pass
            case Answer.DONE:
                self._apply(intent, Event.FOUND_DONE)
            case Answer.REFUSE:
                self._apply(intent, Event.REFUSE)
            case Answer.HALT:
                self._halt_in(session, verdict.code, verdict.detail)
        if verdict.answer is not Answer.GO:
            return None
        gas = self._gas(session, intent, in_flight)
        if gas is None:
            return None
        fees = self._fresh_fees(head)
        if self._spent_today(session) + gas * fees.max_fee > self.policy.daily_cap:
            intent.code, intent.detail = "daily_cap", f"today's cap of {self.policy.daily_cap} wei on gas is reached"
            log.error("sender.daily_cap", account=self.key.address, cap_wei=self.policy.daily_cap)
            return None
        return gas, fees

    def _gas(self, session: Session, intent: OutboxIntent, in_flight: int) -> int | None:
        """The gas limit, or None when it must wait or has been refused because it would revert."""
        try:
            estimate = self.node.estimate_gas(self._call(intent))
        except NodeRefused as error:
            words = error.message.lower()
            if "insufficient funds" in words:
                self._halt_in(session, "insufficient_funds", f"{self.key.address}: {error.message}")
            elif error.code != 3 and "revert" not in words:
                raise
            elif in_flight:  # it may depend on what is on its way
                intent.code, intent.detail = "waits", f"would revert now: {error.data or error.message}"
            else:
                self._apply(intent, Event.REFUSE)
                intent.code, intent.detail = "would_revert", error.data or error.message
                log.error("sender.would_revert", intent=intent.id, kind=intent.kind, why=intent.detail)
            return None
        return intent.gas or estimate + estimate * self.policy.gas_margin_bps // 10_000

    def _sign(self, session: Session, intent: OutboxIntent, fees: Fees, gas: int) -> None:
        """Sign with the intent's nonce and commit the bytes: nothing is sent that is not stored."""
        assert intent.nonce is not None
        self.probe("before_sign")
        signed = self.key.sign(
            nonce=intent.nonce,
            to=intent.target,
            value=intent.value,
            data=intent.data,
            gas=gas,
            max_fee=fees.max_fee,
            priority=fees.priority,
        )
        self.probe("after_sign")
        intent.transactions.append(
            OutboxTransaction(
                hash=signed.hash,
                number=len(intent.transactions) + 1,
                raw=signed.raw,
                gas=gas,
                max_fee=fees.max_fee,
                priority=fees.priority,
                signed_at=self.now(),
            )
        )
        self._commit_signed(session, signed.raw)

    def _commit_signed(self, session: Session, raw: bytes) -> None:
        """Commit the signed bytes; they are sent after this returns, never before."""
        self.probe("before_commit")
        session.commit()
        self.probe("after_commit")

    def _fresh_fees(self, head: Block) -> Fees:
        return quote(head.base_fee, self.node.priority_fee(), cap=self.policy.fee_cap)

    def _spent_today(self, session: Session, *, without: int | None = None) -> int:
        """Wei of gas of what was signed this UTC day: paid where mined, the worst case where not."""
        midnight = self.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        worst = (
            select(
                OutboxTransaction.intent_id,
                func.max(OutboxTransaction.gas * OutboxTransaction.max_fee).label("wei"),
            )
            .where(OutboxTransaction.signed_at >= midnight)
            .group_by(OutboxTransaction.intent_id)
            .subquery()
        )
        spent = session.scalar(
            select(func.coalesce(func.sum(func.coalesce(OutboxIntent.cost, worst.c.wei)), 0))
            .join(worst, worst.c.intent_id == OutboxIntent.id)
            .where(self._mine(), OutboxIntent.id != (without or 0))
        )
        return int(spent or 0)

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _expire(self) -> None:
        with self._session() as session:
            for intent in session.scalars(
                select(OutboxIntent)
                .where(self._mine(), OutboxIntent.state == State.QUEUED, OutboxIntent.expires_at <= self.now())
                .with_for_update(skip_locked=True)
            ):
                self._apply(intent, Event.EXPIRE)
                intent.code, intent.detail = "expired", "its time ran out before it was signed"
            session.commit()

    def _finish(self) -> None:
        """Act upon what has ended: the kind's step, then `done_at`, in one transaction."""
        with self._session() as session:
            ids = session.scalars(
                select(OutboxIntent.id)
                .where(
                    self._mine(),
                    OutboxIntent.state.in_(TERMINAL),
                    OutboxIntent.done_at.is_(None),
                    OutboxIntent.attempts < self.policy.max_attempts,
                )
                .order_by(OutboxIntent.id)
            ).all()
        for intent_id in ids:
            try:
                with self._locked_intent(intent_id) as (session, intent):
                    self.kinds.get(intent.kind, Kind()).finish(session, intent)
                    intent.done_at = self.now()
                    self.probe("before_done")
                    session.commit()
                    self.probe("after_done")
            except Exception as error:
                # A step that fails must not keep the other intents from their ends; it is counted, parked, and logged.
                log.error("sender.finish_failed", intent=intent_id, error=repr(error))
                with self._locked_intent(intent_id) as (session, intent):
                    intent.attempts += 1
                    intent.detail = f"step after its end: {type(error).__name__}"
                    session.commit()

    def _stumble(self, intent_id: int, detail: str) -> None:
        """Count an unexpected failure before signing; park the intent as failed at the limit."""
        with self._locked_intent(intent_id) as (session, intent):
            intent.attempts += 1
            intent.code, intent.detail = "stumbled", detail
            if intent.attempts >= self.policy.max_attempts:
                intent.attempts = 0  # its step after the end has tries of its own
                intent.code = "parked"
                self._apply(intent, Event.REFUSE)
            session.commit()

    # --- shared -------------------------------------------------------------------------------------------------------

    def _apply(self, intent: OutboxIntent, event: Event) -> None:
        before = State(intent.state)
        intent.state = after(before, event)
        self._sweep.events.append((intent.id, event))
        log.info("sender.event", intent=intent.id, kind=intent.kind, event_=event, before=before, nonce=intent.nonce)

    def _halt(self, code: str, detail: str) -> None:
        with self._session() as session:
            self._halt_in(session, code, detail)
            session.commit()

    def _halt_in(self, session: Session, code: str, detail: str) -> None:
        """Stop signing for the account until the cause is gone; the first cause stands."""
        account = self._account(session)
        if account.halted_code is None:
            account.halted_code, account.halted_detail, account.halted_at = code, detail, self.now()
            log.critical("sender.halted", account=self.key.address, code=code, detail=detail)

    def _heal(self, code: str) -> None:
        with self._session() as session:
            self._heal_in(session, code)
            session.commit()

    def _heal_in(self, session: Session, code: str) -> None:
        """End a halt whose cause can be seen to be gone."""
        account = self._account(session)
        if account.halted_code == code:
            account.halted_code = account.halted_detail = account.halted_at = None
            log.info("sender.healed", account=self.key.address, code=code)

    def _account(self, session: Session) -> SenderAccount:
        """This account's row, locked until the session's transaction ends."""
        values = {"chain_id": self.key.chain_id, "address": self.key.address_bytes}
        session.execute(insert(SenderAccount).values(values).on_conflict_do_nothing())
        return session.scalars(select(SenderAccount).where(self._my_account()).with_for_update()).one()

    def _call(self, intent: OutboxIntent) -> dict[str, str]:
        return {
            "from": self.key.address,
            "to": "0x" + intent.target.hex(),
            "value": hex(intent.value),
            "data": "0x" + intent.data.hex(),
        }

    def _session(self) -> Session:
        return Session(self.engine)

    @contextmanager
    def _locked_intent(self, intent_id: int) -> Iterator[tuple[Session, OutboxIntent]]:
        """An intent with its row locked until the session's first commit; what is not committed is rolled back."""
        with self._session() as session:
            yield session, session.get_one(OutboxIntent, intent_id, with_for_update=True)

    @contextmanager
    def _exclusive(self) -> Iterator[bool]:
        """Hold the advisory lock of (chain, account) on a connection of its own; False when another process has it."""
        name = f"sender:{self.key.chain_id}:{self.key.address}"
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            held = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": number}))
            try:
                yield held
            finally:
                if held:
                    connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": number})

    def _mine(self) -> ColumnElement[bool]:
        return and_(OutboxIntent.chain_id == self.key.chain_id, OutboxIntent.sender == self.key.address_bytes)

    def _my_account(self) -> ColumnElement[bool]:
        return and_(SenderAccount.chain_id == self.key.chain_id, SenderAccount.address == self.key.address_bytes)
