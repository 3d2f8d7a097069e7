"""Does the mirror hold all logs of a block, and no others? Shown from the block's hash, not from what a node says.

    header -> its hash is recomputed, and is the mirror's
    receipts -> their trie's root is recomputed, and is the header's
    logs of our contracts in the receipts, counted through -> are the mirror's, in order

Nobody can add, leave out, change or move a log without changing the hash. What is left to trust is the hash: that it is
the chain's is agreed between nodes, or known from a light client. Which transaction a receipt is of, no receipt's bytes
say: the node's receipts must name the transactions that its block lists, in their order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from indexer import rlp
from indexer.abi import Log
from indexer.chain import HEADERS_PER_CALL, Chain
from indexer.connection import Connection
from indexer.errors import Fatal, Retryable
from indexer.fetch import ahead

BLOCKS_PER_BATCH = 20
WALK_LIMIT = 10_000
"""Blocks between one that the mirror did not keep, being empty, and the next that it kept."""


@dataclass(frozen=True)
class Proof:
    """What was found about one block. Hashes are 0x-hex; the digest is the mirror's up to and with the block."""

    block: int
    block_hash: str
    receipts_root: str
    digest: str
    receipts: int
    logs: int
    """Of our contracts."""
    findings: tuple[str, ...]
    """What does not hold, a sentence each; empty when the mirror equals the chain."""

    @property
    def holds(self) -> bool:
        return not self.findings

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"holds": self.holds}


def mirrored_logs(connection: Connection, number: int) -> list[Log]:
    rows = connection.execute(
        "SELECT block_number, log_index, tx_hash, address, topics, data FROM chain.log WHERE block_number = %s"
        " ORDER BY log_index",
        (number,),
    )
    return [Log(*row) for row in rows]


def logs_of(
    number: int, receipts: Iterable[Mapping[str, Any]], parsed: Iterable[list[rlp.Log]], addresses: Collection[bytes]
) -> Iterator[Log]:
    """Our contracts' logs in a block's receipts, of the very bytes (`parsed`) that the receipts' root is made of.

    Their indexes are counted, not taken from the node.
    """
    index = 0
    for each, logs in zip(receipts, parsed, strict=True):
        tx_hash = rlp.from_hex(each["transactionHash"])
        for address, topics, data in logs:
            if address in addresses:
                yield Log(number, index, tx_hash, address, b"".join(topics), data)
            index += 1


def compare(mirror: list[Log], chain: list[Log]) -> Iterator[str]:
    """What differs between a block's logs in the mirror and in its receipts."""
    ours, theirs = ({log.log_index: log for log in logs} for logs in (mirror, chain))
    for index in sorted(ours.keys() | theirs.keys()):
        if index not in ours:
            yield f"log {index} is missing in the mirror"
        elif index not in theirs:
            yield f"the mirror has a log {index} that the block has not"
        elif ours[index]._replace(tx_hash=b"") != theirs[index]._replace(tx_hash=b""):
            yield f"log {index} has other contents than in the block"
        elif ours[index] != theirs[index]:
            yield f"log {index} has the hash of another transaction"


Sent = tuple[Mapping[str, Any], list[Mapping[str, Any]]]
"""A block and its receipts, as a node sent them."""


@dataclass(frozen=True)
class Kept:
    """What the mirror has of a block; of one that it did not keep, the hash is that of the walk to it."""

    block_hash: bytes
    digest: bytes
    logs: list[Log]


def examine(sent: Sent, chain: Chain, kept: Kept, *, header_hash: bytes | None = None) -> Proof:
    """Hold what a node sent against the mirror's hash and logs. `header_hash` is the header's, if known already.

    Raises Retryable when it has not the form of a block with receipts.
    """
    raw, receipts = sent
    try:
        number = rlp.from_quantity(raw["number"])
        parsed = [rlp.receipt_logs(each) for each in receipts]
        theirs = list(logs_of(number, receipts, parsed, set(chain.filter.by_hex.values())))
        findings = [] if theirs == kept.logs else list(compare(kept.logs, theirs))
        if (header_hash or rlp.header_hash(raw)) != kept.block_hash:
            findings.append("the header's fields do not hash to the block's hash")
        encoded = [rlp.receipt(each, logs) for each, logs in zip(receipts, parsed, strict=True)]
        if rlp.trie_root(encoded) != rlp.from_hex(raw["receiptsRoot"]):
            findings.append("the receipts are not those of the header's receiptsRoot")
        if [each["transactionHash"] for each in receipts] != raw["transactions"]:
            findings.append("the receipts are of other transactions than the block lists")
        return _proof(number, raw, kept, len(receipts), findings)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Retryable(f"{chain.rpc.node} sent a block or receipts of a wrong form") from error


