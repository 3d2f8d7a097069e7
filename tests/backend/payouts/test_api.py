"""The payouts API over a mirrored chain: forecasts to the unit, proofs that hold, statements that add up."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from sqlalchemy import event

from backend.chain import decode_call
from backend.content.media import TEXT
from backend.content.service import keep
from backend.csvtext import csv_text
from backend.payouts.ledger import NATIVE, REVOKED, SPLIT_INTERVAL_S, Edge, NothingDue, Settle
from backend.payouts.routes import get_payout_statements_csv
from backend.payouts.service import Payouts
from backend.rewards.merkle import Node, leaf_split, process
from backend.works import splits
from backend.works.rules import IN_DISPUTE, Status
from backend.works.splits import Share
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client
from tests.backend.payouts.conftest import Tell
from tests.backend.payouts.story import USD, WEIGHT, Story, execute, person, random_story

ALICE, BOB, CAROL, DAVE = (person(name) for name in ("alice", "bob", "carol", "dave"))


def get(client: Client, path: str, status: int = 200, **query: Any) -> Any:
    answer = client.get(path, params=query or None)
    assert answer.status_code == status, answer.text
    return answer.json()


def all_pages(client: Client, path: str, limit: int = 7) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = get(client, path, limit=limit, **({"cursor": cursor} if cursor else {}))
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


def differences(story: Story, claims: list[dict[str, Any]]) -> list[str]:
    """Do what each claim says, on a copy of the chain; name every claim that pays something else than forecast."""
    chain = story.copy()
    wrong = []
    for claim in claims:
        token, work = claim["token"]["address"], claim["work_id"]
        chain.settle_many(Settle(step["work_id"], step["edge"], token) for step in claim["settles"])
        try:
            paid = chain.withdraw(work, token, claim["version"], claim["position"], int(claim["weight"]), now=story.now)
        except NothingDue:
            paid = 0
        if paid != int(claim["amount"]):
            wrong.append(f"{work}/{claim['version']}/{claim['position']} {token}: {claim['amount']} not {paid}")
    return wrong


def simple() -> Story:
    """A film of Alice's (1), Bob's sequel (2) that owes it 10%, and payments to both."""
    story = Story(fee_bps=500)
    story.register(ALICE)
    story.register(BOB, [Edge(1, 1000, False)])
    story.paid(1, 10**18, kind=1)
    story.paid(2, 2 * 10**18, kind=2)
    story.paid(1, 5_000_000, USD, kind=7)
    return story


# --- forecasts ---------------------------------------------------------------------------------------------------


@pytest.mark.feature("R8", via="http")
@pytest.mark.feature("R9", via="http")
@pytest.mark.parametrize("seed", range(6))
def test_V2_forecasts_equal_payments_for_every_work_version_holder_and_token(
    client: Client, tell: Tell, seed: int
) -> None:
    story = tell(random_story(seed))
    claimed = 0
    for holder in (ALICE, BOB, CAROL, DAVE, person("treasury")):
        claims = all_pages(client, f"/v1/payouts/{holder}/claims")
        assert differences(story, claims) == []
        claimed += len(claims)
        held = {
            (work, version, leaf.position)
            for work in story.works
            for version, leaf in story.leaves(work)
            if leaf.account == holder
        }
        settled = story.copy()
        for token in (NATIVE, USD):
            settled.settle_below(settled.works, token)
        due = {
            (*place, token): amount
            for place in held
            for token in (NATIVE, USD)
            if (amount := settled.due(place[0], token, place[1], place[2], weight_of(story, place)))
        }
        answered = {
            (c["work_id"], c["version"], c["position"], c["token"]["address"]): int(c["amount"]) for c in claims
        }
        assert answered == due, "nothing is left out"
    assert claimed > 10


def weight_of(story: Story, place: tuple[int, int, int]) -> int:
    work, version, position = place
    return next(leaf.weight for v, leaf in story.leaves(work) if (v, leaf.position) == (version, position))


def test_V2_altering_one_payment_row_by_one_wei_is_noticed(client: Client, tell: Tell, clean_db: DatabaseUrls) -> None:
    story = tell(simple())
    assert differences(story, all_pages(client, f"/v1/payouts/{ALICE}/claims")) == []
    execute(
        clean_db,
        "UPDATE chain.revenue_ledger_payment_received SET amount = amount + 1 WHERE kind = 1",
    )
    assert len(differences(story, all_pages(client, f"/v1/payouts/{ALICE}/claims"))) == 1


@pytest.mark.parametrize("page", ["claims", "summary"])
def test_V2_books_that_were_paid_too_much_are_named(
    client: Client, tell: Tell, clean_db: DatabaseUrls, page: str
) -> None:
    """A mirror that lost a wei which the contract has paid out: no forecast, and an error that says where to look."""
    story = simple()
    (_, leaf) = next(iter(story.leaves(1)))
    story.take(1, 1, leaf.position, leaf.weight)
    tell(story)
    get(client, f"/v1/payouts/{ALICE}/{page}")
    execute(clean_db, "UPDATE chain.revenue_ledger_payment_received SET amount = amount - 2 WHERE kind = 1")
    said = get(client, f"/v1/payouts/{ALICE}/{page}", status=500)
    assert (said["code"], said["work_id"]) == ("books_overdrawn", 1)
    assert int(said["overdrawn"]) >= 1
    assert "indexer verify" in said["detail"]


@pytest.mark.parametrize("seed", [1, 4])
def test_every_proof_leads_to_the_versions_root_and_stands_in_the_calldata(
    client: Client, tell: Tell, seed: int
) -> None:
    story = tell(random_story(seed))
    for holder in (ALICE, BOB, CAROL, DAVE):
        for claim in all_pages(client, f"/v1/payouts/{holder}/claims"):
            nodes = [Node(bytes.fromhex(node["hash"][2:]), int(node["sum"])) for node in claim["proof"]]
            root = process(nodes, claim["path"], leaf_split(holder, int(claim["weight"])))
            assert root == story.trees[claim["work_id"], claim["version"]].root
            function, args = decode_call("RevenueLedger", bytes.fromhex(claim["intents"][-1]["data"][2:]))
            assert function.name == "withdraw"
            assert args["claim"] == (
                claim["work_id"],
                claim["version"],
                claim["token"]["address"].lower(),
                holder.lower(),
                int(claim["weight"]),
                claim["path"],
            )
            assert [tuple(node) for node in args["proof"]] == [tuple(node) for node in nodes]


def test_claims_settle_once_and_first_then_withdraw(client: Client, tell: Tell) -> None:
    tell(simple())
    page = get(client, f"/v1/payouts/{ALICE}/claims")
    names = [decode_call("RevenueLedger", bytes.fromhex(i["data"][2:]))[0].name for i in page["intents"]]
    assert names == ["settleMany", "withdraw", "withdraw"]
    assert [intent["description"] for intent in page["intents"]] == [
        "Settle what 1 derived work owes to the works above",
        "Withdraw 1.14 ETH of work 1",
        "Withdraw 4.75 USD of work 1",
    ]
    native = page["items"][0]
    assert (native["claimable"], native["amount"]) == (str(95 * 10**16), str(114 * 10**16))
    assert native["settles"] == [{"work_id": 2, "edge": 0, "parent_id": 1}]


def test_a_frozen_work_is_shown_and_left_out_of_the_transactions(client: Client, tell: Tell) -> None:
    story = simple()
    story.next_block()
    story.emit("WorkFrozen", work_id=1, case_id=bytes(32), until=story.now + 100)
    tell(story)
    page = get(client, f"/v1/payouts/{ALICE}/claims")
    assert page["intents"] == []
    assert {item["stopped_until"] is not None for item in page["items"]} == {True}
    assert get(client, f"/v1/payouts/{ALICE}/summary")["tokens"][0]["works"][0]["stopped_until"]
    assert get(client, f"/v1/payouts/{BOB}/claims")["intents"] != []


# --- the summary -------------------------------------------------------------------------------------------------


@pytest.mark.feature("R9", via="http")
def test_the_summary_says_earned_withdrawn_claimable_and_what_is_upstream(client: Client, tell: Tell) -> None:
    story = simple()
    story.take(1, 1, 1, WEIGHT, USD)
    story.paid(1, 1_000_000, USD)
    tell(story, final=story.head - 1)
    summary = get(client, f"/v1/payouts/{ALICE.lower()}/summary")
    assert summary["address"] == ALICE
    assert summary["as_of"] == {
        "block": story.head,
        "hash": "0x" + story.block_hash(story.head).hex(),
        "stage": "seen",
    }
    assert summary["final_block"] == story.head - 1
    native, usd = summary["tokens"]
    assert native["token"] == {"address": NATIVE, "symbol": "ETH", "decimals": 18}
    assert {key: native[key] for key in ("earned", "withdrawn", "claimable", "upstream")} == {
        "earned": str(95 * 10**16),
        "withdrawn": "0",
        "claimable": str(95 * 10**16),
        "upstream": str(19 * 10**16),
    }
    assert {key: usd[key] for key in ("earned", "withdrawn", "claimable", "upstream")} == {
        "earned": "5700000",
        "withdrawn": "4750000",
        "claimable": "950000",
        "upstream": "0",
    }
    assert [work["work_id"] for work in usd["works"]] == [1]


@pytest.mark.parametrize("seed", range(4))
def test_the_summary_is_the_sum_of_the_claims(client: Client, tell: Tell, seed: int) -> None:
    tell(random_story(seed))
    for holder in (ALICE, BOB, CAROL):
        summary = get(client, f"/v1/payouts/{holder}/summary")
        claims = all_pages(client, f"/v1/payouts/{holder}/claims")
        for token in summary["tokens"]:
            mine = [claim for claim in claims if claim["token"] == token["token"]]
            assert int(token["claimable"]) == sum(int(claim["claimable"]) for claim in mine)
            assert int(token["claimable"]) + int(token["upstream"]) == sum(int(claim["amount"]) for claim in mine)
            for name in ("earned", "withdrawn", "claimable", "upstream"):
                assert int(token[name]) == sum(int(work[name]) for work in token["works"])


def test_an_address_without_shares_has_empty_books(client: Client, tell: Tell) -> None:
    tell(simple())
    summary = get(client, f"/v1/payouts/{CAROL}/summary")
    assert [token["earned"] for token in summary["tokens"]] == ["0"]
    assert get(client, f"/v1/payouts/{CAROL}/claims")["items"] == []
    assert get(client, f"/v1/payouts/{CAROL}/statements")["items"] == []
    assert get(client, f"/v1/payouts/{CAROL}/series")["points"] == []


def test_before_the_first_block_the_answer_is_503_and_says_why(client: Client) -> None:
    problem = get(client, f"/v1/payouts/{ALICE}/summary", status=503)
    assert problem["code"] == "mirror_empty"


# --- reorganisations and unknown files ---------------------------------------------------------------------------


def test_V5_a_split_that_another_branch_brings_is_found(client: Client, tell: Tell, clean_db: DatabaseUrls) -> None:
    first = Story(seed=1)
    first.register(ALICE)
    first.paid(1, 1000)
    tell(first)
    assert get(client, f"/v1/payouts/{ALICE}/claims")["items"] != []
    for table in ("block", "cursor"):
        execute(clean_db, f"DELETE FROM chain.{table}")
    for contract, name in {row[:2] for row in first.rows}:
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in contract + name).lstrip("_")
        execute(clean_db, f"DELETE FROM chain.{snake}")
    second = Story(seed=2)
    second.register(CAROL)
    second.paid(1, 1000)
    tell(second)
    assert get(client, f"/v1/payouts/{ALICE}/claims")["items"] == []
    assert differences(second, get(client, f"/v1/payouts/{CAROL}/claims")["items"]) == []
    assert len(get(client, f"/v1/payouts/{CAROL}/claims")["items"]) == 1


def test_a_tree_whose_file_was_missing_is_found_when_it_comes(
    client: Client, tell: Tell, clean_db: DatabaseUrls
) -> None:
    story = Story()
    story.register(ALICE, shares=[Share(ALICE, 600_000), Share(BOB, 400_000)])
    story.paid(1, 10**6)
    late = story.files.copy()
    story.files = {}
    tell(story)
    assert get(client, f"/v1/payouts/{BOB}/claims")["items"] == []
    payouts = Payouts.of(client.app.state.core)
    with payouts.database.session() as session:
        for file in late.values():
            keep(session, payouts.store, [file], TEXT)
    assert payouts.resolve_trees() == 0, "a root is looked for once"
    assert payouts.retry_trees() >= 1
    assert [claim["amount"] for claim in get(client, f"/v1/payouts/{BOB}/claims")["items"]] == ["380000"]


def test_others_can_withdraw_when_a_holder_publishes_nothing(client: Client, tell: Tell) -> None:
    story = Story()
    story.register(ALICE, shares=[Share(ALICE, 600_000), Share(BOB, 400_000)])
    story.next_block(SPLIT_INTERVAL_S)
    story.give(1, 3, [Share(CAROL, 100_000)], publish=False)
    story.paid(1, 10**6)
    tell(story)
    assert differences(story, get(client, f"/v1/payouts/{ALICE}/claims")["items"]) == []
    assert [c["version"] for c in get(client, f"/v1/payouts/{ALICE}/claims")["items"]] == [2]
    assert get(client, f"/v1/payouts/{CAROL}/claims")["items"] == []


def test_a_share_moved_on_below_a_hidden_tree_leaves_everyones_proofs_right(client: Client, tell: Tell) -> None:
    """Bob hides Carol in his leaf; what she then gives to Dave is placed by the event's proof."""
    story = Story()
    story.register(ALICE, shares=[Share(ALICE, 600_000), Share(BOB, 400_000)])
    story.next_block(SPLIT_INTERVAL_S)
    story.give(1, 3, [Share(CAROL, 100_000)], publish=False)
    story.next_block(SPLIT_INTERVAL_S)
    story.give(1, 7, [Share(DAVE, 30_000)])
    story.paid(1, 10**6)
    tell(story)
    for holder, due in ((ALICE, "570000"), (DAVE, "28500"), (CAROL, "66500")):
        items = get(client, f"/v1/payouts/{holder}/claims")["items"]
        assert [(item["version"], item["amount"]) for item in items] == [(3, due)]
        assert differences(story, items) == []
    assert get(client, f"/v1/payouts/{BOB}/claims")["items"] == [], "his file is nowhere, so nobody knows him by name"


