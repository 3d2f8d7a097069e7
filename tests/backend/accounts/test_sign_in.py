"""Sign-in over HTTP: one good way in, and every wrong one (H1 of the reliability plan)."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from eth_account.signers.local import LocalAccount
from httpx import Response
from sqlalchemy import create_engine, text

from backend.accounts import sign_in as ways
from backend.accounts.siwe import SECP256K1_ORDER, rfc3339
from backend.app import create_app
from backend.settings import Settings
from backend.vault import master_key
from stack.postgres import DatabaseUrls
from tests.backend.conftest import PUBLIC_URL, Client, Clock, sign_in, signature

pytestmark = pytest.mark.feature("C1", via="http")


@dataclass
class Attempt:
    """What a hostile caller can shape: the text, who signs it, and what is done to the signature afterwards."""

    text: str
    person: LocalAccount
    other: LocalAccount
    clock: Clock

    def line(self, label: str, value: str) -> str:
        """The text with one field's line replaced."""
        changed, count = re.subn(rf"^{label}: .*$", f"{label}: {value}", self.text, flags=re.MULTILINE)
        assert count == 1, f"the message has no line {label}"
        return changed

    def without(self, label: str) -> str:
        return "\n".join(line for line in self.text.split("\n") if not line.startswith(f"{label}: "))

    def twice(self, label: str) -> str:
        found = re.search(rf"^{label}: .*$", self.text, flags=re.MULTILINE)
        assert found
        return self.text.replace(found[0], f"{found[0]}\n{found[0]}")

    def at(self, seconds: float) -> str:
        return rfc3339(self.clock.now + timedelta(seconds=seconds))

    def swapped(self, first: str, second: str) -> str:
        lines = self.text.split("\n")
        places = [next(i for i, line in enumerate(lines) if line.startswith(f"{label}: ")) for label in (first, second)]
        lines[places[0]], lines[places[1]] = lines[places[1]], lines[places[0]]
        return "\n".join(lines)


def _begin(client: Client, person: LocalAccount) -> str:
    begun = client.post("/v1/auth/nonce", json={"address": person.address})
    assert begun.status_code == 200
    message: str = begun.json()["message"]
    return message


def _verify(client: Client, message: str, signed: str) -> Response:
    return client.post("/v1/auth/verify", json={"message": message, "signature": signed})


DOMAIN = "127.0.0.1:8000"
MALFORMED = "sign_in_malformed"