def _proof(number: int, raw: Mapping[str, Any], kept: Kept, receipts: int, findings: Iterable[str]) -> Proof:
    return Proof(
        block=number,
        block_hash="0x" + kept.block_hash.hex(),
        receipts_root=raw["receiptsRoot"],
        digest="0x" + kept.digest.hex(),
        receipts=receipts,
        logs=len(kept.logs),
        findings=tuple(findings),
    )


def _anchor(connection: Connection, chain: Chain, number: int) -> tuple[bytes, bytes]:
    """The block's hash and the mirror's digest there. Raises Fatal when the mirror does not reach the block.

    An empty block that was not kept is reached from the next kept one, backwards over its parents.
    """
    row = connection.execute("SELECT hash, digest FROM chain.block WHERE number = %s", (number,)).fetchone()
    if row is not None:
        return row[0], row[1]
    bounds = connection.execute("SELECT start_block, head_number FROM chain.cursor").fetchone()
    if bounds is None or not bounds[0] <= number <= bounds[1]:
        reach = "is empty" if bounds is None else f"has blocks {bounds[0]:,} to {bounds[1]:,}"
        raise Fatal(f"The mirror {reach}, and not block {number:,}")
    kept = connection.execute(
        "SELECT number, hash FROM chain.block WHERE number > %s ORDER BY number LIMIT 1", (number,)
    ).fetchone()
    before = connection.execute(
        "SELECT digest FROM chain.block WHERE number < %s ORDER BY number DESC LIMIT 1", (number,)
    ).fetchone()
    if kept is None or kept[0] - number > WALK_LIMIT:
        raise Fatal(f"Block {number:,} is empty and the mirror's next block lies too far above it: ask for that one")
    return _ancestor(chain, kept[1], kept[0], number), before[0] if before else bytes(32)


Walked = tuple[int, bytes, Mapping[str, Any]]
"""A block's number, its hash and the block as the node sent it."""
Receipts = list[Mapping[str, Any]]
Fetched = tuple[list[Walked], dict[int, Receipts]]
"""Blocks one below the other, and the receipts of those that may have logs of ours, by number."""


def _walk(chain: Chain, block_hash: bytes, above: int, last: int) -> Iterator[Walked]:
    """The blocks from `above`, which has this hash, down to `last`.

    Every header on the way must hash to what the one above it names as its parent: a node can't put in another block.
    Raises Retryable where one does not.
    """
    for top in range(above, last - 1, -HEADERS_PER_CALL):
        numbers = range(top, max(last - 1, top - HEADERS_PER_CALL), -1)
        raws = chain.rpc.batch([("eth_getBlockByNumber", [hex(each), False]) for each in numbers])
        for each, raw in zip(numbers, raws, strict=True):
            try:
                if rlp.header_hash(raw) != block_hash:
                    raise Retryable(
                        f"{chain.rpc.node} sent a block {each:,} that is not the one below the mirror's block"
                        f" {above:,}: if the chain has replaced it, let the indexer follow first; else the node lies"
                    )
                yield each, block_hash, raw
                block_hash = rlp.from_hex(raw["parentHash"])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise Retryable(f"{chain.rpc.node} sent a block of a wrong form") from error


def _ancestor(chain: Chain, block_hash: bytes, above: int, number: int) -> bytes:
    """The hash of block `number`, reached from the block `above` with this hash over the parents' hashes."""
    for _, _, raw in _walk(chain, block_hash, above, number + 1):
        block_hash = rlp.from_hex(raw["parentHash"])
    return block_hash


def _fetch(chain: Chain, hashes: list[bytes]) -> Iterator[Sent]:
    """Blocks by their hashes, each with its receipts. Raises Retryable when the node has one of them no more."""
    wanted = ["0x" + each.hex() for each in hashes]
    answers = chain.rpc.batch(
        [call for each in wanted for call in (("eth_getBlockByHash", [each, False]), ("eth_getBlockReceipts", [each]))]
    )
    for raw, receipts in zip(answers[::2], answers[1::2], strict=True):
        if not isinstance(raw, dict) or not isinstance(receipts, list):
            raise Retryable(f"{chain.rpc.node} has a block of the mirror no more: let the indexer follow first")
        yield raw, receipts


