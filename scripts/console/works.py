"""Works and their money: register, tip, settle, split, withdraw."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from backend.rewards.merkle import Tree, leaf_split
from scripts.console.amounts import Amount, Refused, Token, amount, basis_points, percent, readable, table
from scripts.console.chain import NOBODY_S_STEP, Troupe
from scripts.console.commands import command
from scripts.deploy.plan import split_file

TIP = 1
STATUS = ("active", "disputed", "suspended", "revoked")
TOTAL_WEIGHT = 1_000_000
NONE = bytes(32)
HUMAN = 1

Leaf = tuple[str, int]


def tree_of(leaves: list[Leaf]) -> Tree:
    return Tree([leaf_split(account, weight) for account, weight in leaves])


def _witness(leaves: list[Leaf], tree: Tree, at: int) -> tuple[str, int, int, list[Any]]:
    proof = tree.proof(at)
    return (*leaves[at], proof.path, list(proof.nodes))


def check(troupe: Troupe, work: Any) -> int:
    """The id of a work that exists; 0 is the platform. Raises Refused."""
    count = troupe.WorkRegistry.workCount()
    if not isinstance(work, int) or isinstance(work, bool) or not 0 <= work <= count:
        there = f"the works are 1 to {count}" if count else "there are no works yet: register(...) makes one"
        raise Refused(f"there is no work {work}: {there}, 0 is the platform")
    return work


def title(troupe: Troupe, work: int) -> str:
    """A work's number and its title, where its metadata can be had."""
    if work == 0:
        return "work 0 (the platform)"
    return f"work {work} {_name(troupe, work)}".rstrip()


def _name(troupe: Troupe, work: int) -> str:
    return troupe.named(troupe.WorkRegistry.workOf(work)["cidDigest"])


def leaves_of(troupe: Troupe, work: int, version: int) -> list[Leaf]:
    """The holders of a split version with their weights. Raises Refused where the tree's file can't be had."""
    (split,) = [
        e for e in troupe.events("RevenueLedger", "SplitActivated") if (e["workId"], e["version"]) == (work, version)
    ]
    if work == 0:
        stated = troupe.manifest["parameters"]["platformSplit"]["leaves"]
    else:
        stated = troupe.document(bytes(split["treeDigest"])).get("leaves", [])
    leaves = [(leaf["account"], int(leaf["weight"])) for leaf in stated]
    if not leaves or tree_of(leaves).root != bytes(split["root"]):
        raise Refused(f"nobody here has the file of the split of work {work}, so no share of it can be proven")
    return leaves


def due(troupe: Troupe, work: int, version: int, *, leaves: list[Leaf], at: int, token: Token) -> int:
    """What a leaf can withdraw now: its part of what its version has earned, less what it had."""
    ledger = troupe.RevenueLedger
    earned = int(ledger.earnedOf(work, token.address, version))
    if not earned:
        return 0
    tree = tree_of(leaves)
    had = int(ledger.withdrawnOf(work, version, token.address, tree.proof(at).position))
    return earned * leaves[at][1] // tree.total - had


@command
def works(troupe: Troupe) -> str:
    """all works: owner, status, what deriving from them asks, parents, income"""
    registry, ledger = troupe.WorkRegistry, troupe.RevenueLedger
    rows = []
    for work in range(1, registry.workCount() + 1):
        stated = registry.workOf(work)
        licence = stated["licenceId"]
        asks = percent(registry.licenceOf(licence)["minShareBps"]) if licence else "-"
        parents = ", ".join(f"{e['parentId']} ({percent(e['bps'])})" for e in ledger.edgesOf(work)) or "-"
        name, owner = _name(troupe, work) or "-", troupe.called(registry.ownerOf(work))
        rows.append((work, name, owner, STATUS[stated["status"]], asks, parents, _earned(troupe, work)))
    if not rows:
        return "there are no works yet; register(...) makes one"
    return table(rows, ("work", "title", "owner", "status", "asks", "pays parents", "earned"), right="work earned")


