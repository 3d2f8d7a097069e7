"""The forecast against the real contract: every (work, version, holder, token) is paid what was said, to the unit."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from eth_account.signers.local import LocalAccount
from psycopg.rows import dict_row

from backend.chain import NATIVE, encode_call
from backend.payouts.ledger import SPLIT_INTERVAL_S, Ledger
from indexer.models import event
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client
from tests.backend.live import STRANGER, Live
from tests.backend.payouts.story import execute
from tests.conftest import Deployed

People = Callable[[str], LocalAccount]
NAMES = ("alice", "bob", "carol")
KINDS = ("tip", "sale", "ticket", "subscription", "ad")


@pytest.fixture
def live(deployed: Deployed, clean_db: DatabaseUrls, people: People) -> Live:
    made = Live(deployed, clean_db)
    made.fund(*map(people, NAMES))
    made.sync()
    return made


def claims_of(client: Client, address: str) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/payouts/{address}/claims", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    assert answer.json()["next"] is None
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def withdraw_as_said(live: Live, holder: str, claims: list[dict[str, Any]]) -> list[str]:
    """A stranger sends each claim's transactions; name each claim that paid the holder something else."""
    wrong = []
    for claim in claims:
        token = claim["token"]["address"]
        before = live.balance(holder, token)
        for intent in claim["intents"]:
            live.sign(STRANGER, intent)
        paid = live.balance(holder, token) - before
        if paid != int(claim["amount"]):
            wrong.append(f"work {claim['work_id']} v{claim['version']} {token}: said {claim['amount']}, paid {paid}")
    return wrong


def folded(urls: DatabaseUrls) -> Ledger:
    """The twin, from the mirrored events alone; it refuses any event that it reckons differently."""
    names = ("FeeChanged", "EdgeOpened", "SplitActivated", "PaymentReceived", "EdgeSettled", "Withdrawn")
    rows: list[tuple[int, int, str, dict[str, Any]]] = []
    with psycopg.connect(urls.conninfo(), row_factory=dict_row) as connection:
        for name in names:
            for row in connection.execute(f"SELECT * FROM chain.{event('RevenueLedger', name).name}"):  # type: ignore[arg-type]
                values = {
                    k: int(v) if k in ("amount", "fee", "work_id", "parent_id", "total_weight", "position") else v
                    for k, v in row.items()
                }
                if "token" in values:
                    values["token"] = "0x" + values["token"].hex()
                rows.append((row["block_number"], row["log_index"], name, values))
    twin = Ledger()
    for _, _, name, values in sorted(rows, key=lambda row: row[:2]):
        twin.apply(name, values)
    return twin


def random_season(live: Live, client: Client, people: People, seed: int) -> None:
    """Six works of three people, derived from each other in both ways; paid, moved, settled and partly withdrawn."""
    dice = random.Random(seed)
    names = [people(name) for name in NAMES]
    licences = [live.licence(client, names[0], relative=relative) for relative in (False, True)]
    works: list[int] = []
    for number in range(6):
        parents = sorted(dice.sample(works, min(len(works), dice.randrange(3))))
        holders = [{"account": person.address, "weight": dice.randrange(1, 10**6)} for person in dice.sample(names, 2)]
        works.append(
            live.register(
                client,
                dice.choice(names),
                b"Act %d of season %d." % (number, seed),
                title=f"Act {number}",
                licence_id=dice.choice(licences),
                parents=[{"work_id": work, "share_bps": dice.choice([300, 1234, 2500])} for work in parents] or None,
                contributors=holders if dice.random() < 0.6 else None,
            )
        )
    for _ in range(48):
        act = dice.choices(["pay", "settle", "give", "take", "week"], [8, 2, 4, 1, 2])[0]
        work, person = dice.choice(works), dice.choice(names)
        if act == "pay":
            token = dice.choice([NATIVE, NATIVE, live.usd])
            amount = dice.choice([1, 7, 999, dice.randrange(1, 10**9)])
            live.pay(client, person, work=work, amount=amount, token=token, kind=dice.choice(KINDS))
        elif act == "week":
            live.forward(SPLIT_INTERVAL_S)
            activate_all(live, client, works)
        elif act == "settle":
            edges = live.view("RevenueLedger", "edgesOf", work)
            if edges:
                args = [work, dice.randrange(len(edges)), dice.choice([NATIVE, live.usd])]
                call = encode_call("RevenueLedger", "settle", args)
                live.send(STRANGER, live.info.address("RevenueLedger"), "0x" + call.hex())
        elif act == "give":
            give_something(live, client, person, work=work, to=dice.choice(names).address, dice=dice)
        elif act == "take":
            live.sync()
            claims = claims_of(client, person.address)
            if claims:
                assert withdraw_as_said(live, person.address, [dice.choice(claims)]) == []
        live.sync()


def activate_all(live: Live, client: Client, works: list[int]) -> None:
    """Start the next version of every split that has one waiting."""
    live.sync()
    for work in works:
        answer = client.post(f"/v1/works/{work}/activate-intent")
        if answer.status_code == 200:
            live.sign(STRANGER, answer.json()["intents"][0])


