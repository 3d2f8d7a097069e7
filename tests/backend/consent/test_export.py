"""Exports: everything, for its owner alone, in formats that anybody reads, through any crash."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import uuid
from pathlib import Path

import pytest
from eth_account.signers.local import LocalAccount

from backend.consent import export, rows
from backend.consent.tasks import exports_folder, workshop
from backend.settings import Settings
from tests.backend.conftest import Client, Clock
from tests.backend.consent.owndata import FILM, core_of, killed, like, lines, lively, make, taken
from tests.factories import Mirror


@pytest.mark.feature("C3", via="http")
def test_an_export_holds_everything_and_its_manifest_says_what(
    client: Client, mirror: Mirror, alice: LocalAccount
) -> None:
    me = lively(client, mirror, alice)
    done = make(client, me)
    assert (done["state"], done["done"]) == ("ready", done["total"])
    with taken(me, done) as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))
        assert manifest["format"] == "troupe-export/1"
        assert manifest["address"].lower() == alice.address.lower()
        for name, said in manifest["files"].items():
            data = archive.read(name)
            assert (len(data), hashlib.sha256(data).hexdigest()) == (said["bytes"], said["sha256"]), name
        assert set(archive.namelist()) == {*manifest["files"], "manifest.json"}
        counts = {table["name"]: table["rows"] for table in manifest["tables"]}
        assert (counts["engagement_event"], counts["draft"], counts["account"]) == (3, 1, 1)
        assert counts["consent_receipt"] == 3
        for table in manifest["tables"]:
            assert len(lines(archive, table["name"])) == table["rows"], table["name"]
            text = archive.read(f"{table['name']}.csv").decode()
            header, *records = csv.reader(io.StringIO(text))
            assert (header, len(records)) == (table["columns"], table["rows"]), table["name"]
        assert any(archive.read(name) == FILM for name in archive.namelist() if name.startswith("files/"))
        events = lines(archive, "chain_events")
        registered = [event for event in events if event["event"] == "work_registry_work_registered"]
        assert [event["arguments"]["work_id"] for event in registered] == ["1", "2", "3"]
        assert {"tx_hash", "block_number", "log_index"} <= set(events[0])


@pytest.mark.slow
@pytest.mark.feature("C3", via="http")
def test_what_was_sealed_is_in_words_and_what_opens_doors_is_left_out(
    client: Client, mirror: Mirror, alice: LocalAccount
) -> None:
    me = lively(client, mirror, alice)
    with taken(me, make(client, me)) as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
        assert b"token_hash" not in everything
        receipts = lines(archive, "consent_receipt")
        assert all(json.loads(receipt["document"]) for receipt in receipts), "the receipt as it is downloaded"
        assert all(receipt["salt"].startswith("0x") for receipt in receipts)
        (draft,) = lines(archive, "draft")
        assert draft["record"]["title"] == "=HYPERLINK(1)"


@pytest.mark.slow
@pytest.mark.feature("C3", via="http")
def test_no_cell_is_a_formula_and_no_word_is_markup(client: Client, mirror: Mirror, alice: LocalAccount) -> None:
    me = lively(client, mirror, alice, title="=<script>alert(1)</script>")
    with taken(me, make(client, me)) as archive:
        for name in archive.namelist():
            if name.endswith(".csv"):
                for record in csv.reader(io.StringIO(archive.read(name).decode())):
                    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in record), name
        page = archive.read("index.html").decode()
        assert "<script" not in page
        assert "http://" not in page
        assert "https://" not in page
        assert "default-src 'none'" in page
        for name in archive.namelist():
            if name.endswith((".csv", ".jsonl")):
                assert f'href="{name}"' in page


@pytest.mark.slow
@pytest.mark.feature("C4", via="http")
def test_V10_an_export_lies_encrypted_and_only_its_owner_takes_it(
    client: Client, mirror: Mirror, alice: LocalAccount, bob: LocalAccount, settings: Settings
) -> None:
    me, other = lively(client, mirror, alice), client.as_(bob)
    done = make(client, me)
    (path,) = (settings.data_dir / "exports").iterdir()
    assert path.stat().st_mode & 0o077 == 0
    data = path.read_bytes()
    assert data[:2] != b"PK"
    assert b"engagement_event" not in data
    for answer in (
        other.get(f"/v1/me/exports/{done['id']}"),
        other.get(done["download"]),
        other.delete(f"/v1/me/exports/{done['id']}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert client.get(done["download"]).status_code == 401
    assert other.get("/v1/me/exports").json() == {"items": []}


@pytest.mark.slow
@pytest.mark.feature("C3", via="http")
def test_asking_again_while_it_is_made_is_the_same_export_and_a_new_one_replaces_the_old(
    client: Client, mirror: Mirror, alice: LocalAccount
) -> None:
    me = lively(client, mirror, alice)
    first, again = me.post("/v1/me/exports").json(), me.post("/v1/me/exports").json()
    assert first["id"] == again["id"]
    refused = me.get(f"/v1/me/exports/{first['id']}/file")
    assert (refused.status_code, refused.json()["code"]) == (409, "export_not_ready")
    core = core_of(client)
    assert export.run(workshop(core), uuid.UUID(first["id"]), now=core.clock())
    assert not export.run(workshop(core), uuid.UUID(first["id"]), now=core.clock()), "made once"
    second = make(client, me)
    assert second["id"] != first["id"]
    assert [item["id"] for item in me.get("/v1/me/exports").json()["items"]] == [second["id"]]


@pytest.mark.feature("C3", via="http")
def test_an_export_expires_and_its_file_goes(client: Client, mirror: Mirror, alice: LocalAccount, clock: Clock) -> None:
    me = lively(client, mirror, alice)
    done = make(client, me)
    core = core_of(client)

    def files() -> list[Path]:
        with core.database.session() as session:
            export.sweep(session, exports_folder(core), now=clock())
        return list(exports_folder(core).iterdir())

    clock.forward(days=6)
    assert len(files()) == 1
    assert me.get(done["download"]).status_code == 200
    clock.forward(minutes=30)
    assert me.get(done["download"]).status_code == 200, "for an hour after the first download"
    clock.forward(minutes=31)
    assert me.get(done["download"]).status_code == 404
    assert files() == []
    assert me.get("/v1/me/exports").json() == {"items": []}


@pytest.mark.feature("C3", via="http")
def test_a_visitor_exports_what_there_is_of_a_visitor(client: Client, mirror: Mirror) -> None:
    mirror.block(1)
    mirror.work(1, owner=b"\x01" * 20, block=1)
    visitor = client.bearing(client.post("/v1/visitors").json()["token"])
    client.cookies.clear()
    visitor.put("/v1/consents/behaviour", json={"granted": True})
    like(visitor, 1)
    with taken(visitor, make(client, visitor)) as archive:
        assert json.loads(archive.read("manifest.json"))["address"] is None
        assert len(lines(archive, "engagement_event")) == 1
        assert lines(archive, "chain_events") == []


@pytest.mark.slow
@pytest.mark.feature("C3", via="http")
@pytest.mark.parametrize(("point", "nth"), [("page_written", 1), ("page_noted", 3), ("zip_written", 1), ("ready", 1)])
def test_an_export_that_is_killed_goes_on_where_it_was(  # noqa: PLR0917
    client: Client, mirror: Mirror, alice: LocalAccount, point: str, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "PAGE", 2)
    me = lively(client, mirror, alice, works=5)
    asked = me.post("/v1/me/exports").json()
    core = core_of(client)
    export_id = uuid.UUID(asked["id"])
    killed(core, lambda own, at: export.run(workshop(own), export_id, now=own.clock(), at=at), point, nth=nth)
    before = me.get(f"/v1/me/exports/{asked['id']}").json()
    if point == "page_noted":
        assert before["done"] > 0, "the progress is seen"
    written: list[str] = []
    export.run(workshop(core), export_id, now=core.clock(), at=written.append)
    after = me.get(f"/v1/me/exports/{asked['id']}").json()
    assert (after["state"], after["done"]) == ("ready", after["total"])
    with taken(me, after) as archive:
        assert archive.testzip() is None
        ids = [event["event_id"] for event in lines(archive, "engagement_event")]
        assert len(ids) == len(set(ids)) == 5
    if point == "page_noted":
        whole: list[str] = []
        make(client, me, whole.append)
        assert written.count("page_written") == whole.count("page_written") - nth, "no page twice"


@pytest.mark.slow
def test_a_page_more_or_less_is_found_by_the_counts(
    client: Client, mirror: Mirror, alice: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: a source that forgets where the next page begins. Its rows are then not those of its count."""
    monkeypatch.setattr(rows, "PAGE", 2)
    me = lively(client, mirror, alice, works=5)
    monkeypatch.setattr(rows, "_next", lambda found, key: None)
    with taken(me, make(client, me)) as archive:
        assert len(lines(archive, "engagement_event")) == 2


def test_an_export_is_zip_and_nothing_is_made_of_nobody(client: Client) -> None:
    assert client.post("/v1/me/exports").status_code == 401
    core = core_of(client)
    assert not export.run(workshop(core), uuid.uuid4(), now=core.clock())