def _earned(troupe: Troupe, work: int) -> str:
    sums = [(sum(troupe.RevenueLedger.accountOf(work, t.address)[:2]), t) for t in troupe.tokens]
    return " + ".join(readable(units, token) for units, token in sums if units) or "-"


@command
def register(
    troupe: Troupe, name: str, *, by: Any = None, licence: Any = None, parents: Any = None, split: Any = None
) -> str:
    """register a work, with parents and a split

    Its title stands for its file. licence='10%' lets others derive from it for that share of what they earn;
    parents={1: '10%'} says what it derives from; split={ana: 70, ben: 30} says who shares what it earns."""
    owner = troupe.sender(by)
    registry, said = troupe.WorkRegistry, []
    for parent in parents or {}:
        check(troupe, parent)
    leaves = _leaves(troupe, split or {owner: 1})
    terms = 0
    if licence is not None:
        terms = _licensed(troupe, owner, basis_points(licence))
        said.append(f"others may derive from it for {percent(basis_points(licence))} of what they earn")
    tree = tree_of(leaves)
    ascending = sorted((int(parent), basis_points(share)) for parent, share in (parents or {}).items())
    digest = troupe.keep(split_file(leaves))
    receipt = troupe.send(
        owner,
        registry,
        "register",
        (
            owner,
            sha256(name.encode()).digest(),
            troupe.keep_metadata(name),
            0,
            HUMAN,
            terms,
            [parent for parent, _ in ascending],
            [share for _, share in ascending],
            tree.root,
            tree.total,
            digest,
            _witness(leaves, tree, 0),
            [],
            NONE,
        ),
    )
    work = int(receipt.event("WorkRegistry", "WorkRegistered")["workId"])
    said += [f"{title(troupe, parent)} gets {percent(share)} of what it earns" for parent, share in ascending]
    said.append(
        f"the rest goes to {_shares(troupe, leaves)}"
        if ascending
        else f"what it earns goes to {_shares(troupe, leaves)}"
    )
    lines = [f"{troupe.called(owner)} registered {title(troupe, work)}", *(f"  {line}" for line in said)]
    return "\n".join([*lines, f"next: tip({work}, '1 ETH', by=zoe)"])


