"""From the mirror's outbox to deliveries: what there is to tell, once and in the mirror's order.

One transaction reads `chain.outbox` from where the last one ended and writes events, deliveries and the new place; it
sees one state of the mirror (REPEATABLE READ), so that messages and rows are of the same chain. Messages that a later
one in the same reading undid are told as far as they still hold. What the mirror tells twice, as after it was built
anew, is known by its key and told once.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    Table,
    Text,
    cast,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from backend import mirror
from backend.governance import service as governance
from backend.models.base import uuid7
from backend.models.webhooks import WebhookCursor, WebhookDelivery, WebhookEndpoint, WebhookEvent
from backend.payouts.statements import source_of
from backend.webhooks.schemas import body_of
from backend.works.catalogue import kind_or_number
from backend.works.schemas import label_name
from indexer import models as chain
from indexer.models import event

RETENTION = timedelta(days=30)
"""How long events and their deliveries are kept."""
LATEST_EXTENSION_S = 7 * 86_400
"""A vote can be extended by less than this beyond its first end."""
PROPOSED = event("TroupeGovernor", "ProposalCreated")
CANCELED = event("TroupeGovernor", "ProposalCanceled")
CLOSED = "proposal.closed"
OUTCOMES = ("succeeded", "defeated", "canceled")
REORGANISED = "chain.reorganised"
LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('webhooks.tell'))"


@dataclass(frozen=True, slots=True)
class Source:
    """A contract's event and what is told of its rows."""

    type: str
    contract: str
    name: str
    data: Callable[[RowMapping], dict[str, Any]]

    @property
    def table(self) -> Table:
        return event(self.contract, self.name)

    @property
    def key(self) -> str:
        """As the outbox names it."""
        return f"{self.contract}.{self.name}"


def _own(*names: str) -> Callable[[RowMapping], dict[str, Any]]:
    return lambda row: {name: row[name] for name in names}


def _work(row: RowMapping) -> dict[str, Any]:
    return _own("work_id", "owner", "licence_id", "content_hash")(row) | {
        "kind": kind_or_number(row["kind"]),
        "ai_label": label_name(row["ai_label"]),
    }


def _payment(row: RowMapping) -> dict[str, Any]:
    return _own("work_id", "payer", "token", "amount", "fee")(row) | {"kind": source_of("direct", row["kind"])}


def _withdrawal(row: RowMapping) -> dict[str, Any]:
    return _own("work_id", "account", "token", "amount", "version")(row) | {"position": str(int(row["position"]))}


def _proposal(row: RowMapping) -> dict[str, Any]:
    title = row["description"].partition("\n")[0].removeprefix("# ").strip()
    return {
        "proposal_id": str(int(row["proposal_id"])),
        "proposer": row["proposer"],
        "title": title or f"Proposal {int(row['proposal_id'])}",
        "votes_from": int(row["vote_start"]),
        "votes_until": int(row["vote_end"]),
    }


SOURCES = (
    Source("work.registered", "WorkRegistry", "WorkRegistered", _work),
    Source("payment.received", "RevenueLedger", "PaymentReceived", _payment),
    Source("payout.withdrawn", "RevenueLedger", "Withdrawn", _withdrawal),
    Source("proposal.created", "TroupeGovernor", "ProposalCreated", _proposal),
    Source("reward.finalised", "RewardDistributor", "RootFinalized", _own("token", "epoch", "root", "total")),
)


@dataclass(frozen=True, slots=True)
class Told:
    """An event before it is stored."""

    key: str
    type: str
    body: str
    block: int | None = None
    work_id: int | None = None


