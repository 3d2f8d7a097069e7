"""Sign-In with Ethereum: EIP-4361 messages, built, parsed by the EIP's own grammar, and judged.

Pure: the clock is an argument and nothing is read or stored. RFC 3986 gives authority and URI, RFC 3339 the times,
EIP-191 (version 0x45) the hash that is signed, EIP-2 the low `s`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from backend.addresses import eip55
from backend.errors import Invalid, Unauthorized

VERSION = "1"
LENGTH_LIMIT = 4096
"""Characters; the EIP sets no bound, a sign-in of ours has about 300."""
MAX_AGE = timedelta(minutes=5)
"""How old `Issued At` may be: as long as a nonce lives."""
SKEW = timedelta(seconds=60)
"""How far a person's clock may run ahead of ours."""

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

# RFC 3986
_UNRESERVED = r"A-Za-z0-9\-._~"
_SUB_DELIMS = r"!$&'()*+,;="
_ESCAPED = r"%[0-9A-Fa-f]{2}"
_PCHAR = rf"(?:[{_UNRESERVED}{_SUB_DELIMS}:@]|{_ESCAPED})"
_AUTHORITY = (
    rf"(?:(?:[{_UNRESERVED}{_SUB_DELIMS}:]|{_ESCAPED})*@)?"
    rf"(?:\[[0-9A-Fa-f:.]+\]|(?:[{_UNRESERVED}{_SUB_DELIMS}]|{_ESCAPED})+)(?::[0-9]*)?"
)
_SCHEME = r"[A-Za-z][A-Za-z0-9+\-.]*"
_URI = (
    rf"{_SCHEME}:(?://(?:{_AUTHORITY})?(?:/{_PCHAR}*)*|/?(?:{_PCHAR}+(?:/{_PCHAR}*)*)?)"
    rf"(?:\?(?:{_PCHAR}|[/?])*)?(?:\#(?:{_PCHAR}|[/?])*)?"
)
# RFC 3339
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+\-][0-9]{2}:[0-9]{2})"

_FIELDS = (  # in the order of the grammar: name, label, value, required
    ("uri", "URI: ", _URI, True),
    ("version", "Version: ", "1", True),
    ("chain_id", "Chain ID: ", "[0-9]{1,78}", True),
    ("nonce", "Nonce: ", "[A-Za-z0-9]{8,}", True),
    ("issued_at", "Issued At: ", _TIME, True),
    ("expiration_time", "Expiration Time: ", _TIME, False),
    ("not_before", "Not Before: ", _TIME, False),
    ("request_id", "Request ID: ", rf"{_PCHAR}*", False),
)
_PATTERNS = {name: re.compile(pattern) for name, _, pattern, _ in _FIELDS}
_HEADER = re.compile(
    rf"(?:(?P<scheme>{_SCHEME})://)?(?P<domain>{_AUTHORITY}) wants you to sign in with your Ethereum account:"
)
_ADDRESS = re.compile(r"0x[0-9A-Fa-f]{40}")
_CONTROL = re.compile(r"[^\n -~]")
_STATEMENT = re.compile(rf"[{_UNRESERVED}{_SUB_DELIMS}:/?#\[\]@ ]+")
_RESOURCE = re.compile(rf"- ({_URI})")


@dataclass(frozen=True)
class Message:
    """An EIP-4361 message. Times are UTC; `address` is EIP-55; `scheme` and the fields with defaults may be absent."""

    domain: str
    address: str
    uri: str
    chain_id: int
    nonce: str
    issued_at: datetime
    scheme: str | None = None
    statement: str | None = None
    expiration_time: datetime | None = None
    not_before: datetime | None = None
    request_id: str | None = None
    resources: tuple[str, ...] = ()

    def text(self) -> str:
        """The text that the wallet shows and signs."""
        site = f"{self.scheme}://{self.domain}" if self.scheme else self.domain
        lines = [
            f"{site} wants you to sign in with your Ethereum account:",
            self.address,
            "",
            *([self.statement] if self.statement is not None else []),
            "",
            f"URI: {self.uri}",
            f"Version: {VERSION}",
            f"Chain ID: {self.chain_id}",
            f"Nonce: {self.nonce}",
            f"Issued At: {rfc3339(self.issued_at)}",
        ]
        if self.expiration_time is not None:
            lines.append(f"Expiration Time: {rfc3339(self.expiration_time)}")
        if self.not_before is not None:
            lines.append(f"Not Before: {rfc3339(self.not_before)}")
        if self.request_id is not None:
            lines.append(f"Request ID: {self.request_id}")
        if self.resources:
            lines += ["Resources:", *(f"- {resource}" for resource in self.resources)]
        return "\n".join(lines)


