"""What can be followed, and what a message of the mirror's outbox means for who follows it.

A message says which blocks were mirrored and which events they hold. The rows are read anew, in one snapshot with the
messages, and only in blocks that no later message took back: so what is told is of the mirror as it is now, whether it
is told at once or to somebody who comes back after an hour. Events are told at least once; a payment is known by its
`tx_hash` and `log_index`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from eth_utils.address import to_checksum_address
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from backend.errors import Invalid
from backend.schemas import parse_address

Connection = AsyncConnection[DictRow]
MAX_TOPICS: Final = 20
MAX_ROWS: Final = 1_000
"""Rows that one reading tells of; of more (the mirror catches up) followers are told to begin anew."""

_PAYMENTS: Final = """
SELECT block_number, log_index, tx_hash, work_id, token, payer, amount, fee
FROM chain.revenue_ledger_payment_received
WHERE block_number BETWEEN %(first)s AND %(last)s AND work_id = ANY(%(works)s::numeric[])
ORDER BY block_number, log_index LIMIT %(limit)s
"""

_PAYOUTS: Final = """
WITH RECURSIVE held AS (
    SELECT DISTINCT l.account, s.work_id FROM app.split_leaf l
    JOIN chain.revenue_ledger_split_activated s ON s.root = l.root WHERE l.account = ANY(%(accounts)s)
), below(account, work_id) AS (
    SELECT account, work_id FROM held
    UNION
    SELECT b.account, e.work_id FROM chain.revenue_ledger_edge_opened e JOIN below b ON e.parent_id = b.work_id
), moved(account, block_number, work_id) AS (
    SELECT b.account, p.block_number, p.work_id FROM chain.revenue_ledger_payment_received p
    JOIN below b USING (work_id) WHERE p.block_number BETWEEN %(first)s AND %(last)s
    UNION SELECT b.account, s.block_number, s.parent_id FROM chain.revenue_ledger_edge_settled s
    JOIN below b ON b.work_id = s.parent_id WHERE s.block_number BETWEEN %(first)s AND %(last)s
    UNION SELECT h.account, a.block_number, a.work_id FROM chain.revenue_ledger_split_activated a
    JOIN held h USING (work_id) WHERE a.block_number BETWEEN %(first)s AND %(last)s
    UNION SELECT account, block_number, work_id FROM chain.revenue_ledger_withdrawn
    WHERE account = ANY(%(accounts)s) AND block_number BETWEEN %(first)s AND %(last)s
)
SELECT account, block_number, array_agg(DISTINCT work_id ORDER BY work_id) AS works
FROM moved GROUP BY account, block_number ORDER BY block_number LIMIT %(limit)s
"""
"""The works through which an account's figures changed: those it holds shares of, and those below them."""

