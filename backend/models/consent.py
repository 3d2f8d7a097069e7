"""Consent receipts, the freeze, and the log of uses: all under pseudonyms."""

from __future__ import annotations

import uuid
from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.base import Base
from backend.models.marks import Gated, marked
from backend.vault.vault import Sealed


class ConsentReceipt(Base):
    """A person said yes or no to one purpose under one version of its notice. Never changed: the newest counts."""

    __tablename__ = "consent_receipt"
    __table_args__ = (
        Index(None, "person_id", "purpose", text("number DESC")),
        CheckConstraint("octet_length(commitment) = 32", name="commitment_length"),
        marked(Gated("your answers to what we may use your data for, with their receipts", "until you erase them")),
    )

    number: Mapped[int] = mapped_column(Identity(), primary_key=True)
    """Later answers have higher numbers."""
    record_id: Mapped[uuid.UUID] = mapped_column(unique=True)
    """Random; what the receipt calls itself."""
    person_id: Mapped[uuid.UUID]
    purpose: Mapped[str]
    granted: Mapped[bool]
    notice_version: Mapped[int]
    notice_digest: Mapped[bytes]
    """sha256 of the notice as it was shown."""
    at: Mapped[datetime]
    salt: Mapped[bytes] = mapped_column(Sealed)
    """Opens the commitment; with the person's key gone, nobody can tell whose it was."""
    document: Mapped[bytes] = mapped_column(Sealed)
    """The receipt as the person downloads it, byte for byte what the commitment is of."""
    commitment: Mapped[bytes]
    """keccak256(abi.encode(keccak256(document), salt)), as the AttestationRegistry opens it."""


class Restriction(Base):
    """A person had everything frozen: it is kept, and nothing reads it until they thaw it."""

    __tablename__ = "restriction"
    __table_args__ = (marked(Gated("that you had your data frozen, and since when", "until you lift it")),)

    person_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    since: Mapped[datetime]


class DataUse(Base):
    """What was read about a person: one row for a reader, a purpose and a day, counted up by each read.

    The rows of NOBODY count reads of sums over everybody, which tell nothing about one person.
    """

    __tablename__ = "data_use"
    __table_args__ = (
        CheckConstraint("times > 0", name="times_are_positive"),
        marked(
            Gated("which part of the service read what about you, when and how often", "until you erase it"),
            after=["ALTER TABLE app.data_use SET (fillfactor = 70)"],  # counting up then moves no index entry
        ),
    )

    person_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    """In UTC."""
    reader: Mapped[str] = mapped_column(primary_key=True)
    """backend.consent.reads.READS has its words."""
    purpose: Mapped[str] = mapped_column(primary_key=True)
    """A purpose that the person allowed, or `service`: what the service itself needs."""
    times: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
