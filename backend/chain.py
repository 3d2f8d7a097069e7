"""The contract set as the backend knows it: addresses from the deployment manifest, codecs from the committed ABIs.

No web3 and no network here: calldata, return data, errors and typed-data domains are computed from files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from pydantic import BaseModel, ConfigDict, ValidationError

from backend.schemas import AddressStr
from indexer.types import Address

ABI_FOLDER = Path(__file__).resolve().parent.parent / "indexer" / "abi"
NATIVE = Address("0x0000000000000000000000000000000000000000")
"""The native coin's address wherever a token is named."""

# EIP-20, the part that wallets call
_ERC20 = (
    ("approve", "nonpayable", ("spender address", "value uint256"), "bool"),
    ("allowance", "view", ("owner address", "spender address"), "uint256"),
    ("balanceOf", "view", ("account address",), "uint256"),
    ("transfer", "nonpayable", ("to address", "value uint256"), "bool"),
)

# ERC-1271
_CONTRACT_WALLET = (("isValidSignature", "view", ("hash bytes32", "signature bytes"), "bytes4"),)

_PANICS = {0x01: "an assertion failed", 0x11: "an overflow", 0x12: "a division by zero", 0x32: "an index out of range"}


class ManifestError(Exception):
    """The deployment manifest is missing or not one; the text says what to do."""


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Finality(_Manifest):
    """When a block of this network counts as final: by the node's `finalized` tag, or at a depth in blocks."""

    mode: Literal["tag", "depth"]
    depth: int | None = None


class DeployedContract(_Manifest):
    """One contract of the set. `codeHash` is the keccak of its run-time code."""

    address: AddressStr
    block: int = 0
    abiHash: str | None = None
    codeHash: str | None = None


class Token(_Manifest):
    """A currency that works are paid in; the native coin is the zero address."""

    address: AddressStr
    symbol: str
    decimals: int


class Manifest(_Manifest):
    """A deployment: which contracts stand where, on which chain."""

    chainId: int
    network: str
    startBlock: int = 0
    genesisHash: str | None = None
    finality: Finality
    contracts: dict[str, DeployedContract]
    tokens: list[Token] = []
    parameters: dict[str, Any] = {}


