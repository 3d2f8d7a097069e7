"""All numbers of the feed are one configuration with one digest, which a vote can put in force."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from backend.personalization.configuration import (
    BUILT_IN,
    WORDS,
    BadConfiguration,
    Configuration,
    changed,
    numbers,
    parse,
)
from backend.personalization.ranking.scoring import Weights
from backend.personalization.ranking.signals import EventKind, Signals, signal
from tests.backend.conftest import Client, Clock, allow
from tests.backend.personalization.test_feed import do, feed
from tests.factories import Mirror


@pytest.fixture
def works(mirror: Mirror, bob: LocalAccount) -> Mirror:
    """Ten works, all of one time."""
    mirror.block(1)
    for work_id in range(1, 11):
        mirror.work(work_id, owner=bob, block=1)
    return mirror


NAMES = [name for name, _ in numbers(BUILT_IN)]


class TestDigest:
    def test_is_sha256_of_the_document_and_every_number_counts(self) -> None:
        assert sha256(BUILT_IN.document).hexdigest() == BUILT_IN.digest
        digests = {BUILT_IN.digest}
        for name, value in numbers(BUILT_IN):
            part, number = name.split(".")
            other = {"explore": 0.12, "similar_at_most": 4, "unlike": 2, "fresh": 2}.get(number, value * 0.5 + 0.01)
            digests.add(changed(BUILT_IN, {part: {number: other}}).digest)
        assert len(digests) == len(NAMES) + 1

    def test_one_and_one_point_nought_are_one_configuration(self) -> None:
        assert replace(BUILT_IN, weights=Weights(trend=1)).digest == BUILT_IN.digest

    def test_every_number_is_explained_and_nothing_else(self) -> None:
        assert set(WORDS) == set(NAMES)

    @given(st.floats(-2, 2), st.floats(0.05, 0.15), st.integers(1, 50))
    def test_what_is_written_is_read(self, like: float, explore: float, alike: int) -> None:
        made = changed(BUILT_IN, {"signals": {"like": like}, "policy": {"explore": explore, "similar_at_most": alike}})
        assert parse(made.document) == made

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"policy": {"explore": 0.5}}, "explore is 0.5"),
            ({"policy": {"unlike": 1.5}}, "whole number"),
            ({"policy": {"novelty": float("nan")}}, "finite"),
            ({"policy": {"novelty": 1e300}}, "at most"),
            ({"policy": {"nothing": 1}}, "no number policy.nothing"),
            ({"else": {}}, "no part"),
            ({"weights": {"trend": float("inf")}}, "finite"),
            ({"weights": {"trend_half_life_s": 0}}, "half-lives above 0"),
            ({"signals": {"like": 3}}, "no event counts more than 2"),
            ({"signals": {"skip_late_ms": -1}}, "above 0"),
            ({"decays": {"long_s": 0}}, "above 0 seconds"),
            ({"weights": {"trend": True}}, "must be a number"),
        ],
    )
    def test_what_cannot_be_served_is_refused_in_words(self, wrong: dict[str, Any], says: str) -> None:
        with pytest.raises(BadConfiguration, match=says):
            changed(BUILT_IN, wrong)

    @pytest.mark.parametrize(
        "document",
        [
            *(b"", b"[]", b"{}", b"\xff", b'{"format":"troupe-personalization/2"}'),
            BUILT_IN.document + b" ",
            BUILT_IN.document.replace(b'"fresh":1,', b""),
        ],
    )
    def test_other_documents_are_refused(self, document: bytes) -> None:
        with pytest.raises(BadConfiguration):
            parse(document)

    def test_signals_follow_their_numbers(self) -> None:
        louder = Signals(like=0.5, complaint=-1, dwell=0.2)
        assert signal(EventKind.LIKE, signals=louder) == 0.5
        assert signal(EventKind.COMPLAINT, signals=louder) == -1
        assert signal(EventKind.DWELL, 3_000, signals=louder) == 0.2


def configuration(client: Client) -> dict[str, Any]:
    answer = client.get("/v1/personalization/configuration")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.feature("X3", via="http")
class TestServed:
    def test_is_shown_whole_and_its_digest_stands_in_every_feed(self, client: Client, works: Mirror) -> None:
        shown = configuration(client)
        assert shown["source"] == "built-in"
        assert shown["voted"] is None
        assert sha256(shown["document"].encode()).hexdigest() == shown["digest"] == feed(client)["configuration"]
        assert [number["name"] for number in shown["numbers"]] == NAMES
        assert all(number["words"] for number in shown["numbers"])

    @pytest.mark.feature("G2", via="http")
    def test_follows_an_executed_vote_and_says_of_which_block(
        self, app: FastAPI, client: Client, works: Mirror, clock: Clock, alice: LocalAccount
    ) -> None:
        """A vote for no trend at all: the liked work is the first no more, from the block of the execution on."""
        signed_in = client.as_(alice)
        allow(signed_in, "behaviour", "content_taste")
        asked = {"weights": {"trend": -1.0}, "policy": {"similar": 0}}
        known = signed_in.post("/v1/personalization/configurations", json=asked)
        assert known.status_code == 200, known.text
        digest = known.json()["digest"]
        assert known.json()["differs"] == ["policy.similar: 2.5 becomes 0", "weights.trend: 1 becomes -1"]
        assert known.json()["action"] == {
            "contract": "WorkRegistry",
            "function": "signal",
            "arguments": ["0x" + digest],
        }
        proposal = client.post(
            "/v1/proposals/intent", json={"title": "No trend", "actions": [known.json()["action"]]}
        ).json()
        assert digest in proposal["words"][0]
        do(client, clock, "like", 5)
        assert feed(client)["items"][0]["work_id"] == 5
        assert configuration(client)["source"] == "built-in"
        works.block(2)
        works.log("WorkRegistry", "Signal", block=2, topic=bytes.fromhex(digest))
        works.log("WorkRegistry", "Signal", block=2, topic=b"x" * 32)  # of something else: changes nothing
        now = configuration(client)
        assert (now["digest"], now["source"], now["voted"]["block"]) == (digest, "governance", 2)
        del app.state.feed_window  # as after two seconds
        after = feed(client)
        assert after["configuration"] == digest
        assert after["items"][-1]["work_id"] == 5
        got = client.get(f"/v1/personalization/configurations/{digest}").json()
        assert got["document"] == now["document"]
        assert got["differs"] == []

    def test_what_cannot_be_served_is_not_made_known(self, client: Client, works: Mirror, alice: LocalAccount) -> None:
        answer = client.as_(alice).post("/v1/personalization/configurations", json={"policy": {"explore": 0.3}})
        assert (answer.status_code, answer.json()["code"]) == (422, "configuration_invalid")
        assert "0.05 to 0.15" in answer.json()["detail"]
        missing = client.get(f"/v1/personalization/configurations/{'0' * 64}")
        assert (missing.status_code, missing.json()["code"]) == (404, "configuration_not_found")

    def test_a_document_that_this_version_cannot_read_changes_nothing(self) -> None:
        from backend.personalization.catalogue import voted_for  # noqa: PLC0415

        row = {"document": b'{"format":"troupe-personalization/9"}', "block_number": 3, "block_time": 4}
        assert voted_for(row) is None
        good = voted_for(row | {"document": Configuration(weights=Weights(trend=2.0)).document})
        assert good is not None
        assert good[0].weights.trend == 2.0
