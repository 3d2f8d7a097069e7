"""EIP-4361 text: what is built is read back, and nothing else is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from backend.accounts import siwe
from backend.accounts.siwe import Message
from backend.errors import Invalid

ADDRESS = "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"

# the EIP's own example
EXAMPLE = """example.com wants you to sign in with your Ethereum account:
0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2

I accept the ExampleOrg Terms of Service: https://example.com/tos

URI: https://example.com/login
Version: 1
Chain ID: 1
Nonce: 32891756
Issued At: 2021-09-30T16:25:24Z
Resources:
- ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/
- https://example.com/my-web2-claim.json"""


def test_the_eips_example_is_read_and_written_back() -> None:
    message = siwe.parse(EXAMPLE)
    assert message.domain == "example.com"
    assert message.chain_id == 1
    assert message.issued_at == datetime(2021, 9, 30, 16, 25, 24, tzinfo=UTC)
    assert len(message.resources) == 2
    assert message.text() == EXAMPLE


def test_a_message_without_a_statement_has_two_empty_lines() -> None:
    text = EXAMPLE.replace("I accept the ExampleOrg Terms of Service: https://example.com/tos\n", "")
    assert f"{ADDRESS}\n\n\nURI: " in text
    assert siwe.parse(text).statement is None
    assert siwe.parse(text).text() == text


def test_scheme_port_and_ipv6_are_authorities() -> None:
    for domain in ("example.com:3388", "[::1]:8000", "127.0.0.1:8000", "user@host"):
        assert siwe.parse(EXAMPLE.replace("example.com wants", f"{domain} wants")).domain == domain
    with_scheme = siwe.parse("https://" + EXAMPLE)
    assert (with_scheme.scheme, with_scheme.domain) == ("https", "example.com")


def test_times_keep_their_instant_whatever_their_zone_and_precision() -> None:
    for written in ("2021-09-30T18:25:24+02:00", "2021-09-30t16:25:24z", "2021-09-30T16:25:24.000000000Z"):
        text = EXAMPLE.replace("2021-09-30T16:25:24Z", written)
        assert siwe.parse(text).issued_at == datetime(2021, 9, 30, 16, 25, 24, tzinfo=UTC)


NONCES = st.text("abcXYZ0189", min_size=8, max_size=40)
TIMES = st.datetimes(
    datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7))])
).map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000))


@given(
    st.builds(
        Message,
        domain=st.from_regex(r"[a-z]{1,10}\.[a-z]{2,5}(:[0-9]{1,4})?", fullmatch=True),
        address=st.binary(min_size=32, max_size=32)
        .filter(lambda key: 0 < int.from_bytes(key) < siwe.SECP256K1_ORDER)
        .map(lambda key: Account.from_key(key).address),
        uri=st.from_regex(r"https://[a-z]{1,9}(/[a-z0-9%]{0})*\?[a-z=&]{0,8}#[a-z]{0,4}", fullmatch=True),
        chain_id=st.integers(0, 2**64),
        nonce=NONCES,
        issued_at=TIMES,
        scheme=st.sampled_from([None, "http", "https"]),
        statement=st.none() | st.from_regex(r"[A-Za-z0-9 .,:;!?()'*/#\[\]@_~+=&$-]{1,80}", fullmatch=True),
        expiration_time=st.none() | TIMES,
        not_before=st.none() | TIMES,
        request_id=st.none() | st.from_regex(r"[A-Za-z0-9:@._~-]{0,20}", fullmatch=True),
        resources=st.lists(st.sampled_from(["ipfs://bafy/", "urn:a:b", "https://x/y"]), max_size=3).map(tuple),
    )
)
def test_what_is_built_is_read_back(message: Message) -> None:
    assert siwe.parse(message.text()) == message


@given(
    st.text(max_size=300) | st.builds(lambda a, b: EXAMPLE[:a] + EXAMPLE[b:], st.integers(0, 400), st.integers(0, 400))
)
def test_V15_any_text_is_read_or_refused_by_name(text: str) -> None:
    try:
        message = siwe.parse(text)
    except Invalid as error:
        refusal = error
    else:
        assert siwe.parse(message.text()) == message
        return
    assert refusal.code == "sign_in_malformed"
    assert refusal.data["field"]


def test_long_text_is_refused_before_it_is_matched() -> None:
    with pytest.raises(Invalid, match="longer than"):
        siwe.parse(EXAMPLE + "\n- https://x" * 1000)


def test_the_grammar_takes_no_more_than_linear_time() -> None:
    hard = EXAMPLE.replace("https://example.com/login", "a:" + "%41" * 1200 + "|")
    with pytest.raises(Invalid):
        siwe.parse(hard)
