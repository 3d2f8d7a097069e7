"""A draft is its author's alone until the chain has it, and again when a reorganisation takes it (promise V10)."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import text

from backend.content.cid import CID
from backend.content.service import open_store
from backend.content.store import ContentUnavailable
from backend.deps import Core
from backend.models import registry
from backend.works import publication, words
from backend.works.drafts import DraftFiles
from backend.works.tasks import means
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client, follow
from tests.backend.consent.owndata import core_of, erase, killed
from tests.backend.mirror import MirrorWriter
from tests.backend.works.test_catalogue import raw
from tests.backend.works.uploads import upload

STORY = b"A story that nobody but its author has read. " * 100
TITLE = "A title that nobody else knows"


def drafted(me: Client, content: bytes = STORY, title: str = TITLE) -> dict[str, Any]:
    answer = upload(me, content, title=title)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def register(mirror: MirrorWriter, person: LocalAccount, draft: dict[str, Any], **other: Any) -> int:
    """The registration of a draft, as the chain has it."""
    said = {"content_hash": bytes.fromhex(draft["content_hash"][2:])} | other
    return mirror.work(raw(person), **{"cid_digest": CID.parse(draft["metadata"]["cid"]).digest} | said)


def state(client: Client) -> list[str]:
    with core_of(client).database.session() as session:
        return list(session.scalars(text("SELECT files FROM app.draft ORDER BY id")))


def readable(client: Client) -> set[str]:
    """Which of the author's words and bytes lie on the disk as they are."""
    files = [path.read_bytes() for path in core_of(client).settings.data_dir.rglob("*") if path.is_file()]
    return {what for what in (STORY[:45], TITLE.encode()) if any(what in data for data in files)}  # type: ignore[misc]


def public(client: Client, draft: dict[str, Any]) -> list[int]:
    return [client.get(f"/v1/content/{draft[part]['cid']}").status_code for part in ("media", "metadata", "split")]


@pytest.mark.feature("C4", via="http")
def test_V10_what_is_said_of_a_draft_is_nowhere_in_the_database_and_its_files_nowhere_on_the_disk(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, clean_db: DatabaseUrls
) -> None:
    me = client.as_(alice)
    mirror.block()
    draft = drafted(me)
    me.get(f"/v1/works/drafts/{draft['id']}/intent")
    follow(client)
    assert public(client, draft) == [404, 404, 404], "asking for the intent publishes nothing"
    assert readable(client) == set()
    with psycopg.connect(clean_db.conninfo()) as connection:
        rows = [
            str(row)
            for table in registry.load().sorted_tables
            for row in connection.execute(f"SELECT t::text FROM {table.fullname} t").fetchall()  # type: ignore[arg-type]
        ]
    for told in (TITLE, TITLE.encode().hex(), draft["content_hash"][2:], draft["media"]["cid"]):
        assert not any(told in row for row in rows), told
    assert me.get(draft["media"]["url"]).content == STORY, "its author has it"
    assert me.get(draft["media"]["url"]).headers["cache-control"] == "private, no-store"
    assert me.get("/v1/works/drafts").json()["items"][0]["title"] == TITLE


@pytest.mark.feature("O1", via="http")
def test_the_registration_makes_it_public_and_every_file_is_the_one_that_was_registered(
    client: Client, mirror: MirrorWriter, alice: LocalAccount
) -> None:
    me = client.as_(alice)
    mirror.block()
    draft = drafted(me)
    work = register(mirror, alice, draft)
    assert client.get(f"/v1/works/{work}").json()["title"] is None
    assert follow(client) == (1, 0, 1)
    assert (state(client), public(client, draft)) == (["published"], [200, 200, 200])
    assert client.get(f"/v1/works/{work}").json()["title"] == TITLE
    assert client.get(f"/v1/content/{draft['media']['cid']}").content == STORY
    file = client.get(f"/v1/content/{draft['metadata']['cid']}").content
    assert hashlib.sha256(file).digest() == CID.parse(draft["metadata"]["cid"]).digest
    shown = me.get(f"/v1/works/drafts/{draft['id']}").json()
    assert shown["media"]["url"] == f"/v1/content/{draft['media']['cid']}"
    assert follow(client) == (0, 0, 0)


