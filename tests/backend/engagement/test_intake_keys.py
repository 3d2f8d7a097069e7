"""V16 for the async intake of engagement: its rows and the note of its answer are one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from eth_account.signers.local import LocalAccount

from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client, Clock, allow
from tests.backend.engagement.test_intake import event, rows
from tests.factories import Mirror

pytestmark = [pytest.mark.feature("E1", via="http"), pytest.mark.feature("Q6", via="http")]


@pytest.fixture(autouse=True)
def works(mirror: Mirror, bob: LocalAccount) -> None:
    mirror.block(1)
    mirror.work(1, owner=bob, block=1)


@pytest.fixture
def cut_off(clean_db: DatabaseUrls) -> Iterator[psycopg.Connection[Any]]:
    """The connection dies after the route's work, when its answer is noted: as when the process is killed there."""
    with psycopg.connect(clean_db.conninfo(), autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION app.cut() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
            " $$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END$$"
        )
        connection.execute(
            "CREATE TRIGGER cut BEFORE INSERT ON app.idempotent_answer FOR EACH ROW EXECUTE FUNCTION app.cut()"
        )
        yield connection
        connection.execute("DROP FUNCTION app.cut() CASCADE")


def send(client: Client, *events: dict[str, Any], key: str = "batch-1") -> Any:
    return client.post("/v1/engagement", json={"events": list(events)}, headers={"Idempotency-Key": key})


def test_V16_the_same_batch_with_its_key_is_answered_with_the_same_bytes(
    client: Client, alice: LocalAccount, clock: Clock, clean_db: DatabaseUrls
) -> None:
    device = client.as_(alice)
    allow(device, "behaviour")
    like = event(clock)
    first, second = send(device, like), send(device, like)
    assert first.status_code == 200, first.text
    assert (first.json()["accepted"], first.json()["counted_as"]) == (1, "person")
    assert second.content == first.content, "without its key it would be a duplicate now"
    assert second.headers["idempotency-replayed"] == "true"
    assert send(device, like, key="batch-2").json()["duplicate"] == 1
    assert send(device, event(clock)).json()["code"] == "idempotency_key_reused"
    assert len(rows(clean_db)) == 1


def test_V16_ten_at_once_are_one(client: Client, clock: Clock, clean_db: DatabaseUrls) -> None:
    batch = [event(clock), event(clock)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: send(client, *batch), range(10)))
    done = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.content for answer in done}) == 1
    assert done[0].json()["accepted"] == 2
    assert len(rows(clean_db)) == 2


def test_V16_cut_off_between_effect_and_answer_there_is_no_effect(
    client: Client, clock: Clock, clean_db: DatabaseUrls, cut_off: psycopg.Connection[Any]
) -> None:
    like = event(clock)
    assert send(client, like).json()["code"] == "database_unavailable"
    assert rows(clean_db) == []
    cut_off.execute("DROP TRIGGER cut ON app.idempotent_answer")
    assert send(client, like).json()["accepted"] == 1
    assert len(rows(clean_db)) == 1


def test_V16_a_refused_batch_leaves_nothing_and_lets_go_of_its_key(client: Client, clock: Clock) -> None:
    wrong = send(client, event(clock) | {"kind": "no such kind"})
    assert wrong.json()["code"] == "invalid"
    assert send(client, event(clock) | {"kind": "no such kind"}, key="another").status_code == 422