def _signature(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']}({','.join(map(_type, entry['inputs']))})"


def _type(parameter: Mapping[str, Any]) -> str:
    kind: str = parameter["type"]
    if kind.startswith("tuple"):
        return f"({','.join(map(_type, parameter['components']))}){kind.removeprefix('tuple')}"
    return kind


@dataclass(frozen=True)
class Function:
    """One function of an ABI."""

    contract: str
    name: str
    signature: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    names: tuple[str, ...]
    mutability: str

    @property
    def selector(self) -> bytes:
        return bytes(keccak(text=self.signature)[:4])


class Abi:
    """The functions and errors of one contract."""

    def __init__(self, contract: str, entries: Iterable[Mapping[str, Any]]) -> None:
        self.contract = contract
        self.functions: dict[str, Function] = {}
        """By signature, and by name where a name has one function only."""
        self.errors: dict[bytes, tuple[str, tuple[str, ...], tuple[str, ...]]] = {}
        by_name: dict[str, list[Function]] = {}
        for entry in entries:
            if entry["type"] == "function":
                function = Function(
                    contract,
                    entry["name"],
                    _signature(entry),
                    tuple(map(_type, entry["inputs"])),
                    tuple(map(_type, entry["outputs"])),
                    tuple(parameter["name"] for parameter in entry["inputs"]),
                    entry["stateMutability"],
                )
                self.functions[function.signature] = function
                by_name.setdefault(function.name, []).append(function)
            elif entry["type"] == "error":
                types = tuple(map(_type, entry["inputs"]))
                names = tuple(parameter["name"] for parameter in entry["inputs"])
                self.errors[keccak(text=_signature(entry))[:4]] = (entry["name"], types, names)
        for name, functions in by_name.items():
            if len(functions) == 1:
                self.functions[name] = functions[0]

    def function(self, name: str) -> Function:
        """By name, or by signature where the name is overloaded. Raises LookupError."""
        try:
            return self.functions[name]
        except KeyError:
            raise LookupError(f"{self.contract} has no single function {name}: give its signature") from None


_STANDARD = {"ERC20": _ERC20, "ERC1271": _CONTRACT_WALLET}


def _entry(line: tuple[str, str, tuple[str, ...], str]) -> dict[str, Any]:
    name, mutability, inputs, output = line
    return {
        "type": "function",
        "name": name,
        "stateMutability": mutability,
        "inputs": [dict(zip(("name", "type"), text.split(), strict=True)) for text in inputs],
        "outputs": [{"name": "", "type": output}],
    }


@cache
def abi(contract: str) -> Abi:
    """The committed ABI of a contract, or of any `ERC20` or `ERC1271`. Raises LookupError when there is none."""
    if contract in _STANDARD:
        return Abi(contract, map(_entry, _STANDARD[contract]))
    path = ABI_FOLDER / f"{contract}.json"
    if not path.is_file():
        raise LookupError(f"no ABI of {contract} is committed in indexer/abi: run `make abi`")
    return Abi(contract, json.loads(path.read_bytes()))


def encode_call(contract: str, function: str, args: Sequence[Any]) -> bytes:
    """Calldata of a call: selector and arguments. Raises LookupError for an unknown function, ValueError for arguments
    that do not fit its types."""
    found = abi(contract).function(function)
    if len(args) != len(found.inputs):
        raise ValueError(f"{contract}.{found.signature} takes {len(found.inputs)} arguments, not {len(args)}")
    try:
        return found.selector + encode(found.inputs, args)
    except (EncodingError, TypeError, OverflowError) as error:
        raise ValueError(f"{contract}.{found.signature}: {error}") from error


def decode_call(contract: str, data: bytes) -> tuple[Function, dict[str, Any]]:
    """Which function calldata calls, and its arguments by name. Raises ValueError for calldata of something else."""
    for function in abi(contract).functions.values():
        if function.selector == data[:4]:
            try:
                values = decode(function.inputs, data[4:])
            except DecodingError as error:
                raise ValueError(f"the arguments do not fit {contract}.{function.signature}: {error}") from error
            return function, dict(zip(function.names, values, strict=True))
    raise ValueError(f"no function of {contract} has the selector 0x{data[:4].hex()}")


def decode_result(contract: str, function: str, data: bytes) -> Any:
    """What `eth_call` returned: the value, or a tuple of several. Raises ValueError when the data does not fit."""
    found = abi(contract).function(function)
    try:
        values = decode(found.outputs, data)
    except DecodingError as error:
        raise ValueError(f"{contract}.{found.signature} returned something else: {error}") from error
    return values[0] if len(values) == 1 else values


def decode_error(data: bytes) -> str:
    """The custom error of revert data in words, `Name(argument=value, ...)`, sought in all committed ABIs."""
    selector, rest = data[:4], data[4:]
    try:
        if selector == keccak(text="Error(string)")[:4]:
            return str(decode(("string",), rest)[0])
        if selector == keccak(text="Panic(uint256)")[:4]:
            code = decode(("uint256",), rest)[0]
            return f"Panic: {_PANICS.get(code, hex(code))}"
        for path in sorted(ABI_FOLDER.glob("*.json")):
            if found := abi(path.stem).errors.get(selector):
                name, types, names = found
                pairs = zip(names, decode(types, rest), strict=True)
                return f"{name}({', '.join(f'{n}={_readable(v)}' for n, v in pairs)})"
    except DecodingError:
        pass
    return f"reverted with 0x{data.hex()}" if data else "reverted without a reason"


def _readable(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


class ChainInfo:
    """One deployment: where its contracts stand. Made from the manifest once a process."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    @classmethod
    def load(cls, path: Path) -> ChainInfo:
        """Read the manifest. Raises ManifestError with the remedy when it is absent or malformed."""
        try:
            return cls(Manifest.model_validate_json(path.read_bytes()))
        except FileNotFoundError:
            raise ManifestError(
                f"The deployment manifest {path} does not exist: deploy the contracts, or set TROUPE_DEPLOYMENT"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise ManifestError(f"The deployment manifest {path} is malformed at {place}: {first['msg']}") from None

    @property
    def chain_id(self) -> int:
        return self.manifest.chainId

    def address(self, contract: str) -> Address:
        """Where a contract of the set stands, EIP-55. Raises LookupError when the deployment does not have it."""
        try:
            return Address(self.manifest.contracts[contract].address)
        except KeyError:
            raise LookupError(f"the deployment on chain {self.chain_id} has no {contract}") from None

    def contract_at(self, address: str | bytes) -> str | None:
        """The name of the contract of the set at an address."""
        wanted = to_checksum_address(address)
        return next((name for name, c in self.manifest.contracts.items() if c.address == wanted), None)

    @cached_property
    def tokens(self) -> dict[Address, Token]:
        """The currencies by address, the native coin first."""
        listed = {Address(token.address): token for token in self.manifest.tokens}
        native = listed.pop(NATIVE, Token(address=NATIVE, symbol="ETH", decimals=18))
        return {NATIVE: native, **listed}

    def token(self, address: str | bytes) -> Token:
        """A currency by its address. Raises LookupError for one that this deployment does not list."""
        wanted = Address(to_checksum_address(address))
        try:
            return self.tokens[wanted]
        except KeyError:
            raise LookupError(f"the deployment on chain {self.chain_id} lists no token {wanted}") from None

    def typed_data_domain(self, contract: str, *, name: str, version: str = "1") -> dict[str, Any]:
        """The EIP-712 domain of signatures for a contract of the set."""
        return {
            "name": name,
            "version": version,
            "chainId": self.chain_id,
            "verifyingContract": self.address(contract),
        }