WRONG_TEXT: dict[str, tuple[str, str, Callable[[Attempt], str]]] = {
    # name: (code, field, the text)
    "domain of another site": ("sign_in_wrong_domain", "domain", lambda a: a.text.replace(DOMAIN, "evil.example", 1)),
    "domain with our name as its user": (
        "sign_in_wrong_domain",
        "domain",
        lambda a: a.text.replace(DOMAIN, f"{DOMAIN}@evil.example", 1),
    ),
    "domain with our name as its prefix": (
        "sign_in_wrong_domain",
        "domain",
        lambda a: a.text.replace(DOMAIN, "127.0.0.1.evil.example", 1),
    ),
    "domain with another port": ("sign_in_wrong_domain", "domain", lambda a: a.text.replace(DOMAIN, "127.0.0.1:1", 1)),
    "domain without its port": ("sign_in_wrong_domain", "domain", lambda a: a.text.replace(DOMAIN, "127.0.0.1", 1)),
    "domain in unicode look-alikes": (MALFORMED, "message", lambda a: a.text.replace(DOMAIN, "127.0.0.1:８000", 1)),
    "domain empty": (MALFORMED, "domain", lambda a: a.text.replace(DOMAIN, "", 1)),
    "domain with a path": (MALFORMED, "domain", lambda a: a.text.replace(DOMAIN, DOMAIN + "/x", 1)),
    "domain missing": (MALFORMED, "domain", lambda a: a.text.split("\n", 1)[1]),
    "scheme of another protocol": ("sign_in_wrong_domain", "scheme", lambda a: "https://" + a.text),
    "scheme that is no scheme": (MALFORMED, "domain", lambda a: "1http://" + a.text),
    "first sentence in other words": (MALFORMED, "domain", lambda a: a.text.replace("sign in with", "log in with")),
    "first sentence in other case": (MALFORMED, "domain", lambda a: a.text.replace("wants you", "Wants You")),
    "address missing": (MALFORMED, "address", lambda a: a.text.replace(a.person.address + "\n", "", 1)),
    "address in lower case": (
        MALFORMED,
        "address",
        lambda a: a.text.replace(a.person.address, a.person.address.lower()),
    ),
    "address with a wrong checksum": (
        MALFORMED,
        "address",
        lambda a: a.text.replace(a.person.address, "0x" + a.person.address[2:].swapcase()),
    ),
    "address too short": (MALFORMED, "address", lambda a: a.text.replace(a.person.address, a.person.address[:-1])),
    "address as a name": (MALFORMED, "address", lambda a: a.text.replace(a.person.address, "alice.eth")),
    "address twice": (
        MALFORMED,
        "address",
        lambda a: a.text.replace(a.person.address, f"{a.person.address}\n{a.person.address}"),
    ),
    "address of somebody else": (
        "sign_in_bad_signature",
        "signature",
        lambda a: a.text.replace(a.person.address, a.other.address),
    ),
    "statement of two lines": (MALFORMED, "statement", lambda a: a.text.replace("Troupe.", "Troupe.\nAnd pay.")),
    "statement with a quotation mark": (MALFORMED, "statement", lambda a: a.text.replace("Troupe.", 'Troupe".')),
    "statement in unicode": (MALFORMED, "message", lambda a: a.text.replace("Troupe.", "Troupé.")),
    "statement with a tabulator": (MALFORMED, "message", lambda a: a.text.replace("Troupe.", "Troupe.\t")),
    "statement without the empty line after it": (
        MALFORMED,
        "statement",
        lambda a: a.text.replace("Troupe.\n", "Troupe."),
    ),
    "one empty line where a missing statement leaves two": (
        MALFORMED,
        "statement",
        lambda a: a.text.replace("\nSign in to Troupe.\n", ""),
    ),
    "lines ended by CR LF": (MALFORMED, "message", lambda a: a.text.replace("\n", "\r\n")),
    "lines ended by CR": (MALFORMED, "message", lambda a: a.text.replace("\n", "\r")),
    "a NUL character": (MALFORMED, "message", lambda a: a.text + "\x01"),
    "a line feed at the end": (MALFORMED, "message", lambda a: a.text + "\n"),
    "a space before the first line": (MALFORMED, "domain", lambda a: " " + a.text),
    "a space at the end": (MALFORMED, "issued_at", lambda a: a.text + " "),
    "nothing at all": (MALFORMED, "domain", lambda a: ""),
    "URI of another site": ("sign_in_wrong_uri", "uri", lambda a: a.line("URI", "https://evil.example")),
    "URI of another scheme": ("sign_in_wrong_uri", "uri", lambda a: a.line("URI", "https://127.0.0.1:8000")),
    "URI of another path": ("sign_in_wrong_uri", "uri", lambda a: a.line("URI", PUBLIC_URL + "/admin")),
    "URI with our host as its user": (
        "sign_in_wrong_uri",
        "uri",
        lambda a: a.line("URI", PUBLIC_URL + "@evil.example"),
    ),
    "URI that is relative": (MALFORMED, "uri", lambda a: a.line("URI", "/login")),
    "URI with a space": (MALFORMED, "uri", lambda a: a.line("URI", PUBLIC_URL + "/a b")),
    "URI missing": (MALFORMED, "uri", lambda a: a.without("URI")),
    "URI twice": (MALFORMED, "version", lambda a: a.twice("URI")),
    "version 2": (MALFORMED, "version", lambda a: a.line("Version", "2")),
    "version 1.0": (MALFORMED, "version", lambda a: a.line("Version", "1.0")),
    "version missing": (MALFORMED, "version", lambda a: a.without("Version")),
    "version twice": (MALFORMED, "chain_id", lambda a: a.twice("Version")),
    "chain id of another chain": ("sign_in_wrong_chain", "chain_id", lambda a: a.line("Chain ID", "1")),
    "chain id with a leading zero": (MALFORMED, "chain_id", lambda a: a.line("Chain ID", "031337")),
    "chain id in hexadecimal": (MALFORMED, "chain_id", lambda a: a.line("Chain ID", "0x7a69")),
    "chain id negative": (MALFORMED, "chain_id", lambda a: a.line("Chain ID", "-31337")),
    "chain id of 5,000 digits": (MALFORMED, "message", lambda a: a.line("Chain ID", "9" * 5_000)),
    "chain id missing": (MALFORMED, "chain_id", lambda a: a.without("Chain ID")),
    "chain id twice": (MALFORMED, "nonce", lambda a: a.twice("Chain ID")),
    "nonce of our own making": ("sign_in_nonce", "nonce", lambda a: a.line("Nonce", "a" * 32)),
    "nonce in upper case": ("sign_in_nonce", "nonce", lambda a: a.line("Nonce", "F" + "A1" * 16)),
    "nonce of seven characters": (MALFORMED, "nonce", lambda a: a.line("Nonce", "abc1234")),
    "nonce with a hyphen": (MALFORMED, "nonce", lambda a: a.line("Nonce", "abcd-1234-efgh")),
    "nonce missing": (MALFORMED, "nonce", lambda a: a.without("Nonce")),
    "nonce twice": (MALFORMED, "issued_at", lambda a: a.twice("Nonce")),
    "issued in the future": ("sign_in_too_early", "issued_at", lambda a: a.line("Issued At", a.at(120))),
    "issued six minutes ago": ("sign_in_expired", "issued_at", lambda a: a.line("Issued At", a.at(-360))),
    "issued at no time": (MALFORMED, "issued_at", lambda a: a.line("Issued At", "now")),
    "issued on 30 February": (MALFORMED, "issued_at", lambda a: a.line("Issued At", "2026-02-30T00:00:00Z")),
    "issued in the year 0": (MALFORMED, "issued_at", lambda a: a.line("Issued At", "0000-01-01T00:00:00Z")),
    "issued past the calendar's end": (
        MALFORMED,
        "issued_at",
        lambda a: a.line("Issued At", "9999-12-31T23:59:59-23:59"),
    ),
    "issued without a zone": (MALFORMED, "issued_at", lambda a: a.line("Issued At", "2026-11-21T09:00:00")),
    "issued in seconds since 1970": (MALFORMED, "issued_at", lambda a: a.line("Issued At", "1795000000")),
    "issued-at missing": (MALFORMED, "issued_at", lambda a: a.without("Issued At")),
    "issued-at twice": (MALFORMED, "message", lambda a: a.twice("Issued At")),
    "expired a second ago": (
        "sign_in_expired",
        "expiration_time",
        lambda a: f"{a.text}\nExpiration Time: {a.at(-1)}",
    ),
    "expires now": ("sign_in_expired", "expiration_time", lambda a: f"{a.text}\nExpiration Time: {a.at(0)}"),
    "expiration at no time": (MALFORMED, "expiration_time", lambda a: f"{a.text}\nExpiration Time: never"),
    "expiration twice": (
        MALFORMED,
        "message",
        lambda a: f"{a.text}\nExpiration Time: {a.at(60)}\nExpiration Time: {a.at(99)}",
    ),
    "not valid before a minute from now": (
        "sign_in_too_early",
        "not_before",
        lambda a: f"{a.text}\nNot Before: {a.at(60)}",
    ),
    "not-before ahead of the expiration": (
        MALFORMED,
        "message",
        lambda a: f"{a.text}\nNot Before: {a.at(-1)}\nExpiration Time: {a.at(60)}",
    ),
    "request id with a space": (MALFORMED, "request_id", lambda a: f"{a.text}\nRequest ID: a b"),
    "request id twice": (MALFORMED, "message", lambda a: f"{a.text}\nRequest ID: a\nRequest ID: a"),
    "resource that is no URI": (MALFORMED, "resources", lambda a: f"{a.text}\nResources:\n- not a uri"),
    "resource without its dash": (MALFORMED, "resources", lambda a: f"{a.text}\nResources:\nhttps://x.example"),
    "resources, then another field": (MALFORMED, "resources", lambda a: f"{a.text}\nResources:\n- a:b\nRequest ID: a"),
    "URI and version swapped": (MALFORMED, "uri", lambda a: a.swapped("URI", "Version")),
    "nonce and chain id swapped": (MALFORMED, "chain_id", lambda a: a.swapped("Nonce", "Chain ID")),
    "a field that does not exist": (MALFORMED, "message", lambda a: f"{a.text}\nAmount: 1"),
    "a label in lower case": (MALFORMED, "nonce", lambda a: a.text.replace("Nonce:", "nonce:")),
    "no space after a label": (MALFORMED, "nonce", lambda a: a.text.replace("Nonce: ", "Nonce:")),
    "two spaces after a label": (MALFORMED, "nonce", lambda a: a.text.replace("Nonce: ", "Nonce:  ")),
}


