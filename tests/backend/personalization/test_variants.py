"""Variants over HTTP: offered by owners, tried, learned from what came of it, and retired with a reason."""

from __future__ import annotations

import hashlib
import uuid
from datetime import timedelta
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from backend.consent.gate import entered
from backend.deps import Core
from backend.models.content import Content
from backend.models.packaging import ORIGINAL, PackagingArm
from backend.personalization.packaging import variants
from backend.personalization.packaging.variants import WINDOW
from tests.backend.accounts.test_bringing_along import sign_in
from tests.backend.accounts.test_visitors import visit
from tests.backend.conftest import Client, Clock, allow
from tests.factories import Mirror

PICTURE = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
FILM = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
TWO = {
    "variants": [{"title": "The loud one"}, {"title": "The calm one", "preview": "A calm evening.", "spoiler": False}]
}


@pytest.fixture
def mirror(mirror: Mirror, bob: LocalAccount) -> Mirror:
    """Ten works of bob's."""
    mirror.block(1)
    for work_id in range(1, 11):
        mirror.work(work_id, owner=bob, block=1)
    return mirror


@pytest.fixture
def core(client: Client, mirror: Mirror) -> Core:
    made: Core = client.app.state.core
    with made.database.session() as session:
        for cid, kind in ((PICTURE, "image/png"), (FILM, "video/mp4")):
            digest = hashlib.sha256(cid.encode()).digest()
            session.add(Content(cid=cid, sha256=digest, size_bytes=1, media_type=kind))
    return made


@pytest.fixture
def owner(client: Client, core: Core, bob: LocalAccount) -> Client:
    return client.as_(bob)


@pytest.fixture
def watcher(client: Client, core: Core, alice: LocalAccount) -> Client:
    signed_in = client.as_(alice)
    allow(signed_in, "behaviour", "content_taste")
    return signed_in


def offer(owner: Client, body: Any = TWO, work_id: int = 1) -> dict[str, Any]:
    answer = owner.put(f"/v1/works/{work_id}/packaging", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.feature("X4", via="http")
class TestOffered:
    def test_what_is_offered_is_there_in_order_and_can_be_replaced(self, owner: Client) -> None:
        made = offer(owner, {"variants": [{"title": "  Two  "}, {"title": "One", "thumbnail_cid": PICTURE}]})
        assert [(v["title"], v["thumbnail_cid"], v["state"]) for v in made["variants"]] == [
            ("Two", None, "tried"),
            ("One", PICTURE, "tried"),
        ]
        assert owner.get("/v1/works/1/packaging").json() == made
        again = offer(owner, {"variants": [{"title": "Two"}]})
        assert [v["variant"] for v in again["variants"]] == [made["variants"][0]["variant"]]
        assert offer(owner, {"variants": []})["variants"] == []

    def test_v15_of_anothers_work_nothing_can_be_said_or_read(
        self, client: Client, core: Core, alice: LocalAccount
    ) -> None:
        other = client.as_(alice)
        for answer in (
            other.put("/v1/works/1/packaging", json=TWO),
            other.get("/v1/works/1/packaging"),
            other.put("/v1/works/999/packaging", json=TWO),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "not_your_work")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"title": "x\u202etxt"},
            {"title": "two\nlines"},
            {"title": "   "},
            {"title": "x" * 201},
            {"preview": "x" * 501},
            {"preview": "a\x00b"},
            {"spoiler": True},
            {"thumbnail_cid": "nothing-here"},
            {"thumbnail_cid": FILM},
            {"title": "x", "html": "<b>"},
        ],
    )
    def test_v15_what_cannot_be_shown_is_refused_and_nothing_is_kept(self, owner: Client, wrong: Any) -> None:
        assert owner.put("/v1/works/1/packaging", json={"variants": [{"title": "Good"}, wrong]}).status_code in (
            400,
            422,
        )
        assert owner.get("/v1/works/1/packaging").json()["variants"] == []

    def test_v15_no_more_than_seven_and_none_twice(self, owner: Client) -> None:
        many = {"variants": [{"title": f"T{n}"} for n in range(8)]}
        assert owner.put("/v1/works/1/packaging", json=many).status_code == 422
        twice = {"variants": [{"title": "T"}, {"title": " T "}]}
        assert owner.put("/v1/works/1/packaging", json=twice).json()["code"] == "variant_twice"


