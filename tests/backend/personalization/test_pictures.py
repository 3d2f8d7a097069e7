"""Pictures of cards over HTTP: brought by owners, offered as variants, let go when nothing shows them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import text

from backend.content.cid import CID
from backend.content.service import open_store
from backend.deps import Core
from backend.personalization.packaging import pictures
from tests.backend.conftest import Client, Clock
from tests.backend.consent.test_erasure import erase
from tests.backend.content.test_pictures import photo
from tests.factories import Mirror

pytestmark = pytest.mark.feature("X4", via="http")


@pytest.fixture
def core(client: Client, mirror: Mirror, bob: LocalAccount) -> Core:
    mirror.block(1)
    mirror.work(1, owner=bob, block=1)
    made: Core = client.app.state.core
    return made


def bring(owner: Client, data: bytes, work_id: int = 1) -> httpx.Response:
    return owner.post(f"/v1/works/{work_id}/pictures", files={"file": ("cat.jpg", data, "image/jpeg")})


def brought(owner: Client, data: bytes) -> dict[str, Any]:
    answer = bring(owner, data)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def swept(core: Core) -> int:
    with core.database.session() as session:
        return pictures.sweep(session, open_store(core.settings), now=core.clock())


def test_an_owner_brings_a_picture_and_offers_it(client: Client, core: Core, bob: LocalAccount) -> None:
    owner = client.as_(bob)
    made = brought(owner, photo())
    assert (made["width"], made["height"]) == (640, 427)
    served = client.get(made["url"])
    assert (served.status_code, served.headers["content-type"]) == (200, "image/webp")
    assert len(served.content) == made["size_bytes"]
    body = {"variants": [{"thumbnail_cid": made["thumbnail_cid"]}]}
    assert owner.put("/v1/works/1/packaging", json=body).status_code == 200
    assert brought(owner, photo())["width"] == 640, "another one beside it"


def test_what_is_refused(client: Client, core: Core, alice: LocalAccount, bob: LocalAccount) -> None:
    refused = [
        (client.as_(alice), photo(9, 9), 403, "not_your_work"),
        (client.as_(bob), b"Act one.\n", 415, "media_type_refused"),
        (client.as_(bob), bytes(8 * 1024 * 1024 + 1), 413, "upload_too_large"),
        (client.as_(bob), bytes(10 * 1024 * 1024), 413, "body_too_large"),
    ]
    for caller, data, status, code in refused:
        answer = bring(caller, data)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert bring(client.as_(bob), photo(9, 9), work_id=2).json()["code"] == "not_your_work"


def test_a_card_loads_no_large_picture(client: Client, core: Core, bob: LocalAccount) -> None:
    with core.database.session() as session:
        session.execute(
            text(
                "INSERT INTO app.content (cid, sha256, size_bytes, media_type) VALUES ('c', :d, 2097153, 'image/png')"
            ),
            {"d": bytes(32)},
        )
    answer = client.as_(bob).put("/v1/works/1/packaging", json={"variants": [{"thumbnail_cid": "c"}]})
    assert (answer.status_code, answer.json()["code"]) == (422, "no_such_picture")
    assert "2097153 bytes" in answer.json()["detail"]


def test_what_no_variant_shows_goes_after_a_day_and_so_many_are_kept(
    client: Client, core: Core, clock: Clock, bob: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "AT_MOST", 2)
    owner = client.as_(bob)
    shown, idle = brought(owner, photo(30, 20)), brought(owner, photo(30, 20))
    body = {"variants": [{"thumbnail_cid": shown["thumbnail_cid"]}]}
    assert owner.put("/v1/works/1/packaging", json=body).status_code == 200
    assert bring(owner, photo(30, 20)).json()["code"] == "too_many_pictures"
    assert swept(core) == 0
    clock.forward(days=1, minutes=1)
    assert swept(core) == 1
    assert client.get(idle["url"]).json()["code"] == "content_not_found"
    assert client.get(shown["url"]).status_code == 200
    assert not open_store(core.settings).is_pinned(CID.parse(idle["thumbnail_cid"]))


@pytest.mark.feature("C3", via="http")
def test_V10_an_erasure_takes_the_pictures_that_nobody_else_shows(
    client: Client, core: Core, alice: LocalAccount, bob: LocalAccount, mirror: Mirror
) -> None:
    mirror.work(2, owner=alice, block=1)
    owner, other = client.as_(bob), client.as_(alice)
    both = photo(30, 20)
    mine, shared = brought(owner, photo(30, 20)), brought(owner, both)
    assert bring(other, both, work_id=2).json() == shared
    erase(client, owner)
    assert client.get(mine["url"]).json()["code"] == "content_not_found"
    assert client.get(shared["url"]).status_code == 200


@pytest.mark.feature("C3", via="http")
def test_V10_a_picture_goes_with_the_last_who_shows_it_whoever_brought_it(
    client: Client, core: Core, alice: LocalAccount, bob: LocalAccount, mirror: Mirror
) -> None:
    mirror.work(2, owner=alice, block=1)
    owner, other = client.as_(bob), client.as_(alice)
    made = brought(owner, photo(30, 20))
    body = {"variants": [{"thumbnail_cid": made["thumbnail_cid"]}]}
    assert other.put("/v1/works/2/packaging", json=body).status_code == 200
    erase(client, owner)
    assert client.get(made["url"]).status_code == 200
    assert other.put("/v1/works/2/packaging", json={"variants": []}).status_code == 200
    erase(client, other)
    assert client.get(made["url"]).json()["code"] == "content_not_found"


def test_a_picture_that_an_item_names_stays(client: Client, core: Core, clock: Clock, bob: LocalAccount) -> None:
    owner = client.as_(bob)
    made, kept = brought(owner, photo(30, 20)), brought(owner, photo(31, 20))
    item = {"name": "Poster", "max_supply": "5", "per_account_cap": 0, "rarity": 0, "soulbound": False}
    asked = owner.post("/v1/works/1/items-intent", json=item | {"image_cid": made["thumbnail_cid"]})
    assert asked.status_code == 200, asked.text
    clock.forward(days=2)
    assert swept(core) == 1
    assert client.get(made["url"]).status_code == 200
    assert client.get(kept["url"]).status_code == 404


def test_an_upload_counts_as_one_however_the_work_is_written(client: Client, core: Core, bob: LocalAccount) -> None:
    answer = client.as_(bob).post("/v1/works/+1/pictures", files={"file": ("cat.jpg", photo(9, 9), "image/jpeg")})
    assert answer.headers["RateLimit-Policy"].startswith('"upload"')
