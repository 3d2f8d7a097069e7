"""Who may be shown what is settled before any score: by the chain, owners, licences, moderators, and the person."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request

from backend.accounts.service import Somebody
from backend.consent.gate import entered
from backend.consent.persons import person_of
from backend.deps import Core
from backend.models.accounts import Account
from backend.models.personalization import FeedHidden, FeedSettings
from backend.personalization import service
from backend.personalization.reading import Asked, Reading, look_again, read_and_choose
from backend.personalization.showing import constraints
from backend.personalization.showing import limits as showing
from backend.personalization.showing.constraints import ADULT, AGES, Limit, Rules, Stated, build, eligible, together
from bench.ranking.violations import violations
from tests.backend.conftest import Client, Clock, allow
from tests.backend.personalization.test_feed import do, feed
from tests.factories import TERMS, Mirror, canonical, hash32

MODERATOR = 3
NOW = 1_000.0
TERRITORIES = st.one_of(st.none(), st.frozensets(st.sampled_from(["DE", "FR", "JP"])))
LIMITS = st.builds(
    Limit,
    work_id=st.integers(1, 12),
    live=st.booleans(),
    state=st.sampled_from(constraints.STATES),
    age=st.sampled_from(AGES),
    opens=st.one_of(st.none(), st.sampled_from([NOW - 1, NOW, NOW + 1])),
    closes=st.one_of(st.none(), st.sampled_from([NOW - 1, NOW, NOW + 1])),
    territory=TERRITORIES,
)
PERSONS = st.builds(
    Stated,
    territory=st.sampled_from([None, "DE", "FR", "US"]),
    age=st.sampled_from([None, *AGES]),
    hidden_creators=st.frozensets(st.sampled_from([b"a", b"b", b"z"]), max_size=2),
)
WORKS = np.arange(1, 11)
CREATORS = [b"a", b"b", None, b"c", b"a", b"b", None, b"c", b"a", b"b"]


def one_by_one(limits: dict[int, Limit], stated: Stated, surface: str) -> list[int]:
    """The same, written out for each work as the page says it."""
    found = []
    for at, work_id in enumerate(WORKS.tolist()):
        limit = limits.get(work_id, Limit(work_id))
        if not limit.live or limit.state == "removed" or (limit.state == "limited" and surface == "feed"):
            continue
        if limit.opens is not None and limit.opens > NOW:
            continue
        if limit.closes is not None and limit.closes <= NOW:
            continue
        if limit.age >= ADULT and (stated.age is None or stated.age < ADULT):
            continue
        if stated.age is not None and limit.age > stated.age:
            continue
        if limit.territory is not None and (stated.territory is None or stated.territory not in limit.territory):
            continue
        if CREATORS[at] in stated.hidden_creators:
            continue
        found.append(at)
    return found


class TestEligible:
    @given(st.lists(LIMITS, unique_by=lambda limit: limit.work_id), PERSONS, st.sampled_from(["feed", "search"]))
    def test_says_what_each_rule_says_by_itself(self, limits: list[Limit], stated: Stated, surface: Any) -> None:
        found = eligible(build(WORKS, limits, CREATORS), stated, NOW, surface=surface)
        assert found.tolist() == one_by_one({limit.work_id: limit for limit in limits}, stated, surface)

    @given(st.lists(LIMITS, unique_by=lambda limit: limit.work_id), PERSONS, st.sets(st.integers(0, 9)))
    def test_what_the_person_hides_is_left_out_too(self, limits: list[Limit], stated: Stated, hidden: set[int]) -> None:
        rules = build(WORKS, limits, CREATORS)
        whole, less = eligible(rules, stated, NOW), eligible(rules, stated, NOW, hidden=np.array([*hidden], dtype=int))
        assert less.tolist() == [at for at in whole.tolist() if at not in hidden]

    @given(st.lists(LIMITS, unique_by=lambda limit: limit.work_id), PERSONS)
    def test_who_says_more_sees_no_less(self, limits: list[Limit], stated: Stated) -> None:
        """Saying nothing never opens a door: who says where they are, or that they are grown up, sees all of it too."""
        rules = build(WORKS, limits, CREATORS)
        silent = Stated(hidden_creators=stated.hidden_creators)
        said = Stated(stated.territory, ADULT, stated.hidden_creators)
        assert set(eligible(rules, silent, NOW).tolist()) <= set(eligible(rules, said, NOW).tolist())

    @given(LIMITS, PERSONS)
    def test_the_reason_in_words_is_there_exactly_when_a_work_is_not(self, limit: Limit, stated: Stated) -> None:
        stated = Stated(stated.territory, stated.age)
        there = limit.work_id - 1 in eligible(build(WORKS, [limit], CREATORS), stated, NOW).tolist()
        if limit.work_id <= len(WORKS):
            assert there == (constraints.why_not(limit, stated, NOW) is None)

    def test_a_planted_hole_is_found(self) -> None:
        """Were a window closed one moment late, the comparison above would say so."""
        limits = [Limit(1, closes=NOW)]
        assert eligible(build(WORKS, limits), Stated(), NOW - 1e-9).tolist() != one_by_one(
            {1: limits[0]}, Stated(), "feed"
        )

    def test_no_works_and_no_limits(self) -> None:
        assert eligible(Rules.none(0), Stated(), NOW).tolist() == []
        assert eligible(Rules.none(3), Stated(), NOW).tolist() == [0, 1, 2]

    @given(st.lists(st.one_of(st.none(), st.lists(st.sampled_from(["DE", "FR"])))))
    def test_licences_allow_together_what_each_allows(self, each: list[list[str] | None]) -> None:
        found = together(each)
        for place in ("DE", "FR", "US"):
            allowed = all(one is not None and (not one or place in one) for one in each)
            assert (found is None or place in found) == allowed


@pytest.fixture
def works(mirror: Mirror, alice: LocalAccount, bob: LocalAccount) -> Mirror:
    """Ten works: alice made 1 to 3, bob the others."""
    mirror.block(1)
    for work_id in range(1, 11):
        mirror.work(work_id, owner=alice if work_id <= 3 else bob, block=1)
    return mirror


@pytest.fixture
def anew(app: FastAPI, client: Client) -> Callable[..., list[int]]:
    """The works of somebody's feed with the catalogue read anew, as after two seconds."""

    def read(who: Client | None = None) -> list[int]:
        if hasattr(app.state, "feed_window"):
            del app.state.feed_window
        return sorted(item["work_id"] for item in feed(who or client, limit=100)["items"])

    return read


