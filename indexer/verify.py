"""Does the mirror equal the chain? Money and rights against the contracts' getters at one block; logs against the node.

Each check yields findings: what the mirror says and what the chain says. Nothing is repaired.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from indexer import schema
from indexer.abi import Log
from indexer.chain import Chain
from indexer.connection import Connection
from indexer.deployment import NATIVE, Deployment
from indexer.errors import Fatal, Retryable
from indexer.keccak import keccak
from indexer.nodes import Node
from indexer.proof import prove_all
from indexer.rpc import Reverted
from indexer.store import GENESIS_DIGEST, EventWriters, next_digest, raw_logs

CALLS_PER_BATCH = 100
BLOCKS_PER_RANGE = 500
UNKNOWN = "nothing of it"
"""What the chain has where a contract refuses the getter's call."""


@dataclass(frozen=True)
class Finding:
    """One thing that differs."""

    what: str
    mirror: str
    chain: str


@dataclass
class Check:
    """One kind of comparison: how many were made, what differed, and what a reader should know."""

    name: str
    compared: int = 0
    findings: list[Finding] = field(default_factory=list)
    note: str = ""
    against: str = "the chain"
    """What the mirror is compared with, in a reader's words."""
    remedy: str = ""
    """What to do where something differs."""
    counts: dict[str, int] = field(default_factory=dict)
    """Of what kind the compared were, in the singular; they add up to `compared`. Empty where all are of one kind."""

    def count(self, of: str, times: int = 1) -> None:
        """Count comparisons of a kind; none of it is told of a kind that there is not."""
        if times:
            self.compared += times
            self.counts[of] = self.counts.get(of, 0) + times

    def compare(self, what: str, mirror: Any, chain: Any, *, of: str = "") -> None:
        if of:
            self.count(of)
        else:
            self.compared += 1
        self.find(what, mirror, chain)

    def find(self, what: str, mirror: Any, chain: Any) -> None:
        """As `compare`, of what was counted already."""
        if mirror != chain:
            self.findings.append(Finding(what, _show(mirror), _show(chain)))


@dataclass(frozen=True)
class Report:
    block_number: int
    block_hash: bytes
    checks: list[Check]

    @property
    def equal(self) -> bool:
        return not any(check.findings for check in self.checks)


def _show(value: Any) -> str:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple):
        return ", ".join(map(_show, value))
    return str(value)


def _call_data(signature: str, *words: int | bytes) -> str:
    """Call data of a function whose arguments are single words."""
    packed = b"".join(word.rjust(32, b"\0") if isinstance(word, bytes) else word.to_bytes(32) for word in words)
    return "0x" + (keccak(signature.encode())[:4] + packed).hex()


class Getters:
    """Calls of contracts' views at one block."""

    def __init__(self, rpc: Node, block_hash: bytes) -> None:
        self._rpc = rpc
        self._at = {"blockHash": "0x" + block_hash.hex()}

    def balance(self, address: bytes) -> int:
        return int(self._rpc.call("eth_getBalance", "0x" + address.hex(), self._at), 16)

    def token_balance(self, token: bytes, account: bytes) -> int | None:
        """What an account has of a token; None when there is no token of that address."""
        try:
            (words,) = self.words([(token, _call_data("balanceOf(address)", account))])
        except Fatal:
            return None
        return _number(words[0]) if words else None

    def words(self, calls: Sequence[tuple[bytes, str]]) -> Iterator[list[bytes] | None]:
        """The words that each call (contract, call data) returns, None where the contract refuses the call.

        Raises Fatal for one that returns nothing.
        """
        for start in range(0, len(calls), CALLS_PER_BATCH):
            some = calls[start : start + CALLS_PER_BATCH]
            requests = [({"to": "0x" + to.hex(), "data": data}, self._at) for to, data in some]
            for answer, (to, data) in zip(self._answers(requests), some, strict=True):
                if answer is None:
                    yield None
                    continue
                raw = bytes.fromhex(answer[2:])
                if not raw or len(raw) % 32:
                    raise Fatal(f"0x{to.hex()} has no getter {data[:10]}: the deployed contract is another version")
                yield [raw[at : at + 32] for at in range(0, len(raw), 32)]

    def _answers(self, requests: Sequence[tuple[Any, ...]]) -> list[str | None]:
        try:
            return self._rpc.batch([("eth_call", each) for each in requests])
        except Reverted:
            return [self._answer(each) for each in requests]

    def _answer(self, request: tuple[Any, ...]) -> str | None:
        try:
            return str(self._rpc.call("eth_call", *request))
        except Reverted:
            return None


