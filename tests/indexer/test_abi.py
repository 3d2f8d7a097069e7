"""Names, columns and decoders made from the ABIs."""

from __future__ import annotations

from typing import Any

import eth_abi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import abi, models
from indexer.abi import Event, Log
from indexer.errors import AbiMismatch
from tests.indexer.support import abi_events, snake_case, topic_of, type_of, values_of

EVENTS = [event for events in abi.contracts().values() for event in events]
TIMES = {5: 1_700_000_000}


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("contentHash", "content_hash"),
        ("ContractURIUpdated", "contract_uri_updated"),
        ("EIP712DomainChanged", "eip712_domain_changed"),
        ("_from", "from"),
        ("value", "value"),
        ("WorkRegistry", "work_registry"),
    ],
)
def test_snake(name: str, snake: str) -> None:
    assert abi.snake(name) == snake


def parameter(kind: str, name: str = "x", **more: Any) -> dict[str, Any]:
    return {"type": kind, "name": name, "indexed": False, **more}


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        *(("address", "bytea"), ("bytes32", "bytea"), ("bytes", "bytea"), ("string", "text"), ("bool", "bool")),
        *(("uint8", "int8"), ("uint48", "int8"), ("int48", "int8"), ("uint56", "numeric"), ("uint64", "numeric")),
        *(("uint", "numeric"), ("int256", "numeric"), ("uint64[]", "jsonb"), ("bytes32[2]", "jsonb")),
    ],
)
def test_column_kinds(kind: str, column: str) -> None:
    assert abi.columns_of([parameter(kind)]) == (abi.Column("x", column),)


def test_columns_are_never_reserved_and_never_clash() -> None:
    names = ["from", "to", "", "tx_hash", "_value", "value", "user", "values", "position", "index"]
    columns = abi.columns_of([parameter("uint8", name) for name in names])
    assert [column.name for column in columns] == [
        *("from_", "to_", "arg2", "tx_hash_", "value", "value_", "user_", "values_", "position", "index")
    ]


def test_structs_are_flattened_and_indexed_dynamic_values_are_hashes() -> None:
    struct = parameter("tuple", "terms", components=[parameter("uint16", "minBps"), parameter("string", "uri")])
    assert [column.name for column in abi.columns_of([struct])] == ["terms_min_bps", "terms_uri"]
    assert abi.columns_of([parameter("string", "topic", indexed=True)]) == (abi.Column("topic", "bytea"),)


def test_two_events_of_one_name_are_refused() -> None:
    entries = [{"type": "event", "name": "A", "inputs": [parameter(kind)]} for kind in ("uint8", "bool")]
    with pytest.raises(ValueError, match="two events named A"):
        abi.parse_events("C", entries)


def test_a_type_without_a_column_is_refused() -> None:
    with pytest.raises(ValueError, match="no column for the ABI type fixed128x18"):
        abi.columns_of([parameter("fixed128x18")])


def test_every_event_has_its_table_with_the_position_first() -> None:
    for event in EVENTS:
        table = models.event(event.contract, event.name)
        names = [column.name for column in table.columns]
        assert names[:4] == ["block_number", "log_index", "tx_hash", "block_time"]
        assert table.name == f"{snake_case(event.contract)}_{snake_case(event.name)}"
        assert event.topic == topic_of(abi_events(event.contract)[event.name])
    with pytest.raises(LookupError, match=r"no committed ABI has an event WorkRegistry\.Nothing"):
        models.event("WorkRegistry", "Nothing")
    with pytest.raises(LookupError, match=r"no view chain\.nothing"):
        models.view("nothing")


