"""Impressions: every slate that is shown to a person who allows `behaviour` is kept with its probabilities.

A slate has an id that follows from the process, the person, and all that the slate follows from, and what is drawn by
chance in it follows from the id: a page that is loaded again shows the same slate under the same id, and is one
impression; two persons, or two processes, never share their draws.

It is written after the answer has left, by one INSERT that needs no disk: nobody waits for it, and of what a crash
loses nobody was promised anything. An event that names a slate which was not kept joins nothing.
"""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

import orjson
import structlog
from psycopg import Error

from backend.consent.writes import keep_slate
from backend.db import AsyncPool
from backend.personalization.catalogue import Catalogue
from backend.personalization.ranking.slate import Place, Policy

log = structlog.get_logger()

PROCESS: Final = os.urandom(16)
"""Makes the ids of a process its own."""


@dataclass(frozen=True)
class Viewing:
    """A slate to be made for a person who allows that it is kept."""

    slate_id: uuid.UUID
    account_id: uuid.UUID
    person: uuid.UUID
    arms: Mapping[str, str]
    """The person's arm in each experiment that runs."""
    explored: bool
    """Whether some of it is drawn by chance: where it is chosen for the person. Who switched that off, or never asked
    for it, gets what everybody gets."""


def slate_id(person: uuid.UUID, *follows_from: Any, process: bytes = PROCESS) -> uuid.UUID:
    """The id of the slate that this process makes for a person from these things; the same for the same."""
    digest = blake2b(person.bytes, key=process, digest_size=16)
    digest.update(orjson.dumps(follows_from, option=orjson.OPT_SORT_KEYS))
    value = int.from_bytes(digest.digest())  # as RFC 9562 has it for what is neither time nor name: version 8
    return uuid.UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62)


def viewing(
    catalogue: Catalogue,
    rows: Sequence[Mapping[str, Any]],
    *,
    account_id: uuid.UUID,
    person: uuid.UUID,
    arms: Mapping[str, str],
    explored: bool,
    limit: int,
    policy: Policy,
    also: Any = None,
) -> Viewing:
    """The viewing of a person's slate as of a reading of the catalogue and of their events (newest first), and of
    what `also` (JSON) it follows from."""
    newest = rows[0]["received_at"] if rows else None
    made = slate_id(
        person,
        catalogue.serial,
        catalogue.model_version,
        len(rows),
        newest,
        limit,
        vars(policy),
        dict(arms),
        explored,
        also,
    )
    return Viewing(made, account_id, person, arms, explored)


def exploring(policy: Policy, viewed: Viewing | None) -> Policy:
    """The policy as it is for this slate: nothing is explored where nothing is kept, for it would teach nothing."""
    if viewed is None or not viewed.explored:
        return replace(policy, explore=0)
    return policy


def seed(viewed: Viewing | None) -> list[int] | None:
    """What the slate's draws follow from; None where they are everybody's."""
    return list(struct.unpack(">4I", viewed.slate_id.bytes)) if viewed is not None and viewed.explored else None


def row(
    viewed: Viewing,
    work_ids: Sequence[int],
    places: Sequence[Place],
    *,
    configuration: str,
    model_version: int | None,
    packaging: Sequence[Mapping[str, Any]] = (),
    now: datetime,
) -> dict[str, Any]:
    """The parameters of backend.consent.writes.KEEP_SLATE."""
    return {
        "account": viewed.account_id,
        "person": viewed.person,
        "slate": viewed.slate_id,
        "now": now,
        "works": _array(work_ids),
        "whys": _array(place.why for place in places),
        "propensities": _array(place.propensity for place in places),
        "choices": _array(place.choices for place in places),
        "usual": _array(place.usual for place in places),
        "configuration": configuration,
        "model_version": model_version,
        "arms": orjson.dumps(dict(viewed.arms)).decode(),
        "packaging": orjson.dumps([dict(one) for one in packaging]).decode(),
    }


def _array(values: Iterable[object]) -> str:
    """Plain words or numbers as PostgreSQL writes an array: psycopg would look at each value's type."""
    return f"{{{','.join(map(str, values))}}}"


async def keep(pool: AsyncPool, parameters: Mapping[str, Any]) -> None:
    """Keep a slate after its answer has left; what the database refuses is told in the log and held up nobody."""
    try:
        async with pool.connection() as connection:
            await keep_slate(connection, parameters)
    except Error as error:
        log.warning("impression_lost", reason=type(error).__name__)
