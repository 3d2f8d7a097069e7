"""What a person set about their feed: switches, sliders, limits, whose works they hid."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter
from sqlalchemy.orm import Session

from backend.consent import reads, taste_writes
from backend.consent.gate import look
from backend.consent.persons import make_person, person_of_async
from backend.consent.writes import set_feed
from backend.deps import AccountOrVisitor, AsyncDb, DbSession, Now, PersonOrVisitor, VaultDep
from backend.errors import Invalid
from backend.payouts.reading import address
from backend.personalization import service
from backend.personalization.person.control_schemas import (
    LimitsIn,
    Night,
    PersonalizationIn,
    PersonalizationOut,
    PersonalizationPatch,
    clock,
    columns,
)
from backend.personalization.person.controls import Limits
from backend.personalization.service import Allowed
from backend.schemas import AddressStr

router = APIRouter(prefix="/v1", tags=["feed"])

PAUSE_AT_MOST: Final = timedelta(days=366)


@router.get("/me/personalization")
async def get_personalization(db: AsyncDb, vault: VaultDep, me: PersonOrVisitor, now: Now) -> PersonalizationOut:
    """Your switches, sliders and limits, and the two consents that a personal feed needs."""
    async with db.connection() as connection:
        person = await person_of_async(connection, vault, me.account_id)
        return shown(await service.allowed(connection, person=person, now=now))


@router.put("/me/personalization")
def set_personalization(
    session: DbSession, vault: VaultDep, me: AccountOrVisitor, now: Now, body: PersonalizationIn
) -> PersonalizationOut:
    """Set all of it at once; what you leave out goes back to its default. It acts on the next request."""
    return _set(session, vault, me, now, body)


@router.patch("/me/personalization")
def change_personalization(
    session: DbSession, vault: VaultDep, me: AccountOrVisitor, now: Now, body: PersonalizationPatch
) -> PersonalizationOut:
    """Change some of it; what you leave out stays as it is. It acts on the next request."""
    return _set(session, vault, me, now, body)


@router.put("/me/hidden-creators/{creator}", status_code=204)
def hide_creator(session: DbSession, vault: VaultDep, me: AccountOrVisitor, now: Now, creator: AddressStr) -> None:
    """Hide a creator: no work whose creator is this address is in your feed or searches, personal or not.

    The creator is who registered a work, until a ruling for somebody else is in force.
    """
    person = make_person(session, vault, me.id)
    if not taste_writes.hide_creator(session, person=person, creator=bytes.fromhex(creator[2:]), now=now):
        raise Invalid(
            f"You hide {taste_writes.HIDDEN_AT_MOST:,} creators already; show one of them again first.",
            code="too_many_hidden",
            title="Too many are hidden",
        )


@router.delete("/me/hidden-creators/{creator}", status_code=204)
def show_creator(session: DbSession, vault: VaultDep, me: AccountOrVisitor, creator: AddressStr) -> None:
    """Show a creator's works again."""
    taste_writes.show_creator(session, person=make_person(session, vault, me.id), creator=bytes.fromhex(creator[2:]))


def _set(
    session: Session,
    vault: VaultDep,
    me: AccountOrVisitor,
    now: datetime,
    body: PersonalizationIn | PersonalizationPatch,
) -> PersonalizationOut:
    person = make_person(session, vault, me.id)
    set_feed(session, person=person, values=checked(columns(body), now), now=now)
    return shown(Allowed.of(look(session, reads.FEED_STATUS, now=now, person=person)))


def checked(values: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The values, if the pause lies in the year to come and the year of birth does not. Raises Invalid."""
    until = values.get("paused_until")
    if until is not None and not now < until <= now + PAUSE_AT_MOST:
        raise Invalid(
            "A pause ends in the future, and a year from now at most; to have it off for longer, use the switch.",
            code="pause_not_ahead",
            title="This pause cannot be",
        )
    year = values.get("birth_year")
    if year is not None and year > now.year:
        raise Invalid(f"Nobody was born in {year} yet.", code="birth_year_ahead", title="This year is to come")
    return values


def shown(found: Allowed) -> PersonalizationOut:
    """A person's settings as they leave."""
    said = found.said
    return PersonalizationOut(
        enabled=found.enabled,
        paused_until=found.paused_until,
        novelty=said.novelty,
        energy=said.energy,
        birth_year=said.birth_year,
        territory=said.territory,
        limits=limits_shown(said.limits),
        hidden_creators=[address(creator) for creator in sorted(said.hidden_creators)],
        behaviour=found.behaviour,
        content_taste=found.content_taste,
        personal=found.personal,
        why_not_personal=found.why_not,
    )


def limits_shown(limits: Limits) -> LimitsIn:
    """A person's limits as they came."""
    night = None
    if limits.night_from is not None and limits.night_until is not None:
        night = Night(begins=clock(limits.night_from), ends=clock(limits.night_until))
    return LimitsIn(
        session_minutes=limits.session_minutes,
        autoplay_at_most=limits.autoplay_at_most,
        night=night,
        time_zone=limits.time_zone,
    )
