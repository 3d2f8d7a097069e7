"""What a client reports, and what becomes of each event."""

from __future__ import annotations

import struct
import uuid
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, field_validator, model_validator

from backend.personalization.ranking.signals import EventKind
from backend.schemas import Schema

BATCH_LIMIT = 500
DURATION_LIMIT_MS = 24 * 3_600_000
TIMED = frozenset({EventKind.WATCH, EventKind.SKIP, EventKind.DWELL})


Device = Literal["phone", "tablet", "computer", "tv", "console", "other"]


class EventIn(Schema):
    """One signal. `id` is the client's own: sending it again changes nothing."""

    id: uuid.UUID = Field(
        description="A fresh UUID an event, of any version. It is never published, and not kept when nobody's name is."
    )
    kind: EventKind
    work_id: Annotated[int, Field(strict=True, ge=1, lt=2**63)]
    at: AwareDatetime = Field(description="When it happened, by the client's clock; RFC 3339 with an offset.")
    duration_ms: Annotated[int, Field(strict=True, ge=0, le=DURATION_LIMIT_MS)] = 0
    completion_bps: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 0
    """How far the person came, in hundredths of a percent of the work."""
    slate_id: uuid.UUID | None = Field(
        None,
        description="The `slate_id` of the feed that it came of. It counts for that slate where it was yours and holds "
        "the work, and is not kept when nobody's name is.",
    )

    device: Device | None = Field(
        None,
        description="On what kind of device. It is kept where you allow the purpose `location_time`, together with the "
        "territory that you stated, so that your feed notices when either changes.",
    )

    @field_validator("at")
    @classmethod
    def _is_a_time_in_utc(cls, at: datetime) -> datetime:
        try:
            return at.astimezone(UTC)
        except OverflowError:  # the year 9999 or 1, carried over its end by the offset
            raise ValueError("in UTC this time lies outside the years 1 to 9999") from None

    @model_validator(mode="after")
    def _measures_fit_the_kind(self) -> EventIn:
        if self.kind not in TIMED and (self.duration_ms or self.completion_bps):
            raise ValueError(f"a {self.kind} has no duration and no completion: leave them out")
        return self

    @property
    def digest(self) -> bytes:
        """sha256 of what was said, in a fixed order and width, so that a repeat is told from another event.

        Of what is always kept beside it alone: by a digest the few devices there are could be tried out.
        """
        return self._digest(self.at, b"" if self.slate_id is None else b"|slate|" + self.slate_id.bytes)

    @property
    def nameless_id(self) -> uuid.UUID:
        """What stands for the id where no name is kept: ids of version 1 or 7 tell the time to the millisecond."""
        return uuid.UUID(bytes=sha256(b"troupe-nameless/1" + self.id.bytes).digest()[:16])

    @property
    def nameless_digest(self) -> bytes:
        """The digest with the hour alone, so that trying out all times of the hour finds nothing."""
        return self._digest(self.at.replace(minute=0, second=0, microsecond=0))

    def _digest(self, at: datetime, more: bytes = b"") -> bytes:
        micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        body = self.id.bytes + struct.pack(">qqii", self.work_id, micros, self.duration_ms, self.completion_bps)
        return sha256(body + self.kind.encode() + more).digest()


class BatchIn(Schema):
    """Up to 500 events in any order; a batch may mix new and already sent ones."""

    events: Annotated[list[EventIn], Field(min_length=1, max_length=BATCH_LIMIT)]


Outcome = Literal["accepted", "duplicate", "conflict", "unknown_work"]


class EventOut(Schema):
    """An event that was not accepted as new, and why."""

    id: uuid.UUID
    outcome: Outcome


class BatchOut(Schema):
    """What became of a batch: every event is in exactly one of the counts."""

    accepted: int
    duplicate: int = Field(description="Already there with the same content; nothing to do.")
    refused: list[EventOut] = Field(
        description="`conflict`: the id is taken by an event with other content; `unknown_work`: not in the mirror yet."
    )
    epoch: int = Field(description="The reward epoch they belong to: the one open at the head of the chain.")
    counted_as: Literal["person", "nobody"] = Field(
        description="`nobody` when you are not signed in or have not allowed the purpose `behaviour`: "
        "the events count for works, without your name."
    )
