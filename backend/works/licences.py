"""Licence templates: terms that a creator can take as they are, with the text that their hash stands for.

Pure. The chain enforces the machine-readable part; the words and the territory are in the document, which is pinned
under the sha256 that the chain keeps as `termsHash` (row P3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from backend.works.metadata import canonical_json

FORMAT: Final = "troupe-licence/1"


@dataclass(frozen=True, slots=True)
class Terms:
    """The machine-readable terms, as `createLicence` takes them; `expires` is a chain time in seconds, 0: never."""

    min_share_bps: int = 0
    commercial: bool = False
    derivatives: bool = False
    approval_required: bool = False
    share_alike: bool = False
    attribution: bool = True
    fan_fiction: bool = False
    relative: bool = False
    ai_training: bool = False
    expires: int = 0


@dataclass(frozen=True, slots=True)
class Template:
    """Terms under a name, with a sentence that says what they mean to someone who wants to build on the work."""

    name: str
    title: str
    summary: str
    terms: Terms


TEMPLATES: Final = (
    Template(
        "closed",
        "All rights reserved",
        "Nobody may build on the work.",
        Terms(),
    ),
    Template(
        "fan-fiction",
        "Fan fiction welcome",
        "Non-commercial fan fiction may build on the work; it pays 10% of what it is given, however deep it goes.",
        Terms(min_share_bps=1_000, fan_fiction=True, relative=True),
    ),
    Template(
        "remix",
        "Remix and pay",
        "Anyone may build on the work, commercially too, for 10% of what the derivation is paid directly.",
        Terms(min_share_bps=1_000, commercial=True, derivatives=True),
    ),
    Template(
        "on-approval",
        "Ask first",
        "Each derivation needs the owner's approval of its file, and pays at least 15%.",
        Terms(min_share_bps=1_500, commercial=True, derivatives=True, approval_required=True),
    ),
    Template(
        "share-alike",
        "Share alike",
        "Anyone may build on the work without royalty, under this same licence.",
        Terms(derivatives=True, commercial=True, share_alike=True),
    ),
)
"""What `GET /v1/licences/templates` lists."""


def terms_document(terms: Terms, title: str, text: str, territory: list[str]) -> bytes:
    """The canonical terms file; its sha256 is the licence's `termsHash`.

    `territory` are ISO 3166 codes of the countries where derivations may be shown; empty: everywhere.
    """
    return canonical_json(
        {
            "format": FORMAT,
            "title": title,
            "text": text,
            "territory": territory,
            "terms": {name: getattr(terms, name) for name in Terms.__dataclass_fields__},
        }
    )
