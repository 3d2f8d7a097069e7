"""What views say, against slow folds over random events in plain Python: votes, rewards, provenance, items.

That each row names the log that wrote it last is held by test_view_rows.py; money by test_views.py and by the
contracts' getters (`indexer verify`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, select, text

from indexer import views
from indexer.models import view
from stack.postgres import DatabaseUrls
from tests.indexer.test_view_rows import Entry, Place, entry, sides, word, write

NOBODY = bytes(20)
PEOPLE = [bytes([n]) * 20 for n in range(1, 6)]
TOKENS = [bytes(20), b"$" * 20]
SEEDS = range(4)


@pytest.fixture
def connection(module_db_urls: DatabaseUrls) -> Iterator[Connection]:
    """A mirror of its own in a transaction that is undone."""
    engine = create_engine(module_db_urls.indexer)
    with engine.connect() as opened:
        yield opened
        opened.rollback()
    engine.dispose()


def told(connection: Connection, history: list[Entry]) -> list[tuple[Place, Entry]]:
    """Write a history, some logs a block; returns it with its places."""
    placed = [((1 + number // 3, number % 3), each) for number, each in enumerate(history)]
    for at, each in placed:
        write(connection, each, at)
    return placed


def rows(connection: Connection, name: str, *columns: str) -> dict[Any, Any]:
    """A view's rows by its key: the values of `columns`."""
    key = next(each for each in views.VIEWS if each.name == name).key
    found = connection.execute(select(view(name))).mappings().all()
    return {tuple(row[each] for each in key): tuple(row[each] for each in columns) for row in found}