def test_looking_again_for_a_hidden_file_rewrites_nothing_and_reads_no_other_file_again(
    client: Client, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: one unpublished share of a work with very many holders, which is looked for every two minutes."""
    story = Story()
    story.register(ALICE, shares=[Share(ALICE, 600_000), Share(BOB, 400_000)])
    story.next_block(SPLIT_INTERVAL_S)
    story.give(1, 3, [Share(CAROL, 100_000)], publish=False)
    tell(story)
    payouts = Payouts.of(client.app.state.core)
    assert payouts.resolve_trees() >= 1
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(payouts.database.engine, "before_cursor_execute", note)
    monkeypatch.setattr(splits, "read_tree_file", lambda data: pytest.fail("a file is read once"))
    assert payouts.retry_trees() == 0
    assert any("split_leaf" in statement for statement in statements)
    assert not [each for each in statements if "split_leaf" in each and not each.startswith("SELECT")]


def test_who_a_late_file_names_gets_a_proof_though_the_tree_was_used_before(client: Client, tell: Tell) -> None:
    story = Story()
    story.register(ALICE, shares=[Share(ALICE, 600_000), Share(BOB, 400_000)])
    story.next_block(SPLIT_INTERVAL_S)
    published = dict(story.files)
    story.give(1, 3, [Share(CAROL, 100_000)])
    (late,) = (file for digest, file in story.files.items() if digest not in published)
    story.files = published
    story.paid(1, 10**6)
    tell(story)
    assert len(get(client, f"/v1/payouts/{ALICE}/claims")["items"]) == 1
    payouts = Payouts.of(client.app.state.core)
    with payouts.database.session() as session:
        keep(session, payouts.store, [late], TEXT)
    assert payouts.retry_trees() == 1
    for holder in (ALICE, BOB, CAROL):
        items = get(client, f"/v1/payouts/{holder}/claims")["items"]
        assert (len(items), differences(story, items)) == (1, [])


@pytest.mark.parametrize("page", ["claims", "summary"])
def test_V2_books_in_which_an_edge_was_settled_too_much_are_named(
    client: Client, tell: Tell, clean_db: DatabaseUrls, page: str
) -> None:
    """A mirror that lost the payment to a derived work whose royalty the contract has settled and paid out."""
    story = simple()
    story.settled_up(2, 0)
    story.take(1, 1, 1, WEIGHT)
    tell(story)
    get(client, f"/v1/payouts/{ALICE}/{page}")
    execute(clean_db, "DELETE FROM chain.revenue_ledger_payment_received WHERE work_id = 2")
    said = get(client, f"/v1/payouts/{ALICE}/{page}", status=500)
    assert (said["code"], said["work_id"], said["edge"]) == ("books_overdrawn", 2, 0)
    assert said["overdrawn"] == str(19 * 10**16)


# --- statements and series ---------------------------------------------------------------------------------------


@pytest.mark.feature("R9", via="http")
@pytest.mark.parametrize("seed", range(4))
def test_V1_statement_lines_and_days_add_up_to_what_was_earned(client: Client, tell: Tell, seed: int) -> None:
    tell(random_story(seed))
    for holder in (ALICE, BOB, person("treasury")):
        summary = get(client, f"/v1/payouts/{holder}/summary")
        lines = all_pages(client, f"/v1/payouts/{holder}/statements")
        places = [(line["block"], line["log_index"], line["work_id"]) for line in lines]
        assert places == sorted(places, reverse=True)
        assert len(set(places)) == len(places)
        rows = list(csv.DictReader(io.StringIO(client.get(f"/v1/payouts/{holder}/statements.csv").text)))
        assert [row["transaction"] for row in rows] == [line["transaction"] for line in lines]
        for token in summary["tokens"]:
            mine = [line for line in lines if line["token"] == token["token"]]
            income = sum(int(line["amount"]) for line in mine if line["type"] != "withdrawal")
            taken = sum(int(line["amount"]) for line in mine if line["type"] == "withdrawal")
            assert (income, taken) == (int(token["earned"]), int(token["withdrawn"]))
            in_csv = [int(row["amount in base units"]) for row in rows if row["token"] == token["token"]["symbol"]]
            assert sum(in_csv) == income - taken
            series = get(
                client, f"/v1/payouts/{holder}/series", token=token["token"]["address"], days=3660, tz="Asia/Tokyo"
            )
            assert sum(int(point["amount"]) for point in series["points"]) == income


def test_a_statement_line_says_what_for_from_where_and_how_sure(client: Client, tell: Tell) -> None:
    story = simple()
    story.settled_up(2, 0)
    story.take(1, 1, 1, WEIGHT)
    tell(story, final=story.head - 1)
    lines = get(client, f"/v1/payouts/{ALICE}/statements")["items"]
    shown = [(x["type"], x["source"], x["from_work_id"], x["credited"], x["amount"], x["stage"]) for x in lines]
    assert shown == [
        ("withdrawal", None, None, "0", str(114 * 10**16), "seen"),
        ("royalty", "derived", 2, str(19 * 10**16), str(19 * 10**16), "final"),
        ("payment", "ticket", 1, "4750000", "4750000", "final"),
        ("payment", "tip", 1, str(95 * 10**16), str(95 * 10**16), "final"),
    ]


def test_the_page_says_whose_wallet_a_withdrawal_went_to(
    client: Client, tell: Tell, alice: LocalAccount, bob: LocalAccount
) -> None:
    story = Story(fee_bps=500)
    story.register(alice.address)
    story.paid(1, 10**18)
    story.take(1, 1, 1, WEIGHT)
    tell(story)
    for reader, said in (
        (client, "this address"),
        (client.as_(bob), "this address"),
        (client.as_(alice), "your wallet"),
    ):
        assert f"to {said}</span>" in reader.get(f"/payouts/{alice.address}").text


def test_V5_a_cursor_from_before_a_reorganisation_is_void(client: Client, tell: Tell, clean_db: DatabaseUrls) -> None:
    tell(simple())
    page = get(client, f"/v1/payouts/{ALICE}/statements", limit=1)
    assert page["next"]
    execute(clean_db, "UPDATE chain.block SET hash = sha256(hash)")
    problem = get(client, f"/v1/payouts/{ALICE}/statements", status=409, limit=1, cursor=page["next"])
    assert problem["code"] == "cursor_void"


def test_days_are_those_of_the_readers_zone_and_the_fee_change_is_marked(client: Client, tell: Tell) -> None:
    story = simple()
    story.next_block(3 * 24 * 3600)
    story.set_fee(400)
    story.paid(1, 1000, kind=5)
    tell(story)
    days = {
        zone: get(client, f"/v1/payouts/{ALICE}/series", tz=zone) for zone in ("Pacific/Kiritimati", "Pacific/Niue")
    }
    last = {zone: max(point["day"] for point in series["points"]) for zone, series in days.items()}
    assert last["Pacific/Kiritimati"] > last["Pacific/Niue"]
    assert [mark["new_bps"] for mark in days["Pacific/Niue"]["fee_changes"]] == [400], "the deployment's own is none"
    assert {point["source"] for point in days["Pacific/Niue"]["points"]} == {"tip", "ad"}
    assert get(client, f"/v1/payouts/{ALICE}/series", days=1)["points"][0]["amount"] == "960"


# --- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/payouts/0x12/summary", 422, "invalid"),
        ("/v1/payouts/alice/claims", 422, "invalid"),
        (f"/v1/payouts/{ALICE.swapcase().replace('0X', '0x')}/summary", 422, "invalid"),
        (f"/v1/payouts/{ALICE}/claims?limit=0", 422, "invalid"),
        (f"/v1/payouts/{ALICE}/claims?limit=101", 422, "invalid"),
        (f"/v1/payouts/{ALICE}/claims?cursor=xyz", 422, "cursor_invalid"),
        (f"/v1/payouts/{ALICE}/statements?cursor=WyJjbGFpbXMiLDEsMSwxLCIweCJd", 422, "cursor_invalid"),
        (f"/v1/payouts/{ALICE}/series?tz=Mars/Phobos", 422, "zone_unknown"),
        (f"/v1/payouts/{ALICE}/series?tz=../../etc/passwd", 422, "zone_unknown"),
        (f"/v1/payouts/{ALICE}/series?days=0", 422, "invalid"),
        (f"/v1/payouts/{ALICE}/series?token=0x1", 422, "invalid"),
        ("/payouts/0x12/headline", 422, "invalid"),
        ("/payouts/0x12/earnings", 422, "invalid"),
        ("/payouts/0x12/check", 422, "invalid"),
        (f"/payouts/{ALICE}/lines", 422, "invalid"),
        (f"/payouts/{ALICE}/lines?cursor=xyz", 422, "cursor_invalid"),
        (f"/payouts/{ALICE}?days=0", 422, "invalid"),
    ],
)
def test_V15_bad_input_is_answered_with_a_code(client: Client, tell: Tell, path: str, status: int, code: str) -> None:
    tell(simple())
    assert get(client, path, status=status)["code"] == code


def test_a_reader_who_takes_his_time_holds_no_connection(client: Client, tell: Tell, app: FastAPI) -> None:
    """Attack: ten slow downloads of a statement, which anybody may ask for, and nobody else is answered."""
    tell(random_story(3))
    pool = app.state.core.database.async_pool
    checked: list[int] = []

    async def slow_readers() -> None:
        payouts = Payouts.of(app.state.core)
        answers = [await get_payout_statements_csv(ALICE, payouts) for _ in range(3)]
        for answer in answers:
            pieces = answer.body_iterator.__aiter__()
            assert await anext(pieces)  # the header alone was sent without a connection before, too
            await anext(pieces, "")
            checked.append(pool.get_stats()["pool_size"] - pool.get_stats()["pool_available"])
        for answer in answers:
            async for _ in answer.body_iterator:
                pass

    assert client.portal is not None
    client.portal.call(slow_readers)
    assert checked == [0, 0, 0]


def test_csv_cells_that_a_spreadsheet_would_run_are_made_inert() -> None:
    assert csv_text(["=1+1", "+a", "-1.5", "-x", "@x", "ok", "-7"]) == "'=1+1,'+a,-1.5,'-x,'@x,ok,-7\r\n"


# --- paying ------------------------------------------------------------------------------------------------------


def pay(client: Client, status: int = 200, **fields: Any) -> Any:
    body = {"work_id": 1, "amount": "1000", "kind": "tip"} | fields
    answer = client.post("/v1/payments/intent", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.feature("R1", via="http")
def test_a_native_payment_is_one_transaction_with_its_kind_and_reference(client: Client, tell: Tell) -> None:
    tell(simple())
    ref = "0x" + "ab" * 32
    answer = pay(client, amount=str(10**18), kind="ticket", ref=ref)
    (intent,) = answer["intents"]
    function, args = decode_call("RevenueLedger", bytes.fromhex(intent["data"][2:]))
    assert (function.name, args) == ("payNative", {"workId": 1, "kind": 7, "ref": bytes.fromhex(ref[2:])})
    assert intent["value"] == str(10**18)
    assert intent["description"] == "Pay 1 ETH to work 1"
    assert (answer["fee"], answer["credited"]) == (str(5 * 10**16), str(95 * 10**16))


def test_a_token_payment_approves_exactly_what_it_pays(client: Client, tell: Tell) -> None:
    tell(simple())
    approve, payment = pay(client, token=USD, amount="2500000", kind="sale")["intents"]
    assert approve["to"] == USD
    assert decode_call("ERC20", bytes.fromhex(approve["data"][2:]))[1]["value"] == 2_500_000
    function, args = decode_call("RevenueLedger", bytes.fromhex(payment["data"][2:]))
    assert (function.name, args["amount"], args["kind"]) == ("payToken", 2_500_000, 2)


def test_the_platform_itself_is_paid_without_a_fee(client: Client, tell: Tell) -> None:
    tell(simple())
    assert pay(client, work_id=0)["fee"] == "0"


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"work_id": 99}, 404, "work_not_found"),
        ({"work_id": 2**64}, 422, "invalid"),
        ({"work_id": "x"}, 422, "invalid"),
        ({"amount": "0"}, 422, "amount_out_of_range"),
        ({"amount": str(2**112)}, 422, "amount_out_of_range"),
        ({"amount": 1000}, 422, "invalid"),
        ({"amount": "1e18"}, 422, "invalid"),
        ({"amount": "-1"}, 422, "invalid"),
        ({"token": person("nobody's token")}, 422, "token_not_allowed"),
        ({"kind": "bribe"}, 422, "invalid"),
        ({"ref": "0x12"}, 422, "invalid"),
        ({"surprise": 1}, 422, "invalid"),
    ],
)
def test_V15_payments_that_the_ledger_would_refuse_are_refused_here(
    client: Client, tell: Tell, fields: dict[str, Any], status: int, code: str
) -> None:
    tell(simple())
    assert pay(client, status=status, **fields)["code"] == code


def test_a_revoked_work_takes_no_payments(client: Client, tell: Tell) -> None:
    story = simple()
    story.next_block()
    story.emit(
        "WorkStatusChanged", contract="WorkRegistry", work_id=1, status=REVOKED, reason_hash=bytes(32), actor=bytes(20)
    )
    tell(story)
    assert pay(client, status=409)["code"] == "work_revoked"


# --- moving shares -----------------------------------------------------------------------------------------------


def move(client: Client, work: int = 1, status: int = 200, **fields: Any) -> Any:
    answer = client.post(f"/v1/works/{work}/reassign-intent", json=fields)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.parametrize("status", sorted(IN_DISPUTE))
def test_shares_of_a_disputed_work_stand_still(client: Client, tell: Tell, alice: LocalAccount, status: Status) -> None:
    story = simple()
    story.next_block()
    standing = {"status": int(status), "reason_hash": bytes(32), "actor": bytes(20)}
    story.emit("WorkStatusChanged", contract="WorkRegistry", work_id=1, **standing)
    tell(story)
    refusal = move(client.as_(alice), status=409, recipients=[{"account": CAROL, "weight": "250000"}])
    assert refusal["code"] == "work_disputed"


@pytest.mark.feature("O4", via="http")
def test_a_holder_gives_a_part_and_the_file_is_published(client: Client, tell: Tell, alice: LocalAccount) -> None:
    story = tell(simple())
    answer = move(client.as_(alice), recipients=[{"account": CAROL.lower(), "weight": "250000"}])
    assert answer["shares"] == [{"account": ALICE, "weight": "750000"}, {"account": CAROL, "weight": "250000"}]
    assert client.get(f"/v1/content/{answer['tree_cid']}").status_code == 200
    (intent,) = answer["intents"]
    assert intent["description"] == "Give 25.00% of work 1 to others"
    function, args = decode_call("RevenueLedger", bytes.fromhex(intent["data"][2:]))
    assert function.name == "reassign"
    work, account, weight, path, new_hash, digest, activate_by = args["move"]
    assert (work, account, weight, path) == (1, ALICE.lower(), WEIGHT, 0)
    assert "0x" + digest.hex() == answer["tree_digest"]
    assert args["settles"] == ((2, 0, NATIVE),), "what the sequel owes is settled inside"
    assert activate_by > story.works[1].activated_at + SPLIT_INTERVAL_S
    story.give(1, 1, [Share(CAROL, 250_000)])
    assert story.pending_trees[1][0].root.hash == process([], 0, Node(new_hash, WEIGHT)).hash


def test_a_move_of_an_old_split_may_become_active_for_two_weeks_from_now(
    client: Client, tell: Tell, alice: LocalAccount
) -> None:
    story = simple()
    story.next_block(10 * SPLIT_INTERVAL_S)
    tell(story)
    answer = move(client.as_(alice), recipients=[{"account": CAROL, "weight": "1"}])
    _, args = decode_call("RevenueLedger", bytes.fromhex(answer["intents"][-1]["data"][2:]))
    assert args["move"][-1] == story.now + 2 * SPLIT_INTERVAL_S


def test_a_second_move_in_the_same_week_proves_against_the_pending_root(
    client: Client, tell: Tell, people: Any
) -> None:
    story = simple()
    story.give(1, 1, [Share(CAROL, 250_000)])
    tell(story)
    answer = move(client.as_(people("carol")), recipients=[{"account": DAVE, "weight": "250000"}])
    assert (answer["position"], answer["weight"]) == (3, "250000")
    _, args = decode_call("RevenueLedger", bytes.fromhex(answer["intents"][-1]["data"][2:]))
    nodes = [Node(*node) for node in args["proof"]]
    assert process(nodes, args["move"][3], leaf_split(CAROL, 250_000)) == story.pending_trees[1][0].root


@pytest.mark.parametrize(
    ("work", "fields", "status", "code"),
    [
        (99, {"recipients": [{"account": CAROL, "weight": "1"}]}, 404, "work_not_found"),
        (0, {"recipients": [{"account": CAROL, "weight": "1"}]}, 403, "platform_split"),
        (2, {"recipients": [{"account": CAROL, "weight": "1"}]}, 404, "share_not_found"),
        (1, {"recipients": [{"account": CAROL, "weight": "1"}], "position": 2}, 404, "share_not_found"),
        (1, {"recipients": [{"account": CAROL, "weight": "1000001"}]}, 422, "cannot_move"),
        (1, {"recipients": [{"account": ALICE, "weight": "5"}]}, 422, "cannot_move"),
        (1, {"recipients": [{"account": CAROL, "weight": "0"}]}, 422, "cannot_move"),
        (1, {"recipients": []}, 422, "invalid"),
        (1, {"recipients": [{"account": "carol", "weight": "1"}]}, 422, "invalid"),
        (
            1,
            {"recipients": [{"account": CAROL, "weight": "1"}], "activate_by": "2020-01-01T00:00:00Z"},
            422,
            "too_early",
        ),
    ],
)
def test_V15_moves_that_the_ledger_would_refuse_are_refused_here(
    *, client: Client, tell: Tell, alice: LocalAccount, work: int, fields: dict[str, Any], status: int, code: str
) -> None:
    tell(simple())
    assert move(client.as_(alice), work, status, **fields)["code"] == code


def test_moving_needs_a_sign_in_and_one_of_several_shares_must_be_named(
    client: Client, tell: Tell, alice: LocalAccount
) -> None:
    story = simple()
    story.register(ALICE, shares=[Share(ALICE, 1), Share(BOB, 1), Share(ALICE, 1)])
    tell(story)
    recipients = [{"account": CAROL, "weight": "1"}]
    assert move(client, status=401, recipients=recipients)["code"] == "sign_in_required"
    problem = move(client.as_(alice), 3, 409, recipients=recipients)
    assert (problem["code"], problem["positions"]) == ("position_needed", [4, 3])
    assert move(client.as_(alice), 3, recipients=recipients, position=3)["position"] == 3


def test_activation_waits_a_week_and_for_something_to_activate(client: Client, tell: Tell) -> None:
    story = simple()
    story.give(1, 1, [Share(CAROL, 1)])
    tell(story)
    assert client.post("/v1/works/1/activate-intent").json()["code"] == "too_early"
    assert client.post("/v1/works/2/activate-intent").json()["code"] == "nothing_pending"
    assert client.post("/v1/works/9/activate-intent").json()["code"] == "work_not_found"


def test_activation_after_a_week_is_a_transaction_of_anybody(client: Client, tell: Tell) -> None:
    story = simple()
    story.give(1, 1, [Share(CAROL, 1)])
    story.next_block(SPLIT_INTERVAL_S)
    tell(story)
    (intent,) = client.post("/v1/works/1/activate-intent").json()["intents"]
    function, args = decode_call("RevenueLedger", bytes.fromhex(intent["data"][2:]))
    assert (function.name, args) == ("activate", {"workId": 1})
