"""The words of registered works: made from their files, true to the mirror through everything that happens to it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import delete, select, text, update

from backend.models.works import WorkText
from backend.settings import Settings
from backend.works import words
from backend.works.metadata import canonical_json
from indexer import models as chain
from tests.backend.conftest import Client, follow
from tests.backend.consent.owndata import core_of
from tests.backend.mirror import MirrorWriter
from tests.backend.works.test_catalogue import keep, raw


def file(settings: Settings, title: str, **more: Any) -> bytes:
    """Keep a metadata file; its digest."""
    return keep(settings, canonical_json({"name": title, **more}))


def table(client: Client) -> dict[int, str | None]:
    with core_of(client).database.session() as session:
        return dict(session.execute(select(WorkText.work_id, WorkText.title)).tuples().all())


def shown(client: Client) -> dict[int, str | None]:
    """What the list of works, each work, and the feed say; they say the same."""
    titles = {one["work_id"]: one["title"] for one in client.get("/v1/works").json()["items"]}
    assert titles == {work: client.get(f"/v1/works/{work}").json()["title"] for work in titles}
    return titles


@pytest.mark.feature("O1", via="http")
def test_the_words_are_the_files_and_are_read_once(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, settings: Settings
) -> None:
    media = {"cid": "bafkreigu6cpfywxztismpyyezj4zputmwaeqc2l54cfetpqni2vvqonwcq", "type": "video/mp4"}
    digest = file(settings, "Heat", description="A film.", tags=["noir"], media=media | {"duration_ms": 90_000})
    mirror.work(raw(alice), cid_digest=digest, kind=3)
    mirror.work(raw(alice))
    assert follow(client)[:2] == (2, 0)
    assert follow(client)[:2] == (0, 0), "nothing has changed"
    with core_of(client).database.session() as session:
        found = session.get_one(WorkText, 1)
    assert (found.title, found.description, found.tags, found.kind) == ("Heat", "A film.", ["noir"], 3)
    assert (found.media_cid, found.media_type, found.duration_ms) == (*media.values(), 90_000)
    body = client.get("/v1/works/1").json()
    assert (body["title"], body["duration_ms"], body["media"]["cid"]) == ("Heat", 90_000, media["cid"])
    assert client.get("/v1/works/2").json()["title"] is None


def test_a_file_that_comes_later_is_read_then_and_a_new_file_takes_the_place_of_the_old(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, settings: Settings
) -> None:
    late = canonical_json({"name": "Late"})
    digest = hashlib.sha256(late).digest()
    mirror.work(raw(alice), cid_digest=digest)
    follow(client)
    assert shown(client) == {1: None}
    keep(settings, late)
    assert follow(client).read == 1
    assert shown(client) == {1: "Late"}
    mirror.block(("WorkRegistry", "MetadataChanged", {"work_id": 1, "cid_digest": file(settings, "Renamed")}))
    assert shown(client) == {1: None}, "never the words of another file than the chain's"
    follow(client)
    assert shown(client) == {1: "Renamed"}
    mirror.reorganise(1, "b")
    assert shown(client) == {1: None}
    follow(client)
    assert shown(client) == {1: "Late"}


@pytest.mark.feature("O1", via="http")
def test_words_go_with_a_registration_that_a_reorganisation_took(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount, settings: Settings
) -> None:
    mirror.work(raw(bob), cid_digest=file(settings, "Stays"))
    mirror.work(raw(alice), cid_digest=file(settings, "Goes"))
    follow(client)
    mirror.reorganise(1, "b")
    mirror.works -= 1
    assert shown(client) == {1: "Stays"}, "not shown from the moment on, whether the table knows or not"
    assert follow(client)[:2] == (0, 0), "the mirror has not come past its block again"
    mirror.block()
    assert follow(client)[:2] == (0, 1)
    assert table(client) == {1: "Stays"}
    mirror.work(raw(bob), cid_digest=file(settings, "Another with the same id"))
    follow(client)
    assert shown(client) == {1: "Stays", 2: "Another with the same id"}


def test_a_mirror_that_is_made_again_takes_no_words_back(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, settings: Settings
) -> None:
    mirror.work(raw(alice), cid_digest=file(settings, "Heat"))
    follow(client)
    tables = [chain.metadata.tables[f"chain.{name}"] for name in chain.undo_columns()]
    with mirror._engine.begin() as connection:
        kept = {each: connection.execute(select(each)).mappings().all() for each in tables}
        for each in tables:
            connection.execute(delete(each))
        connection.execute(update(chain.cursor).values(head_number=0))
    assert follow(client)[:2] == (0, 0)
    assert table(client) == {1: "Heat"}
    assert client.get("/v1/works").json()["items"] == []
    with mirror._engine.begin() as connection:
        for each, rows in kept.items():
            if rows:
                connection.execute(each.insert(), [dict(row) for row in rows])
        connection.execute(update(chain.cursor).values(head_number=mirror.height))
    assert shown(client) == {1: "Heat"}
    assert follow(client)[:2] == (0, 0)


def test_one_process_follows_at_a_time(client: Client, mirror: MirrorWriter, alice: LocalAccount) -> None:
    mirror.work(raw(alice))
    with core_of(client).database.session() as session:
        session.execute(text(f"SELECT pg_advisory_xact_lock({words._LOCK})"))
        assert follow(client)[:2] == (0, 0)
    assert follow(client)[:2] == (1, 0)


def test_many_works_are_read_in_batches(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "BATCH", 2)
    for _ in range(5):
        mirror.work(raw(alice))
    assert follow(client)[:2] == (5, 0)
    assert sorted(table(client)) == [1, 2, 3, 4, 5]