def give_something(
    live: Live, client: Client, person: LocalAccount, *, work: int, to: str, dice: random.Random
) -> None:
    """A part of one of the person's shares of a work, if it has any and the receiver is somebody else."""
    live.sync()
    me, path = client.as_(person), f"/v1/works/{work}/reassign-intent"
    body: dict[str, Any] = {"recipients": [{"account": to, "weight": str(dice.randrange(1, 10**4))}]}
    answer = me.post(path, json=body)
    if answer.json().get("code") == "position_needed":
        answer = me.post(path, json=body | {"position": dice.choice(answer.json()["positions"])})
    if answer.status_code == 200:
        for intent in answer.json()["intents"]:
            live.sign(person.address, intent)
    else:
        assert answer.json()["code"] in ("share_not_found", "cannot_move"), answer.text


@pytest.mark.feature("R1", via="chain")
@pytest.mark.feature("R2", via="chain")
@pytest.mark.feature("R3", via="chain")
@pytest.mark.feature("R8", via="chain")
@pytest.mark.feature("O4", via="chain")
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_V2_every_holder_is_paid_what_was_forecast_to_the_unit(
    live: Live, client: Client, people: People, clean_db: DatabaseUrls, seed: int
) -> None:
    random_season(live, client, people, seed)
    live.sync()
    platform = [leaf["account"] for leaf in live.info.manifest.parameters["platformSplit"]["leaves"]]
    holders = [*(people(name).address for name in NAMES), *platform]
    forecast = {holder: claims_of(client, holder) for holder in holders}
    assert sum(len(claims) for claims in forecast.values()) > 12
    assert all(forecast[holder] for holder in platform), "the fees are somebody's too"
    for holder, claims in forecast.items():
        assert withdraw_as_said(live, holder, claims) == []
    live.sync()
    assert [claims_of(client, holder) for holder in holders] == [[]] * len(holders), "nothing is left"

    twin = folded(clean_db)
    ledger = live.info.address("RevenueLedger")
    edges = sum(len(work.edges) for work in twin.works.values())
    leaves = number_of_leaves(clean_db)
    for token in (NATIVE, live.usd):
        held = live.balance(ledger, token)
        assert held == twin.balance(token.lower()), "the ledger's books are the contract's balance"
        assert held <= edges + leaves, "I5: what is left is rounding"
        for work, book in twin.works.items():
            direct, inherited, _ = live.view("RevenueLedger", "accountOf", work, token)
            assert (direct, inherited) == twin.counters.get((work, token.lower()), (0, 0))
            for version in book.splits:
                earned = live.view("RevenueLedger", "earnedOf", work, token, version)
                accrual = twin.accrual(work, token.lower(), version)
                assert earned == (0 if accrual is None else earned_by_twin(twin, work, token.lower(), version))


def number_of_leaves(urls: DatabaseUrls) -> int:
    """Leaves of all versions of all works."""
    with psycopg.connect(urls.conninfo()) as connection:
        count = "SELECT count(*) FROM app.split_leaf l JOIN chain.revenue_ledger_split_activated s USING (root)"
        row = connection.execute(count).fetchone()
    assert row is not None
    return int(row[0])


def earned_by_twin(twin: Ledger, work: int, token: str, version: int) -> int:
    weight = twin.works[work].splits[version].total_weight
    taken = twin.withdrawn.get((work, token, version, 1), 0)
    return twin.due(work, token, version, 1, weight) + taken


def test_V2_one_wei_more_in_one_payment_row_makes_the_comparison_fail(
    live: Live, client: Client, alice: LocalAccount, clean_db: DatabaseUrls
) -> None:
    work = live.register(client, alice, b"Only act.")
    live.pay(client, alice, work=work, amount=10**18)
    live.sync()
    execute(clean_db, "UPDATE chain.revenue_ledger_payment_received SET amount = amount + 1")
    (wrong,) = withdraw_as_said(live, alice.address, claims_of(client, alice.address))
    assert "said 975000000000000001, paid 975000000000000000" in wrong


def test_a_second_payment_in_dollars_needs_no_approval_when_the_allowance_is_there(
    live: Live, client: Client, alice: LocalAccount
) -> None:
    work = live.register(client, alice, b"Only act.")
    body = {"work_id": work, "amount": "5000000", "token": live.usd, "kind": "sale", "payer": alice.address}
    approve, pay = client.post("/v1/payments/intent", json=body).json()["intents"]
    live.sign(alice.address, approve)
    assert len(client.post("/v1/payments/intent", json=body).json()["intents"]) == 1
    live.sign(alice.address, pay)
    assert len(client.post("/v1/payments/intent", json=body).json()["intents"]) == 2


@pytest.mark.feature("R9", via="http")
def test_the_check_asks_the_contract_and_notices_a_unit(
    live: Live, client: Client, alice: LocalAccount, clean_db: DatabaseUrls
) -> None:
    work = live.register(client, alice, b"Only act.")
    live.pay(client, alice, work=work, amount=10**18)
    live.sync()
    assert "matches the chain at block" in client.get(f"/payouts/{alice.address}/check").text
    execute(clean_db, "UPDATE chain.revenue_ledger_payment_received SET amount = amount + 1")
    assert "differs from the chain" in client.get(f"/payouts/{alice.address}/check").text
