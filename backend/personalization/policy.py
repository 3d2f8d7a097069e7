"""The configuration in force, for requests that read it by itself, and those that a vote can put in force."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.errors import Invalid, NotFound
from backend.models.personalization import PersonalizationConfiguration
from backend.personalization.catalogue import VOTED, in_force, voted_for
from backend.personalization.configuration import (
    BUILT_IN,
    BadConfiguration,
    Configuration,
    Source,
    changed,
    numbers,
)
from backend.personalization.models import snapshots, versions
from backend.personalization.policy_schemas import ConfigurationIn

KNOWN_AT_MOST: Final = 1_000
"""So many proposed configurations are kept; an older one can be made known again at any time, also after its vote."""


def current(session: Session, models: Path) -> tuple[Configuration, Source]:
    """The configuration in force: the one that was voted for, else the built-in one with what training has learned."""
    voted = voted_for(session.execute(text(VOTED)).mappings().one_or_none())  # type: ignore[arg-type]  # it is a mapping
    if voted is not None:
        return voted
    serves = versions.serving(session)
    try:
        return in_force(snapshots.read(models, serves.folder) if serves and serves.folder else None)
    except snapshots.BrokenSnapshot:
        return in_force(None)


def make_known(session: Session, given: ConfigurationIn) -> Configuration:
    """Keep a configuration, so that a vote can put it in force. Raises Invalid, saying which number may not be."""
    try:
        made = changed(BUILT_IN, given.model_dump())
    except BadConfiguration as error:
        raise Invalid(f"This configuration cannot be served: {error}.", code="configuration_invalid") from error
    table = PersonalizationConfiguration
    session.execute(
        insert(table).values(digest=bytes.fromhex(made.digest), document=made.document).on_conflict_do_nothing()
    )
    kept = select(table.digest).order_by(table.created_at.desc(), table.digest).limit(KNOWN_AT_MOST)
    session.execute(
        delete(table).where(
            table.digest.not_in(kept), text("digest NOT IN (SELECT topic FROM chain.work_registry_signal)")
        )
    )
    return made


def known(session: Session, digest: bytes) -> bytes:
    """The document of a configuration that is known here. Raises NotFound."""
    if digest.hex() == BUILT_IN.digest:
        return BUILT_IN.document
    found = session.get(PersonalizationConfiguration, digest)
    if found is None:
        raise NotFound("No configuration with this digest is known here.", code="configuration_not_found")
    return bytes(found.document)


def differences(old: Configuration, new: Configuration) -> list[str]:
    """In words, which numbers differ."""
    return [
        f"{name}: {before:g} becomes {after:g}"
        for (name, before), (_, after) in zip(numbers(old), numbers(new), strict=True)
        if before != after
    ]
