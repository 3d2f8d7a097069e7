"""Events of the committed ABIs: their columns, and a decoder for each, compiled once.

Encoding is the Solidity contract ABI specification's. Events of static types are decoded by code that is generated for
them, straight from the words of topics and data; events with dynamic types go through eth_abi.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from indexer.errors import AbiMismatch
from indexer.keccak import keccak

if TYPE_CHECKING:
    from eth_abi.codec import ABIDecoder

FOLDER = Path(__file__).parent / "abi"

RESERVED_WORDS = """
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
    column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze
    from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
    localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
    returning right select session_user similar some symmetric system_user table tablesample then to trailing true
    union unique user using variadic verbose when where window with
"""
"""PostgreSQL's reserved words (pg_get_keywords(), categories R and T)."""
RESERVED = frozenset(RESERVED_WORDS.split()) | {"keys", "values", "items", "get"}
"""Names that no column gets; the last four are methods of SQLAlchemy's column collections."""

POSITION_COLUMNS = ("block_number", "log_index", "tx_hash", "block_time")
WORD = 32


class Log(NamedTuple):
    """A log as `chain.log` holds it: `topics` are the words joined, the event's signature hash first."""

    block_number: int
    log_index: int
    tx_hash: bytes
    address: bytes
    topics: bytes
    data: bytes


Row = tuple[Any, ...]
Decode = Callable[[Iterable[Log], Mapping[int, int]], list[Row]]
"""Logs of one event and the time of each block by its number -> rows in the order of the event's table."""


@dataclass(frozen=True)
class Column:
    """A column of an event's table. `kind` is one of bytea, text, bool, int8, numeric, jsonb: PostgreSQL's names."""

    name: str
    kind: str


@dataclass(frozen=True)
class Event:
    """One event of one contract."""

    contract: str
    name: str
    signature: str
    inputs: tuple[Mapping[str, Any], ...]
    columns: tuple[Column, ...]

    @property
    def topic(self) -> bytes:
        """The keccak of the signature, which is the log's first topic."""
        return bytes(keccak(self.signature.encode()))

    @property
    def table_name(self) -> str:
        return f"{snake(self.contract)}_{snake(self.name)}"


def snake(name: str) -> str:
    """`contentHash` -> `content_hash`, `ContractURIUpdated` -> `contract_uri_updated`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.lstrip("_")).lower()


def abi_type(parameter: Mapping[str, Any]) -> str:
    """The type as signatures and eth_abi write it: structs as their fields in brackets."""
    kind: str = parameter["type"]
    if kind.startswith("tuple"):
        return f"({','.join(map(abi_type, parameter['components']))}){kind[len('tuple') :]}"
    return kind


def is_array(kind: str) -> bool:
    return kind.endswith("]")


def is_static(parameter: Mapping[str, Any]) -> bool:
    """Whether the value is one word, or a struct of such; fixed arrays are left to eth_abi."""
    kind = parameter["type"]
    if kind == "tuple":
        return all(map(is_static, parameter["components"]))
    return kind not in ("string", "bytes") and not is_array(kind)


def integer_bits(kind: str) -> int:
    """Width of an ABI integer type; `uint` alone is uint256."""
    return int(kind.lstrip("uint") or 256)


def column_kind(kind: str) -> str:
    """PostgreSQL's type for a value of an ABI type that is no struct."""
    if is_array(kind):
        return "jsonb"
    if kind == "string":
        return "text"
    if kind == "bool":
        return "bool"
    if kind == "address" or kind.startswith("bytes"):
        return "bytea"
    if re.fullmatch(r"u?int\d*", kind):
        return "int8" if integer_bits(kind) <= 48 else "numeric"
    raise ValueError(f"the indexer has no column for the ABI type {kind}")


def _leaves(parameter: Mapping[str, Any], prefix: str, position: int) -> Iterator[Column]:
    name = prefix + (snake(parameter["name"]) or f"arg{position}")
    kind = parameter["type"]
    if parameter.get("indexed") and (kind == "tuple" or not is_static(parameter)):
        yield Column(name, "bytea")  # a topic has only the hash of it
    elif kind == "tuple":
        for number, component in enumerate(parameter["components"]):
            yield from _leaves(component, f"{name}_", number)
    else:
        yield Column(name, column_kind(kind))