def value_of(kind: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of an ABI type, as eth_abi encodes them."""
    name = kind["type"]
    if name.endswith("]"):
        return st.lists(value_of({**kind, "type": name[: name.rindex("[")]}), max_size=3).map(tuple)
    if name == "tuple":
        return st.tuples(*(value_of(part) for part in kind["components"]))
    simple = {
        "address": st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
        "bool": st.booleans(),
        "string": st.text(max_size=40),
        "bytes": st.binary(max_size=70),
    }
    if name in simple:
        return simple[name]
    if name.startswith("bytes"):
        return st.binary(min_size=int(name[5:]), max_size=int(name[5:]))
    bits = abi.integer_bits(name)
    if name.startswith("int"):
        return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.one_of(st.integers(0, 2**bits - 1), st.sampled_from([0, 1, 2**bits - 1]))


def log_of(entry: dict[str, Any], values: list[Any]) -> tuple[list[bytes], bytes]:
    topics = [topic_of(entry)]
    rest = []
    for each, value in zip(entry["inputs"], values, strict=True):
        if each["indexed"]:
            topics.append(eth_abi.encode([type_of(each)], [value]))
        else:
            rest.append((type_of(each), value))
    return topics, eth_abi.encode([kind for kind, _ in rest], [value for _, value in rest])


DECODERS = {(event.contract, event.name): abi.compile_decoder(event) for event in EVENTS}
WIDE: dict[str, Any] = {
    "type": "event",
    "name": "Wide",
    "inputs": [
        parameter("int256", "a"),
        parameter("int24", "b", indexed=True),
        parameter("bytes5", "c"),
        parameter("tuple", "d", components=[parameter("uint64", "e"), parameter("bool", "f")]),
        parameter("tuple[]", "g", components=[parameter("uint64", "h"), parameter("bytes", "i")]),
        parameter("uint64[2][]", "j"),
    ],
}


@given(st.data())
def test_decoders_agree_with_eth_abi_for_any_values(data: st.DataObject) -> None:
    event = data.draw(st.sampled_from(EVENTS))
    entry = abi_events(event.contract)[event.name]
    topics, body = log_of(entry, [data.draw(value_of(each)) for each in entry["inputs"]])
    log = Log(5, 3, bytes(32), bytes(20), b"".join(topics), body)
    (row,) = DECODERS[event.contract, event.name]([log], TIMES)
    assert list(row) == [5, 3, bytes(32), TIMES[5], *values_of(entry, topics, body)]


@given(value_of(WIDE["inputs"][0]), st.integers(-(2**23), 2**23 - 1), st.binary(min_size=5, max_size=5))
def test_signed_and_short_words(a: int, b: int, c: bytes) -> None:
    (event,) = abi.parse_events("C", [{**WIDE, "inputs": WIDE["inputs"][:4]}])
    topics, body = log_of({**WIDE, "inputs": WIDE["inputs"][:4]}, [a, b, c, (7, True)])
    (row,) = abi.compile_decoder(event)([Log(5, 0, b"", b"", b"".join(topics), body)], TIMES)
    assert row[4:] == (a, b, c, 7, True)


def test_arrays_of_structs_become_json_with_numbers_as_text() -> None:
    (event,) = abi.parse_events("C", [WIDE])
    values = [1, 2, b"abcde", (7, True), [(2**63, b"\xff")], [(1, 2), (3, 4)]]
    topics, body = log_of(WIDE, values)
    (row,) = abi.compile_decoder(event)([Log(5, 0, b"", b"", b"".join(topics), body)], TIMES)
    assert row[-2:] == ([{"h": str(2**63), "i": "0xff"}], [["1", "2"], ["3", "4"]])


def damaged(event: Event) -> list[tuple[bytes, bytes]]:
    """(topics, data) of a log that is not of the event's form."""
    size = 32 * sum(1 for each in event.inputs if not each["indexed"])
    topics = b"\0" * 32 * (1 + sum(1 for each in event.inputs if each["indexed"]))
    good = bytes(size)
    return [
        (topics[:-32], good),
        (topics + bytes(32), good),
        (topics, good[:-1]),
        (topics, good + bytes(32)),
        (topics, b"\xff" * size),
        (topics[:32] + b"\xff" * (len(topics) - 32), good),
    ]


def test_a_log_of_another_form_is_refused() -> None:
    (event,) = (each for each in EVENTS if (each.contract, each.name) == ("RevenueLedger", "EdgeSettled"))
    decode = DECODERS["RevenueLedger", "EdgeSettled"]
    for topics, data in damaged(event):
        with pytest.raises(AbiMismatch, match=r"Log 0 of block 5 is no RevenueLedger\.EdgeSettled"):
            decode([Log(5, 0, b"", b"", topics, data)], TIMES)


def test_a_string_that_is_no_utf8_or_has_nul_stops_nothing() -> None:
    decode = DECODERS["TroupeGovernor", "VoteCast"]
    entry = abi_events("TroupeGovernor")["VoteCast"]
    topics, body = log_of(entry, ["0x" + "11" * 20, 1, 1, 1, "abcd"])
    broken = body.replace(b"abcd", b"a\xff\0d")
    (row,) = decode([Log(5, 0, b"", b"", b"".join(topics), broken)], TIMES)
    assert row[-1] == "a\ufffd\ufffdd"


def test_the_bytes_of_a_string_are_read_as_they_were_emitted() -> None:
    """The column shows replacement characters; what the contract hashes is in the data."""
    entry = abi_events("TroupeGovernor")["ProposalCreated"]
    _, body = log_of(entry, [1, "0x" + "11" * 20, [], [], ["f()"], [], 2, 3, "abcdefgh"])
    event = next(each for each in abi.contracts()["TroupeGovernor"] if each.name == "ProposalCreated")
    assert abi.string_bytes(event, body.replace(b"abcdefgh", b"a\xff\0\xc3efgh"), "description") == b"a\xff\0\xc3efgh"
    for name in ("proposer", "nothing"):
        with pytest.raises(LookupError, match=name):
            abi.string_bytes(event, body, name)


def test_nul_in_an_array_of_strings_stops_nothing() -> None:
    entry = abi_events("TroupeGovernor")["ProposalCreated"]
    topics, body = log_of(entry, [1, "0x" + "11" * 20, [], [], ["f(\0)"], [], 2, 3, "title"])
    (row,) = DECODERS["TroupeGovernor", "ProposalCreated"]([Log(5, 0, b"", b"", b"".join(topics), body)], TIMES)
    assert ["f(\ufffd)"] in row
    assert list(row[4:]) == values_of(entry, topics, body)