def pseudonym_of(session: Session, core: Core, wallet: LocalAccount) -> uuid.UUID:
    account = session.scalars(select(Account.id).where(Account.wallet == canonical(wallet))).one()
    found = person_of(session, core.vault, account)
    assert found is not None
    return found


def state_of(core: Core, wallet: LocalAccount, **said: Any) -> None:
    """What the person's settings say, as their page would write it."""
    with core.database.session() as session:
        pseudonym = pseudonym_of(session, core, wallet)
        with entered(session):
            session.merge(FeedSettings(person_id=pseudonym, enabled=True, changed_at=core.clock(), **said))


EVERY = list(range(1, 11))


@pytest.fixture
def core(app: FastAPI) -> Core:
    found: Core = app.state.core
    return found


@pytest.mark.feature("K5", via="http")
@pytest.mark.feature("X3", via="http")
class TestFeed:
    def test_ages(self, client: Client, works: Mirror, core: Core, anew: Any, alice: LocalAccount) -> None:
        owner = client.as_(alice)
        allow(owner, "behaviour")
        for work_id, age in ((1, 18), (2, 12), (3, 0)):
            assert owner.put(f"/v1/works/{work_id}/showing", json={"age": age}).status_code == 200
        assert anew() == EVERY[1:], "who says nothing is no adult"
        for age, gone in ((0, {1, 2}), (12, {1}), (16, {1}), (18, set())):
            state_of(core, alice, birth_year=core.clock().year - age - 1)
            assert anew(owner) == [work_id for work_id in EVERY if work_id not in gone], age

    def test_territory_of_the_owner_and_of_every_licence_above(
        self, client: Client, works: Mirror, core: Core, anew: Any, alice: LocalAccount
    ) -> None:
        """Licence 1 holds in DE and FR, licence 2 says nothing, of licence 3 the terms are not known here."""
        owner = client.as_(alice)
        allow(owner, "behaviour")
        terms = {f"terms_{name}": value for name, value in TERMS.items()}
        for number, territory in ((1, ["FR", "DE"]), (2, [])):
            made = owner.post("/v1/licences/intent", json={"title": f"L{number}", "territory": territory})
            known = bytes.fromhex(made.json()["terms_hash"][2:])
            works.log(
                "WorkRegistry",
                "LicenceCreated",
                block=1,
                licence_id=number,
                creator=canonical(alice),
                **terms | {"terms_terms_hash": known},
            )
        works.log(
            "WorkRegistry",
            "LicenceCreated",
            block=1,
            licence_id=3,
            creator=canonical(alice),
            **terms | {"terms_terms_hash": hash32("elsewhere")},
        )
        works.block(2)
        for work_id, licence in ((11, 1), (12, 2), (13, 3)):
            works.work(work_id, owner=alice, block=2, licence_id=licence)
        derived = {"share_bps": 100, "absolute": True}
        works.work(14, owner=alice, block=2)
        works.log("WorkRegistry", "DerivationRecorded", block=2, work_id=14, parent_id=11, licence_id=1, **derived)
        works.work(15, owner=alice, block=2)
        works.log("WorkRegistry", "DerivationRecorded", block=2, work_id=15, parent_id=14, licence_id=2, **derived)
        owner.put("/v1/works/1/showing", json={"territory": ["FR", "JP"]})
        shown = client.get("/v1/works/15/showing").json()
        assert shown["territory"] == ["DE", "FR"], "from its grandparent's licence"
        assert "does not hold everywhere" in shown["why_not"]
        assert client.get("/v1/works/13/showing").json()["territory"] == [], "not known: nowhere"
        assert anew() == [*EVERY[1:], 12]
        state_of(core, alice, territory="DE")
        assert anew(owner) == [*EVERY[1:], 11, 12, 14, 15]
        state_of(core, alice, territory="FR")
        assert anew(owner) == [*EVERY, 11, 12, 14, 15]
        state_of(core, alice, territory="JP")
        assert anew(owner) == [*EVERY, 12]
        owner.headers["CF-IPCountry"] = owner.headers["X-Country"] = "DE"
        assert anew(owner) == [*EVERY, 12], "no header says where somebody is"

    def test_windows_open_and_close_and_open_again_when_the_clock_goes_back(
        self, client: Client, works: Mirror, clock: Clock, anew: Any, alice: LocalAccount
    ) -> None:
        start, end = clock() + timedelta(hours=1), clock() + timedelta(hours=2)
        owner = client.as_(alice)
        window = {"shown_from": start.isoformat(), "shown_until": end.isoformat()}
        assert owner.put("/v1/works/1/showing", json=window).status_code == 200
        clock.forward(hours=1, seconds=-1)
        assert 1 not in anew()
        assert client.get("/v1/works/1/showing").json()["why_not"] == "Its owner shows it from later on."
        clock.forward(seconds=1)
        assert 1 in anew()
        clock.forward(hours=1)
        assert 1 not in anew(), "its end is no moment of it"
        clock.forward(seconds=-1)
        assert 1 in anew()

    def test_moderators_limit_and_remove_and_let_go_on(
        self, client: Client, works: Mirror, anew: Any, alice: LocalAccount, bob: LocalAccount
    ) -> None:
        role = {"role_id": MODERATOR, "account": canonical(bob), "delay": 0, "since": 0, "new_member": True}
        works.log("AccessManager", "RoleGranted", block=1, **role)
        moderator, owner = client.as_(bob), client.as_(alice)
        for state, there in (("limited", False), ("removed", False), ("live", True)):
            answer = moderator.post("/v1/works/2/decisions", json={"state": state, "reason": f"It is {state}."})
            assert answer.status_code == 200, answer.text
            assert (2 in anew()) is there
        moderator.post("/v1/works/2/decisions", json={"state": "live", "age": 18, "reason": "For adults."})
        owner.put("/v1/works/2/showing", json={"age": 0})
        assert 2 not in anew(), "the higher rating holds"
        shown = client.get("/v1/works/2/showing").json()
        assert shown["decisions"][0]["reason"] == "For adults."
        assert (shown["age"], shown["state"], len(shown["decisions"])) == (18, "live", 4)
        refused = owner.post("/v1/works/2/decisions", json={"state": "live", "reason": "I want it."})
        assert refused.json()["code"] == "role_required"

    def test_only_the_owner_declares(self, client: Client, works: Mirror, bob: LocalAccount) -> None:
        refused = client.as_(bob).put("/v1/works/1/showing", json={"age": 18})
        assert (refused.status_code, refused.json()["code"]) == (403, "not_the_owner")
        missing = client.as_(bob).put("/v1/works/99/showing", json={"age": 18})
        assert (missing.status_code, missing.json()["code"]) == (404, "work_not_found")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"age": 17},
            {"territory": ["de"]},
            {"territory": ["Germany"]},
            {"shown_from": "2026-01-02T00:00:00Z", "shown_until": "2026-01-02T00:00:00Z"},
            {"shown_from": "2026-01-02T00:00:00"},
        ],
    )
    def test_what_is_no_limit_is_refused(
        self, client: Client, works: Mirror, alice: LocalAccount, wrong: dict[str, Any]
    ) -> None:
        assert client.as_(alice).put("/v1/works/1/showing", json=wrong).status_code == 422

    def test_a_work_whose_consent_is_taken_back_or_has_ended_is_in_no_feed(
        self, client: Client, works: Mirror, anew: Any, alice: LocalAccount
    ) -> None:
        """Before anybody suspends it. Work 1's stands, 2's is taken back, 3's ends at the chain's clock."""
        works.block(2, time=2_000_000_000)
        for work_id, expires in ((1, 2_000_000_001), (2, 0), (3, 2_000_000_000)):
            uid = hash32("consent", work_id)
            works.log(
                "AttestationRegistry",
                "Attested",
                block=1,
                uid=uid,
                schema=hash32("schema"),
                attester=canonical(alice),
                subject=bytes(32),
                commitment=bytes(32),
                ref_uid=bytes(32),
                expires=expires,
            )
            works.log("WorkStanding", "ConsentLinked", block=1, work_id=work_id, attestation_uid=uid)
        assert anew() == [1, 2, *EVERY[3:]]
        works.log("AttestationRegistry", "Revoked", block=2, uid=hash32("consent", 2), attester=canonical(alice))
        assert anew() == [1, *EVERY[3:]]
        assert client.get("/v1/works/2/showing").json()["active"] is False

    def test_a_hidden_creator_is_hidden_whatever_else_is_switched(
        self, client: Client, works: Mirror, core: Core, anew: Any, alice: LocalAccount
    ) -> None:
        me = client.as_(alice)
        allow(me, "behaviour", "content_taste")
        with core.database.session() as session:
            hidden = FeedHidden(person_id=pseudonym_of(session, core, alice), creator=canonical(alice), at=core.clock())
            with entered(session):
                session.add(hidden)
        assert anew(me) == EVERY[3:]
        me.put("/v1/me/personalization", json={"enabled": False})
        assert anew(me) == EVERY[3:]
        allow(me, "behaviour", "content_taste", granted=False)
        assert anew(me) == EVERY[3:]
        assert anew() == EVERY


