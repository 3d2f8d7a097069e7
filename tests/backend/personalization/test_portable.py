"""Own your taste: documents that prove themselves offline, and count where they are brought along."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from backend.cli import app as cli
from backend.models.personalization import ModelSnapshot
from backend.personalization.person import portable
from backend.personalization.person.portable import DocumentError, Liking, Sliders, TagLiking, TasteDocument, Unsigned
from backend.works.metadata import canonical_json
from tests.backend.conftest import Client, Clock, allow
from tests.backend.personalization.test_feed import core, do, feed, mirror, trained  # noqa: F401  fixtures
from tests.factories import hash32

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OURS = "https://troupe.example"


def document(key: Ed25519PrivateKey = KEY, *, issuer: str = OURS, at: datetime = NOW, **works: int) -> TasteDocument:
    """`w7=1_500_000`: a liking of work 7."""
    likings = [
        Liking(work_id=int(name[1:]), content_hash=hash32("content", int(name[1:])), title=None, value_millionths=value)
        for name, value in works.items()
    ]
    return portable.sign(
        Unsigned(
            format=portable.FORMAT,
            issuer=issuer,
            issued_at=at,
            public_key=portable.public_bytes(key),
            chain_id=31337,
            sliders=Sliders(novelty_millionths=700_000, energy_millionths=None),
            likings=likings,
            tags=[TagLiking(tag="noir «é»", value_millionths=-5)],
        ),
        key,
    )


def as_json(made: TasteDocument) -> dict[str, Any]:
    found: dict[str, Any] = made.model_dump(mode="json")
    return found


@pytest.mark.feature("X5")
class TestDocument:
    def test_it_proves_itself_in_any_layout(self) -> None:
        made = as_json(document(w7=1_500_000))
        for text in (json.dumps(made), json.dumps(made, indent=3), canonical_json(made).decode()):
            portable.verify(portable.parse(text), trusted=portable.public_bytes(KEY))

    @given(st.sampled_from(["issuer", "issued_at", "chain_id", "sliders", "likings", "tags", "public_key"]))
    def test_any_change_is_seen(self, field: str) -> None:
        changes: dict[str, Any] = {
            "issuer": "https://evil.example",
            "issued_at": "2026-11-21T12:00:01Z",
            "chain_id": 1,
            "sliders": {"novelty_millionths": 700_001, "energy_millionths": None},
            "likings": [],
            "tags": [],
            "public_key": "0x" + portable.public_bytes(Ed25519PrivateKey.generate()).hex(),
        }
        changed = as_json(document(w7=1_500_000)) | {field: changes[field]}
        with pytest.raises(DocumentError, match="changed after it was signed"):
            portable.verify(portable.parse(json.dumps(changed)))

    def test_a_signature_of_somebody_else_is_not_the_issuers(self) -> None:
        forged = document(Ed25519PrivateKey.generate(), w7=1)
        portable.verify(forged)
        with pytest.raises(DocumentError, match="not signed with the key"):
            portable.check(forged, now=NOW, own=portable.public_bytes(KEY), issuer=OURS, known={})

    @pytest.mark.parametrize(
        ("issuer", "at", "words"),
        [
            (OURS, NOW - timedelta(days=401), "older than 400 days"),
            (OURS, NOW + timedelta(minutes=6), "in the future"),
            ("https://other.example", NOW, "Nobody here knows the key of https://other.example"),
        ],
    )
    def test_age_and_issuer(self, issuer: str, at: datetime, words: str) -> None:
        with pytest.raises(DocumentError, match=words):
            portable.check(
                document(issuer=issuer, at=at), now=NOW, own=portable.public_bytes(KEY), issuer=OURS, known={}
            )

    def test_another_platform_that_is_known_is_taken(self) -> None:
        other = Ed25519PrivateKey.generate()
        known = {"https://other.example": "0x" + portable.public_bytes(other).hex()}
        made = document(other, issuer="https://other.example")
        portable.check(made, now=NOW, own=portable.public_bytes(KEY), issuer=OURS, known=known)

    @pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"format": "troupe-taste/2"}'])
    def test_v15_what_is_no_document_is_refused_in_a_sentence(self, text: bytes) -> None:
        with pytest.raises(DocumentError) as refused:
            portable.parse(text)
        assert str(refused.value).endswith(".")

    def test_the_key_is_made_once_and_is_private(self, tmp_path: Path) -> None:
        file = tmp_path / "keys" / "taste.key"
        made = portable.key_of(file)
        assert portable.public_bytes(portable.key_of(file)) == portable.public_bytes(made)
        assert file.stat().st_mode & 0o777 == 0o600
        file.chmod(0o640)
        with pytest.raises(ValueError, match="chmod 600"):
            portable.key_of(file)
        file.write_text("{}")
        file.chmod(0o600)
        with pytest.raises(ValueError, match="damaged"):
            portable.key_of(file)

    def test_the_command_checks_it_offline(self, tmp_path: Path) -> None:
        file = tmp_path / "taste.json"
        file.write_text(json.dumps(as_json(document(w7=1))))
        key = "0x" + portable.public_bytes(KEY).hex()
        good = CliRunner().invoke(cli, ["taste", "verify", str(file), "--key", key])
        assert (good.exit_code, "signed by https://troupe.example" in good.output) == (0, True)
        assert "compare it with" in CliRunner().invoke(cli, ["taste", "verify", str(file)]).output
        file.write_text(file.read_text().replace('"value_millionths": 1}', '"value_millionths": 2}'))
        assert CliRunner().invoke(cli, ["taste", "verify", str(file)]).exit_code == 1


@pytest.mark.feature("X5", via="http")
class TestOverHttp:
    @pytest.fixture
    def me(self, client: Client, trained: ModelSnapshot, alice: LocalAccount) -> Client:  # noqa: F811
        made = client.as_(alice)
        allow(made, "behaviour", "content_taste")
        return made

    @pytest.fixture
    def other(self, client: Client, bob: LocalAccount) -> Client:
        made = client.as_(bob)
        allow(made, "behaviour", "content_taste")
        return made

    def test_a_taste_goes_with_its_person_and_is_named_as_brought(
        self, client: Client, me: Client, other: Client, clock: Clock
    ) -> None:
        me.patch("/v1/me/personalization", json={"novelty": 0.25})
        do(me, clock, "like", 7)
        do(me, clock, "less_like_this", 1)
        answer = me.get("/v1/me/taste/export")
        assert answer.headers["content-disposition"] == 'attachment; filename="taste.json"'
        taken = answer.json()
        (key,) = client.get("/.well-known/troupe-taste-key.json").json()["keys"]
        portable.verify(portable.parse(answer.content), trusted=bytes.fromhex(key["public_key"][2:]))
        assert {liking["work_id"]: liking["value_millionths"] for liking in taken["likings"]} == {
            7: 1_000_000,
            1: -1_500_000,
        }
        clock.forward(days=20)
        brought = other.post("/v1/me/taste/import", json=taken).json()
        assert (brought["taken"], brought["unknown"]) == (2, 0)
        known = {work["work_id"]: work for work in other.get("/v1/me/taste").json()["works"]}
        assert known[7]["long"] == pytest.approx(2 ** (-1 / 3)), "it fades from the day it was issued"
        assert (known[7]["short"], known[7]["did"], known[1]["long"]) == (
            0,
            "brought",
            pytest.approx(-1.5 * 2 ** (-1 / 3)),
        )
        assert other.get("/v1/me/personalization").json()["novelty"] == 0.25
        items = feed(other)["items"]
        assert any(item["why"] == "Because you brought along a liking for work 7." for item in items)
        assert other.delete("/v1/me/taste/import").json() == {"dropped": 2}
        assert other.get("/v1/me/taste").json()["works"] == []

    def test_a_reset_forgets_what_was_brought_as_well(self, me: Client, other: Client, clock: Clock) -> None:
        do(me, clock, "like", 7)
        do(me, clock, "like", 8)
        taken = me.get("/v1/me/taste/export").json()
        other.post("/v1/me/taste/import", json=taken)
        assert other.delete("/v1/me/taste/works/7").status_code == 200
        assert [work["work_id"] for work in other.get("/v1/me/taste").json()["works"]] == [8]
        other.post("/v1/me/personalization/reset", json={"scope": "all"})
        assert other.get("/v1/me/taste").json()["works"] == []

    def test_works_that_are_not_here_are_counted_and_left_out(self, app: FastAPI, me: Client, clock: Clock) -> None:
        settings = app.state.core.settings
        key = portable.key_of(settings.taste_key)
        made = document(key, issuer=settings.public_url, at=clock(), w7=1_000_000, w99=1_000_000)
        assert me.post("/v1/me/taste/import", json=as_json(made)).json()["unknown"] == 1
        assert me.get("/v1/me/personalization").json()["novelty"] == 0.7

    @pytest.mark.parametrize("missing", ["behaviour", "content_taste"])
    def test_v11_without_consent_nothing_is_exported(self, me: Client, clock: Clock, missing: str) -> None:
        do(me, clock, "like", 7)
        allow(me, missing, granted=False)
        answer = me.get("/v1/me/taste/export")
        assert (answer.status_code, answer.json()["code"]) == (409, "taste_not_read")

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"likings": []}, "taste_signature_wrong"),
            ({"issuer": "https://evil.example"}, "taste_issuer_unknown"),
            ({"format": "troupe-taste/9"}, "taste_document_invalid"),
            ({"likings": "many"}, "taste_document_invalid"),
            ({"more": 1}, "taste_document_invalid"),
            ({"more": -(10**31)}, "taste_document_invalid"),  # of more than 64 bits; found by `make fuzz`
        ],
    )
    def test_v15_what_is_wrong_is_refused_and_changes_nothing(
        self, me: Client, clock: Clock, change: dict[str, Any], code: str
    ) -> None:
        do(me, clock, "like", 7)
        taken = me.get("/v1/me/taste/export").json()
        answer = me.post("/v1/me/taste/import", json=taken | change)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert answer.json()["detail"].endswith("Nothing was changed.")
        assert me.delete("/v1/me/taste/import").json() == {"dropped": 0}