def columns_of(inputs: Iterable[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The columns of an event's arguments, named so that none is reserved or clashes with another."""
    taken = set(POSITION_COLUMNS)
    columns = []
    for position, parameter in enumerate(inputs):
        for column in _leaves(parameter, "", position):
            name = column.name
            while name in taken or name in RESERVED:
                name += "_"
            taken.add(name)
            columns.append(Column(name, column.kind))
    return tuple(columns)


def parse_events(contract: str, abi: Iterable[Mapping[str, Any]]) -> list[Event]:
    """The events of an ABI, in its order. Anonymous ones have no signature in their logs and are left out.

    Raises ValueError for two events of one name: they would share a table.
    """
    events: dict[str, Event] = {}
    for entry in abi:
        if entry["type"] != "event" or entry.get("anonymous"):
            continue
        inputs = tuple(entry["inputs"])
        signature = f"{entry['name']}({','.join(map(abi_type, inputs))})"
        if entry["name"] in events:
            if events[entry["name"]].signature != signature:
                raise ValueError(f"{contract} has two events named {entry['name']}: give each its own name")
            continue
        events[entry["name"]] = Event(contract, entry["name"], signature, inputs, columns_of(inputs))
    return list(events.values())


def load(folder: Path = FOLDER) -> dict[str, list[Event]]:
    """The events of each contract that has an ABI in `folder` (`<Contract>.json`, a JSON list)."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        abi = orjson.loads(path.read_bytes())
        found[path.stem] = parse_events(path.stem, abi)
    return found


@cache
def contracts() -> dict[str, list[Event]]:
    """The committed ABIs' events by contract, read once."""
    return load()


# ---------------------------------------------------------------------------------------------------------- decoding


def mismatch(event: Event, log: Log, why: str) -> AbiMismatch:
    return AbiMismatch(
        f"Log {log.log_index} of block {log.block_number} is no {event.contract}.{event.signature}: {why}. The"
        " committed ABIs are not those of the deployed contracts: run `make abi`, or name the right deployment in"
        " TROUPE_DEPLOYMENT"
    )


def _word(kind: str, source: str, at: int) -> tuple[list[str], str]:
    """Code that checks the padding of the word at `at` in the bytes named `source`, and code for its value."""
    end = at + WORD
    if kind == "address":
        return [f"{source}[{at}:{at + 12}] != ZEROS[:12]"], f"{source}[{at + 12}:{end}]"
    if kind == "bool":
        return [f"int.from_bytes({source}[{at}:{end}]) > 1"], f"{source}[{end - 1}] == 1"
    if kind.startswith("bytes"):
        size = int(kind[5:])
        check = [f"{source}[{at + size}:{end}] != ZEROS[:{WORD - size}]"] if size < WORD else []
        return check, f"{source}[{at}:{at + size}]"
    bits = integer_bits(kind)
    if kind.startswith("int"):
        value = f"int.from_bytes({source}[{at}:{end}], signed=True)"
        check = [f"not -(1 << {bits - 1}) <= {value} < (1 << {bits - 1})"] if bits < 256 else []
        return check, value
    size = bits // 8
    check = [f"{source}[{at}:{end - size}] != ZEROS[:{WORD - size}]"] if size < WORD else []
    return check, f"int.from_bytes({source}[{end - size}:{end}])"


def _flat(parameter: Mapping[str, Any]) -> Iterator[str]:
    """The word types of a static value."""
    if parameter["type"] == "tuple":
        for component in parameter["components"]:
            yield from _flat(component)
    else:
        yield parameter["type"]


def _topic(parameter: Mapping[str, Any], at: int) -> tuple[list[str], str]:
    hashed = parameter["type"] == "tuple" or not is_static(parameter)
    return _word("bytes32" if hashed else parameter["type"], "t", at)


def _data_words(inputs: Iterable[Mapping[str, Any]]) -> tuple[list[tuple[list[str], str]], int]:
    """Code for each leaf of static data in order, and the size of the data in bytes."""
    words = []
    at = 0
    for parameter in inputs:
        for kind in _flat(parameter):
            words.append(_word(kind, "d", at))
            at += WORD
    return words, at


def compile_decoder(event: Event) -> Decode:
    """A function that decodes logs of `event` to rows. It raises AbiMismatch for a log of another form."""
    topics = WORD * (1 + sum(1 for parameter in event.inputs if parameter["indexed"]))
    in_data = [parameter for parameter in event.inputs if not parameter["indexed"]]
    static = all(map(is_static, in_data))
    checks: list[str] = [f"len(t) != {topics}"]
    words, size = _data_words(in_data) if static else ([], 0)
    if static:
        checks.append(f"len(d) != {size}")
    values = []
    at_topic = WORD
    at_word = 0
    for parameter in event.inputs:
        if parameter["indexed"]:
            check, value = _topic(parameter, at_topic)
            at_topic += WORD
            checks += check
            values.append(value)
        elif static:
            for _ in _flat(parameter):
                check, value = words[at_word]
                at_word += 1
                checks += check
                values.append(value)
        else:
            values.append(f"*flatten[{in_data.index(parameter)}](decoded[{in_data.index(parameter)}])")
    decode_line = "" if static else "            decoded = dynamic(d, n, i, x, a, t)\n"
    source = (
        "def decode(logs, times):\n"
        "    rows = []\n"
        "    for n, i, x, a, t, d in logs:\n"
        f"        if {' or '.join(checks)}:\n"
        "            raise refuse(n, i, x, a, t, d)\n"
        f"{decode_line[4:]}"
        f"        rows.append((n, i, x, times[n], {', '.join(values)}))\n"
        "    return rows\n"
    )

    def refuse(*fields: Any) -> AbiMismatch:
        return mismatch(event, Log(*fields), "the words of its topics or data do not fit")

    types = [abi_type(parameter) for parameter in in_data]

    def dynamic(data: bytes, *position: Any) -> tuple[Any, ...]:
        try:
            return codec().decode(types, data)
        except Exception as error:  # eth_abi raises many kinds, each means that the data has another form
            number, index, tx, address, words = position
            raise mismatch(event, Log(number, index, tx, address, words, data), str(error)) from error

    scope: dict[str, Any] = {
        "ZEROS": bytes(WORD),
        "refuse": refuse,
        "dynamic": dynamic,
        "flatten": [partial(_flatten, parameter) for parameter in in_data],
    }
    exec(compile(source, f"<decoder of {event.contract}.{event.name}>", "exec"), scope)
    decode: Decode = scope["decode"]
    return decode


@cache
def codec() -> ABIDecoder:
    """eth_abi's decoder, imported when the first event with a dynamic type needs it.

    A string that is not UTF-8 is no reason to stop: anyone can put one into an event. The raw log keeps it.
    """
    from eth_abi.codec import ABIDecoder  # noqa: PLC0415
    from eth_abi.decoding import StringDecoder  # noqa: PLC0415
    from eth_abi.registry import registry as default_registry  # noqa: PLC0415

    class LenientString(StringDecoder):
        def __init__(self) -> None:
            super().__init__("replace")  # type: ignore[no-untyped-call]

    registry = default_registry.copy()  # type: ignore[no-untyped-call]
    registry.unregister_decoder("string")
    registry.register_decoder("string", LenientString, label="string")
    return ABIDecoder(registry)


def string_bytes(event: Event, data: bytes, name: str) -> bytes:
    """The bytes of a string argument as the contract emitted them: a log's data may hold what no text column can.

    Raises LookupError for an argument that is not in the data, DecodingError for data of another form.
    """
    in_data = [parameter for parameter in event.inputs if not parameter["indexed"]]
    types = {parameter["name"]: abi_type(parameter) for parameter in in_data}
    if types.get(name) != "string":
        raise LookupError(f"{event.contract}.{event.signature} has no string {name} in its data")
    at = list(types).index(name)
    found: bytes = codec().decode(list((types | {name: "bytes"}).values()), data)[at]
    return found


def _text(value: str) -> str:
    """PostgreSQL's text holds any character but NUL; the raw log keeps the bytes."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _flatten(parameter: Mapping[str, Any], value: Any) -> Iterator[Any]:
    """The column values of one decoded argument."""
    kind = parameter["type"]
    if kind == "tuple":
        for component, part in zip(parameter["components"], value, strict=True):
            yield from _flatten(component, part)
    elif is_array(kind):
        yield _json(parameter, value)
    elif kind == "address":
        yield bytes.fromhex(value[2:])
    elif kind == "string":
        yield _text(value)
    else:
        yield value


def _json(parameter: Mapping[str, Any], value: Any) -> Any:
    """A value as it stands in jsonb: integers as decimal strings, bytes and addresses as 0x-hex, structs as objects."""
    kind: str = parameter["type"]
    if is_array(kind):
        element = {**parameter, "type": kind[: kind.rindex("[")]}
        return [_json(element, part) for part in value]
    if kind == "tuple":
        pairs = zip(parameter["components"], value, strict=True)
        return {snake(component["name"]): _json(component, part) for component, part in pairs}
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return _text(value)