def prove(connection: Connection, chain: Chain, number: int) -> Proof:
    """Prove one block of the mirror. `connection` must see one snapshot.

    Raises Fatal when the mirror does not reach the block, Retryable when the chain has replaced it.
    """
    anchor, digest = _anchor(connection, chain, number)
    (sent,) = _fetch(chain, [anchor])
    return examine(sent, chain, Kept(anchor, digest, mirrored_logs(connection, number)))


def prove_all(connection: Connection, chain: Chain) -> Iterator[Proof]:
    """Prove every block of the mirror, from its head down; `connection` must see one snapshot.

    All headers are walked, each by the hash that the one above it names. A block whose bloom excludes our contracts is
    proved by its header alone; any other by its receipts, whether the mirror keeps it or not: so a block that a node
    hid whole, logs and all, is found too. Raises Retryable when the chain has replaced what the mirror has.
    """
    cursor = connection.execute("SELECT start_block, start_parent, head_number, head_hash FROM chain.cursor").fetchone()
    if cursor is None:
        return
    start, start_parent, head, head_hash = cursor
    with ahead(_fetched(chain, head_hash, head, start)) as fetched:
        for some, receipts in fetched:
            kept = _kept(connection, some[-1][0], some[0][0], {number: block_hash for number, block_hash, _ in some})
            for number, block_hash, raw in some:
                ours = kept[number]
                if number in receipts:
                    proof = examine((raw, receipts[number]), chain, ours, header_hash=block_hash)
                else:
                    proof = _proof(number, raw, ours, 0, _excluded(ours, block_hash))
                if number == start and rlp.from_hex(raw["parentHash"]) != start_parent:
                    proof = replace(proof, findings=(*proof.findings, "the mirror began after another block"))
                yield proof


def _excluded(kept: Kept, block_hash: bytes) -> Iterator[str]:
    """What differs in a block whose bloom excludes our contracts."""
    if kept.logs:
        yield f"the mirror has {len(kept.logs)} logs of a block that has none of ours"
    if kept.block_hash != block_hash:
        yield "the header's fields do not hash to the block's hash"


def _fetched(chain: Chain, head_hash: bytes, head: int, start: int) -> Iterator[Fetched]:
    """The walk from the head down to `start`, in parts, each with the receipts of the blocks that may have us."""
    walk = _walk(chain, head_hash, head, start)
    while some := list(islice(walk, HEADERS_PER_CALL)):
        for at in range(0, len(some), BLOCKS_PER_BATCH):
            part = some[at : at + BLOCKS_PER_BATCH]
            yield (
                part,
                _receipts(chain, [each for each in part if chain.filter.may_hold(int(each[2]["logsBloom"], 16))]),
            )


def _kept(connection: Connection, first: int, last: int, walked: Mapping[int, bytes]) -> dict[int, Kept]:
    """What the mirror has of blocks `first` to `last`; of those that it did not keep, the hash of the walk."""
    before = connection.execute(
        "SELECT digest FROM chain.block WHERE number < %s ORDER BY number DESC LIMIT 1", (first,)
    ).fetchone()
    digest: bytes = before[0] if before else bytes(32)
    between = "BETWEEN %s AND %s ORDER BY"
    rows = connection.execute(
        f"SELECT number, hash, digest FROM chain.block WHERE number {between} number".encode(), (first, last)
    )
    blocks = {number: (block_hash, digest) for number, block_hash, digest in rows}
    logs: dict[int, list[Log]] = {}
    for row in connection.execute(
        "SELECT block_number, log_index, tx_hash, address, topics, data FROM chain.log"
        f" WHERE block_number {between} block_number, log_index".encode(),
        (first, last),
        binary=True,
    ):
        logs.setdefault(row[0], []).append(Log._make(row))
    found = {}
    for number in range(first, last + 1):
        block_hash, digest = blocks.get(number, (walked[number], digest))
        found[number] = Kept(block_hash, digest, logs.get(number, []))
    return found


def _receipts(chain: Chain, blocks: list[Walked]) -> dict[int, Receipts]:
    calls = [("eth_getBlockReceipts", ["0x" + block_hash.hex()]) for _, block_hash, _ in blocks]
    answers = chain.rpc.batch(calls) if calls else []
    for receipts in answers:
        if not isinstance(receipts, list):
            raise Retryable(f"{chain.rpc.node} has a block of the mirror no more: let the indexer follow first")
    return {number: receipts for (number, _, _), receipts in zip(blocks, answers, strict=True)}