@pytest.fixture
def attempt(client: Client, alice: LocalAccount, bob: LocalAccount, clock: Clock) -> Attempt:
    return Attempt(_begin(client, alice), alice, bob, clock)


@pytest.fixture
def tried(shared: Client, alice: LocalAccount, bob: LocalAccount) -> Attempt:
    """An attempt on the application that the tables share."""
    clock = shared.app.state.core.clock  # type: ignore[attr-defined]
    return Attempt(_begin(shared, alice), alice, bob, clock)


@pytest.mark.parametrize("wrong", WRONG_TEXT)
def test_H1_V15_a_signed_message_is_refused_for(wrong: str, shared: Client, tried: Attempt) -> None:
    code, field, make = WRONG_TEXT[wrong]
    message = make(tried)
    answer = _verify(shared, message, signature(tried.person, message))
    problem = answer.json()
    assert (problem["code"], problem.get("field")) == (code, field), problem
    assert answer.status_code == (422 if code == MALFORMED else 401)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "set-cookie" not in answer.headers
    # a wrong message takes nothing from the person: the right one still signs in
    assert _verify(shared, tried.text, signature(tried.person, tried.text)).status_code == 200


def _flip(signed: bytes, at: int) -> bytes:
    return signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]


def _high_s(signed: bytes) -> bytes:
    """The other signature of the same key over the same message."""
    s = SECP256K1_ORDER - int.from_bytes(signed[32:64])
    return signed[:32] + s.to_bytes(32) + bytes([55 - signed[64]])


