"""Registered works over HTTP (rows O1, P1, P3, P5): what the chain says, and what their files add."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from backend.chain import decode_call
from backend.content import service as content
from backend.content.cid import CID
from backend.content.media import TEXT
from backend.db import Database
from backend.rewards.merkle import Node, leaf_split, process
from backend.settings import Settings
from backend.works.splits import Share, tree_file, tree_of
from tests.backend.conftest import Client, follow
from tests.backend.mirror import BLOCK_S, GENESIS_TIME, MirrorWriter, word
from tests.backend.works.uploads import STORY, upload


def raw(person: LocalAccount) -> bytes:
    return bytes.fromhex(person.address[2:])


def keep(settings: Settings, data: bytes) -> bytes:
    """Keep a file; returns its sha256."""
    database = Database(settings.database_url.get_secret_value())
    with database.session() as session:
        content.keep(session, content.open_store(settings), [data], TEXT)
    database.dispose()
    return hashlib.sha256(data).digest()


@pytest.mark.feature("O1", via="http")
@pytest.mark.feature("P5", via="http")
def test_a_registered_work_is_shown_with_what_its_file_says(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount
) -> None:
    licence = mirror.licence()
    parent = mirror.work(raw(bob), licence=licence)
    draft = upload(
        client.as_(alice),
        ai_label="ai_assisted",
        ai_tools=["Loom"],
        tags=["stage"],
        parents=[{"work_id": parent, "share_bps": 300}],
    ).json()
    digest = CID.parse(draft["metadata"]["cid"]).digest
    work_id = mirror.work(
        raw(alice), hashlib.sha256(STORY).digest(), cid_digest=digest, parents={parent: 300}, licence=licence
    )
    follow(client)
    body = client.get(f"/v1/works/{work_id}").json()
    assert body == {
        "work_id": 2,
        "title": "Act one",
        "description": None,
        "kind": "story",
        "owner": alice.address,
        "creator": alice.address,
        "ai_label": "human",  # what the chain says; the draft's own label was not what was registered
        "ai_tools": ["Loom"],
        "licence_id": licence,
        "status": "active",
        "content_hash": draft["content_hash"],
        "metadata_cid": draft["metadata"]["cid"],
        "media": draft["media"] | {"url": f"/v1/content/{draft['media']['cid']}"},
        "duration_ms": None,
        "language": None,
        "tags": ["stage"],
        "parents": [{"work_id": parent, "share_bps": 300, "absolute": True, "licence_id": 1}],
        "stage": "seen",
        "registered_at": "2023-11-14T22:13:50Z",
        "block": mirror.height,
        "tx_hash": "0x" + word(f"tx {mirror.height} 0").hex(),
        "as_of": {"block": mirror.height, "hash": "0x" + mirror.hash_of(mirror.height).hex(), "stage": "seen"},
    }
    mirror.transfer(work_id, raw(alice), raw(bob))
    mirror.finalise()
    sold = client.get(f"/v1/works/{work_id}").json()
    assert (sold["owner"], sold["creator"], sold["stage"]) == (bob.address, alice.address, "final")
    assert [one["work_id"] for one in client.get("/v1/works", params={"owner": bob.address}).json()["items"]] == [2, 1]
    assert [one["work_id"] for one in client.get("/v1/works", params={"creator": alice.address}).json()["items"]] == [2]


STRANGE_FILES: Sequence[bytes] = [
    b"not json",
    b"[1, 2]",
    b'{"name": 5, "media": "x", "ai": [], "tags": {}}',
    b'{"name": "\\u0000\\u202e", "media": {"cid": "../../etc/passwd", "type": 7}, "tags": ["\\u0007", 5]}',
    b"[" * 100_000,
    b'{"name": ""}',
]


@pytest.mark.parametrize("data", STRANGE_FILES)
def test_a_strangers_metadata_can_say_nothing_that_breaks_the_page(
    data: bytes, client: Client, mirror: MirrorWriter, alice: LocalAccount, settings: Settings
) -> None:
    mirror.work(raw(alice), cid_digest=keep(settings, data), kind=200)
    assert follow(client).read == 1
    body = client.get("/v1/works/1").json()
    assert (body["title"], body["media"], body["tags"], body["kind"]) == (None, None, [], "kind-200")


def test_any_erc_721_metadata_has_a_title(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, settings: Settings
) -> None:
    mirror.work(raw(alice), cid_digest=keep(settings, b'{"name": " Elsewhere ", "description": "made elsewhere"}'))
    follow(client)
    assert client.get("/v1/works/1").json()["title"] == "Elsewhere"


def test_metadata_that_is_damaged_or_absent_is_not_shown(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, settings: Settings
) -> None:
    mirror.work(raw(alice), cid_digest=keep(settings, b'{"name": "True"}'))
    mirror.work(raw(alice))
    lie = keep(settings, b'{"name": "Honest"}')
    (settings.data_dir / "content" / "blocks" / lie.hex()[:2] / lie.hex()).write_bytes(b'{"name": "Lie!"}')
    mirror.work(raw(alice), cid_digest=lie)
    follow(client)
    assert [one["title"] for one in client.get("/v1/works").json()["items"]] == [None, None, "True"]


def test_unknown_works_are_not_found(client: Client, mirror: MirrorWriter) -> None:
    mirror.block()
    for path in ("9", "0", "9/provenance", "9/split"):
        answer = client.get(f"/v1/works/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "work_not_found")
    for path in ("-1", "x", str(2**63), "1e3"):
        assert client.get(f"/v1/works/{path}").status_code == 422


def test_pages_of_works_have_each_once_and_a_reorganisation_voids_them(
    client: Client, mirror: MirrorWriter, alice: LocalAccount
) -> None:
    for _ in range(5):
        mirror.work(raw(alice))
    first = client.get("/v1/works", params={"limit": 2}).json()
    second = client.get("/v1/works", params={"limit": 2, "cursor": first["next"]}).json()
    third = client.get("/v1/works", params={"limit": 2, "cursor": second["next"]}).json()
    assert [one["work_id"] for page in (first, second, third) for one in page["items"]] == [5, 4, 3, 2, 1]
    assert third["next"] is None
    mirror.reorganise(1, "fork")
    mirror.work(raw(alice))
    assert client.get("/v1/works", params={"cursor": second["next"]}).status_code == 200  # below what changed
    mirror.reorganise(2, "fork")
    answer = client.get("/v1/works", params={"cursor": first["next"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "cursor_void")
    for wrong in ("x", "WyJkcmFmdHMiLDFd", "A" * 501):
        assert client.get("/v1/works", params={"cursor": wrong}).status_code == 422
    for query in ({"kind": "opera"}, {"owner": "0x12"}, {"limit": 0}, {"limit": 101}):
        assert client.get("/v1/works", params=query).status_code == 422


# --- provenance (P1) --------------------------------------------------------------------------------------------------


@pytest.mark.feature("P1", via="http")
def test_provenance_walks_to_all_ancestors_and_descendants(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount
) -> None:
    #   1   2        3 (unrelated)
    #    \ / \
    #     4   5      5 also derives from 4: a diamond over 2
    #     |  /
    #     5      6 <- 5, 7 <- 6
    licence = mirror.licence()
    for parents in ({}, {}, {}, {1: 100, 2: 200}, {2: 300, 4: 400}, {5: 500}, {6: 600}):
        mirror.work(raw(alice if len(parents) < 2 else bob), licence=licence, parents=parents)
    body = client.get("/v1/works/4/provenance").json()
    assert [(node["work_id"], node["relation"]) for node in body["nodes"]] == [
        (1, "ancestor"),
        (2, "ancestor"),
        (4, "self"),
        (5, "descendant"),
        (6, "descendant"),
        (7, "descendant"),
    ]
    assert [(edge["work_id"], edge["parent_id"], edge["share_bps"]) for edge in body["edges"]] == [
        (4, 1, 100),
        (4, 2, 200),
        (5, 2, 300),
        (5, 4, 400),
        (6, 5, 500),
        (7, 6, 600),
    ]
    node = body["nodes"][2]
    assert node["creator"] == bob.address
    assert node["content_hash"] == "0x" + word("content 4").hex()
    assert node["licence_id"] == licence
    assert node["registered_at"] == "2023-11-14T22:14:10Z"
    assert node["block"] == 5
    assert (GENESIS_TIME + 5 * BLOCK_S) % 60 == 10
    assert body["truncated"] is False
    lonely = client.get("/v1/works/3/provenance").json()
    assert ([node["work_id"] for node in lonely["nodes"]], lonely["edges"]) == ([3], [])
    lowest = client.get("/v1/works/7/provenance").json()
    assert [node["work_id"] for node in lowest["nodes"] if node["relation"] == "ancestor"] == [1, 2, 4, 5, 6]


@pytest.mark.feature("P1", via="http")
@given(st.lists(st.sets(st.integers(1, 12), max_size=3), max_size=12), st.integers(1, 12))
@examples(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_provenance_equals_a_walk_of_the_graph(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, family: list[set[int]], start: int
) -> None:
    mirror.reorganise(mirror.height, mirror.fork)
    mirror.works = 0
    parents = {child: {p for p in wanted if p < child} for child, wanted in enumerate(family, 1)}
    for wanted in parents.values():
        mirror.work(raw(alice), parents=dict.fromkeys(wanted, 10))
    if start not in parents:
        assert client.get(f"/v1/works/{start}/provenance").status_code == 404
        return

    def reach(work_id: int, step: dict[int, set[int]]) -> set[int]:
        return set().union(*({n} | reach(n, step) for n in step.get(work_id, ())))

    children: dict[int, set[int]] = {}
    for child, wanted in parents.items():
        for parent in wanted:
            children.setdefault(parent, set()).add(child)
    body = client.get(f"/v1/works/{start}/provenance").json()
    related = {node["work_id"]: node["relation"] for node in body["nodes"]}
    up, down = reach(start, parents), reach(start, children)
    assert related == {start: "self"} | dict.fromkeys(up, "ancestor") | dict.fromkeys(down, "descendant")
    shown = up | down | {start}
    edges = {(child, parent) for child in shown for parent in parents[child] & shown}
    assert {(edge["work_id"], edge["parent_id"]) for edge in body["edges"]} == edges


# --- splits -----------------------------------------------------------------------------------------------------------


def assert_proves(split: dict[str, Any]) -> None:
    root = Node(bytes.fromhex(split["root"][2:]), int(split["total_weight"]))
    for leaf in split["leaves"]:
        if leaf["account"] is not None:
            proof = [Node(bytes.fromhex(node["hash"][2:]), int(node["sum"])) for node in leaf["proof"]]
            assert process(proof, int(leaf["path"]), leaf_split(leaf["account"], int(leaf["weight"]))) == root
            assert int(leaf["position"]) == 1 << len(proof) | int(leaf["path"])


def test_a_split_shows_who_holds_what_with_proofs(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount, settings: Settings
) -> None:
    shares = [Share(alice.address, 5), Share(bob.address, 3), Share(alice.address, 2)]
    tree = tree_of(shares)
    mirror.work(raw(alice), split=(tree.root, tree.total, keep(settings, tree_file(shares))))
    body = client.get("/v1/works/1/split").json()
    assert [(leaf["account"], leaf["weight"]) for leaf in body["live"]["leaves"]] == [
        (s.account, str(s.weight)) for s in shares
    ]
    assert (body["live"]["version"], body["live"]["total_weight"], body["pending"]) == (1, "10", None)
    assert_proves(body["live"])
    page = client.get("/v1/works/1/split", params={"limit": 2}).json()["live"]
    rest = client.get("/v1/works/1/split", params={"limit": 2, "cursor": page["next"]}).json()["live"]
    assert page["leaves"] + rest["leaves"] == body["live"]["leaves"]
    assert rest["next"] is None
    mine = client.get("/v1/works/1/split", params={"account": bob.address.lower()}).json()["live"]["leaves"]
    assert [leaf["weight"] for leaf in mine] == ["3"]


def test_a_moved_share_is_pending_and_then_live(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount, settings: Settings
) -> None:
    first = leaf_split(alice.address, 1_000_000)
    mirror.work(raw(alice), split=(first.hash, first.sum, word("never published")))  # the only holder is known anyway
    given = [Share(alice.address, 600_000), Share(bob.address, 400_000)]
    node, digest = tree_of(given).root_node, keep(settings, tree_file(given))
    moved = {
        "work_id": 1,
        "account": raw(alice),
        "weight": 1_000_000,
        "position": 1,
        "new_hash": node.hash,
        "pending_root": node.hash,
        "tree_digest": digest,
        "proof": [],
    }
    mirror.block(("RevenueLedger", "ShareReassigned", moved))
    page = client.get("/v1/works/1/split", params={"limit": 1}).json()
    assert [leaf["account"] for leaf in page["live"]["leaves"]] == [alice.address]
    assert (page["pending"]["version"], page["pending"]["next"]) == (None, page["pending"]["next"])
    body = client.get("/v1/works/1/split").json()
    assert [leaf["weight"] for leaf in body["pending"]["leaves"]] == ["600000", "400000"]
    assert_proves(body["pending"])
    activated = {"work_id": 1, "version": 2, "root": node.hash, "total_weight": node.sum, "tree_digest": digest}
    mirror.block(("RevenueLedger", "SplitActivated", activated))
    body = client.get("/v1/works/1/split").json()
    assert (body["live"]["version"], body["pending"]) == (2, None)
    assert [leaf["account"] for leaf in body["live"]["leaves"]] == [alice.address, bob.address]
    assert_proves(body["live"])
    answer = client.get("/v1/works/1/split", params={"cursor": page["pending"]["next"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "cursor_void")


def test_a_split_whose_file_is_nowhere_is_said_to_be_unknown(
    client: Client, mirror: MirrorWriter, alice: LocalAccount
) -> None:
    mirror.work(raw(alice))
    live = client.get("/v1/works/1/split").json()["live"]
    assert (live["leaves"], live["root"]) == (None, "0x" + word("root 1").hex())


# --- licences (P3) ----------------------------------------------------------------------------------------------------


@pytest.mark.feature("P3", via="http")
def test_a_licence_is_made_from_a_template_and_its_terms_are_kept(
    client: Client, mirror: MirrorWriter, alice: LocalAccount
) -> None:
    me = client.as_(alice)
    templates = {one["name"]: one for one in client.get("/v1/licences/templates").json()}
    assert set(templates) == {"closed", "fan-fiction", "remix", "on-approval", "share-alike"}
    for template in templates.values():
        answer = me.post("/v1/licences/intent", json=template["terms"])
        assert answer.status_code == 200, answer.text
    wanted = templates["remix"]["terms"] | {"territory": ["FR", "DE"], "expires": 1_900_000_000}
    made = me.post("/v1/licences/intent", json=wanted).json()
    function, args = decode_call("WorkRegistry", bytes.fromhex(made["intent"]["data"][2:]))
    assert function.name == "createLicence"
    assert args["terms"] == (
        1000, True, True, False, False, True, False, False, False, 1_900_000_000, bytes.fromhex(made["terms_hash"][2:])
    )  # fmt: skip
    document = client.get(made["terms_url"])
    assert hashlib.sha256(document.content).hexdigest() == made["terms_hash"][2:]
    assert document.json()["territory"] == ["DE", "FR"]
    assert document.json()["terms"]["min_share_bps"] == 1000

    licence = mirror.licence(min_share_bps=1000, terms_hash=bytes.fromhex(made["terms_hash"][2:]))
    other = mirror.licence()
    shown = client.get(f"/v1/licences/{licence}").json()
    assert (shown["min_share_bps"], shown["terms_url"]) == (1000, made["terms_url"])
    listed = client.get("/v1/licences", params={"limit": 1}).json()
    assert [one["licence_id"] for one in listed["items"]] == [licence]
    rest = client.get("/v1/licences", params={"limit": 1, "cursor": listed["next"]}).json()
    assert [(one["licence_id"], one["terms_url"]) for one in rest["items"]] == [(other, None)]
    assert client.get("/v1/licences/9").json()["code"] == "licence_not_found"


@pytest.mark.parametrize(
    "change",
    [
        {"title": ""},
        {"min_share_bps": 8001},
        {"min_share_bps": "10"},
        {"commercial": 1},
        {"expires": 2**48},
        {"territory": ["Germany"]},
        {"text": "\u0007"},
        {"royalty": 5},
    ],
)
def test_terms_that_do_not_fit_are_refused(
    change: dict[str, Any], client: Client, mirror: MirrorWriter, alice: LocalAccount
) -> None:
    answer = client.as_(alice).post("/v1/licences/intent", json={"title": "Mine"} | change)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert client.post("/v1/licences/intent", json={"title": "Mine"}).status_code == 401


def test_only_the_owner_approves_a_derivation(
    client: Client, mirror: MirrorWriter, alice: LocalAccount, bob: LocalAccount
) -> None:
    mirror.work(raw(alice))
    wanted = {"deriver": bob.address, "content_hash": "0x" + word("file").hex()}
    intent = client.as_(alice).post("/v1/works/1/approval-intent", json=wanted).json()["intent"]
    function, args = decode_call("WorkRegistry", bytes.fromhex(intent["data"][2:]))
    assert function.name == "approveDerivative"
    assert tuple(args.values()) == (1, bob.address.lower(), word("file"))
    answer = client.as_(bob).post("/v1/works/1/approval-intent", json=wanted)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_the_owner")
    assert client.post("/v1/works/1/approval-intent", json=wanted).status_code == 401