def watched(session: Session) -> dict[uuid.UUID, bool]:
    rows = session.execute(text(variants.OFFERED)).mappings().all()
    return {one.variant: one.watched for one in variants.choices_of(rows)[1]}


def titles(*names: int) -> dict[str, Any]:
    return {"variants": [{"title": f"Title {n}"} for n in names]}


@pytest.mark.feature("X4", via="http")
def test_v15_fourteen_new_titles_in_thirty_days_and_what_was_there_may_come_and_go(owner: Client, core: Core) -> None:
    offer(owner, titles(*range(7)))
    offer(owner, titles(*range(7, 14)))
    refused = owner.put("/v1/works/1/packaging", json=titles(14))
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_new_variants")
    assert "This one had 14, and 1 of these are new" in refused.json()["detail"]
    assert len(offer(owner, titles(3, 9))["variants"]) == 2
    offer(owner, titles(14), work_id=2)
    with core.database.session() as session:  # as after 30 days
        session.execute(text("UPDATE app.packaging_new SET at = at - interval '30 days'"))
    assert len(offer(owner, titles(3, 9, 14))["variants"]) == 3


def feed(client: Client) -> dict[int, dict[str, Any]]:
    answer = client.get("/v1/feed")
    assert answer.status_code == 200, answer.text
    return {item["work_id"]: item for item in answer.json()["items"]}


def kept(core: Core) -> list[Any]:
    with core.database.session() as session, entered(session):
        return list(session.execute(text("SELECT * FROM app.impression ORDER BY at")))


@pytest.mark.feature("X4", via="http")
class TestTried:
    def test_a_person_sees_one_of_them_and_its_probability_is_kept(
        self, owner: Client, watcher: Client, core: Core
    ) -> None:
        names = {v["variant"]: v["title"] for v in offer(owner)["variants"]} | {str(ORIGINAL): None}
        shown = feed(watcher)
        packaging = shown[1]["packaging"]
        assert shown[1]["title"] == names[packaging["variant"]]
        assert 0.1 / 3 <= packaging["propensity"] <= 0.9 + 0.1 / 3 + 1e-9
        assert all(item["packaging"] is None for work, item in shown.items() if work != 1)
        [row] = kept(core)
        [one] = row.packaging
        assert row.works[one["place"]] == 1
        assert (one["variant"], one["propensity"], one["arms"]) == (packaging["variant"], packaging["propensity"], 3)
        assert 1 <= len(one["context"]) <= 24
        assert feed(watcher)[1] == shown[1]

    def test_v15_what_a_visitor_was_shown_is_brought_along_and_nothing_is_learned_from_it(
        self, owner: Client, client: Client, core: Core, bob: LocalAccount
    ) -> None:
        """Attack: a wallet brings many visitors along, each of whom said that one title pleases."""
        offer(owner)
        visitor = visit(client)
        allow(visitor, "behaviour", "content_taste")
        assert feed(visitor)[1]["packaging"] is not None
        sign_in(visitor, bob)
        [row] = kept(core)
        assert (row.packaging, row.arms) == ([], {})

    def test_v11_without_consent_a_work_is_shown_as_it_is(self, owner: Client, client: Client, watcher: Client) -> None:
        offer(owner)
        allow(watcher, "behaviour", granted=False)
        for who in (client, watcher):
            assert feed(who)[1]["packaging"] is None
            assert feed(who)[1]["title"] is None

    def test_what_gives_it_away_is_never_shown_to_who_has_not_finished_it(
        self, owner: Client, watcher: Client, clock: Clock, client: Client
    ) -> None:
        offer(owner, {"variants": [{"title": "The butler did it", "spoiler": True}, {"title": "A house"}]})
        seen = {feed(watcher)[1]["title"]}
        for n in range(30):
            client.app.state.feed_window._read_at = -1e9  # another reading, another slate
            clock.forward(seconds=n)
            seen.add(feed(watcher)[1]["title"])
        assert seen <= {None, "A house"}
        assert len(seen) == 2

    def test_what_was_offered_by_a_former_owner_is_not_shown(
        self, owner: Client, watcher: Client, core: Core, clock: Clock
    ) -> None:
        offer(owner)
        with core.database.session() as session:
            session.execute(text("UPDATE app.packaging_variant SET owner = '\\x01'"))
        assert feed(watcher)[1]["packaging"] is None