@dataclass
class Reading:
    """One reading of the outbox."""

    session: Session
    chain_id: int
    now: datetime
    head: mirror.Head
    cursor: WebhookCursor
    events: int = field(default=0, init=False)

    def message(self, row: RowMapping, cut: float) -> None:
        """Tell of one message, of blocks below `cut` only: the rest was undone before it was read."""
        said = row["message"]
        kind = said["kind"]
        if kind == "undo":
            self.reorganised(said["first"], "reorganised", key=f"{REORGANISED}:{row['id']}")
        elif kind == "rebuilt":
            self.reorganised(self.cursor.final_number + 1, "rebuilt", key=f"{REORGANISED}:{row['id']}")
        elif cut == 0:  # of a mirror that was thrown away since
            return
        elif kind == "contracts":
            sources = [source for source in SOURCES if source.contract in said["names"]]
            self.blocks(0, min(self.head.number, cut - 1), sources)
        elif kind == "blocks":
            names = said["events"]
            sources = [source for source in SOURCES if names is None or source.key in names]
            last = min(said["head"], cut - 1)
            self.blocks(max(said["first"], self.cursor.final_number + 1), last, sources)
            self.settle(min(said["final"], last))
        elif kind == "final":
            self.settle(min(said["final"], cut - 1))

    @cached_property
    def wanted(self) -> set[str]:
        """What any endpoint asked for; the rest need not be kept."""
        return set(self.session.scalars(select(func.unnest(WebhookEndpoint.types)).distinct()))

    def settle(self, final: float) -> None:
        self.cursor.final_number = max(self.cursor.final_number, int(final))

    def blocks(self, first: int, last: float, sources: Sequence[Source]) -> None:
        """Tell of all rows of blocks `first` to `last`, in the chain's order."""
        sources = [source for source in sources if source.type in self.wanted]
        if first > last or not sources:
            return
        found = [(source, row) for source in sources for row in self._rows(source.table, first, int(last))]
        found.sort(key=lambda pair: (pair[1]["block_number"], pair[1]["log_index"]))
        self.tell(self._logged(source, row) for source, row in found)

    def _rows(self, table: Table, first: int, last: int) -> Sequence[RowMapping]:
        query = select(table, chain.block.c.hash.label("block_hash")).join(
            chain.block, chain.block.c.number == table.c.block_number
        )
        return self.session.execute(query.where(table.c.block_number.between(first, last))).mappings().all()

    def _logged(self, source: Source, row: RowMapping) -> Told:
        at = {"number": row["block_number"], "hash": row["block_hash"], "time": row["block_time"]}
        data = source.data(row) | {
            "chain_id": self.chain_id,
            "block": at,
            "tx_hash": row["tx_hash"],
            "log_index": row["log_index"],
        }
        key = f"{source.type}:{bytes(row['block_hash']).hex()}:{row['log_index']}"
        body = body_of(source.type, row["block_time"], data)
        return Told(key, source.type, body, row["block_number"], data.get("work_id"))

    def reorganised(self, first: int, reason: str, *, key: str) -> None:
        """What was told of `first` and above is void: it is told again if it comes again."""
        above = WebhookEvent.block_number >= first
        self.session.execute(update(WebhookEvent).where(above, ~WebhookEvent.undone).values(undone=True))
        self.cursor.final_number = min(self.cursor.final_number, first - 1)
        data = {"chain_id": self.chain_id, "first_block": first, "reason": reason}
        self.tell([Told(key, REORGANISED, body_of(REORGANISED, self.now, data))])

    def closed_votes(self) -> None:
        """Tell of votes that are over by the chain's clock at the head, or were called off."""
        for number in self.session.scalars(_closing(self.cursor.head_time, self.head.time)).all():
            found = governance.proposal(self.session, head=self.head, proposal_id=int(number))
            if found.state in ("pending", "active"):
                continue  # extended beyond its first end
            over = found.state if found.state in ("defeated", "canceled") else "succeeded"
            data = {
                "chain_id": self.chain_id,
                "block": {"number": self.head.number, "hash": self.head.hash, "time": self.head.time},
                "proposal_id": str(found.id),
                "outcome": over,
                "for": found.tally.for_,
                "against": found.tally.against,
                "abstain": found.tally.abstain,
                "quorum": found.quorum,
            }
            body = body_of(CLOSED, self.head.time, data)
            self.tell([Told(_closed_key(str(found.id), over), CLOSED, body, self.head.number)])
        self.cursor.head_time = max(self.cursor.head_time, self.head.time)

    def tell(self, told: Iterable[Told]) -> None:
        """Store events that were not told before, and a delivery for each endpoint that asked for them."""
        values = [
            {
                "id": uuid7(),
                "key": each.key,
                "type": each.type,
                "body": each.body,
                "work_id": each.work_id,
                "block_number": each.block,
                "undone": False,
                "created_at": self.now,
            }
            for each in told
        ]
        for start in range(0, len(values), 1_000):
            statement = (
                upsert(WebhookEvent)
                .on_conflict_do_nothing(index_elements=["key"], index_where=text("NOT undone"))
                .returning(WebhookEvent.position, sort_by_parameter_order=False)
            )
            positions = self.session.scalars(statement, values[start : start + 1_000]).all()
            self.events += len(positions)
            _fan_out(self.session, positions, self.now)


def _closed_key(proposal: Any, outcome: str) -> Any:
    return f"{CLOSED}:" + proposal + f":{outcome}"


def _closing(since: int, until: int) -> Select[int]:
    """Proposals whose vote ended between two times of the chain's clock, or was called off, and that is not told."""
    number = PROPOSED.c.proposal_id
    name = cast(number, Text)

    def told(*outcomes: str) -> ColumnElement[bool]:
        keys = [_closed_key(name, outcome) for outcome in outcomes]
        return select(WebhookEvent.key).where(WebhookEvent.key.in_(keys), ~WebhookEvent.undone).exists()

    canceled = select(CANCELED.c.proposal_id).where(CANCELED.c.proposal_id == number).exists()
    ended = PROPOSED.c.vote_end
    return (
        select(number)
        .where(
            ended >= since - LATEST_EXTENSION_S,
            ((ended < until) & ~told(*OUTCOMES)) | (canceled & ~told("canceled")),
        )
        .order_by(ended, number)
    )