@pytest.mark.feature("P3", via="http")
def test_V10_a_registration_that_is_not_the_authors_own_makes_nothing_public(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount
) -> None:
    mirror.block()
    draft = drafted(client.as_(alice))
    register(mirror, bob, draft)  # who saw the registration on its way, and was first
    follow(client)
    assert (state(client), readable(client)) == (["sealed"], set())
    register(mirror, alice, draft, cid_digest=bytes(32))  # her file, and other words
    follow(client)
    assert (state(client), readable(client)) == (["sealed"], set())


@pytest.mark.feature("O1", via="http")
def test_V10_a_reorganisation_seals_it_again_and_the_next_registration_publishes_it_again(
    client: Client, mirror: MirrorWriter, alice: LocalAccount
) -> None:
    me = client.as_(alice)
    mirror.block()
    draft = drafted(me)
    register(mirror, alice, draft)
    follow(client)
    mirror.reorganise(1, "b")
    follow(client)
    assert state(client) == ["published"], "the mirror has not come past the block: it may come back"
    mirror.block()
    follow(client)
    assert (state(client), public(client, draft), readable(client)) == (["sealed"], [404, 404, 404], set())
    assert me.get(f"/v1/works/drafts/{draft['id']}/files/media").content == STORY
    mirror.works = 0
    register(mirror, alice, draft)
    assert follow(client) == (1, 0, 1)
    assert public(client, draft) == [200, 200, 200]


def test_what_another_work_needs_stays_when_one_is_taken_back(
    client: Client, mirror: MirrorWriter, alice: LocalAccount
) -> None:
    me = client.as_(alice)
    mirror.block()
    first, second = drafted(me), drafted(me, b"Another story.", "Another title")
    assert first["split"]["cid"] == second["split"]["cid"], "the same shares are the same file"
    register(mirror, alice, second)
    register(mirror, alice, first)
    follow(client)
    mirror.reorganise(1, "b")
    mirror.block()
    follow(client)
    assert public(client, first) == [404, 404, 200]
    assert public(client, second) == [200, 200, 200]


def test_sealed_files_go_once_the_registration_is_final_and_an_hour_old(
    client: Client, mirror: MirrorWriter, alice: LocalAccount
) -> None:
    me, core = client.as_(alice), core_of(client)
    mirror.block()
    draft = drafted(me)
    files = means(core).files
    register(mirror, alice, draft)
    follow(client)
    with core.database.session() as session:
        assert publication.settle(session, kept=timedelta(0)) == 0, "not final"
    mirror.finalise()
    with core.database.session() as session:
        assert publication.settle(session) == 0, "not an hour old"
        assert files.sweep(session, now=core.clock()) == 0
        assert publication.settle(session, kept=timedelta(0)) == 1
        assert files.sweep(session, now=core.clock()) == 3
    assert list(files.folder.iterdir()) == []
    mirror.reorganise(1, "deep")
    mirror.block()
    follow(client)
    assert (state(client), public(client, draft)) == (["public"], [200, 200, 200]), "the only copy is never removed"
    assert me.get(f"/v1/works/drafts/{draft['id']}/files/media").content == STORY


def test_files_that_no_draft_has_go_after_an_hour(client: Client, mirror: MirrorWriter, alice: LocalAccount) -> None:
    mirror.block()
    drafted(client.as_(alice))
    core = core_of(client)
    files = means(core).files
    (folder,) = files.folder.iterdir()
    left = [folder / f"{'0' * 36}.media.sealed", folder / ".partial-x", folder.with_name("nobody") / "y.media.sealed"]
    left[2].parent.mkdir()
    for path in left:
        path.write_bytes(b"x")
    now = datetime.now(UTC)
    with core.database.session() as session:
        assert files.sweep(session, now=now) == 0, "an upload may be under way"
        for path in left:
            os.utime(path, (time.time() - 3_700,) * 2)
        assert files.sweep(session, now=now) == 3
    assert len(list(folder.iterdir())) == 3
    assert not left[2].parent.exists()


