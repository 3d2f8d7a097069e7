"""Drafts over HTTP (rows O1, P3, P5, K2): what is taken, what is refused and why, and how far a draft has come."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from httpx import Response

from backend.chain import decode_call
from backend.content.cid import CID
from backend.rewards.merkle import Node, leaf_split, process
from backend.settings import Settings
from backend.works.rules import Status
from backend.works.splits import Share, tree_file
from tests.backend.conftest import Client
from tests.backend.content.test_media import picture
from tests.backend.mirror import MirrorWriter, word
from tests.backend.works.uploads import STORY, said, upload

HASH = hashlib.sha256(STORY).digest()


def raw(person: LocalAccount) -> bytes:
    return bytes.fromhex(person.address[2:])


def refused(answer: Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert answer.headers["content-type"] == "application/problem+json"
    return body


def draft_of(answer: Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.feature("O1", via="http")
@pytest.mark.feature("K1", via="http")
def test_a_draft_keeps_the_file_and_says_what_it_is(client: Client, mirror: MirrorWriter, alice: LocalAccount) -> None:
    me = client.as_(alice)
    draft = draft_of(
        upload(me, title="  Act one ", tags=["stage"], language="en", description="A play.\r\nIn one act.")
    )
    assert draft["stage"] == "received"
    assert draft["work_id"] is None
    assert draft["title"] == "Act one"
    assert draft["content_hash"] == "0x" + HASH.hex()
    assert draft["media"]["cid"] == str(CID.raw(HASH))
    assert me.get(draft["media"]["url"]).content == STORY

    metadata = me.get(draft["metadata"]["url"])
    assert CID.parse(draft["metadata"]["cid"]).digest == hashlib.sha256(metadata.content).digest()
    assert metadata.headers["content-type"] == "text/plain; charset=utf-8"
    document = json.loads(metadata.content)
    assert document == {
        "format": "troupe-work/1",
        "name": "Act one",
        "description": "A play.\nIn one act.",
        "animation_url": f"ipfs://{draft['media']['cid']}",
        "kind": "story",
        "media": {
            "cid": draft["media"]["cid"],
            "sha256": draft["content_hash"],
            "bytes": len(STORY),
            "type": "text/plain; charset=utf-8",
        },
        "ai": {"label": "human", "tools": []},
        "licence_id": 0,
        "contributors": [{"account": alice.address, "weight": "1000000"}],
        "parents": [],
        "split": draft["split"]["cid"],
        "language": "en",
        "tags": ["stage"],
    }
    assert json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == metadata.content
    assert me.get(draft["split"]["url"]).content == tree_file([Share(alice.address, 1_000_000)])
    assert me.get(f"/v1/works/drafts/{draft['id']}").json() == draft
    assert [one["id"] for one in me.get("/v1/works/drafts").json()["items"]] == [draft["id"]]


@pytest.mark.feature("O1", via="http")
def test_the_intent_is_the_registration_of_that_draft(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount, settings: Settings
) -> None:
    manifest = json.loads(settings.deployment.read_text())
    registry = manifest["contracts"]["WorkRegistry"]["address"]
    licence = mirror.licence(min_share_bps=500)
    for _ in range(3):
        mirror.work(raw(bob), licence=licence)
    me = client.as_(alice)
    holders = [
        {"account": alice.address, "weight": 7},
        {"account": bob.address, "weight": 2},
        {"account": "0x" + "ab" * 20, "weight": 1},
    ]
    parents = [{"work_id": 3, "share_bps": 700}, {"work_id": 1, "share_bps": 500}]
    draft = draft_of(
        upload(
            me,
            contributors=holders,
            parents=parents,
            licence_id=licence,
            kind="song",
            ai_label="ai_assisted",
            ai_tools=["Loom"],
        )
    )
    answer = me.get(f"/v1/works/drafts/{draft['id']}/intent").json()
    intent = answer["register"]
    assert (intent["to"], intent["value"], intent["chainId"]) == (registry, "0", 31337)
    function, args = decode_call("WorkRegistry", bytes.fromhex(intent["data"][2:]))
    assert function.name == "register"
    owner, content_hash, digest, kind, label, licence_id, ids, shares, root, total, tree, leaf, consents, salt = args[
        "params"
    ]
    assert owner == alice.address.lower()
    assert content_hash == HASH
    assert digest == CID.parse(draft["metadata"]["cid"]).digest
    assert (kind, label, licence_id) == (2, 2, licence)
    assert (ids, shares) == ((1, 3), (500, 700))  # ascending, as the registry wants them
    assert total == 10
    assert tree == hashlib.sha256(me.get(draft["split"]["url"]).content).digest()
    account, weight, path, proof = leaf
    assert process([Node(*node) for node in proof], path, leaf_split(account, weight)) == Node(root, total)
    assert consents == ()
    _, commitment = decode_call("WorkRegistry", bytes.fromhex(answer["commit"]["data"][2:]))
    expected = keccak(
        encode(("uint256", "address", "address", "bytes32", "bytes32"), (31337, registry, alice.address, HASH, salt))
    )
    assert commitment["commitment"] == expected
    assert answer["as_of"]["block"] == mirror.height
    again = me.get(f"/v1/works/drafts/{draft['id']}/intent").json()
    assert again == answer  # the same draft, the same bytes


@pytest.mark.feature("O1", via="http")
def test_a_draft_goes_from_received_to_seen_to_final_and_back(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount
) -> None:
    me = client.as_(alice)
    draft = draft_of(upload(me))
    address = f"/v1/works/drafts/{draft['id']}"
    mirror.work(raw(alice), HASH, cid_digest=CID.parse(draft["metadata"]["cid"]).digest)
    assert (me.get(address).json()["stage"], me.get(address).json()["work_id"]) == ("seen", 1)
    body = refused(me.get(f"{address}/intent"), 409, "draft_registered")
    assert body["work_id"] == 1
    mirror.reorganise(1, "fork")
    assert (me.get(address).json()["stage"], me.get(address).json()["work_id"]) == ("received", None)
    mirror.works = 0
    mirror.work(raw(alice), HASH)
    mirror.finalise()
    assert me.get(address).json()["stage"] == "final"


def test_a_draft_of_content_that_another_registered_stays_received(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount
) -> None:
    me = client.as_(alice)
    draft = draft_of(upload(me))
    mirror.work(raw(bob), HASH)
    assert me.get(f"/v1/works/drafts/{draft['id']}").json()["stage"] == "received"
    body = refused(me.get(f"/v1/works/drafts/{draft['id']}/intent"), 409, "content_registered")
    assert body["work_id"] == 1


@pytest.mark.feature("P2", via="http")
def test_content_that_is_registered_is_refused_by_the_works_name(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount, settings: Settings
) -> None:
    mirror.work(raw(bob))
    work_id = mirror.work(raw(bob), HASH)
    body = refused(upload(client.as_(alice)), 409, "content_registered")
    assert body["work_id"] == work_id
    assert not list(settings.data_dir.glob("drafts/*/*"))  # nothing of it was kept
    mirror.status(work_id, Status.REVOKED)
    draft_of(upload(client.as_(alice)))  # a revoked work's content is free again


# --- whose they are ---------------------------------------------------------------------------------------------------


def test_drafts_are_for_people_who_are_signed_in(client: Client, mirror: MirrorWriter) -> None:
    refused(upload(client), 401, "sign_in_required")
    for path in ("", "/018f3a00-0000-7000-8000-000000000000", "/018f3a00-0000-7000-8000-000000000000/intent"):
        refused(client.get(f"/v1/works/drafts{path}"), 401, "sign_in_required")


def test_the_drafts_of_others_are_not_there(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount
) -> None:
    draft = draft_of(upload(client.as_(alice)))
    other = client.as_(bob)
    refused(other.get(f"/v1/works/drafts/{draft['id']}"), 404, "draft_not_found")
    refused(other.get(f"/v1/works/drafts/{draft['id']}/intent"), 404, "draft_not_found")
    assert other.get("/v1/works/drafts").json()["items"] == []
    mine = draft_of(upload(other))  # the same content may be drafted by both; the chain decides
    assert mine["id"] != draft["id"]
    assert mine["media"]["cid"] == draft["media"]["cid"]
    refused(other.get(draft["media"]["url"]), 404, "draft_not_found")
    refused(client.get(draft["media"]["url"]), 401, "sign_in_required")
    refused(client.get(f"/v1/content/{draft['media']['cid']}"), 404, "content_not_found")


def test_pages_of_drafts_have_each_once(client: Client, mirror: MirrorWriter, alice: LocalAccount) -> None:
    me = client.as_(alice)
    made = [draft_of(upload(me, b"scene %d" % n))["id"] for n in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        body = me.get("/v1/works/drafts", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [one["id"] for one in body["items"]]
        cursor = body["next"]
        if cursor is None:
            break
    assert seen == made[::-1]
    refused(me.get("/v1/works/drafts", params={"cursor": "bm9uc2Vuc2U"}), 422, "cursor_invalid")


# --- what the registry would refuse (P3) ------------------------------------------------------------------------------


@pytest.mark.feature("P3", via="http")
@pytest.mark.parametrize(
    ("terms", "own", "share", "code"),
    [
        (None, None, 500, "licence_forbids_derivatives"),
        ({"derivatives": False}, None, 500, "licence_forbids_derivatives"),
        ({"derivatives": False, "fan_fiction": True}, {"fan_fiction": True}, 500, "licence_forbids_derivatives"),
        ({"expires": 1_700_000_001}, None, 500, "licence_expired"),
        ({"share_alike": True}, {}, 500, "licence_share_alike"),
        ({"commercial": False}, {"commercial": True}, 500, "licence_not_commercial"),
        ({}, {"ai_training": True}, 500, "licence_no_training"),
        ({"approval_required": True}, None, 500, "approval_missing"),
        ({"min_share_bps": 501}, None, 500, "share_too_low"),
        ({"min_share_bps": 501}, None, 0, "share_too_low"),
    ],
)
def test_a_derivation_that_its_parents_terms_forbid_is_refused_by_name(
    terms: dict[str, Any] | None,
    own: dict[str, Any] | None,
    share: int,
    code: str,
    *,
    client: Client,
    mirror: MirrorWriter,
    alice: LocalAccount,
    bob: LocalAccount,
    settings: Settings,
) -> None:
    parent_licence = 0 if terms is None else mirror.licence(**terms)
    own_licence = 0 if own is None else mirror.licence(**own)
    mirror.work(raw(bob), licence=parent_licence)
    answer = upload(client.as_(alice), parents=[{"work_id": 1, "share_bps": share}], licence_id=own_licence)
    body = refused(answer, 422, code)
    assert [error["code"] for error in body["errors"]] == [code]
    assert "Work 1" in body["detail"]
    assert not list(settings.data_dir.glob("drafts/*/*"))


@pytest.mark.feature("P3", via="http")
def test_what_the_terms_allow_is_taken(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount
) -> None:
    me = client.as_(alice)
    fan = mirror.licence(derivatives=False, fan_fiction=True, commercial=False)
    alike = mirror.licence(share_alike=True)
    asked = mirror.licence(approval_required=True, expires=mirror.time + 10_000)
    for licence in (fan, alike, asked):
        mirror.work(raw(bob), licence=licence)
    draft_of(upload(me, b"a", parents=[{"work_id": 1, "share_bps": 0}], licence_id=fan))
    draft_of(upload(me, b"b", parents=[{"work_id": 2, "share_bps": 0}], licence_id=alike))
    refused(upload(me, b"c", parents=[{"work_id": 3, "share_bps": 0}]), 422, "approval_missing")
    mirror.approve(3, raw(alice), hashlib.sha256(b"c").digest())
    draft_of(upload(me, b"c", parents=[{"work_id": 3, "share_bps": 0}]))
    refused(upload(me, b"d", parents=[{"work_id": 3, "share_bps": 0}]), 422, "approval_missing")
    refused(upload(client.as_(bob), b"c", parents=[{"work_id": 3, "share_bps": 0}]), 422, "approval_missing")


def test_every_reason_is_named_at_once(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount
) -> None:
    strict = mirror.licence(derivatives=False, approval_required=True, min_share_bps=1000)
    mirror.work(raw(bob), licence=strict)
    mirror.work(raw(bob))
    mirror.status(1, Status.SUSPENDED)
    parents = [{"work_id": 1, "share_bps": 1}, {"work_id": 2, "share_bps": 8000}]
    body = refused(upload(client.as_(alice), parents=parents), 422, "work_parent_not_active")
    assert [error["code"] for error in body["errors"]] == [
        "work_parent_not_active",
        "licence_forbids_derivatives",
        "approval_missing",
        "share_too_low",
        "licence_forbids_derivatives",
        "work_upstream_too_high",
    ]


@pytest.mark.feature("P3", via="http")
def test_inherited_royalties_count_and_revoked_ancestors_do_not(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount
) -> None:
    me = client.as_(alice)
    free = mirror.licence()
    mirror.work(raw(bob), licence=free)
    mirror.work(raw(bob), licence=free, parents={1: 5000}, edges=[(1, 5000, False)])
    body = refused(upload(me, parents=[{"work_id": 2, "share_bps": 3001}]), 422, "work_upstream_too_high")
    assert "8001" in body["detail"]
    assert "1 (5000)" in body["detail"]  # the ancestor that fills the bound is named
    draft_of(upload(me, parents=[{"work_id": 2, "share_bps": 3000}]))
    mirror.status(1, Status.REVOKED)
    draft_of(upload(me, parents=[{"work_id": 2, "share_bps": 8000}]))

    for _ in range(16):
        mirror.work(raw(bob), licence=free)
    crowded = mirror.work(raw(bob), licence=free, edges=[(number, 10, False) for number in range(3, 19)])
    body = refused(upload(me, parents=[{"work_id": crowded, "share_bps": 1}]), 422, "work_too_many_edges")
    assert "17" in body["detail"]
    draft_of(upload(me, parents=[{"work_id": crowded, "share_bps": 0}]))


def test_what_changed_since_the_draft_is_found_at_the_intent(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount
) -> None:
    me = client.as_(alice)
    licence = mirror.licence(expires=mirror.time + 35)
    mirror.work(raw(bob), licence=licence)
    draft = draft_of(upload(me, parents=[{"work_id": 1, "share_bps": 5}]))
    address = f"/v1/works/drafts/{draft['id']}/intent"
    assert me.get(address).status_code == 200
    mirror.block()
    mirror.block()  # the chain's clock reaches the licence's end
    refused(me.get(address), 422, "licence_expired")
    mirror.status(1, Status.DISPUTED)
    body = refused(me.get(address), 422, "work_parent_not_active")
    assert [error["code"] for error in body["errors"]] == ["work_parent_not_active", "licence_expired"]


def test_parents_and_licences_must_exist(client: Client, mirror: MirrorWriter, alice: LocalAccount) -> None:
    me = client.as_(alice)
    mirror.block()
    refused(upload(me, parents=[{"work_id": 9, "share_bps": 100}]), 422, "parent_unknown")
    refused(upload(me, licence_id=9), 422, "licence_unknown")


# --- what does not fit ------------------------------------------------------------------------------------------------

BAD_METADATA: dict[str, tuple[dict[str, Any], str]] = {
    "no title": ({"title": None}, "metadata.title"),
    "empty title": ({"title": ""}, "metadata.title"),
    "blank title": ({"title": "   "}, "metadata.title"),
    "long title": ({"title": "x" * 201}, "metadata.title"),
    "title with a line break": ({"title": "a\nb"}, "metadata.title"),
    "title that turns its direction": ({"title": "a\u202egnp.exe"}, "metadata.title"),
    "title as a number": ({"title": 5}, "metadata.title"),
    "description with an escape": ({"description": "\x1b[2J"}, "metadata.description"),
    "long description": ({"description": "x" * 10_001}, "metadata.description"),
    "unknown kind": ({"kind": "opera"}, "metadata.kind"),
    "no kind": ({"kind": None}, "metadata.kind"),
    "unknown label": ({"ai_label": "robot"}, "metadata.ai_label"),
    "no label": ({"ai_label": None}, "metadata.ai_label"),
    "label without tools": ({"ai_label": "ai_generated"}, "metadata"),
    "tools without label": ({"ai_tools": ["Loom"]}, "metadata"),
    "unknown field": ({"colour": "red"}, "metadata.colour"),
    "licence as text": ({"licence_id": "1"}, "metadata.licence_id"),
    "negative licence": ({"licence_id": -1}, "metadata.licence_id"),
    "huge licence": ({"licence_id": 2**32}, "metadata.licence_id"),
    "parent 0": ({"parents": [{"work_id": 0, "share_bps": 1}]}, "metadata.parents.0.work_id"),
    "parent beyond the id's size": ({"parents": [{"work_id": 2**63, "share_bps": 1}]}, "metadata.parents.0.work_id"),
    "share above the bound": ({"parents": [{"work_id": 1, "share_bps": 8001}]}, "metadata.parents.0.share_bps"),
    "share as a fraction": ({"parents": [{"work_id": 1, "share_bps": 0.5}]}, "metadata.parents.0.share_bps"),
    "parent twice": ({"parents": [{"work_id": 1, "share_bps": 1}] * 2}, "metadata"),
    "nine parents": ({"parents": [{"work_id": n, "share_bps": 1} for n in range(1, 10)]}, "metadata.parents"),
    "contributor without weight": (
        {"contributors": [{"account": "0x" + "ab" * 20, "weight": 0}]},
        "metadata.contributors.0.weight",
    ),
    "contributor with a wrong checksum": (
        {"contributors": [{"account": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", "weight": 1}]},
        "metadata.contributors.0.account",
    ),
    "contributor twice": ({"contributors": [{"account": "0x" + "ab" * 20, "weight": 1}] * 2}, "metadata"),
    "too many contributors": (
        {"contributors": [{"account": f"0x{n:040x}", "weight": 1} for n in range(1, 1002)]},
        "metadata.contributors",
    ),
    "language in words": ({"language": "English please"}, "metadata.language"),
    "tag twice": ({"tags": ["a", "a"]}, "metadata"),
    "long tag": ({"tags": ["x" * 41]}, "metadata.tags.0"),
}


@pytest.mark.feature("P5", via="http")
def test_metadata_that_does_not_fit_is_refused_by_field(
    client: Client, mirror: MirrorWriter, alice: LocalAccount
) -> None:
    me = client.as_(alice)
    for name, (changes, location) in BAD_METADATA.items():
        body = refused(upload(me, **changes), 422, "invalid")
        assert body["errors"][0]["location"] == location, (name, body)
    assert me.get("/v1/works/drafts").json()["items"] == []


def test_forms_that_are_none(client: Client, mirror: MirrorWriter, alice: LocalAccount) -> None:
    me = client.as_(alice)
    file = {"file": ("a.txt", STORY, "text/plain")}
    good = {"metadata": json.dumps(said())}
    send = me.post
    url = "/v1/works/drafts"
    refused(send(url, json=said()), 415, "unsupported_media_type")
    refused(
        send(url, content=b"metadata={}", headers={"content-type": "application/x-www-form-urlencoded"}),
        415,
        "unsupported_media_type",
    )
    refused(send(url, content=b"x", headers={"content-type": "multipart/form-data"}), 400, "malformed")
    refused(send(url, content=b"x", headers={"content-type": "multipart/form-data; boundary=q"}), 400, "malformed")
    refused(send(url, files=file), 422, "form_parts")
    refused(send(url, files={"other": ("a", b"x")}, data=good), 422, "form_parts")
    refused(send(url, files={"metadata": ("a", b"{}")}, data={"file": "x"}), 422, "form_parts")
    refused(send(url, files=[("file", ("a", b"x")), ("file", ("b", b"y"))], data=good), 422, "form_parts")
    refused(send(url, files=file, data=good | {"colour": "red", "size": "xl"}), 400, "malformed")
    refused(send(url, files=file, data={"metadata": "{"}), 400, "malformed_json")
    refused(send(url, files=file, data={"metadata": "[" * 40 + "]" * 40}), 400, "json_too_deep")
    refused(send(url, files=file, data={"metadata": '{"title": "\\u0000"}'}), 400, "unstorable_text")
    refused(send(url, files=file, data={"metadata": '{"title": "\\ud800"}'}), 400, "unstorable_text")
    refused(send(url, files=file, data={"metadata": "[]"}), 422, "invalid")
    refused(send(url, files=file, data={"metadata": "x" * 300_000}), 400, "malformed")
    assert draft_of(send(url, files=file | {"metadata": ("blob", json.dumps(said()).encode(), "application/json")}))
    refused(send(url, files=file | {"metadata": ("blob", b" " * 300_000, "application/json")}), 413, "body_too_large")


@pytest.mark.feature("K2", via="http")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html><script>alert(1)</script></html>",
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        b"PK\x03\x04" + bytes(40),
        b"\x7fELF" + bytes(40),
        b"GIF89a/**/=1;alert(1)",
        picture("PNG")[:20],
    ],
)
def test_files_that_are_no_media_are_refused_whatever_they_are_called(
    content: bytes, client: Client, mirror: MirrorWriter, alice: LocalAccount, settings: Settings
) -> None:
    answer = upload(client.as_(alice), content, filename="holiday.png", mime="image/png")
    refused(answer, 415, "media_type_refused")
    assert not list(settings.data_dir.glob("drafts/*/*"))


@pytest.mark.feature("K2", via="http")
@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a\\..\\b", "..", "con.txt", "x" * 500, "a.svg", "\u202egnp.exe"]
)
def test_a_files_name_is_used_for_nothing(
    name: str, client: Client, mirror: MirrorWriter, alice: LocalAccount, settings: Settings
) -> None:
    me = client.as_(alice)
    draft = draft_of(upload(me, filename=name, mime="text/html"))
    assert draft["media"]["media_type"] == "text/plain; charset=utf-8"
    names = {path.name for path in settings.data_dir.rglob("*") if path.is_file()}
    assert names == {f"{draft['id']}.{part}.sealed" for part in ("media", "metadata", "split")}
    assert name not in me.get(draft["metadata"]["url"]).text


def test_a_picture_is_shown_as_one_by_wallets(client: Client, mirror: MirrorWriter, alice: LocalAccount) -> None:
    me = client.as_(alice)
    draft = draft_of(upload(me, picture("PNG"), kind="image"))
    document = me.get(draft["metadata"]["url"]).json()
    assert document["image"] == f"ipfs://{draft['media']['cid']}"
    assert "animation_url" not in document


def test_without_a_mirror_it_says_so(client: Client, alice: LocalAccount) -> None:
    answer = upload(client.as_(alice))
    refused(answer, 503, "mirror_empty")
    assert answer.headers["retry-after"]


def test_no_two_drafts_have_one_salt(client: Client, mirror: MirrorWriter, alice: LocalAccount) -> None:
    me = client.as_(alice)
    salts = set()
    for _ in range(3):
        draft = draft_of(upload(me))
        data = me.get(f"/v1/works/drafts/{draft['id']}/intent").json()["register"]["data"]
        salts.add(decode_call("WorkRegistry", bytes.fromhex(data[2:]))[1]["params"][-1])
    assert len(salts) == 3
    assert word("x") not in salts
