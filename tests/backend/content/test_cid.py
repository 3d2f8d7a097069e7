"""CIDs: every text has one value, every value one canonical text, and nothing else is taken for a CID."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.content.cid import (
    CID,
    DAG_PB,
    RAW,
    InvalidCid,
    decode_base32,
    decode_base58,
    decode_varint,
    encode_base32,
    encode_base58,
    encode_varint,
)

CIDS = st.one_of(
    st.builds(CID, st.just(1), st.sampled_from([RAW, DAG_PB]), st.binary(min_size=32, max_size=32)),
    st.builds(CID, st.just(0), st.just(DAG_PB), st.binary(min_size=32, max_size=32)),
)
EMPTY_RAW = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


@given(CIDS)
def test_text_and_binary_come_back(cid: CID) -> None:
    assert CID.parse(str(cid)) == cid
    assert CID.decode(cid.binary) == cid
    if cid.version == 1:
        assert CID.parse("z" + encode_base58(cid.binary)) == cid


@given(st.binary(max_size=64))
def test_base32_and_base58_come_back(data: bytes) -> None:
    assert decode_base32(encode_base32(data)) == data
    assert decode_base58(encode_base58(data)) == data


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_varint_comes_back(value: int) -> None:
    assert decode_varint(b"\xff" + encode_varint(value), 1) == (value, 1 + len(encode_varint(value)))


@given(st.text(max_size=90))
def test_any_text_is_a_cid_or_is_refused(text: str) -> None:
    try:
        cid = CID.parse(text)
    except InvalidCid:
        return
    assert str(cid) == text or text[0] == "z"


@given(st.binary(max_size=50))
def test_any_bytes_are_a_cid_or_are_refused(data: bytes) -> None:
    try:
        cid = CID.decode(data)
    except InvalidCid:
        return
    assert cid.binary == data


@given(CIDS, st.data())
def test_an_altered_character_never_gives_the_same_cid(cid: CID, data: st.DataObject) -> None:
    text = str(cid)
    index = data.draw(st.integers(0, len(text) - 1))
    other = text[:index] + data.draw(st.sampled_from("az27Q")) + text[index + 1 :]
    if other != text:
        with contextlib.suppress(InvalidCid):
            assert CID.parse(other) != cid


def test_matches_only_its_own_block() -> None:
    cid = CID.raw(hashlib.sha256(b"scene one").digest())
    assert cid == CID.of(b"scene one", RAW)
    assert cid.matches(b"scene one")
    assert not cid.matches(b"scene two")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "80 ASCII"),
        ("b" * 81, "80 ASCII"),
        ("bé", "80 ASCII"),
        ("../../etc/passwd", "starts with"),
        ("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1Aw0H", "base58"),  # 0 is not in the alphabet
        (EMPTY_RAW.upper(), "starts with"),
        (EMPTY_RAW[:-1] + "v", "canonical"),  # only padding bits differ
        (EMPTY_RAW[:-3], "base32|digest|canonical"),
        ("b" + encode_base32(b"\x01\x71\x12\x20" + b"\0" * 32), "neither raw"),  # dag-cbor
        ("b" + encode_base32(b"\x01\x55\x13\x20" + b"\0" * 32), "not sha2-256"),  # sha2-512
        ("b" + encode_base32(b"\x01\x55\x00\x02hi"), "not sha2-256"),  # identity: content inside the id
        ("b" + encode_base32(b"\x01\x55\x12\x1f" + b"\0" * 31), "32 bytes"),
        ("b" + encode_base32(b"\x81\x00\x55\x12\x20" + b"\0" * 32), "multibase|shortest"),
        ("b" + encode_base32(b"\x12\x20" + b"\0" * 32), "multibase"),  # a CIDv0 has no multibase
        ("b" + encode_base32(b"\x02\x55\x12\x20" + b"\0" * 32), "multibase|not known"),
    ],
)
def test_foreign_texts_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidCid, match=reason):
        CID.parse(text)
