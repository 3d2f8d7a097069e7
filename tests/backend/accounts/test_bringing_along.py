"""What a visitor did becomes a person's when they sign in and ask for it: once, whole, and never against their word."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI

from backend.accounts import visitors
from backend.deps import Core
from stack.postgres import DatabaseUrls
from tests.backend.accounts.test_visitors import play, visit
from tests.backend.conftest import Client, Clock, allow, signature
from tests.factories import Mirror

pytestmark = pytest.mark.feature("C1", via="http")

NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture(autouse=True)
def works(mirror: Mirror, bob: LocalAccount) -> Mirror:
    mirror.block(1)
    for work_id in range(1, 6):
        mirror.work(work_id, owner=bob, block=1)
    return mirror


@pytest.fixture
def database(clean_db: DatabaseUrls) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(clean_db.conninfo(), autocommit=True) as connection:
        yield connection


def sign_in(device: Client, person: LocalAccount, *, bring_along: bool = True) -> dict[str, Any]:
    message = device.post("/v1/auth/nonce", json={"address": person.address}).json()["message"]
    body = {"message": message, "signature": signature(person, message), "bring_along": bring_along}
    answer = device.post("/v1/auth/verify", json=body)
    assert answer.status_code == 200, answer.text
    device.cookies.clear()
    made: dict[str, Any] = answer.json()
    return made


def owners(database: psycopg.Connection[Any]) -> list[int]:
    """How many events each person has, nobody left out."""
    rows = database.execute(
        "SELECT count(*) FROM app.engagement_event WHERE person_id <> %s GROUP BY person_id ORDER BY 1", (NOBODY,)
    )
    return [count for (count,) in rows]


def answers(person: Client) -> dict[str, bool]:
    return {item["purpose"]: item["granted"] for item in person.get("/v1/consents").json()["items"]}


def test_events_answers_and_settings_come_along_to_a_new_person(
    app: FastAPI, client: Client, alice: LocalAccount, database: psycopg.Connection[Any]
) -> None:
    visitor = visit(client)
    allow(visitor, "behaviour", "content_taste")
    allow(visitor, "research", granted=False)
    play(visitor, 1, 2, 3)
    visitor.put("/v1/me/personalization", json={"enabled": False})
    account_id = database.execute("SELECT id FROM app.account").fetchall()[0][0]
    made = sign_in(visitor, alice)
    assert made["brought_along"]["events"] == 3
    assert set(made["brought_along"]["consents"]) == {"behaviour", "content_taste", "research"}
    person = client.bearing(made["token"])
    assert answers(person)["behaviour"] is True
    assert answers(person)["research"] is False
    assert person.get("/v1/me/personalization").json()["enabled"] is False
    assert owners(database) == [3]
    assert visitor.get("/v1/me").json()["code"] == "session_unknown", "the visitor has ended"
    assert database.execute("SELECT count(*) FROM app.account").fetchall() == [(1,)]
    core: Core = app.state.core
    assert core.vault.state(account_id) == "erased", "and so has its key"


def test_nothing_comes_along_unasked(client: Client, alice: LocalAccount) -> None:
    visitor = visit(client)
    allow(visitor, "behaviour")
    play(visitor, 1)
    made = sign_in(visitor, alice, bring_along=False)
    assert made["brought_along"] is None
    assert answers(client.bearing(made["token"]))["behaviour"] is False
    assert visitor.get("/v1/me").json()["visitor"] is True


def test_what_the_person_answered_and_set_before_stands(
    client: Client, alice: LocalAccount, database: psycopg.Connection[Any]
) -> None:
    person, visitor = client.as_(alice), visit(client)
    allow(person, "behaviour", "research")
    person.put("/v1/me/personalization", json={"enabled": True})
    play(person, 1)
    allow(visitor, "behaviour", "social")
    allow(visitor, "research", granted=False)
    visitor.put("/v1/me/personalization", json={"enabled": False})
    play(visitor, 1, 2)
    made = sign_in(visitor, alice)
    assert made["brought_along"] == {"events": 2, "consents": ["social"]}
    assert answers(person) | {"research": True, "social": True, "behaviour": True} == answers(person)
    assert person.get("/v1/me/personalization").json()["enabled"] is True
    assert owners(database) == [3]


def test_V11_events_do_not_come_along_against_the_persons_no(
    client: Client, alice: LocalAccount, database: psycopg.Connection[Any]
) -> None:
    person, visitor = client.as_(alice), visit(client)
    allow(person, "behaviour", granted=False)
    allow(visitor, "behaviour")
    play(visitor, 1, 2)
    assert sign_in(visitor, alice)["brought_along"] == {"events": 0, "consents": []}
    assert owners(database) == [], "and are forgotten with the visitor"
    assert answers(person)["behaviour"] is False


@pytest.mark.parametrize("refused", [False, True])
def test_V11_where_and_on_what_come_along_only_where_the_person_allows_that_too(
    client: Client, clock: Clock, alice: LocalAccount, database: psycopg.Connection[Any], *, refused: bool
) -> None:
    person, visitor = client.as_(alice), visit(client)
    if refused:
        allow(person, "location_time", granted=False)
    allow(visitor, "behaviour", "location_time")
    assert visitor.patch("/v1/me/personalization", json={"territory": "DE"}).status_code == 200
    event = {"id": str(uuid.uuid4()), "kind": "play", "work_id": 1, "at": clock().isoformat(), "device": "tv"}
    assert visitor.post("/v1/engagement", json={"events": [event]}).json()["accepted"] == 1
    assert sign_in(visitor, alice)["brought_along"]["events"] == 1
    [row] = database.execute("SELECT device, place FROM app.engagement_event").fetchall()
    assert row == ((None, None) if refused else ("tv", "DE"))


def test_a_wallet_gives_a_voice_and_a_visit_none(
    client: Client, alice: LocalAccount, database: psycopg.Connection[Any]
) -> None:
    voices = "SELECT count(*), count(v.person_id) FROM (SELECT DISTINCT person_id FROM app.consent_receipt) c"
    voices += " LEFT JOIN app.person_voice v USING (person_id)"
    visitor = visit(client)
    allow(visitor, "behaviour")
    assert database.execute(voices).fetchone() == (1, 0)
    sign_in(visitor, alice)
    assert database.execute(voices).fetchone() == (1, 1)


def test_slates_come_along_without_the_visitors_arms_of_experiments(
    client: Client, alice: LocalAccount, database: psycopg.Connection[Any]
) -> None:
    """A person with slates in two arms would be left out of every experiment: whoever may come along, could choose."""
    visitor = visit(client)
    allow(visitor, "behaviour")
    database.execute(
        "INSERT INTO app.impression (person_id, slate_id, at, works, whys, propensities, choices, usual, configuration,"
        " arms, packaging) SELECT person_id, gen_random_uuid(), now(), '{1}', '{best}', '{1}', '{1}', '{1}', 'c',"
        """ '{"slower": "treated"}', '[]' FROM app.consent_receipt"""
    )
    sign_in(visitor, alice)
    assert database.execute("SELECT arms FROM app.impression").fetchall() == [({},)]


def test_an_event_of_both_is_the_persons_once(
    client: Client, alice: LocalAccount, database: psycopg.Connection[Any]
) -> None:
    person, visitor = client.as_(alice), visit(client)
    event = {"id": "018f0000-0000-7000-8000-000000000001", "kind": "like", "work_id": 1, "at": "2026-11-21T09:00:00Z"}
    for each in (person, visitor):
        allow(each, "behaviour")
        assert each.post("/v1/engagement", json={"events": [event]}).json()["accepted"] == 1
    assert sign_in(visitor, alice)["brought_along"]["events"] == 0
    assert owners(database) == [1]


@pytest.mark.parametrize("token", ["wallet", "dead", "none"])
def test_without_a_visitor_the_sign_in_is_as_ever(
    token: str, client: Client, alice: LocalAccount, bob: LocalAccount
) -> None:
    device = {"wallet": lambda: client.as_(bob), "dead": lambda: client.bearing("dead"), "none": lambda: client}[
        token
    ]()
    assert sign_in(device, alice)["brought_along"] is None
    if token == "wallet":
        assert device.get("/v1/me").json()["address"] == bob.address, "Bob stays who he is"


def test_V16_a_visitor_is_brought_along_once_however_many_sign_in(
    client: Client, alice: LocalAccount, bob: LocalAccount, database: psycopg.Connection[Any]
) -> None:
    visitor = visit(client)
    allow(visitor, "behaviour")
    play(visitor, 1, 2, 3)
    people = [alice, bob, alice, bob]
    with ThreadPoolExecutor(4) as pool:
        brought = [made["brought_along"] for made in pool.map(lambda person: sign_in(visitor, person), people)]
    assert [each for each in brought if each is not None] == [{"events": 3, "consents": ["behaviour"]}]
    assert owners(database) == [3]


def test_V16_events_that_come_in_meanwhile_are_the_persons_or_nobodys(
    client: Client, alice: LocalAccount, database: psycopg.Connection[Any]
) -> None:
    visitor = visit(client)
    allow(visitor, "behaviour")

    def sent(work: int) -> int:
        events = [{"id": f"018f0000-0000-7000-8000-00000000000{work}", "kind": "like", "work_id": 1 + work % 5}]
        body = {"events": [event | {"at": "2026-11-21T09:00:00Z"} for event in events]}
        answer = visitor.post("/v1/engagement", json=body).json()
        return int(answer.get("counted_as") == "person")

    with ThreadPoolExecutor(6) as pool:
        early = [pool.submit(sent, work) for work in range(5)]
        signed = pool.submit(sign_in, visitor, alice)
        late = [pool.submit(sent, work) for work in range(5, 9)]
        assert signed.result()["brought_along"] is not None
        named = sum(each.result() for each in early + late)
    assert owners(database) == ([named] if named else [])


def test_V10_the_key_of_who_became_a_person_goes_though_the_process_dies_right_after(
    app: FastAPI,
    client: Client,
    alice: LocalAccount,
    database: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core: Core = app.state.core
    visitor = visit(client)
    allow(visitor, "research")
    account_id = database.execute("SELECT id FROM app.account").fetchall()[0][0]
    with monkeypatch.context() as dying:
        dying.setattr(visitors, "destroy_ended", lambda *_: 0)  # the process is gone before it comes to this
        assert sign_in(visitor, alice)["brought_along"]["consents"] == ["research"]
    assert core.vault.state(account_id) == "present"
    assert visitors.destroy_ended(core.database, core.vault) == 1
    assert core.vault.state(account_id) == "erased"
    assert visitors.destroy_ended(core.database, core.vault) == 0