def votes(rng: random.Random) -> Entry:
    who, amount = rng.choice(PEOPLE), rng.randrange(1, 2**90)
    parts = [rng.randrange(2 ** rng.choice([1, 31, 33, 64, 128])) for _ in range(3)]
    return rng.choice(
        [
            entry("TroupeToken", "Transfer", from_=NOBODY, to_=who, value=2**100 + amount),
            entry("TroupeToken", "Transfer", from_=who, to_=NOBODY, value=rng.randrange(2**80)),
            entry("TroupeToken", "Transfer", from_=who, to_=rng.choice(PEOPLE), value=amount),
            entry("TroupeToken", "DelegateChanged", delegator=who, to_delegate=rng.choice([*PEOPLE, NOBODY])),
            entry("TroupeToken", "DelegateVotesChanged", delegate=who, new_votes=amount),
            entry("TroupeGovernor", "VoteCast", proposal_id=rng.randrange(3), support=rng.randrange(3), weight=amount),
            entry(
                *("TroupeGovernor", "VoteCastWithParams"),
                **{"proposal_id": rng.randrange(3), "support": 255, "weight": sum(parts), "params": sides(*parts)},
            ),
            entry(
                *("TroupeGovernor", "VoteCastWithParams"),
                **{"proposal_id": rng.randrange(3), "support": rng.randrange(3), "weight": amount, "params": b""},
            ),
        ]
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_who_holds_and_votes_with_the_token(connection: Connection, seed: int) -> None:
    rng = random.Random(seed)
    accounts: dict[bytes, list[Any]] = {}
    supplies: dict[Place, int] = {}
    supply = 0
    for at, (_, name, values) in told(connection, [votes(rng) for _ in range(60)]):
        if name == "Transfer":
            minted, burned = values["from_"] == NOBODY, values["to_"] == NOBODY
            supply += values["value"] * (minted - burned)
            if minted or burned:
                supplies[at] = supply
            for account, sign in ((values["from_"], -1), (values["to_"], 1)):
                accounts.setdefault(account, [0, None, 0])[0] += sign * values["value"]
        elif name == "DelegateChanged":
            to = values["to_delegate"]
            accounts.setdefault(values["delegator"], [0, None, 0])[1] = None if to == NOBODY else to
        elif name == "DelegateVotesChanged":
            accounts.setdefault(values["delegate"], [0, None, 0])[2] = values["new_votes"]
    accounts.pop(NOBODY, None)
    assert rows(connection, "token_account", "balance", "delegate", "votes") == {
        (account,): tuple(found) for account, found in accounts.items()
    }
    assert rows(connection, "token_supply", "supply") == {at: (found,) for at, found in supplies.items()}


@pytest.mark.feature("G1", via="chain")
@pytest.mark.parametrize("seed", SEEDS)
def test_votes_are_counted_whole_and_divided(connection: Connection, seed: int) -> None:
    """Nothing is lost or doubled: divided votes count by their parts, whole ones on one side."""
    rng = random.Random(seed)
    sums: dict[int, list[int]] = {}
    for _, (_, name, values) in told(connection, [votes(rng) for _ in range(60)]):
        if not name.startswith("VoteCast"):
            continue
        found = sums.setdefault(values["proposal_id"], [0, 0, 0, 0])
        found[3] += 1
        params = values.get("params", b"")
        if params:
            for side in range(3):
                found[side] += int.from_bytes(params[16 * side : 16 * side + 16])
        else:
            found[values["support"]] += values["weight"]
    assert rows(connection, "tally", "against", "for_", "abstain", "ballots") == {
        (number,): tuple(found) for number, found in sums.items()
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_what_became_of_every_root(connection: Connection, seed: int) -> None:
    """Each stream is a machine: idle, pending, challenged."""
    rng = random.Random(seed)
    state = dict.fromkeys(TOKENS, "idle")
    history = []
    for number in range(60):
        token = rng.choice(TOKENS)
        steps = {"idle": ["RootProposed"], "pending": ["RootChallenged", "RootFinalized", "RootRejected"]}
        steps["challenged"] = ["ChallengeResolved", "RootRejected"]
        name = rng.choice(steps[state[token]])
        values = {"token": token, "epoch": number // 9}
        if name in ("RootProposed", "ChallengeResolved"):
            values["finalizable_at"] = 1000 + number
        if name == "RootProposed":
            values |= {"root": word(number), "total": number, "tree_digest": word(100 + number)}
        if name == "RootRejected":
            values["reason"] = rng.randrange(1, 8)
        state[token] = {"RootProposed": "pending", "RootChallenged": "challenged", "ChallengeResolved": "pending"}.get(
            name, "idle"
        )
        history.append(entry("RewardDistributor", name, **values))
    found: dict[tuple[bytes, int, int], list[Any]] = {}
    last: dict[bytes, list[Any]] = {}
    for at, (_, name, values) in told(connection, history):
        if name == "RootProposed":
            place = (values["token"], *at)
            last[values["token"]] = found[place] = ["pending", None, values["finalizable_at"], None, values["root"]]
        row = last[values["token"]]
        if name == "RootChallenged":
            row[0] = "challenged"
        elif name == "ChallengeResolved":
            row[0], row[2] = "pending", values["finalizable_at"]
        elif name == "RootFinalized":
            row[0], row[3] = "final", at[0]
        elif name == "RootRejected":
            row[0], row[1], row[3] = "rejected", values["reason"], at[0]
    columns = ("status", "reason", "finalizable_at", "ended_block", "root")
    assert rows(connection, "reward_root", *columns) == {key: tuple(row) for key, row in found.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_streams_and_accounts_were_paid(connection: Connection, seed: int) -> None:
    rng = random.Random(seed)
    history, funded, claimed, accounts = [], dict.fromkeys(TOKENS, 0), dict.fromkeys(TOKENS, 0), {}
    for epoch in range(30):
        token, who, amount = rng.choice(TOKENS), rng.choice(PEOPLE), rng.randrange(1, 2**120)
        history.append(entry("RewardDistributor", "Funded", token=token, amount=amount))
        funded[token] += amount
        part = rng.randrange(amount)
        history.append(entry("RewardDistributor", "RewardClaimed", account=who, token=token, amount=part, epoch=epoch))
        claimed[token] += part
        accounts[who, token] = (accounts.get((who, token), (0, 0))[0] + part, epoch)
    told(connection, history)
    assert rows(connection, "reward_account", "claimed", "epoch") == accounts
    assert rows(connection, "reward_stream", "funded", "claimed", "root_epoch") == {
        (token,): (funded[token], claimed[token], 0) for token in TOKENS if funded[token]
    }


@pytest.mark.feature("P1", via="chain")
@pytest.mark.parametrize("seed", SEEDS)
def test_ancestors_and_descendants_with_their_depth(connection: Connection, seed: int) -> None:
    rng = random.Random(seed)
    parents = {work: rng.sample(range(1, work), min(work - 1, rng.randrange(4))) for work in range(1, 21)}
    told(
        connection,
        [
            each
            for work, above in parents.items()
            for each in (
                entry("WorkRegistry", "WorkRegistered", work_id=work),
                *(entry("WorkRegistry", "DerivationRecorded", work_id=work, parent_id=parent) for parent in above),
            )
        ],
    )
    depths: dict[tuple[int, int], tuple[int]] = {}
    for work, over in parents.items():
        depth, near = 1, set(over)
        while near:
            for each in near:
                depths.setdefault((work, each), (depth,))
            depth, near = depth + 1, {parent for each in near for parent in parents[each]}
    assert rows(connection, "ancestor", "depth") == depths
    assert rows(connection, "descendant", "depth") == {(above, work): depth for (work, above), depth in depths.items()}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *(("ancestor", "work_id"), ("descendant", "work_id"), ("work", "work_id"), ("work", "content_hash")),
        *(("token_account", "account"), ("tally", "proposal_id"), ("vote", "proposal_id"), ("proposal", "proposal_id")),
        *(("reward_root", "token"), ("reward_stream", "token"), ("reward_account", "account"), ("claim", "account")),
        *(("listing", "listing_id"), ("item", "item_id"), ("item_balance", "account"), ("item_balance", "item_id")),
    ],
)
def test_what_the_api_asks_by_is_found_by_indexes(connection: Connection, name: str, key: str) -> None:
    connection.execute(text("SET LOCAL enable_seqscan = off"))
    value = "5" if key.endswith("_id") else "'\\x05'"
    plan = "\n".join(connection.scalars(text(f"EXPLAIN SELECT * FROM chain.{name} WHERE {key} = {value}")).all())
    assert "Seq Scan" not in plan, plan


def test_a_list_of_proposals_counts_the_votes_of_its_own_alone(connection: Connection) -> None:
    """Attack: votes without end on old proposals, which every page of new ones would count."""
    count = "SELECT * FROM chain.proposal ORDER BY created_block DESC, created_log_index DESC LIMIT 2"
    proposals = [entry("TroupeGovernor", "ProposalCreated", proposal_id=number) for number in range(30)]
    cast = [entry("TroupeGovernor", "VoteCast", proposal_id=n % 30, support=1, weight=1) for n in range(600)]
    told(connection, [*proposals, *cast])
    connection.execute(text("ANALYZE chain.troupe_governor_vote_cast, chain.troupe_governor_proposal_created"))
    ((plan,),) = connection.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {count}")).all()

    def read(node: dict[str, Any]) -> float:
        own = node["Actual Rows"] * node["Actual Loops"] if node.get("Relation Name") == VOTES else 0
        return float(own + sum(read(each) for each in node.get("Plans", [])))

    assert read(plan[0]["Plan"]) == 2 * 20


VOTES = "troupe_governor_vote_cast"
