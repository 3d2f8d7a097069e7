"""Paying a work: the transactions that do it, checked against what the ledger would refuse."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.allowances import approve_first
from backend.chain import NATIVE, ChainInfo
from backend.errors import Conflict, Invalid, NotFound
from backend.intents import Intent, call_intent
from backend.mirror import Head
from backend.node import Node
from backend.payouts.ledger import MAX_COUNTER, PLATFORM, fee_of
from backend.payouts.schemas import PaymentIntent, PaymentKind, PaymentRequest
from backend.web.format import exact
from backend.works.rules import Status
from indexer.models import view


def payment_intent(
    session: Session, *, chain: ChainInfo, node: Node, head: Head, request: PaymentRequest, payer: str | None
) -> PaymentIntent:
    """The transactions that pay a work.

    Raises:
        NotFound: there is no such work.
        Conflict: the work is revoked.
        Invalid: the currency is not allowed, or the amount is zero or beyond what the ledger can count.
    """
    _check_work(session, request.work_id)
    check_token(session, chain, request.token)
    if not 0 < request.amount <= MAX_COUNTER:
        raise Invalid(f"A payment is 1 to {MAX_COUNTER} base units, not {request.amount}.", code="amount_out_of_range")
    fee_bps = session.scalar(select(view("policy").c.fee_bps)) or 0
    fee = 0 if request.work_id == PLATFORM else fee_of(request.amount, fee_bps)
    return PaymentIntent(
        as_of=head.as_of,
        intents=_intents(chain, node, request, payer),
        fee=fee,
        credited=request.amount - fee,
    )


def _check_work(session: Session, work_id: int) -> None:
    if work_id == PLATFORM:
        return
    work = view("work")
    status = session.scalar(select(work.c.status).where(work.c.work_id == work_id))
    if status is None:
        raise NotFound(f"There is no work {work_id} on chain.", code="work_not_found", work_id=work_id)
    if status == Status.REVOKED:
        raise Conflict(f"Work {work_id} is revoked and takes no payments.", code="work_revoked", work_id=work_id)


def check_token(session: Session, chain: ChainInfo, token: str) -> None:
    """Raise Invalid unless works can be paid in a token."""
    if token == NATIVE:
        return
    allowed = view("allowed_token").c
    if not session.scalar(select(allowed.allowed).where(allowed.token == bytes.fromhex(token[2:]))):
        names = ", ".join(known.symbol for known in chain.tokens.values())
        raise Invalid(f"Works can't be paid in {token}; they can in {names}.", code="token_not_allowed")


def _intents(chain: ChainInfo, node: Node, request: PaymentRequest, payer: str | None) -> list[Intent]:
    kind = PaymentKind[request.kind.upper()].value
    ref = bytes.fromhex(request.ref[2:])
    token = chain.tokens.get(request.token)  # type: ignore[call-overload]  # an Address is a str
    symbol, decimals = (token.symbol, token.decimals) if token else (request.token, 0)
    what = f"{exact(request.amount, decimals)} {symbol}"
    to = "the platform" if request.work_id == PLATFORM else f"work {request.work_id}"
    if request.token == NATIVE:
        pay = call_intent(
            chain,
            "RevenueLedger",
            "payNative",
            [request.work_id, kind, ref],
            value=request.amount,
            description=f"Pay {what} to {to}",
        )
        return [pay]
    pay = call_intent(
        chain,
        "RevenueLedger",
        "payToken",
        [request.work_id, request.token, request.amount, kind, ref],
        description=f"Pay {what} to {to}",
    )
    approve = approve_first(
        chain,
        node,
        token=request.token,
        spender="RevenueLedger",
        payer=payer,
        amount=request.amount,
        description=f"Let the ledger take {what} from you",
    )
    return [*approve, pay]