def _rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    """Rows with NUMERIC as int."""
    return [
        tuple(int(value) if hasattr(value, "as_tuple") else value for value in row)
        for row in connection.execute(query.encode())
    ]


def _number(word: bytes) -> int:
    return int.from_bytes(word)


def _answered(
    check: Check, getters: Getters, contract: bytes, getter: str, rows: list[tuple[Any, ...]]
) -> Iterator[tuple[tuple[Any, ...], list[bytes]]]:
    """Each row with the words that a getter returns for it; its arguments are the row's first columns.

    A row that the contract knows nothing of, so that it refuses the call, is a finding and is left out.
    """
    arguments = 0 if getter.endswith("()") else getter.count(",") + 1
    calls = [(contract, _call_data(getter, *row[:arguments])) for row in rows]
    for row, words in zip(rows, getters.words(calls), strict=True):
        if words is None:
            asked = f"{getter.partition('(')[0]} of {_show(row[:arguments])}"
            check.compare(asked, row[arguments:], UNKNOWN)
        else:
            yield row, words


def check_balances(connection: Connection, getters: Getters, ledger: bytes) -> Check:
    """What the ledger holds of each token must be what was paid less what was paid out.

    More is possible (anybody can send a token to any address) and is noted; less is a finding.
    """
    check = Check("ledger's balances")
    surplus = []
    for token, balance in _rows(connection, "SELECT token, balance FROM chain.ledger_balance ORDER BY token"):
        held = getters.balance(ledger) if token == NATIVE else getters.token_balance(token, ledger)
        check.compare(f"balance of 0x{token.hex()}", balance, UNKNOWN if held is None else min(held, balance))
        if held is not None and held > balance:
            surplus.append(f"{held - balance} of 0x{token.hex()}")
    if surplus:
        check.note = f"the ledger also holds {', '.join(surplus)}, sent to it without a payment"
    return check


def check_owners(connection: Connection, getters: Getters, registry: bytes) -> Check:
    """Every work's owner, metadata, label, licence and status."""
    check = Check("works")
    owners = "SELECT work_id, owner FROM chain.work ORDER BY work_id"
    for (work_id, owner), words in _answered(check, getters, registry, "ownerOf(uint256)", _rows(connection, owners)):
        check.compare(f"owner of work {work_id}", owner, words[0][12:])
    works = (
        "SELECT work_id, content_hash, cid_digest, licence_id, kind, ai_label, status FROM chain.work ORDER BY work_id"
    )
    for (work_id, *mirror), words in _answered(check, getters, registry, "workOf(uint64)", _rows(connection, works)):
        # workOf: contentHash, cidDigest, registeredAt, committedAt, licenceId, kind, aiLabel, status
        chain = (words[0], words[1], *map(_number, words[4:8]))
        check.compare(f"work {work_id}", tuple(mirror), chain)
    return check


def check_splits(connection: Connection, getters: Getters, ledger: bytes) -> Check:
    """Every version of every split."""
    check = Check("splits")
    query = "SELECT work_id, version, root, total_weight FROM chain.split ORDER BY work_id, version"
    for row, words in _answered(check, getters, ledger, "splitOf(uint64,uint32)", _rows(connection, query)):
        work_id, version, root, total = row
        check.compare(f"split {version} of work {work_id}", (root, total), (words[0], _number(words[1])))
    return check


