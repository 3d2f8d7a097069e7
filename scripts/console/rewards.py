"""Rewards: what the streams hold, a root by hand, claims."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from backend.rewards.merkle import Tree, leaf_reward
from scripts.console.amounts import Refused, Token, amount, readable, table
from scripts.console.chain import NOBODY_S_STEP, Troupe
from scripts.console.commands import command

Leaf = tuple[str, int]


def _leaves(troupe: Troupe, token: Token, root: bytes) -> list[Leaf]:
    """The accounts of a root with all that each was ever awarded. Raises Refused where its file can't be had."""
    if not any(root):
        return []
    for event in troupe.events("RewardDistributor", "RootProposed"):
        if (event["token"], bytes(event["root"])) == (token.address, root):
            stated = troupe.document(bytes(event["treeDigest"])).get("leaves", [])
            leaves = [(leaf["account"], int(leaf["cumulative"])) for leaf in stated]
            if leaves and _tree(troupe, token, leaves).root == root:
                return leaves
    raise Refused(f"nobody here has the file of the rewards in {token.symbol}, so nothing of it can be proven")


def _tree(troupe: Troupe, token: Token, leaves: list[Leaf]) -> Tree:
    chain, distributor = troupe.manifest["chainId"], troupe.RewardDistributor.address
    return Tree([leaf_reward(chain, distributor, token.address, account, total) for account, total in leaves])


@command
def rewards(troupe: Troupe) -> str:
    """the reward streams: what each holds, what an epoch may add, what is on its way"""
    distributor, rows = troupe.RewardDistributor, []
    for token in troupe.tokens:
        stream, pending = distributor.streamOf(token.address), distributor.pendingOf(token.address)
        free = distributor.fundedOf(token.address) - (stream["total"] - stream["totalClaimed"])
        way = f"{readable(pending['total'] - stream['total'], token)}, counts {troupe.until(pending['finalizableAt'])}"
        shown = (
            readable(units, token) for units in (free, distributor.budgetOf(token.address), stream["totalClaimed"])
        )
        rows.append((token.symbol, *shown, way if pending["epoch"] else "-"))
    return table(rows, ("stream", "free", "may be added", "claimed", "on its way"), right="free claimed") + (
        "\nnext: reward({ana: '...'}) plays the publisher, claim(ana) pays"
    )


@command
def reward(troupe: Troupe, awards: Mapping[Any, Any]) -> str:
    """publish a reward root as the publisher would: reward({ana: '0.01 ETH'})

    Not on a stack where people engage: there the worker does it, and stops when it meets a root that is not its own."""
    if not isinstance(awards, Mapping) or not awards:
        raise Refused("name who gets what, such as reward({ana: '0.01 ETH'})")
    parts = {troupe.account(who): amount(given, troupe.tokens) for who, given in awards.items()}
    token = next(iter(parts.values())).token
    if any(part.token != token for part in parts.values()):
        raise Refused("a root is of one token: publish one for each")
    distributor = troupe.RewardDistributor
    given, most = sum(part.units for part in parts.values()), int(distributor.budgetOf(token.address))
    if given > most:
        raise Refused(
            f"this epoch may add {readable(most, token)}, not {readable(given, token)}; rewards() lists the streams"
        )
    totals = dict(_leaves(troupe, token, bytes(distributor.streamOf(token.address)["root"])))
    for who, part in parts.items():
        totals[who] = totals.get(who, 0) + part.units
    leaves = sorted(totals.items(), key=lambda leaf: int(leaf[0], 16))
    tree = _tree(troupe, token, leaves)
    stated = [{"account": account, "cumulative": str(total)} for account, total in leaves]
    document = {"format": "troupe-console-rewards/1", "token": token.address, "leaves": stated}
    digest = troupe.keep(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    args = (token.address, tree.root, tree.total, digest, sha256(b"console").digest())
    made = troupe.send("publisher", distributor, "propose", *args).event("RewardDistributor", "RootProposed")
    awarded = ", ".join(f"{part} for {troupe.called(who)}" for who, part in parts.items())
    return (
        f"the publisher awards {awarded}; it counts {troupe.until(made['finalizableAt'])}, if nobody challenges it\n"
        "next: wait(2), claim(...)"
    )


@command
def claim(troupe: Troupe, who: Any) -> str:
    """pay out what somebody was awarded

    A root whose window has passed is made to count first. Anybody may do both."""
    account, distributor, lines = troupe.account(who), troupe.RewardDistributor, []
    waiting = ""
    for token in troupe.tokens:
        pending = distributor.pendingOf(token.address)
        if pending["epoch"] and pending["finalizableAt"] <= troupe.now() and not pending["contested"]:
            troupe.send(NOBODY_S_STEP, distributor, "finalize", token.address)
        elif pending["epoch"]:
            waiting = f"; a root in {token.symbol} counts {troupe.until(pending['finalizableAt'])}"
        lines += _claimed(troupe, token, account)
    return "\n".join(lines) or f"{troupe.called(account)} has nothing to claim{waiting}"


def _claimed(troupe: Troupe, token: Token, account: str) -> list[str]:
    distributor = troupe.RewardDistributor
    leaves = _leaves(troupe, token, bytes(distributor.streamOf(token.address)["root"]))
    total = dict(leaves).get(account, 0)
    if total <= distributor.accountOf(token.address, account)["claimed"]:
        return []
    proof = _tree(troupe, token, leaves).proof(leaves.index((account, total)))
    receipt = troupe.send(
        NOBODY_S_STEP, distributor, "claim", token.address, account, total, proof.path, list(proof.nodes)
    )
    paid = receipt.event("RewardDistributor", "RewardClaimed")
    return [f"{troupe.called(account)} was paid {readable(paid['amount'], token)} of rewards"]