def _fan_out(session: Session, positions: Sequence[int], now: datetime) -> None:
    """Deliveries for every endpoint that wants these events; not for one that has been disabled for too long."""
    wanted = select(WebhookEndpoint.id, WebhookEvent.position).where(
        WebhookEvent.position.in_(positions),
        WebhookEvent.type == WebhookEndpoint.types.any_(),
        WebhookEvent.work_id.is_(None)
        | WebhookEndpoint.work_ids.is_(None)
        | (WebhookEvent.work_id == func.any(WebhookEndpoint.work_ids)),
        WebhookEndpoint.disabled_at.is_(None) | (WebhookEndpoint.disabled_at > now - RETENTION),
    )
    session.execute(insert(WebhookDelivery).from_select(["endpoint_id", "position"], wanted))


def begin(session: Session) -> WebhookCursor:
    """The place in the outbox; where there is none yet, it is made at the outbox's end."""
    found = session.get(WebhookCursor, 1)
    if found is not None:
        return found
    last = session.scalar(select(func.max(chain.outbox.c.id))) or 0
    head = session.execute(select(chain.cursor)).mappings().one_or_none()
    values = {
        "id": 1,
        "last_id": last,
        "final_number": head["final_number"] if head else -1,
        "head_time": head["head_time"] if head else 0,
    }
    session.execute(upsert(WebhookCursor).values(values).on_conflict_do_nothing())
    return session.get_one(WebhookCursor, 1)


def tell(session: Session, *, chain_id: int, now: datetime) -> int:
    """Tell all that the outbox holds; returns how many events there are more. In a transaction of its own.

    Of several processes at once one tells; the others find nothing to do.
    """
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    if not session.scalar(text(LOCK)):
        return 0
    cursor = begin(session)
    query = select(chain.outbox).where(chain.outbox.c.id > cursor.last_id).order_by(chain.outbox.c.id)
    messages = session.execute(query).mappings().all()
    head = session.execute(select(chain.cursor.c.id)).scalar_one_or_none()
    if not messages or head is None:
        return 0
    reading = Reading(session, chain_id, now, mirror.head(session), cursor)
    if messages[0]["id"] > cursor.last_id + 1 and messages[0]["message"]["kind"] != "rebuilt":
        first = cursor.final_number + 1
        reading.reorganised(first, "missed", key=f"{REORGANISED}:missed:{messages[0]['id']}")
        reading.blocks(first, reading.head.number, SOURCES)
        reading.settle(reading.head.final_number)
    else:
        for row, cut in zip(messages, cuts([row["message"] for row in messages]), strict=True):
            reading.message(row, cut)
    cursor.last_id = messages[-1]["id"]
    reading.closed_votes()
    return reading.events


def cuts(messages: Sequence[dict[str, Any]]) -> list[float]:
    """For each message the first block that a later one took back; 0 when the mirror was emptied, inf for none."""
    found: list[float] = []
    cut = math.inf
    for said in reversed(messages):
        found.append(cut)
        if said["kind"] == "undo":
            cut = min(cut, said["first"])
        elif said["kind"] == "rebuilt":
            cut = 0
    return found[::-1]


def tell_one(session: Session, *, endpoint_id: uuid.UUID, now: datetime) -> uuid.UUID:
    """Queue a test for one endpoint; its id."""
    made = WebhookEvent(
        id=uuid7(),
        key=f"webhook.test:{uuid7()}",
        type="webhook.test",
        body=body_of("webhook.test", now, {"message": "You asked for this test, and it reached you."}),
        created_at=now,
        undone=False,
    )
    session.add(made)
    session.flush()
    session.add(WebhookDelivery(endpoint_id=endpoint_id, position=made.position))
    session.flush()
    return made.id


def forget(session: Session, *, now: datetime) -> int:
    """Drop what is older than the retention; returns how many events."""
    gone = session.execute(delete(WebhookEvent).where(WebhookEvent.created_at < now - RETENTION))
    return int(gone.rowcount)  # type: ignore[attr-defined]  # of a DELETE


def message_id(event_id: uuid.UUID) -> str:
    """The `webhook-id`."""
    return f"msg_{event_id.hex}"


def parse_message_id(text_: str) -> uuid.UUID | None:
    """The event of a `webhook-id`; None for what is none."""
    try:
        return uuid.UUID(hex=text_.removeprefix("msg_")) if text_.startswith("msg_") else None
    except ValueError:
        return None