def _compact(signed: bytes) -> bytes:
    """EIP-2098."""
    s = int.from_bytes(signed[32:64]) | (signed[64] - 27) << 255
    return signed[:32] + s.to_bytes(32)


WRONG_SIGNATURE: dict[str, Callable[[bytes], bytes]] = {
    "r changed": lambda s: _flip(s, 5),
    "s changed": lambda s: _flip(s, 40),
    "v of the other key": lambda s: s[:64] + bytes([55 - s[64]]),
    "v 0 or 1": lambda s: s[:64] + bytes([s[64] - 27]),
    "v 29": lambda s: s[:64] + b"\x1d",
    "v by EIP-155": lambda s: s[:64] + b"\x25",
    "s in the upper half": _high_s,
    "the 64 bytes of EIP-2098": _compact,
    "a byte more": lambda s: s + b"\0",
    "a byte less": lambda s: s[:-1],
    "no bytes": lambda s: b"",
    "r zero": lambda s: bytes(32) + s[32:],
    "s zero": lambda s: s[:32] + bytes(32) + s[64:],
    "r the curve's order": lambda s: SECP256K1_ORDER.to_bytes(32) + s[32:],
    "all ones": lambda s: b"\xff" * 64 + b"\x1b",
    "wrapped as ERC-6492": lambda s: s + b"\x64\x92" * 16,
}


@pytest.mark.parametrize("wrong", WRONG_SIGNATURE)
def test_H1_V15_a_message_is_refused_for_a_signature_with(wrong: str, shared: Client, tried: Attempt) -> None:
    signed = bytes.fromhex(signature(tried.person, tried.text)[2:])
    answer = _verify(shared, tried.text, "0x" + WRONG_SIGNATURE[wrong](signed).hex())
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_bad_signature"), answer.text
    assert _verify(shared, tried.text, "0x" + signed.hex()).status_code == 200


def test_H1_somebody_elses_signature_is_refused(shared: Client, tried: Attempt) -> None:
    answer = _verify(shared, tried.text, signature(tried.other, tried.text))
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_bad_signature")


