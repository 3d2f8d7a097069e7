"""An export of many events needs no more memory than one of few."""

from __future__ import annotations

import tracemalloc

import psycopg
import pytest
from eth_account.signers.local import LocalAccount

from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client
from tests.backend.consent.owndata import lively, make
from tests.factories import Mirror

EVENTS = 100_000


def peak_of(client: Client, me: Client) -> int:
    tracemalloc.start()
    try:
        assert make(client, me)["state"] == "ready"
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.feature("C3", via="http")
def test_a_hundred_thousand_events_are_exported_in_the_memory_of_three_pages(
    client: Client, mirror: Mirror, alice: LocalAccount, clean_db: DatabaseUrls
) -> None:
    me = lively(client, mirror, alice)
    copied = (
        "INSERT INTO app.engagement_event (person_id, event_id, work_id, kind, at, received_at, duration_ms,"
        " completion_bps, epoch, digest) SELECT person_id, gen_random_uuid(), work_id, kind, at, received_at,"
        " duration_ms, completion_bps, epoch, digest FROM app.engagement_event, generate_series(1, %s)"
    )
    with psycopg.connect(clean_db.conninfo()) as connection:
        connection.execute(copied, (15_000 // 3,))
    few = peak_of(client, me)
    with psycopg.connect(clean_db.conninfo()) as connection:
        connection.execute(copied, (EVENTS // 15_000,))
        (there,) = connection.execute("SELECT count(*) FROM app.engagement_event").fetchone() or (0,)
    assert there > EVENTS
    assert peak_of(client, me) < 1.5 * few, "seven times the events, the same memory"
