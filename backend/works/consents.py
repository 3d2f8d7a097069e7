"""Attested consents: whether an attestation stands, and whether it lets something be used in a work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eth_utils.crypto import keccak
from sqlalchemy import RowMapping, func, select
from sqlalchemy.orm import Session

from indexer.models import event

ATTESTATIONS: Final = "AttestationRegistry"
CONSENTS: Final = {
    bytes(keccak(text=name)): name.lower() for name in ("LIKENESS_CONSENT", "VOICE_CONSENT", "DATA_CONSENT")
}
"""The schemas of attestations that let something be used in a work."""


def attestations(session: Session, uids: Sequence[bytes]) -> dict[bytes, RowMapping]:
    """These attestations as they are now, each with `revoked`."""
    attested, revoked = event(ATTESTATIONS, "Attested"), event(ATTESTATIONS, "Revoked").c
    gone = select(func.count()).where(revoked.uid == attested.c.uid).scalar_subquery()
    rows = session.execute(select(attested, (gone > 0).label("revoked")).where(attested.c.uid.in_(uids))).mappings()
    return {bytes(row["uid"]): row for row in rows}


def is_live(attestation: RowMapping, now: int) -> bool:
    """Whether an attestation stands at a block time."""
    return not attestation["revoked"] and (attestation["expires"] == 0 or now < attestation["expires"])
