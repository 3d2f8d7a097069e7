"""The numbers that decide what people see, and how a vote changes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path

from backend.deps import CoreDep, CurrentAccount, DbSession
from backend.errors import Problem
from backend.mirror import ChainHead
from backend.personalization import policy
from backend.personalization.configuration import WORDS, numbers, parse
from backend.personalization.policy_schemas import (
    Action,
    ConfigurationIn,
    ConfigurationOut,
    KnownConfiguration,
    NumberOut,
    VotedOut,
)

router = APIRouter(prefix="/v1/personalization", tags=["feed"])


@router.get("/configuration")
def get_configuration(session: DbSession, core: CoreDep, head: ChainHead) -> ConfigurationOut:
    """All numbers that decide what people see, each with what it does, and the digest that every feed carries.

    It is the one that governance put on record last (`WorkRegistry.signal` with its digest), of those that are known
    here; where there is none, the built-in one with the weights that training has learned.
    """
    found, source = policy.current(session, core.settings.data_dir / "models")
    voted = None
    if source.block is not None and source.at is not None:
        voted = VotedOut(
            block=source.block, at=datetime.fromtimestamp(source.at, UTC), stage=head.stage_of(source.block)
        )
    return ConfigurationOut(
        digest=found.digest,
        source=source.kind,
        voted=voted,
        numbers=[NumberOut(name=name, value=value, words=WORDS[name]) for name, value in numbers(found)],
        document=found.document.decode(),
        as_of=head.as_of,
    )


@router.post(
    "/configurations", responses={422: {"model": Problem, "description": "`configuration_invalid`: which number"}}
)
def make_configuration_known(
    session: DbSession, core: CoreDep, _me: CurrentAccount, body: ConfigurationIn
) -> KnownConfiguration:
    """Make a configuration known here, so that a vote can put it in force; it changes nothing by itself.

    Name the numbers that are to differ from the built-in ones. The answer has the action to propose, and what it would
    change.
    """
    made = policy.make_known(session, body)
    return _known(session, core, made.digest)


@router.get("/configurations/{digest}", responses={404: {"model": Problem, "description": "`configuration_not_found`"}})
def get_known_configuration(
    session: DbSession, core: CoreDep, digest: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
) -> KnownConfiguration:
    """A configuration that is known here, by its digest: what a proposal that signals it would change."""
    return _known(session, core, digest)


def _known(session: DbSession, core: CoreDep, digest: str) -> KnownConfiguration:
    document = policy.known(session, bytes.fromhex(digest))
    now, _ = policy.current(session, core.settings.data_dir / "models")
    return KnownConfiguration(
        digest=digest,
        document=document.decode(),
        differs=policy.differences(now, parse(document)),
        action=Action(contract="WorkRegistry", function="signal", arguments=[f"0x{digest}"]),
    )
