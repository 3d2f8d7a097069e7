"""Are a holder's figures the chain's? Asked of the contract's own getters at the mirrored block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backend.chain import ChainInfo, decode_result, encode_call
from backend.node import Node, NodeRefused, NodeUnreachable
from backend.payouts.ledger import accrued
from backend.payouts.reading import Books

MOST = 200
"""Figures compared for one page; `indexer verify` compares them all."""


@dataclass(frozen=True)
class Checked:
    """The outcome: `matches` is None when the node could not be asked."""

    block: int
    compared: int
    matches: bool | None
    differences: tuple[str, ...] = ()


def check(chain: ChainInfo, node: Node, books: Books) -> Checked:
    """Compare the block, what each of the holder's split versions earned, and what each share has taken."""
    compared, differences = 0, list[str]()
    try:
        block = node.block(books.head.number)
        compared += 1
        if block is None or block.hash != books.head.hash:
            found = "none" if block is None else f"0x{block.hash.hex()}"
            differences.append(f"block {books.head.number}: 0x{books.head.hash.hex()} here, {found} on chain")
        for what, function, args, mirrored in _figures(books):
            if compared == MOST:
                break
            data = node.call(
                chain.address("RevenueLedger"), encode_call("RevenueLedger", function, args), books.head.number
            )
            compared += 1
            on_chain = decode_result("RevenueLedger", function, data)
            if on_chain != mirrored:
                differences.append(f"{what}: {mirrored} here, {on_chain} on chain")
    except (NodeUnreachable, NodeRefused, ValueError):
        return Checked(books.head.number, compared, None)
    return Checked(books.head.number, compared, not differences, tuple(differences))


def _figures(books: Books) -> Iterator[tuple[str, str, list[Any], int]]:
    ledger = books.ledger
    for work_id, token, version in sorted(ledger.accruals):
        held = [h for h in books.holdings if (h.work, h.version) == (work_id, version)]
        if not held:
            continue
        work = ledger.works[work_id]
        earned = accrued(ledger.accruals[work_id, token, version], work.relative_bps, work.absolute_bps)
        place = f"work {work_id}, version {version}, {token}"
        yield f"earned by {place}", "earnedOf", [work_id, token, version], earned
        for holding in held:
            taken = ledger.withdrawn.get((work_id, token, version, holding.position), 0)
            yield f"taken from {place}", "withdrawnOf", [work_id, version, token, holding.position], taken
