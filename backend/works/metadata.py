"""A work's metadata file: one raw IPFS block of canonical JSON, whose sha256 is the `cidDigest` on chain (W5).

Pure. `name`, `description`, `image` and `animation_url` are ERC-721's, so that wallets show the work; the rest is ours.
Reading treats the file as a stranger's: whoever registers a work writes what they like.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from typing import Any, Final

from backend.content.cid import CID, InvalidCid
from backend.jsontext import read_json
from backend.works.rules import AiLabel, Kind

FORMAT: Final = "troupe-work/1"
MAX_BYTES: Final = 262_144
MAX_TITLE: Final = 200
MAX_DURATION_MS: Final = 7 * 24 * 3_600_000


def canonical_json(document: Any) -> bytes:
    """JSON with sorted keys, no spaces and plain UTF-8: one value, one sequence of bytes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class Media:
    """The work's file: where it lies, and sha256 of its bytes, which is the `contentHash` on chain."""

    cid: str
    sha256: bytes
    size_bytes: int
    media_type: str
    duration_ms: int | None = None
    """Of a film or a song, as its author says."""


@dataclass(frozen=True, slots=True)
class Contributor:
    """Who holds how much of the first split: an EIP-55 address and a weight."""

    account: str
    weight: int


@dataclass(frozen=True, slots=True)
class ParentShare:
    """A parent and the royalty offered to it, in basis points."""

    work_id: int
    share_bps: int


@dataclass(frozen=True, slots=True)
class WorkMetadata:
    """What the author says of a work."""

    title: str
    description: str
    kind: Kind
    media: Media
    ai_label: AiLabel
    ai_tools: tuple[str, ...]
    licence_id: int
    contributors: tuple[Contributor, ...]
    parents: tuple[ParentShare, ...]
    split_cid: str
    language: str | None
    tags: tuple[str, ...]

    def encode(self) -> bytes:
        """The file's bytes."""
        picture = self.media.media_type.startswith("image/")
        document = {
            "format": FORMAT,
            "name": self.title,
            "description": self.description,
            "image" if picture else "animation_url": f"ipfs://{self.media.cid}",
            "kind": self.kind.name.lower(),
            "media": {
                "cid": self.media.cid,
                "sha256": "0x" + self.media.sha256.hex(),
                "bytes": self.media.size_bytes,
                "type": self.media.media_type,
                **({} if self.media.duration_ms is None else {"duration_ms": self.media.duration_ms}),
            },
            "ai": {"label": self.ai_label.name.lower(), "tools": list(self.ai_tools)},
            "licence_id": self.licence_id,
            "contributors": [{"account": c.account, "weight": str(c.weight)} for c in self.contributors],
            "parents": [{"work_id": str(p.work_id), "share_bps": p.share_bps} for p in self.parents],
            "split": self.split_cid,
            "language": self.language,
            "tags": list(self.tags),
        }
        return canonical_json(document)


@dataclass(frozen=True, slots=True)
class Described:
    """What a page shows of a metadata file of any origin; what it doesn't say, or says wrongly, is None or empty."""

    title: str | None = None
    description: str | None = None
    media_cid: str | None = None
    media_type: str | None = None
    duration_ms: int | None = None
    ai_tools: tuple[str, ...] = ()
    language: str | None = None
    tags: tuple[str, ...] = ()


def describe(data: bytes) -> Described:
    """Read a metadata file leniently: any JSON with ERC-721's `name` has a title. Never raises."""
    try:
        document = read_json(data)
    except ValueError:
        return Described()
    if not isinstance(document, dict):
        return Described()
    media = document.get("media")
    media = media if isinstance(media, dict) else {}
    ai = document.get("ai")
    return Described(
        title=_text(document.get("name"), MAX_TITLE),
        description=_text(document.get("description"), 10_000),
        media_cid=_cid(media.get("cid")),
        media_type=_text(media.get("type"), 100),
        duration_ms=_duration(media.get("duration_ms")),
        ai_tools=_texts(ai.get("tools") if isinstance(ai, dict) else None),
        language=_text(document.get("language"), 35),
        tags=_texts(document.get("tags")),
    )


def clean(text: str) -> str:
    """NFC, without blanks around it."""
    return unicodedata.normalize("NFC", text).strip()


def printable(text: str, *, lines: bool = False) -> bool:
    """Whether the text has only characters that can be shown: no controls, no lone surrogates, no direction overrides.

    `lines` allows line feeds and tabs.
    """
    allowed = "\n\t" if lines else ""
    return all(
        char in allowed or not (unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _OVERRIDES)
        for char in text
    )


_OVERRIDES: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _text(value: Any, limit: int) -> str | None:
    if not isinstance(value, str):
        return None
    text = clean(value)
    return text[:limit] if text and printable(text, lines=True) else None


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(text for item in value[:20] if (text := _text(item, 100)) is not None)


def _duration(value: Any) -> int | None:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_DURATION_MS
    return value if known else None


def _cid(value: Any) -> str | None:
    try:
        return str(CID.parse(value)) if isinstance(value, str) else None
    except InvalidCid:
        return None