SLATE = text(
    "INSERT INTO app.impression (person_id, slate_id, at, works, whys, propensities, choices, usual, configuration,"
    " model_version, arms, packaging) VALUES (:person, :slate, :at, ARRAY[1], ARRAY['best'], ARRAY[1.0], ARRAY[1],"
    " ARRAY[1.0], 'c', NULL, '{}', CAST(:packaging AS jsonb))"
)
EVENT = text(
    "INSERT INTO app.engagement_event (person_id, event_id, work_id, kind, at, received_at, duration_ms,"
    " completion_bps, epoch, slate_id, digest)"
    " VALUES (:person, gen_random_uuid(), 1, :kind, :at, :at, 1, :completion, 1, :slate, '')"
)


def person_of(core: Core) -> uuid.UUID:
    with core.database.session() as session, entered(session):
        found: uuid.UUID = session.execute(text("SELECT DISTINCT person_id FROM app.consent_receipt")).scalar_one()
        return found


def write(core: Core, clock: Clock, arms: dict[str, tuple[int, int]]) -> None:
    """Variant -> how many clicks, and how many of them satisfied; all by the one person, a minute apart."""
    person, slates, events = person_of(core), [], []
    for variant, (clicks, satisfied) in arms.items():
        for n in range(clicks):
            slate, at = uuid.uuid4(), clock() - timedelta(hours=10) + timedelta(seconds=n)
            one = f'[{{"place": 0, "variant": "{variant}", "propensity": 0.5, "context": [1.0, {n % 3}.5], "arms": 3}}]'
            slates.append({"person": person, "slate": slate, "at": at, "packaging": one})
            finish = {"person": person, "slate": slate, "kind": "watch", "at": at + timedelta(minutes=30)}
            events.append(finish | {"completion": 9_000 if n < satisfied else 100})
            events.append(finish | {"completion": 9_900, "at": at + WINDOW})  # too late to count
    with core.database.session() as session, entered(session):
        session.execute(SLATE, slates)
        session.execute(EVENT, events)


def arms_of(session: Session) -> dict[uuid.UUID, dict[str, Any]]:
    rows = session.scalars(select(PackagingArm)).all()
    return {
        row.variant: {name: getattr(row, name) for name in ("inverse", "b", "shown", "clicks", "satisfied")}
        for row in rows
    }


