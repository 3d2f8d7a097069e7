"""Does the mirror hold all logs of a block, and no others? Shown from the block's hash, not from what a node says.

    header -> its hash is recomputed, and is the mirror's
    receipts -> their trie's root is recomputed, and is the header's
    logs of our contracts in the receipts, counted through -> are the mirror's, in order

Nobody can add, leave out, change or move a log without changing the hash. What is left to trust is the hash: that it is
the chain's is agreed between nodes, or known from a light client; and which transaction a receipt is of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from indexer import rlp
from indexer.abi import Log
from indexer.chain import HEADERS_PER_CALL, Chain
from indexer.connection import Connection
from indexer.errors import Fatal, Retryable

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


def logs_of(number: int, receipts: Iterable[Mapping[str, Any]], addresses: Collection[bytes]) -> Iterator[Log]:
    """Our contracts' logs in a block's receipts, of the very bytes that the receipts' root is made of.

    Their indexes are counted, not taken from the node. The transaction's hash is the node's word: no receipt has it.
    """
    index = 0
    for each in receipts:
        tx_hash = rlp.from_hex(each["transactionHash"])
        for address, topics, data in rlp.receipt_logs(each):
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
    """What the mirror has of a block."""

    block_hash: bytes
    digest: bytes
    logs: list[Log]


def examine(sent: Sent, chain: Chain, kept: Kept) -> Proof:
    """Hold what a node sent against the mirror's hash and logs.

    Raises Retryable when it has not the form of a block with receipts.
    """
    raw, receipts = sent
    try:
        number = rlp.from_quantity(raw["number"])
        theirs = list(logs_of(number, receipts, set(chain.filter.by_hex.values())))
        findings = list(compare(kept.logs, theirs))
        if rlp.header_hash(raw) != kept.block_hash:
            findings.append("the header's fields do not hash to the block's hash")
        if rlp.trie_root([rlp.receipt(each) for each in receipts]) != rlp.from_hex(raw["receiptsRoot"]):
            findings.append("the receipts are not those of the header's receiptsRoot")
        return Proof(
            block=number,
            block_hash="0x" + kept.block_hash.hex(),
            receipts_root=raw["receiptsRoot"],
            digest="0x" + kept.digest.hex(),
            receipts=len(receipts),
            logs=len(kept.logs),
            findings=tuple(findings),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Retryable(f"{chain.rpc.node} sent a block or receipts of a wrong form") from error


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


def _ancestor(chain: Chain, block_hash: bytes, above: int, number: int) -> bytes:
    """The hash of block `number`, reached from the block `above` with this hash over the parents' hashes.

    Every header on the way must hash to what the one above it names as its parent: a node can't put in another block.
    Raises Retryable where one does not.
    """
    for top in range(above, number, -HEADERS_PER_CALL):
        numbers = range(top, max(number, top - HEADERS_PER_CALL), -1)
        raws = chain.rpc.batch([("eth_getBlockByNumber", [hex(each), False]) for each in numbers])
        for each, raw in zip(numbers, raws, strict=True):
            try:
                if rlp.header_hash(raw) != block_hash:
                    raise Retryable(
                        f"{chain.rpc.node} sent a block {each:,} that is not the one below the mirror's block"
                        f" {above:,}: if the chain has replaced it, let the indexer follow first; else the node lies"
                    )
                block_hash = rlp.from_hex(raw["parentHash"])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise Retryable(f"{chain.rpc.node} sent a block of a wrong form") from error
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
    """Prove every block that the mirror keeps, which are all in which it has logs of ours.

    One that a node hid whole, logs and all, is not among them: `prove` of its number shows it.
    """
    kept = connection.execute("SELECT number, hash, digest FROM chain.block ORDER BY number").fetchall()
    for start in range(0, len(kept), BLOCKS_PER_BATCH):
        some = kept[start : start + BLOCKS_PER_BATCH]
        fetched = _fetch(chain, [block_hash for _, block_hash, _ in some])
        for (number, block_hash, digest), sent in zip(some, fetched, strict=True):
            yield examine(sent, chain, Kept(block_hash, digest, mirrored_logs(connection, number)))