@pytest.mark.feature("X3", via="http")
class TestBetween:
    """Something happens between ranking and answer. The catalogue is up to two seconds old: that is the way to it."""

    def test_a_removed_work_is_replaced(
        self, client: Client, works: Mirror, core: Core, clock: Clock, alice: LocalAccount
    ) -> None:
        first = [item["work_id"] for item in feed(client, limit=5)["items"]]
        assert first == [1, 2, 3, 4, 5]
        with core.database.session() as session:
            showing.decide(
                session, work_id=2, moderator=bytes(20), state="removed", age=None, reason="It is not.", now=clock()
            )
        works.log(
            "WorkRegistry", "WorkStatusChanged", block=1, work_id=4, status=2, actor=bytes(20), reason_hash=bytes(32)
        )
        after = {item["work_id"] for item in feed(client, limit=5)["items"]}
        assert len(after) == 5
        assert after.isdisjoint({2, 4})
        assert len(feed(client, limit=100)["items"]) == 8

    def test_all_removed_is_an_empty_slate(self, client: Client, works: Mirror, core: Core, clock: Clock) -> None:
        assert feed(client)["items"]
        with core.database.session() as session:
            for work_id in EVERY:
                showing.decide(
                    session, work_id=work_id, moderator=bytes(20), state="removed", age=None, reason="No.", now=clock()
                )
        assert feed(client)["items"] == []

    def test_V11_a_consent_that_is_taken_back_meanwhile_gives_the_slate_that_knows_nothing(
        self, client: Client, works: Mirror, core: Core, clock: Clock, alice: LocalAccount
    ) -> None:
        """And none of it is kept as an impression: what was read of the person before is thrown away."""
        me = client.as_(alice)
        allow(me, "behaviour", "content_taste")
        do(me, clock, "less_like_this", 1)
        with core.database.session() as session:
            account = session.scalars(select(Account.id).where(Account.wallet == canonical(alice))).one()
        somebody = Somebody(account_id=account, session_id=uuid.uuid4())
        request = Request({"type": "http", "app": client.app})
        looked: list[bool] = []

        async def withdrawn(
            core: Core, found: Reading, shown: Sequence[service.Shown]
        ) -> tuple[service.Allowed, frozenset[int]]:
            if not looked:
                await asyncio.to_thread(allow, me, "behaviour", granted=False)
            looked.append(True)
            return await look_again(core, found, shown)

        assert client.portal is not None
        serve = partial(read_and_choose, request, core, somebody, clock(), Asked(100))
        found, before = client.portal.call(serve)
        assert {item.work_id for item in before} == {*EVERY[1:]}
        assert found.why_not is None
        found, after = client.portal.call(partial(serve, look=withdrawn))
        assert {item.work_id for item in after} == {*EVERY}
        assert found.why_not == "You have not allowed us to keep what you do."
        assert not found.history.rows
        assert found.viewed is None
        assert len(looked) == 2


class TestViolations:
    """`python -m bench.personalization --only violations` does it a million times."""

    def test_no_random_slate_shows_what_may_not_be_shown(self) -> None:
        found = list(violations(2_000, seed=7))
        assert sum(wrong for _, wrong in found) == 0
        assert sum(shown for shown, _ in found) > 5_000

    @pytest.mark.parametrize("hole", ["age", "closes", "territory", "creator", "state", "hidden"])
    def test_each_planted_hole_is_found(self, hole: str) -> None:
        def leaky(rules: Rules, stated: Stated, now: float, *, hidden: Any) -> Any:
            open_ = Rules.none(len(rules.live))
            holes = {
                "age": {"age": open_.age},
                "closes": {"closes": rules.closes + 1},
                "territory": {"territory": open_.territory},
                "creator": {"creator": open_.creator},
                "state": {"limited": open_.limited},
                "hidden": {},
            }
            return eligible(replace(rules, **holes[hole]), stated, now, hidden=None if hole == "hidden" else hidden)

        assert any(wrong for _, wrong in violations(2_000, seed=7, eligible=leaky))