def test_H1_a_signature_of_another_message_is_refused(shared: Client, tried: Attempt) -> None:
    answer = _verify(shared, tried.text, signature(tried.person, _begin(shared, tried.person)))
    assert answer.json()["code"] == "sign_in_bad_signature"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message": "x"},
        {"signature": "0x"},
        {"message": "x", "signature": "1b" * 65},
        {"message": "x", "signature": "0xzz"},
        {"message": "x", "signature": "0x123"},
        {"message": 7, "signature": "0x"},
        {"message": ["x"], "signature": "0x"},
        {"message": None, "signature": None},
        {"message": "x", "signature": "0x", "admin": True},
        {"message": "x" * 9000, "signature": "0x"},
        [],
        "x",
        None,
    ],
    ids=repr,
)
def test_H1_V15_a_body_of_another_form_is_refused(shared: Client, body: Any) -> None:
    answer = shared.post("/v1/auth/verify", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["errors"]


def test_a_person_signs_in_by_the_message_that_the_server_built(client: Client, alice: LocalAccount) -> None:
    message = _begin(client, alice)
    answer = _verify(client, message, signature(alice, message))
    assert answer.status_code == 200
    assert answer.json()["address"] == alice.address
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    token = answer.json()["token"]
    client.cookies.clear()
    assert client.get("/v1/me", headers={"Authorization": f"Bearer {token}"}).json()["address"] == alice.address
    assert client.get("/v1/me", headers={"Cookie": f"troupe_session={token}"}).json()["address"] == alice.address


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.line("URI", PUBLIC_URL + "/"),
        lambda a: "http://" + a.text,
        lambda a: a.text.replace("\nSign in to Troupe.\n", "\n"),
        lambda a: a.line("Issued At", a.at(59)),
        lambda a: a.line("Issued At", a.at(-299)),
        lambda a: (
            f"{a.text}\nExpiration Time: {a.at(1)}\nNot Before: {a.at(0)}\nRequest ID: \nResources:\n- ipfs://bafy/"
        ),
        lambda a: f"{a.text}\nResources:",
    ],
    ids=["URI with a slash", "scheme", "no statement", "clock ahead", "clock behind", "every field", "no resource"],
)
def test_what_the_eip_leaves_open_signs_in(change: Callable[[Attempt], str], shared: Client, tried: Attempt) -> None:
    message = change(tried)
    assert _verify(shared, message, signature(tried.person, message)).status_code == 200


def test_H1_a_nonce_is_used_once(client: Client, attempt: Attempt) -> None:
    signed = signature(attempt.person, attempt.text)
    assert _verify(client, attempt.text, signed).status_code == 200
    again = _verify(client, attempt.text, signed)
    assert (again.status_code, again.json()["code"]) == (401, "sign_in_nonce")


def test_H1_a_nonce_lives_five_minutes(client: Client, attempt: Attempt, clock: Clock) -> None:
    clock.forward(minutes=5)
    message = attempt.line("Issued At", attempt.at(0))
    answer = _verify(client, message, signature(attempt.person, message))
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_nonce")


def test_H1_V16_fifty_uses_of_one_nonce_at_once_sign_in_once(
    client: Client, settings: Settings, attempt: Attempt
) -> None:
    body = {"message": attempt.text, "signature": signature(attempt.person, attempt.text)}
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/auth/verify", json=body), range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 49
    assert {answer.json()["code"] for answer in answers if answer.status_code == 401} == {"sign_in_nonce"}
    engine = create_engine(settings.database_url.get_secret_value())
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM app.auth_session")) == 1
        assert connection.scalar(text("SELECT count(*) FROM app.account")) == 1
    engine.dispose()


def test_two_first_sign_ins_of_one_person_at_once_make_one_account(client: Client, alice: LocalAccount) -> None:
    messages = [_begin(client, alice) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda m: _verify(client, m, signature(alice, m)), messages))
    assert [answer.status_code for answer in answers] == [200] * 8


def test_a_session_ends_with_its_message_at_the_latest(client: Client, attempt: Attempt, clock: Clock) -> None:
    message = f"{attempt.text}\nExpiration Time: {attempt.at(3600)}"
    token = _verify(client, message, signature(attempt.person, message)).json()["token"]
    client.cookies.clear()
    headers = {"Authorization": f"Bearer {token}"}
    clock.forward(seconds=3599)
    assert client.get("/v1/me", headers=headers).status_code == 200
    clock.forward(seconds=1)
    answer = client.get("/v1/me", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "session_expired")