def check_accounts(connection: Connection, getters: Getters, ledger: bytes) -> Check:
    """Lifetime revenue of every (work, token), and the version of the latest credit."""
    check = Check("revenue accounts")
    query = (
        "SELECT work_id, token, sum(direct), sum(inherited), max(version) FROM chain.credit"
        " GROUP BY work_id, token ORDER BY work_id, token"
    )
    answers = _answered(check, getters, ledger, "accountOf(uint64,address)", _rows(connection, query))
    for (work_id, token, *mirror), words in answers:
        check.compare(f"revenue of work {work_id} in 0x{token.hex()}", tuple(mirror), tuple(map(_number, words[:3])))
    return check


def check_accruals(connection: Connection, getters: Getters, ledger: bytes) -> Check:
    """Where every credited split version began, in every token."""
    check = Check("split versions' beginnings")
    query = (
        "SELECT work_id, token, version, direct_before, inherited_before FROM chain.version_accrual"
        " ORDER BY work_id, token, version"
    )
    for row, words in _answered(check, getters, ledger, "baseOf(uint64,address,uint32)", _rows(connection, query)):
        work_id, token, version, *mirror = row
        what = f"beginning of version {version} of work {work_id} in 0x{token.hex()}"
        check.compare(what, tuple(mirror), tuple(map(_number, words[:2])))
    return check


def check_settlements(connection: Connection, getters: Getters, ledger: bytes) -> Check:
    """What every edge has passed on."""
    check = Check("settled edges")
    query = "SELECT work_id, edge_index, token, amount FROM chain.settled ORDER BY work_id, edge_index, token"
    for row, words in _answered(check, getters, ledger, "settledOf(uint64,uint256,address)", _rows(connection, query)):
        work_id, edge, token, amount = row
        check.compare(f"settled by edge {edge} of work {work_id} in 0x{token.hex()}", amount, _number(words[0]))
    return check


def check_withdrawals(connection: Connection, getters: Getters, ledger: bytes) -> Check:
    """What every leaf's position has been paid."""
    check = Check("withdrawals")
    query = (
        "SELECT work_id, version, token, position, amount FROM chain.withdrawn"
        " ORDER BY work_id, version, token, position"
    )
    answers = _answered(check, getters, ledger, "withdrawnOf(uint64,uint32,address,uint256)", _rows(connection, query))
    for row, words in answers:
        work_id, version, token, position, amount = row
        what = f"paid to position {position} of version {version} of work {work_id} in 0x{token.hex()}"
        check.compare(what, amount, _number(words[0]))
    return check


def check_fee(connection: Connection, getters: Getters, ledger: bytes) -> Check:
    """The platform's fee in force."""
    check = Check("platform fee")
    query = "SELECT coalesce(fee_bps, 0) FROM chain.policy"
    for (fee,), words in _answered(check, getters, ledger, "feeBps()", _rows(connection, query)):
        check.compare("fee in basis points", fee, _number(words[0]))
    return check


LATEST_CHARACTERS = """
    SELECT token_id, owner, coalesce(expires, 0) FROM (
        SELECT DISTINCT ON (token_id) token_id, to_ AS owner FROM chain.characters_transfer
        ORDER BY token_id, block_number DESC, log_index DESC
    ) AS held LEFT JOIN (
        SELECT DISTINCT ON (token_id) token_id, expires FROM chain.characters_update_user
        ORDER BY token_id, block_number DESC, log_index DESC
    ) AS lent USING (token_id)
    WHERE owner <> decode(repeat('00', 20), 'hex') ORDER BY token_id
"""


def check_characters(connection: Connection, getters: Getters, characters: bytes) -> Check:
    """Every character's owner, and until when it is let. What was burned has no getter."""
    check = Check("characters")
    query = LATEST_CHARACTERS
    for (token_id, owner, _), words in _answered(
        check, getters, characters, "ownerOf(uint256)", _rows(connection, query)
    ):
        check.compare(f"owner of character {token_id}", owner, words[0][12:])
    answers = _answered(check, getters, characters, "userExpires(uint256)", _rows(connection, query))
    for (token_id, _, expires), words in answers:
        check.compare(f"end of the use of character {token_id}", expires, _number(words[0]))
    return check