@dataclass(frozen=True)
class Expected:
    """What a message must say to sign in here: the RFC 3986 authority, the origin, and the chain."""

    domain: str
    uri: str
    chain_id: int


def rfc3339(time: datetime) -> str:
    """A time in UTC, with milliseconds if it has a fraction."""
    utc = time.astimezone(UTC)
    precision = "milliseconds" if utc.microsecond else "seconds"
    return utc.isoformat(timespec=precision).replace("+00:00", "Z")


def malformed(field: str, why: str) -> NoReturn:
    raise Invalid(
        f"The message is no EIP-4361 message: {why}.",
        code="sign_in_malformed",
        title="Malformed sign-in message",
        field=field,
    )


def refused(field: str, why: str, *, code: str) -> NoReturn:
    raise Unauthorized(why, code=code, title="Sign-in refused", field=field)


class _Lines:
    """The lines of a message, taken one by one."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._at = 0

    def peek(self) -> str | None:
        return self._lines[self._at] if self._at < len(self._lines) else None

    def take(self, field: str, what: str) -> str:
        line = self.peek()
        if line is None:
            malformed(field, f"it ends before {what}")
        self._at += 1
        return line

    def take_empty(self, field: str, where: str) -> None:
        if self.take(field, f"the empty line {where}"):
            malformed(field, f"there must be an empty line {where}")


def parse(text: str) -> Message:
    """Read a message by the EIP's ABNF, nothing more lenient: each field once, in its order, LF between lines, ASCII.

    Raises Invalid (code `sign_in_malformed`) that names the field.
    """
    if len(text) > LENGTH_LIMIT:
        malformed("message", f"it is longer than {LENGTH_LIMIT} characters")
    if not text.isascii():
        malformed("message", "it holds characters outside ASCII (a domain is written in its xn-- form)")
    if odd := _CONTROL.search(text):
        malformed("message", f"it holds the control character {odd[0]!r}; lines end with a line feed alone")
    lines = _Lines(text)
    header = _HEADER.fullmatch(lines.take("domain", "the domain"))
    if header is None:
        malformed("domain", "the first line must be `<domain> wants you to sign in with your Ethereum account:`")
    address = lines.take("address", "the address")
    if not _ADDRESS.fullmatch(address):
        malformed("address", "the second line must be the address, 0x and 40 hexadecimal digits")
    if eip55(address.lower()) != address:
        malformed("address", "the address must have its EIP-55 checksum")
    lines.take_empty("address", "after the address")
    statement = lines.peek() or None
    if statement is not None:
        if not _STATEMENT.fullmatch(lines.take("statement", "the statement")):
            malformed("statement", "the statement is one line of letters, digits, spaces and RFC 3986 punctuation")
        lines.take_empty("statement", "after the statement")
    else:
        lines.take_empty("statement", "where the statement would be")
    values = {name: _field(lines, name, label, required) for name, label, _, required in _FIELDS}
    resources = _resources(lines)
    if (rest := lines.peek()) is not None:
        label = rest.partition(":")[0][:40]
        malformed("message", f"a line is out of place, twice or unknown: `{label}`")
    return Message(
        scheme=header["scheme"],
        domain=header["domain"],
        address=address,
        statement=statement,
        uri=values["uri"] or "",
        chain_id=_chain_id(values["chain_id"] or ""),
        nonce=values["nonce"] or "",
        issued_at=_instant("issued_at", values["issued_at"] or ""),
        expiration_time=_optional_instant("expiration_time", values["expiration_time"]),
        not_before=_optional_instant("not_before", values["not_before"]),
        request_id=values["request_id"],
        resources=resources,
    )


def _field(lines: _Lines, name: str, label: str, required: bool) -> str | None:
    line = lines.peek()
    if line is None or not line.startswith(label):
        if required:
            malformed(name, f"`{label.strip()}` must come here" + (f", not `{line[:40]}`" if line else ""))
        return None
    value = lines.take(name, label)[len(label) :]
    if not _PATTERNS[name].fullmatch(value):
        malformed(name, f"`{label.strip()}` does not have the form that the EIP gives to it")
    return value


def _resources(lines: _Lines) -> tuple[str, ...]:
    if lines.peek() != "Resources:":
        return ()
    lines.take("resources", "the resources")
    found = []
    while (line := lines.peek()) is not None:
        match = _RESOURCE.fullmatch(line)
        if match is None:
            malformed("resources", "each line after `Resources:` must be `- ` and a URI")
        found.append(match[1])
        lines.take("resources", "a resource")
    return tuple(found)


def _chain_id(digits: str) -> int:
    if digits != "0" and digits.startswith("0"):
        malformed("chain_id", "the chain id has leading zeros")
    return int(digits)


def _instant(field: str, text: str) -> datetime:
    try:
        # Python reads at most six digits of a fraction
        return datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text.upper())).astimezone(UTC)
    except (ValueError, OverflowError):
        malformed(field, f"`{text}` is no time that exists")


def _optional_instant(field: str, text: str | None) -> datetime | None:
    return None if text is None else _instant(field, text)


def check(message: Message, *, expected: Expected, now: datetime) -> None:
    """Refuse a message that was made for another site or chain, or for another time.

    Raises Unauthorized that names the field; the nonce and the signature are the caller's to check.
    """
    if message.domain != expected.domain:
        refused(
            "domain",
            f"This message signs in to `{message.domain}`, and this is `{expected.domain}`. If another site showed it"
            " to you, do not sign anything there.",
            code="sign_in_wrong_domain",
        )
    scheme = expected.uri.partition("://")[0]
    if message.scheme not in (None, scheme):
        refused("scheme", f"This site is served over {scheme}, not {message.scheme}.", code="sign_in_wrong_domain")
    if message.uri not in (expected.uri, expected.uri + "/"):
        refused("uri", f"The URI must be {expected.uri}.", code="sign_in_wrong_uri")
    if message.chain_id != expected.chain_id:
        refused(
            "chain_id",
            f"The message is for chain {message.chain_id}; switch the wallet to chain {expected.chain_id}.",
            code="sign_in_wrong_chain",
        )
    if message.issued_at > now + SKEW:
        refused("issued_at", "The message is issued in the future: check the device's clock.", code="sign_in_too_early")
    if message.issued_at < now - MAX_AGE:
        refused("issued_at", "The message is more than five minutes old: make a new one.", code="sign_in_expired")
    if message.expiration_time is not None and message.expiration_time <= now:
        refused("expiration_time", "The message has expired: make a new one.", code="sign_in_expired")
    if message.not_before is not None and message.not_before > now:
        refused("not_before", "The message is not valid yet.", code="sign_in_too_early")


def message_hash(text: str) -> bytes:
    """What `personal_sign` signs: EIP-191, version 0x45."""
    data = text.encode()
    return bytes(keccak(b"\x19Ethereum Signed Message:\n" + str(len(data)).encode() + data))


def recover(text: str, signature: bytes) -> str:
    """The address whose key signed the text, EIP-55.

    Takes only the canonical form: 65 bytes r, s, v with v 27 or 28 and s in the lower half of the order, so that a
    signature cannot be rewritten into another valid one. Raises Unauthorized (code `sign_in_bad_signature`).
    """
    if len(signature) != 65:
        bad_signature("A signature is 65 bytes: r, s and v.")
    if signature[64] not in (27, 28):
        bad_signature("The last byte of a signature is 27 or 28.")
    if int.from_bytes(signature[32:64]) > SECP256K1_ORDER // 2:
        bad_signature("The signature's s is in the upper half of the curve's order (EIP-2).")
    try:
        key = Signature(signature[:64] + bytes([signature[64] - 27])).recover_public_key_from_msg_hash(
            message_hash(text)
        )
    except (BadSignature, ValidationError):
        bad_signature("No key can have made this signature.")
    return str(key.to_checksum_address())


def bad_signature(why: str) -> NoReturn:
    refused("signature", why, code="sign_in_bad_signature")