@pytest.mark.slow
@pytest.mark.parametrize("reorganised", [False, True], ids=["stays", "reorganised"])
@pytest.mark.parametrize("point", ["marked", "stored", "published"])
def test_V10_publishing_that_is_killed_anywhere_is_finished_or_taken_back(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, point: str, reorganised: bool
) -> None:
    me = client.as_(alice)
    mirror.block()
    draft = drafted(me)
    register(mirror, alice, draft)
    killed(core_of(client), follow_in, point)
    if reorganised:
        mirror.reorganise(1, "b")
        mirror.block()
    follow(client)
    if reorganised:
        assert (state(client), public(client, draft), readable(client)) == (["sealed"], [404, 404, 404], set())
    else:
        assert (state(client), public(client, draft)) == (["published"], [200, 200, 200])
        assert client.get("/v1/works/1").json()["title"] == TITLE
    assert me.get(f"/v1/works/drafts/{draft['id']}/files/media").content == STORY


@pytest.mark.slow
@pytest.mark.parametrize("point", ["unpinned", "sealed_again"])
def test_V10_taking_back_that_is_killed_anywhere_is_finished(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, point: str
) -> None:
    me = client.as_(alice)
    mirror.block()
    draft = drafted(me)
    register(mirror, alice, draft)
    follow(client)
    mirror.reorganise(1, "b")
    mirror.block()
    killed(core_of(client), follow_in, point)
    follow(client)
    assert (state(client), public(client, draft), readable(client)) == (["sealed"], [404, 404, 404], set())
    assert me.get(f"/v1/works/drafts/{draft['id']}/files/media").content == STORY


def follow_in(core: Core, at: publication.At) -> object:
    return words.follow(replace(means(core), at=at))


class Away:
    """A content store that does not answer."""

    def add(self, *_: object, **__: object) -> None:
        raise ContentUnavailable("it is away")


def test_a_store_that_is_away_is_asked_again_and_holds_up_nobody_else(
    client: Client, mirror: MirrorWriter, alice: LocalAccount
) -> None:
    mirror.block()
    draft = drafted(client.as_(alice))
    register(mirror, alice, draft)
    mirror.work(raw(alice))
    broken = replace(means(core_of(client)), store=Away())  # type: ignore[arg-type]
    assert words.follow(broken) == (1, 0, 0), "the other work's words"
    assert words.follow(broken) == (0, 0, 0)
    assert follow(client) == (1, 0, 1)
    assert public(client, draft) == [200, 200, 200]


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_sealed_file_that_is_lost_is_said_once_and_the_rest_goes_on(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, damage: str
) -> None:
    me = client.as_(alice)
    mirror.block()
    draft = drafted(me)
    path = next(core_of(client).settings.data_dir.rglob("*.metadata.sealed"))
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    register(mirror, alice, draft)
    assert follow(client).read == 1
    assert follow(client) == (0, 0, 0)
    assert state(client) == ["lost"]
    assert client.get("/v1/works/1").json()["title"] is None
    assert me.get(f"/v1/works/drafts/{draft['id']}/files/metadata").status_code == 404


@pytest.mark.feature("C3", via="http")
def test_V10_an_erasure_takes_back_what_a_reorganisation_left_public(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount
) -> None:
    me = client.as_(alice)
    mirror.block()
    draft = drafted(me)
    register(mirror, alice, draft)
    follow(client)
    mirror.reorganise(1, "b")
    mirror.block()
    assert readable(client) == {STORY[:45], TITLE.encode()}
    erase(client, me)
    assert (readable(client), public(client, draft)) == (set(), [404, 404, 404])
    assert follow(client) == (0, 1, 0)


@pytest.mark.parametrize("planted", ["whoever registers it", "with the upload"])
def test_V10_the_look_at_the_disk_finds_what_was_published_too_early(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount, planted: str, *, monkeypatch: Any
) -> None:
    """The planted bugs: a copied registration publishes; an upload is kept in the store as well."""
    mirror.block()
    if planted == "with the upload":
        write = DraftFiles.write

        def careless(files: DraftFiles, account: Any, draft: Any, part: Any, pieces: Any) -> None:
            data = b"".join(pieces)
            open_store(core_of(client).settings).add([data])
            write(files, account, draft, part, [data])

        monkeypatch.setattr(DraftFiles, "write", careless)
        drafted(client.as_(alice))
    else:
        draft = drafted(client.as_(alice))
        register(mirror, bob, draft)
        found = publication.drafts_of

        def anybodys(session: Any, vault: Any, works: Any) -> Any:
            return found(session, vault, [dict(work) | {"registrant": raw(alice)} for work in works])

        monkeypatch.setattr(publication, "drafts_of", anybodys)
        follow(client)
    assert readable(client) == {STORY[:45], TITLE.encode()}