ITEM_BALANCES = """
    SELECT account, item_id, sum(amount) FROM (
        SELECT to_ AS account, item_id, amount FROM chain.item_move
        UNION ALL SELECT from_, item_id, -amount FROM chain.item_move
    ) AS changed WHERE account <> decode(repeat('00', 20), 'hex') GROUP BY account, item_id ORDER BY account, item_id
"""
"""Those who hold none any more, too, whom the view `item_balance` leaves out."""


def check_items(connection: Connection, getters: Getters, items: bytes) -> Check:
    """What every account has of every item."""
    check = Check("items")
    answers = _answered(check, getters, items, "balanceOf(address,uint256)", _rows(connection, ITEM_BALANCES))
    for (account, item, balance), words in answers:
        check.compare(f"item {item} of 0x{account.hex()}", balance, _number(words[0]))
    return check


def check_subscriptions(connection: Connection, getters: Getters, storefront: bytes) -> Check:
    """Until when every subscriber has access to a work."""
    check = Check("subscriptions")
    query = "SELECT work_id, subscriber, expires_at FROM chain.subscription ORDER BY work_id, subscriber"
    for row, words in _answered(
        check, getters, storefront, "subscribedUntil(uint64,address)", _rows(connection, query)
    ):
        work_id, subscriber, until = row
        check.compare(f"subscription of 0x{subscriber.hex()} to work {work_id}", until, _number(words[0]))
    return check


def check_token(connection: Connection, getters: Getters, token: bytes) -> Check:
    """What every account has of the platform's token, what it votes with, and who votes with what it has."""
    check = Check("token accounts")
    for column, getter in (
        ("balance", "balanceOf(address)"),
        ("votes", "getVotes(address)"),
        ("coalesce(delegate, decode(repeat('00', 20), 'hex'))", "delegates(address)"),
    ):
        query = f"SELECT account, {column} FROM chain.token_account ORDER BY account"
        for (account, mirror), words in _answered(check, getters, token, getter, _rows(connection, query)):
            chain = words[0][12:] if isinstance(mirror, bytes) else _number(words[0])
            check.compare(f"{getter.partition('(')[0]} of 0x{account.hex()}", mirror, chain)
    return check


def check_proposals(connection: Connection, getters: Getters, governor: bytes) -> Check:
    """Every proposal's votes by side, and when they begin and end."""
    check = Check("proposals")
    for columns, getter in (
        ("against, for_, abstain", "proposalVotes(uint256)"),
        ("vote_start", "proposalSnapshot(uint256)"),
        ("vote_end", "proposalDeadline(uint256)"),
        ("coalesce(eta, 0)", "proposalEta(uint256)"),
    ):
        query = f"SELECT proposal_id, {columns} FROM chain.proposal ORDER BY proposal_id"
        for (number, *mirror), words in _answered(check, getters, governor, getter, _rows(connection, query)):
            check.compare(f"{getter.partition('(')[0]} of {number}", mirror, [_number(word) for word in words])
    return check


NO_ROOT = "decode(repeat('00', 32), 'hex')"
REWARDS = {
    "streamOf(address)": f"""
        SELECT token, coalesce(root, {NO_ROOT}), total, claimed, funded, root_epoch FROM chain.reward_stream
        ORDER BY token
    """,
    "pendingOf(address)": f"""
        SELECT s.token, coalesce(r.root, {NO_ROOT}), coalesce(r.total, 0), coalesce(r.epoch, 0),
               coalesce(r.finalizable_at, 0)
        FROM chain.reward_stream s
        LEFT JOIN chain.reward_root r ON r.token = s.token AND r.status IN ('pending', 'challenged') ORDER BY s.token
    """,
    "accountOf(address,address)": "SELECT token, account, claimed FROM chain.reward_account ORDER BY token, account",
}
"""Getter -> its arguments and the first of the words that it returns, by the mirror."""