_CHANGES: Final = {
    "TroupeGovernor.ProposalCreated": "troupe_governor_proposal_created",
    "TroupeGovernor.ProposalQueued": "troupe_governor_proposal_queued",
    "TroupeGovernor.ProposalExecuted": "troupe_governor_proposal_executed",
    "TroupeGovernor.ProposalCanceled": "troupe_governor_proposal_canceled",
    "TroupeGovernor.VoteCast": "troupe_governor_vote_cast",
    "TroupeGovernor.VoteCastWithParams": "troupe_governor_vote_cast_with_params",
}
_PROPOSALS: Final = (
    "SELECT c.block_number, c.proposal_id, array_agg(DISTINCT c.name ORDER BY c.name) AS changes,"
    ' t.against, t.for_ AS "for", t.abstain FROM ('
    + " UNION ALL ".join(
        f"SELECT block_number, proposal_id, '{name.partition('.')[2]}' AS name FROM chain.{table}"
        " WHERE block_number BETWEEN %(first)s AND %(last)s"
        for name, table in _CHANGES.items()
    )
    + ") c LEFT JOIN chain.tally t USING (proposal_id) GROUP BY 1, 2, 4, 5, 6 ORDER BY 1, 2 LIMIT %(limit)s"
)
_MONEY: Final = frozenset(
    f"RevenueLedger.{name}" for name in ("PaymentReceived", "EdgeSettled", "SplitActivated", "Withdrawn")
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell. `topic` None: everybody is told."""

    topic: str | None
    name: str
    data: dict[str, Any]


@dataclass(slots=True)
class Tick:
    """A message of the outbox, and what it means for the topics that were asked for."""

    id: int
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Span:
    """Blocks of one message that no later one took back."""

    tick: Tick
    first: int
    last: int


def parse_topics(texts: Iterable[str]) -> frozenset[str]:
    """The topics of a request, in one spelling. Raises Invalid `topic_unknown`."""
    made = {_parse(text.strip()) for text in texts}
    if not 1 <= len(made) <= MAX_TOPICS:
        raise _unknown(f"Name 1 to {MAX_TOPICS} topics.")
    return frozenset(made)


def _parse(text: str) -> str:
    kind, _, rest = text.partition(":")
    if text in ("chain", "proposals", "me"):
        return text
    if kind in ("work", "proposal") and re.fullmatch(r"0|[1-9][0-9]{0,77}", rest):
        return text
    if kind == "payouts":
        try:
            return f"payouts:{parse_address(rest)}"
        except ValueError as error:
            raise _unknown(f"`{text:.80}`: {error}.") from error
    raise _unknown(f"There is no topic `{text:.80}`.")


def _unknown(what: str) -> Invalid:
    return Invalid(
        f"{what} Topics are chain, work:<id>, payouts:<address>, proposals, proposal:<id> and me.",
        code="topic_unknown",
        title="Unknown topic",
    )


async def read_ticks(connection: Connection, after: int, upto: int | None, topics: frozenset[str]) -> list[Tick]:
    """The messages after one and up to another (or all), oldest first, with what they mean. At most MAX_ROWS.

    Both are read in one snapshot, in a transaction of its own.
    """
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        found = await connection.execute(
            "SELECT id, message FROM chain.outbox WHERE id > %s AND id <= coalesce(%s, id) ORDER BY id LIMIT %s",
            (after, upto, MAX_ROWS),
        )
        messages = [(int(row["id"]), row["message"]) for row in await found.fetchall()]
        if not messages:
            return []
        # a message beyond those read may have taken back what these say
        more = await connection.execute(
            "SELECT message FROM chain.outbox WHERE id > %s AND message->>'kind' IN ('undo', 'rebuilt')",
            (messages[-1][0],),
        )
        later = [row["message"] for row in await more.fetchall()]
        return await _meant(connection, messages, later, topics)


async def _meant(
    connection: Connection, messages: Sequence[tuple[int, Any]], later: Sequence[Any], topics: frozenset[str]
) -> list[Tick]:
    ticks = [Tick(number, list(_of_the_chain(message))) for number, message in messages]
    spans = list(_spans(messages, later, ticks))
    if not spans:
        return ticks
    names = {
        name
        for (_, message) in messages
        if message["kind"] == "blocks"
        for name in (message["events"] if message["events"] is not None else ("*",))
    }
    blocks = {"first": min(s.first for s in spans), "last": max(s.last for s in spans), "limit": MAX_ROWS + 1}
    for found in (
        await _payments(connection, blocks, names, topics),
        await _payouts(connection, blocks, names, topics),
        await _proposals(connection, blocks, names, topics),
    ):
        if len(found) > MAX_ROWS:
            ticks[-1].events.append(Event(None, "reset", {"reason": "too_much"}))
            continue
        for block, event in found:
            for span in spans:
                if span.first <= block <= span.last:
                    span.tick.events.append(event)
                    break
    return ticks


def _of_the_chain(message: dict[str, Any]) -> Iterator[Event]:
    kind = message["kind"]
    if kind == "blocks":
        yield Event("chain", "blocks", {key: message[key] for key in ("first", "head", "hash", "time", "final")})
    elif kind == "final":
        yield Event("chain", "final", {"final": message["final"]})
    elif kind == "undo":
        yield Event(None, "undo", {"first": message["first"]})
    elif kind in ("rebuilt", "contracts"):
        yield Event(None, "reset", {"reason": kind})


def _spans(messages: Sequence[tuple[int, Any]], later: Sequence[Any], ticks: Sequence[Tick]) -> Iterator[_Span]:
    """Newest first: of each block the last message that brought it, unless it was taken back since."""
    below: float = min((-1 if each["kind"] == "rebuilt" else each["first"] for each in later), default=float("inf"))
    for (_, message), tick in zip(reversed(messages), reversed(ticks), strict=True):
        if message["kind"] == "blocks":
            last = min(message["head"], below - 1)
            if message["first"] <= last:
                yield _Span(tick, message["first"], int(last))
        elif message["kind"] == "undo":
            below = min(below, message["first"])
        elif message["kind"] == "rebuilt":
            below = -1


def _of_kind(topics: frozenset[str], kind: str) -> list[str]:
    return sorted(topic.partition(":")[2] for topic in topics if topic.startswith(f"{kind}:"))


async def _rows(connection: Connection, query: str, parameters: dict[str, Any]) -> list[DictRow]:
    return await (await connection.execute(query.encode(), parameters)).fetchall()


Found = list[tuple[int, Event]]


async def _payments(connection: Connection, blocks: dict[str, int], names: set[str], topics: frozenset[str]) -> Found:
    works = _of_kind(topics, "work")
    if not works or not names & {"RevenueLedger.PaymentReceived", "*"}:
        return []
    rows = await _rows(connection, _PAYMENTS, blocks | {"works": [int(work) for work in works]})
    return [
        (
            row["block_number"],
            Event(
                f"work:{row['work_id']}",
                "payment",
                {
                    "work_id": str(row["work_id"]),
                    "token": to_checksum_address(bytes(row["token"])),
                    "payer": to_checksum_address(bytes(row["payer"])),
                    "amount": str(row["amount"]),
                    "fee": str(row["fee"]),
                    "block": row["block_number"],
                    "log_index": row["log_index"],
                    "tx_hash": "0x" + bytes(row["tx_hash"]).hex(),
                },
            ),
        )
        for row in rows
    ]


async def _payouts(connection: Connection, blocks: dict[str, int], names: set[str], topics: frozenset[str]) -> Found:
    accounts = _of_kind(topics, "payouts")
    if not accounts or not names & (_MONEY | {"*"}):
        return []
    rows = await _rows(connection, _PAYOUTS, blocks | {"accounts": [bytes.fromhex(text[2:]) for text in accounts]})
    found: Found = []
    for row in rows:
        account = to_checksum_address(bytes(row["account"]))
        data = {"account": account, "works": [str(work) for work in row["works"]], "block": row["block_number"]}
        found.append((row["block_number"], Event(f"payouts:{account}", "payouts", data)))
    return found


async def _proposals(connection: Connection, blocks: dict[str, int], names: set[str], topics: frozenset[str]) -> Found:
    wanted = {f"proposal:{number}" for number in _of_kind(topics, "proposal")}
    everything = "proposals" in topics
    if not (wanted or everything) or not names & ({*_CHANGES} | {"*"}):
        return []
    found: Found = []
    for row in await _rows(connection, _PROPOSALS, blocks):
        data = {
            "proposal_id": str(row["proposal_id"]),
            "changes": row["changes"],
            **{name: str(row[name] or 0) for name in ("for", "against", "abstain")},
            "block": row["block_number"],
        }
        for topic in ("proposals", f"proposal:{row['proposal_id']}"):
            if topic in wanted or (everything and topic == "proposals"):
                found.append((row["block_number"], Event(topic, "proposal", data)))
    return found


def by_topic(ticks: Iterable[Tick]) -> dict[str | None, list[tuple[int, Event]]]:
    """What there is to tell, sorted by who wants to hear it."""
    sorted_: dict[str | None, list[tuple[int, Event]]] = defaultdict(list)
    for tick in ticks:
        for event in tick.events:
            sorted_[event.topic].append((tick.id, event))
    return sorted_
