"""Own your taste: what a person likes as a signed document that they can carry elsewhere, and check offline. Pure but
for the key's file.

    document   JSON: {"format": "troupe-taste/1", "issuer", "issued_at", "public_key", "chain_id", "sliders", "likings",
               "tags", "signature"}; numbers are whole millionths, so that every program writes them alike
    signature  Ed25519 (RFC 8032) over the document without `signature`, as canonical JSON (sorted keys, no spaces)

A liking's value is what the person's signals for the work sum up to at `issued_at` on the lasting scale, in [-2, 2].
The document names no person: whoever holds it can bring it along, so it is kept like a letter.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ConfigDict, Field, ValidationError

from backend.files import write_durably
from backend.jsontext import read_json
from backend.schemas import Hash32, HexBytes, Schema, Time
from backend.works.metadata import canonical_json

FORMAT: Final = "troupe-taste/1"
KEY_FORMAT: Final = "troupe-taste-key/1"
MILLION: Final = 1_000_000
LIKINGS_AT_MOST: Final = 500
AGE_AT_MOST: Final = timedelta(days=400)
"""Older likings would weigh less than a hundredth."""
CLOCKS: Final = timedelta(minutes=5)
"""By how much another platform's clock may be ahead."""

Millionths = Annotated[int, Field(strict=True, ge=-2 * MILLION, le=2 * MILLION)]


class DocumentError(ValueError):
    """A document that cannot be taken; the text is a sentence, `code` one of docs/errors.md."""

    def __init__(self, sentence: str, *, code: str) -> None:
        super().__init__(sentence)
        self.code = code


class Liking(Schema):
    """What a person's signals for one work sum up to."""

    work_id: Annotated[int, Field(strict=True, ge=1, lt=2**63)]
    content_hash: Hash32 = Field(description="By which another platform finds the work.")
    title: Annotated[str, Field(max_length=200)] | None
    value_millionths: Millionths


class TagLiking(Schema):
    """The sum over the works that have a tag; for people and other programs to read, nothing is taken from it here."""

    tag: Annotated[str, Field(max_length=64)]
    value_millionths: int


class Sliders(Schema):
    """How the person had turned them; null: not at all."""

    novelty_millionths: Annotated[int, Field(strict=True, ge=0, le=MILLION)] | None
    energy_millionths: Annotated[int, Field(strict=True, ge=-MILLION, le=MILLION)] | None


class Unsigned(Schema):
    """A document before it is signed."""

    format: Literal["troupe-taste/1"]
    issuer: Annotated[str, Field(max_length=200, pattern="^https?://")] = Field(description="Who signed it.")
    issued_at: Time
    public_key: HexBytes = Field(description="The issuer's; compare it with /.well-known/troupe-taste-key.json there.")
    chain_id: Annotated[int, Field(strict=True, gt=0)]
    sliders: Sliders
    likings: Annotated[list[Liking], Field(max_length=LIKINGS_AT_MOST)]
    tags: Annotated[list[TagLiking], Field(max_length=1_000)]


class TasteDocument(Unsigned):
    """A signed document."""

    model_config = ConfigDict(json_schema_extra={"description": "What a person likes, signed by who says so."})

    signature: HexBytes


def _bytes(document: Unsigned) -> bytes:
    return canonical_json(document.model_dump(mode="json", exclude={"signature"}))


def sign(document: Unsigned, key: Ed25519PrivateKey) -> TasteDocument:
    """Sign a document with the key whose public part it names."""
    said = {name: getattr(document, name) for name in Unsigned.model_fields}
    return TasteDocument.model_construct(**said, signature=key.sign(_bytes(document)))


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of a key's public part."""
    return key.public_key().public_bytes_raw()


def parse(text: bytes | str) -> TasteDocument:
    """The document of a file. Raises DocumentError where it is none, or of another form."""
    try:
        found = read_json(text.encode() if isinstance(text, str) else text)
    except ValueError as error:
        raise DocumentError(f"This is no JSON document: {error}.", code="taste_document_invalid") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DocumentError(
            f"Its format is not {FORMAT}, the one that this version reads.", code="taste_document_invalid"
        )
    try:
        return TasteDocument.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DocumentError(f"It cannot be read at {place}: {first['msg']}.", code="taste_document_invalid") from None


def verify(document: TasteDocument, *, trusted: bytes | None = None) -> None:
    """Check the signature; with `trusted`, that it was made with this very public key. Raises DocumentError.

    Without `trusted` it says that nothing was changed since somebody signed it with the key that it names, not who.
    """
    if trusted is not None and document.public_key != trusted:
        raise DocumentError(
            f"It is not signed with the key that {document.issuer} is known by.", code="taste_signature_wrong"
        )
    try:
        Ed25519PublicKey.from_public_bytes(document.public_key).verify(document.signature, _bytes(document))
    except (InvalidSignature, ValueError):
        raise DocumentError(
            "Its signature does not fit: it was changed after it was signed.", code="taste_signature_wrong"
        ) from None


def check(document: TasteDocument, *, now: datetime, own: bytes, issuer: str, known: Mapping[str, str]) -> None:
    """Whether a document may be taken here: signature, issuer, age. Raises DocumentError with the reason."""
    trusted = own if document.issuer == issuer else bytes.fromhex(known.get(document.issuer, "").removeprefix("0x"))
    if not trusted:
        raise DocumentError(
            f"Nobody here knows the key of {document.issuer}; an operator can add it (TROUPE_TASTE_ISSUERS).",
            code="taste_issuer_unknown",
        )
    verify(document, trusted=trusted)
    if document.issued_at > now + CLOCKS:
        raise DocumentError("It says that it was issued in the future: check the clocks.", code="taste_document_age")
    if document.issued_at < now - AGE_AT_MOST:
        raise DocumentError(
            f"It is older than {AGE_AT_MOST.days} days and says too little; ask for a new one.",
            code="taste_document_age",
        )


def key_of(file: Path) -> Ed25519PrivateKey:
    """The platform's signing key; made where there is none. Raises OSError and ValueError with the remedy."""
    if not file.exists():
        write_key(file, Ed25519PrivateKey.generate())
    return read_key(file)


def write_key(file: Path, key: Ed25519PrivateKey) -> None:
    """Keep a signing key in its file, unless another process has made one there meanwhile. Raises OSError."""
    said = json.dumps({"format": KEY_FORMAT, "private": key.private_bytes_raw().hex()})
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        write_durably(file, said.encode(), replace=False)


def read_key(file: Path) -> Ed25519PrivateKey:
    """The signing key of a file. Raises OSError and ValueError with the remedy."""
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(handle, "rb") as opened:
        if os.fstat(handle).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ValueError(f"The signing key {file} can be read by others: run `chmod 600 {file}`")
        try:
            found: dict[str, Any] = json.loads(opened.read(1_000))
            if found["format"] != KEY_FORMAT:
                raise ValueError
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(found["private"]))
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"The signing key {file} is damaged: bring it back from its copy") from None