def check_rewards(connection: Connection, getters: Getters, distributor: bytes) -> Check:
    """Every stream's funds, claims and root, the root that is pending, and what each account was paid."""
    check = Check("rewards")
    for getter, query in REWARDS.items():
        arguments = getter.count(",") + 1
        for row, words in _answered(check, getters, distributor, getter, _rows(connection, query)):
            mirror = row[arguments:]
            told = zip(mirror, words, strict=False)
            chain = tuple(word if isinstance(value, bytes) else _number(word) for value, word in told)
            check.compare(f"{getter.partition('(')[0]} of {_show(row[:arguments])}", mirror, chain)
    return check


STATE_CHECKS: tuple[tuple[str, Callable[[Connection, Getters, bytes], Check]], ...] = (
    ("RevenueLedger", check_balances),
    ("RevenueLedger", check_fee),
    ("RevenueLedger", check_splits),
    ("RevenueLedger", check_accounts),
    ("RevenueLedger", check_accruals),
    ("RevenueLedger", check_settlements),
    ("RevenueLedger", check_withdrawals),
    ("WorkRegistry", check_owners),
    ("Characters", check_characters),
    ("Items", check_items),
    ("Storefront", check_subscriptions),
    ("TroupeToken", check_token),
    ("TroupeGovernor", check_proposals),
    ("RewardDistributor", check_rewards),
)


def check_rows(connection: Connection, deployment: Deployment) -> Check:
    """Every typed row must be what its raw log decodes to, every table must hold no other row, and the digest agree."""
    check = Check("rows decoded from logs", against="the raw logs")
    check.remedy = "stop the indexer, run `python -m indexer reindex`, start it"
    writers = EventWriters(deployment)
    times: dict[int, int] = dict(
        connection.execute("SELECT number, time FROM chain.block WHERE log_count > 0").fetchall()
    )
    hashes: dict[int, bytes] = dict(
        connection.execute("SELECT number, hash FROM chain.block WHERE log_count > 0").fetchall()
    )
    expected: dict[str, int] = {table.name: 0 for table in schema.typed()}
    events = schema.events()
    digest = GENESIS_DIGEST
    pending: list[Log] = []
    with connection.transaction():
        logs = raw_logs(connection)
        while some := list(islice(logs, 5_000)):
            check.count("raw log", len(some))
            for log in some:
                if pending and pending[-1].block_number != log.block_number:
                    digest = next_digest(digest, hashes.get(pending[0].block_number, b""), pending)
                    pending = []
                pending.append(log)
            if missing := [log for log in some if log.block_number not in times]:
                check.compare(f"block {missing[0].block_number}", "none", "a block with logs", of="block")
                some = [log for log in some if log.block_number in times]
            for event, table, rows in writers.rows(some, times):
                if not rows:
                    continue
                expected[table.name] += len(rows)
                stored = _rows_at(connection, table, rows[0][:2], rows[-1][:2])
                derived = table is not events[event.contract, event.name]  # else its log was counted above
                for row in rows:
                    what = f"{event.contract}.{event.name} at block {row[0]}, log {row[1]}"
                    check.find(what, stored.get(row[: len(table.key)]), row)
                check.count("derived row", len(rows) if derived else 0)
    if pending:
        digest = next_digest(digest, hashes.get(pending[0].block_number, b""), pending)
    for name, count in expected.items():
        ((stored_count,),) = _rows(connection, f"SELECT count(*) FROM chain.{name}")
        check.compare(f"rows of {name}", stored_count, count, of="table")
    ((count, cursor_digest),) = _rows(connection, "SELECT log_count, digest FROM chain.cursor")
    ((logs_count,),) = _rows(connection, "SELECT count(*) FROM chain.log")
    check.compare("number of logs", count, logs_count, of="total")
    check.compare("digest", cursor_digest, digest, of="total")
    return check