def _leaves(troupe: Troupe, split: Any) -> list[Leaf]:
    if not isinstance(split, dict) or not split:
        raise Refused("a split names its holders with their parts, such as split={ana: 70, ben: 30}")
    parts = {troupe.account(who): part for who, part in split.items()}
    if not all(isinstance(part, int) and part > 0 for part in parts.values()):
        raise Refused("the parts of a split are whole numbers above 0, such as split={ana: 70, ben: 30}")
    whole = sum(parts.values())
    weights = {who: TOTAL_WEIGHT * part // whole for who, part in parts.items()}
    first = next(iter(weights))
    weights[first] += TOTAL_WEIGHT - sum(weights.values())
    return list(weights.items())


def _shares(troupe: Troupe, leaves: list[Leaf]) -> str:
    whole = sum(weight for _, weight in leaves)
    return ", ".join(f"{troupe.called(who)} {percent(weight, whole)}" for who, weight in leaves)


def _licensed(troupe: Troupe, owner: str, share: int) -> int:
    terms = (share, True, True, False, False, True, False, False, False, 0, sha256(b"console").digest())
    receipt = troupe.send(owner, troupe.WorkRegistry, "createLicence", terms)
    return int(receipt.event("WorkRegistry", "LicenceCreated")["licenceId"])


@command
def tip(troupe: Troupe, work: int, price: Any, *, by: Any = None) -> str:
    """pay a work, in coins or tokens"""
    check(troupe, work)
    wanted = amount(price, troupe.tokens)
    args = (TIP, NONE) if wanted.is_native else (wanted.token.address, wanted.units, TIP, NONE)
    function = "payNative" if wanted.is_native else "payToken"
    paid = troupe.pay(by, wanted, troupe.RevenueLedger, function, work, *args)
    payer = troupe.called(troupe.sender(by))
    return f"{payer} tipped {title(troupe, work)} {wanted}: {parted(troupe, paid)}\n{follow(work)}"


def parted(troupe: Troupe, receipt: Any) -> str:
    """How a payment was divided between work and platform."""
    paid = receipt.events("RevenueLedger", "PaymentReceived")
    if not paid:
        return "it is free"
    (event,) = paid
    token = troupe.token_of(event["token"])
    net, fee = event["amount"] - event["fee"], event["fee"]
    return f"{readable(net, token)} for the work, {readable(fee, token)} fee"


def follow(work: int) -> str:
    """What one does after a work was paid."""
    return f"next: split({work}) shows who gets what, settle({work}) passes on the parents' part"


@command
def settle(troupe: Troupe, work: int) -> str:
    """pass on to its parents what they are due of a work's income"""
    check(troupe, work)
    ledger = troupe.RevenueLedger
    edges = list(enumerate(ledger.edgesOf(work)))
    todo = [
        (work, at, token.address)
        for at, _ in edges
        for token in troupe.tokens
        if ledger.owedOf(work, at, token.address)
    ]
    if not todo:
        return f"{title(troupe, work)} owes its parents nothing" if edges else f"{title(troupe, work)} has no parents"
    receipt = troupe.send(NOBODY_S_STEP, ledger, "settleMany", todo)
    return (
        "\n".join(
            f"{readable(event['amount'], troupe.token_of(event['token']))} went from {title(troupe, work)} to "
            f"{title(troupe, event['parentId'])}"
            for event in receipt.events("RevenueLedger", "EdgeSettled")
        )
        + f"\nnext: split({edges[0][1]['parentId']}), withdraw({edges[0][1]['parentId']})"
    )


@command
def split(troupe: Troupe, work: int) -> str:
    """who shares what a work earns, and what each can withdraw now"""
    check(troupe, work)
    version = int(troupe.RevenueLedger.workOf(work)["version"])
    leaves = leaves_of(troupe, work, version)
    whole = sum(weight for _, weight in leaves)
    rows = []
    for at, (who, weight) in enumerate(leaves):
        sums = [(due(troupe, work, version, leaves=leaves, at=at, token=token), token) for token in troupe.tokens]
        ready = " + ".join(readable(units, token) for units, token in sums if units) or "-"
        rows.append((troupe.called(who), percent(weight, whole), ready))
    return f"{title(troupe, work)}\n" + table(rows, ("holder", "share", "due"), right="share due")


@command
def withdraw(troupe: Troupe, work: int, who: Any = None) -> str:
    """pay out to the holders of a work, or to one of them, what each is due"""
    check(troupe, work)
    wanted = None if who is None else troupe.account(who)
    lines = []
    for version in range(1, int(troupe.RevenueLedger.workOf(work)["version"]) + 1):
        leaves = leaves_of(troupe, work, version)
        if wanted and wanted not in dict(leaves):
            raise Refused(f"{troupe.called(wanted)} has no share of {title(troupe, work)}; split({work}) shows who has")
        for at, (holder, _) in enumerate(leaves):
            if wanted in (None, holder):
                lines += [_paid(troupe, work, version, leaves=leaves, at=at, token=t) for t in troupe.tokens]
    paid = [line for line in lines if line]
    if not paid:
        return f"nothing is due there; tip({work}, ...) or settle what derives from it first"
    return "\n".join([*paid, "next: balances()"])


def _paid(troupe: Troupe, work: int, version: int, *, leaves: list[Leaf], at: int, token: Token) -> str:
    units = due(troupe, work, version, leaves=leaves, at=at, token=token)
    if not units:
        return ""
    holder, weight, path, proof = _witness(leaves, tree_of(leaves), at)
    claim = (work, version, token.address, holder, weight, path)
    troupe.send(NOBODY_S_STEP, troupe.RevenueLedger, "withdraw", claim, proof)
    return f"{Amount(units, token)} paid to {troupe.called(holder)}"