@pytest.mark.feature("X4", via="http")
class TestLearned:
    def test_going_on_and_beginning_anew_come_to_the_same_numbers(
        self, owner: Client, watcher: Client, core: Core, clock: Clock
    ) -> None:
        one, other = (v["variant"] for v in offer(owner)["variants"])
        assert variants.learn_on(core.database.session, now=clock()) == 0  # begins where there is nothing
        write(core, clock, {one: (12, 5), other: (7, 7), str(ORIGINAL): (9, 0)})
        with core.database.session() as session:
            session.execute(text("UPDATE app.packaging_cursor SET upto = :upto"), {"upto": clock() - timedelta(days=1)})
        assert variants.learn_on(core.database.session, now=clock()) == 28
        assert variants.learn_on(core.database.session, now=clock()) == 0
        with core.database.session() as session:
            went_on = arms_of(session)
            assert variants.learn_anew(session, now=clock()) == 28
            assert arms_of(session) == went_on
        assert (went_on[uuid.UUID(one)]["clicks"], went_on[uuid.UUID(one)]["satisfied"]) == (12, 5)
        told = owner.get("/v1/works/1/packaging").json()
        assert [v["came"] for v in told["variants"]] == [
            {"shown": 12, "clicks": 12, "satisfied": pytest.approx(5 / 12)},
            {"shown": 7, "clicks": 7, "satisfied": None},
        ]
        assert told["original"]["shown"] == 9

    def test_v11_who_withdrew_is_not_learned_from_anew(
        self, owner: Client, watcher: Client, core: Core, clock: Clock
    ) -> None:
        one = offer(owner)["variants"][0]["variant"]
        write(core, clock, {one: (12, 5)})
        allow(watcher, "behaviour", granted=False)
        with core.database.session() as session:
            assert variants.learn_anew(session, now=clock()) == 0
            assert arms_of(session) == {}

    def test_v15_titles_of_the_past_do_not_thin_out_the_guard(
        self, owner: Client, watcher: Client, core: Core, clock: Clock
    ) -> None:
        """Eight arms that are offered no more and pleased nobody would hide this bait among them."""
        [bait] = (v["variant"] for v in offer(owner, {"variants": [{"title": "Bait"}]})["variants"])
        past = {str(uuid.uuid4()): (60, 6) for _ in range(8)}
        write(core, clock, {bait: (120, 12), str(ORIGINAL): (60, 50)} | past)
        with core.database.session() as session:
            variants.learn_anew(session, now=clock())
        assert owner.get("/v1/works/1/packaging").json()["variants"][0]["state"] == "retired"

    def test_v15_after_a_retirement_a_new_title_is_shown_seldom_until_thirty_have_opened_it(
        self, owner: Client, watcher: Client, core: Core, clock: Clock, client: Client
    ) -> None:
        [bait] = (v["variant"] for v in offer(owner, {"variants": [{"title": "Bait"}]})["variants"])
        write(core, clock, {bait: (120, 12), str(ORIGINAL): (60, 50)})
        with core.database.session() as session:
            variants.learn_anew(session, now=clock())
        [new] = (v["variant"] for v in offer(owner, {"variants": [{"title": "Another bait"}]})["variants"])
        with core.database.session() as session:
            found = {
                c.variant: c.watched
                for c in variants.choices_of(session.execute(text(variants.OFFERED)).mappings().all())[1]
            }
        assert found == {ORIGINAL: False, uuid.UUID(new): True}
        write(core, clock, {new: (30, 25)})
        with core.database.session() as session:
            variants.learn_anew(session, now=clock())
            found = {
                c.variant: c.watched
                for c in variants.choices_of(session.execute(text(variants.OFFERED)).mappings().all())[1]
            }
        assert found == {ORIGINAL: False, uuid.UUID(new): False}

    def test_v15_visitors_teach_nothing_for_anybody_can_be_a_thousand_of_them(
        self, owner: Client, client: Client, core: Core, clock: Clock
    ) -> None:
        visitor = visit(client)
        allow(visitor, "behaviour")
        write(core, clock, {offer(owner)["variants"][0]["variant"]: (12, 5)})
        with core.database.session() as session:
            assert variants.learn_anew(session, now=clock()) == 0

    def test_before_its_window_is_over_an_impression_does_not_count(
        self, owner: Client, watcher: Client, core: Core, clock: Clock
    ) -> None:
        one = offer(owner)["variants"][0]["variant"]
        write(core, clock, {one: (5, 5)})
        with core.database.session() as session:
            assert variants.learn_anew(session, now=clock() - timedelta(hours=8)) == 0

    def test_what_disappoints_is_retired_its_owner_is_told_why_and_nobody_sees_it(  # noqa: PLR0917
        self, owner: Client, watcher: Client, core: Core, client: Client, clock: Clock, people: Any
    ) -> None:
        bait, calm = (v["variant"] for v in offer(owner)["variants"])
        write(core, clock, {bait: (120, 12), calm: (60, 50), str(ORIGINAL): (60, 50)})
        with core.database.session() as session:
            variants.learn_anew(session, now=clock())
        told = {v["variant"]: v for v in owner.get("/v1/works/1/packaging").json()["variants"]}
        assert (told[bait]["state"], told[calm]["state"]) == ("retired", "tried")
        assert "10% saw half" in told[bait]["why"]
        other = client.as_(people("carol"))  # alice has finished it
        allow(other, "behaviour", "content_taste")
        seen = {feed(other)[1]["packaging"]["variant"]}
        for n in range(12):
            client.app.state.feed_window._read_at = -1e9
            clock.forward(seconds=n)
            seen.add(feed(other)[1]["packaging"]["variant"])
        assert bait not in seen
        again = offer(owner)
        assert again["variants"][0]["state"] == "retired"  # offered again it is the same