def test_the_cookie_is_secure_and_bound_to_the_host_over_https(
    settings: Settings, alice: LocalAccount, clock: Clock
) -> None:
    key = settings.data_dir.parent / "master.key"
    master_key.create(key)  # in production nobody makes it by the way
    changed = {"public_url": "https://troupe.example", "env": "production", "master_key_file": key}
    https = settings.model_copy(update=changed)
    with Client(create_app(https, clock=clock), base_url="https://troupe.example") as client:
        message = _begin(client, alice)
        answer = _verify(client, message, signature(alice, message))
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-troupe_session=")
        assert "Secure" in cookie
        assert client.get("/v1/me").json()["address"] == alice.address
        assert "max-age" in answer.headers["strict-transport-security"]


def test_the_database_holds_no_token(client: Client, settings: Settings, alice: LocalAccount) -> None:
    token = sign_in(client, alice)["token"]
    engine = create_engine(settings.database_url.get_secret_value())
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT row_to_json(s)::text FROM app.auth_session s")).scalars().all()
    engine.dispose()
    assert len(rows) == 1
    assert token not in rows[0]
    assert token.encode().hex() not in rows[0]


def test_an_account_that_is_erased_while_its_owner_signs_in_is_made_anew(
    client: Client, alice: LocalAccount, clean_db: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sign_in(client, alice)
    made = ways.new_session

    def erased_meanwhile(*args: Any, **more: Any) -> Any:
        with psycopg.connect(clean_db.conninfo()) as elsewhere:
            assert elsewhere.execute("DELETE FROM app.account").rowcount == 1
        return made(*args, **more)

    monkeypatch.setattr(ways, "new_session", erased_meanwhile)
    again = sign_in(client, alice)
    client.cookies.clear()
    assert (
        client.get("/v1/me", headers={"Authorization": f"Bearer {again['token']}"}).json()["address"] == alice.address
    )
    assert client.get("/v1/me", headers={"Authorization": f"Bearer {first['token']}"}).status_code == 401


def test_an_account_that_a_process_remembers_and_that_has_gone_is_made_anew(
    client: Client, alice: LocalAccount, clean_db: DatabaseUrls
) -> None:
    for _ in range(3):  # by the third time it is remembered
        sign_in(client, alice)
    with psycopg.connect(clean_db.conninfo()) as elsewhere:
        elsewhere.execute("DELETE FROM app.account")
    again = sign_in(client, alice)
    client.cookies.clear()
    me = client.get("/v1/me", headers={"Authorization": f"Bearer {again['token']}"})
    assert me.json()["address"] == alice.address


def test_an_address_that_has_passed_to_another_account_signs_in_to_that_one(
    client: Client, alice: LocalAccount, clean_db: DatabaseUrls
) -> None:
    for _ in range(3):
        sign_in(client, alice)
    with psycopg.connect(clean_db.conninfo()) as elsewhere:
        elsewhere.execute("UPDATE app.account SET address = NULL")
    again = sign_in(client, alice)
    client.cookies.clear()
    me = client.get("/v1/me", headers={"Authorization": f"Bearer {again['token']}"}).json()
    assert (me["address"], me["visitor"]) == (alice.address, False)


def test_a_sign_in_of_a_known_account_is_one_statement_and_a_refused_one_leaves_the_nonce(
    client: Client, alice: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(client, alice)

    def slow_way(*_: object) -> None:
        raise AssertionError("the sync way was gone")

    with monkeypatch.context() as patched:
        patched.setattr(ways, "open_first", slow_way)
        text = _begin(client, alice)
        wrong = client.post("/v1/auth/verify", json={"message": text, "signature": "0x" + "11" * 65})
        assert wrong.status_code == 401
        signed = {"message": text, "signature": signature(alice, text)}
        assert client.post("/v1/auth/verify", json=signed).status_code == 200
        sign_in(client, alice)  # and whom the process remembers
    spent = client.post("/v1/auth/verify", json=signed)
    assert (spent.status_code, spent.json()["code"]) == (401, "sign_in_nonce")