def _rows_at(
    connection: Connection, table: schema.Table, first: tuple[Any, ...], last: tuple[Any, ...]
) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The rows of a typed table between two positions, by key."""
    rows = connection.execute(
        f"SELECT * FROM chain.{table.name} WHERE (block_number, log_index) BETWEEN (%s, %s) AND (%s, %s)".encode(),
        (*first, *last),
    )
    found = (tuple(int(v) if hasattr(v, "as_tuple") else v for v in row) for row in rows)
    return {row[: len(table.key)]: row for row in found}


def check_logs(connection: Connection, chain: Chain, sample: int | None, rng: random.Random) -> Check:
    """The raw logs and blocks against the node's: every range of blocks, or `sample` of them picked by `rng`."""
    check = Check("logs fetched again")
    ((start, head),) = _rows(connection, "SELECT start_block, head_number FROM chain.cursor")
    ranges = [(first, min(head, first + BLOCKS_PER_RANGE - 1)) for first in range(start, head + 1, BLOCKS_PER_RANGE)]
    if sample is not None and sample < len(ranges):
        ranges = sorted(rng.sample(ranges, sample))
        check.note = f"{sample} of {-(-(head - start + 1) // BLOCKS_PER_RANGE)} ranges of {BLOCKS_PER_RANGE} blocks"
    for first, last in ranges:
        segment = chain.segment_by_range(first, last)
        mirror = {
            (row[0], row[1]): Log(*row)
            for row in connection.execute(
                "SELECT block_number, log_index, tx_hash, address, topics, data FROM chain.log"
                " WHERE block_number BETWEEN %s AND %s",
                (first, last),
            )
        }
        fetched = {(log.block_number, log.log_index): log for log in segment.logs}
        for at in sorted(mirror.keys() | fetched.keys()):
            check.compare(f"log {at[1]} of block {at[0]}", mirror.get(at), fetched.get(at), of="log")
        hashes = {header.number: header for header in segment.headers}
        blocks = connection.execute(
            "SELECT number, hash, parent_hash, time FROM chain.block WHERE number BETWEEN %s AND %s", (first, last)
        )
        for number, *mirrored in blocks:
            header = hashes[number]
            check.compare(f"block {number}", tuple(mirrored), (header.hash, header.parent, header.time), of="block")
    return check


def check_receipts(connection: Connection, chain: Chain) -> Check:
    """Every block's header, and its receipts where its bloom may have us, against the hashes (`indexer.proof`)."""
    check = Check("logs proved from receipts", against="the block")
    check.remedy = (
        "ask another node (TROUPE_RPC_URL); if it says the same, stop the indexer and run"
        " `python -m indexer reindex --from BLOCK`"
    )
    blocks = 0
    for blocks, proof in enumerate(prove_all(connection, chain), 1):  # noqa: B007  the last number counts them
        check.count("log" if proof.logs else "block without logs", max(1, proof.logs))
        check.findings += [Finding(f"block {proof.block}", each, "all of its receipts") for each in proof.findings]
    check.note = f"headers of {blocks:,} blocks hashed"
    return check


def verify(
    connection: Connection,
    chain: Chain,
    *,
    sample: int | None,
    rng: random.Random,
    report: Callable[[Check], None],
    receipts: bool = False,
) -> Report:
    """Compare the mirror with the chain at the mirror's head; `report` hears of each check when it is done.

    `receipts` proves every log from its block's receipts too.

    `connection` must see one snapshot (REPEATABLE READ). Raises Fatal when the mirror is empty, Retryable when the
    chain has replaced the mirror's head.
    """
    rows = _rows(connection, "SELECT head_number, head_hash FROM chain.cursor")
    if not rows:
        raise Fatal("The mirror is empty: run `python -m indexer run` first")
    ((number, block_hash),) = rows
    header = chain.header(number)
    if header is None or header.hash != block_hash:
        raise Retryable(f"the chain has replaced the mirror's head (block {number}): let the indexer follow first")
    getters = Getters(chain.rpc, block_hash)
    checks = []

    def done(check: Check) -> None:
        checks.append(check)
        report(check)

    for name, state_check in STATE_CHECKS:
        contract = chain.deployment.contract(name)
        if contract is not None:
            done(state_check(connection, getters, contract.address))
    done(check_rows(connection, chain.deployment))
    if sample != 0:
        done(check_logs(connection, chain, sample, rng))
    if receipts:
        done(check_receipts(connection, chain))
    return Report(number, block_hash, checks)
