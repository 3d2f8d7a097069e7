"""The approval that a payment in an ERC-20 needs first."""

from __future__ import annotations

from backend.chain import NATIVE, ChainInfo, decode_result, encode_call
from backend.intents import Intent, call_intent
from backend.node import Node, NodeRefused, NodeUnreachable

TIMEOUT_S = 2
"""The request's connection to the database waits as long."""


def approve_first(
    chain: ChainInfo, node: Node, *, token: str, spender: str, payer: str | None, amount: int, description: str
) -> list[Intent]:
    """The transaction by which `payer` lets a contract of ours take an amount; none where none is needed."""
    if token == NATIVE or not amount:
        return []
    if payer is not None and _allowance(chain, node, token, payer, spender) >= amount:
        return []
    return [call_intent(chain, "ERC20", "approve", [chain.address(spender), amount], to=token, description=description)]


def _allowance(chain: ChainInfo, node: Node, token: str, payer: str, spender: str) -> int:
    """What a contract may take from the payer; 0 when the node can't say, for an approval more does no harm."""
    call = encode_call("ERC20", "allowance", [payer, chain.address(spender)])
    try:
        return int(decode_result("ERC20", "allowance", node.call(token, call, timeout_s=TIMEOUT_S)))
    except (NodeUnreachable, NodeRefused, ValueError):
        return 0
