"""Where clients send what people do."""

from __future__ import annotations

from fastapi import APIRouter, Request

from backend.consent.persons import person_of_async
from backend.deps import Chain, CoreDep, Now, VaultDep, async_unit_of_work
from backend.edge.scoped import OptionalWitness
from backend.engagement import service
from backend.engagement.schemas import BatchIn, BatchOut
from backend.errors import Unavailable
from backend.rewards.calendar import Calendar

router = APIRouter(prefix="/v1", tags=["engagement"])


@router.post("/engagement")
async def send_engagement(
    *,
    request: Request,
    core: CoreDep,
    chain: Chain,
    vault: VaultDep,
    person: OptionalWitness,
    now: Now,
    body: BatchIn,
) -> BatchOut:
    """Report what happened: up to 500 events, in any order; an event that was sent before changes nothing.

    Signed in or as a visitor, and with the purpose `behaviour` allowed, the events are yours: they shape your feed and,
    where you have an address, count towards what creators earn. Otherwise they count for the works, without a name and
    to the hour.
    """
    async with async_unit_of_work(request, core) as connection:
        head = await service.head_time(connection)
        if head is None:
            raise Unavailable("The mirror has not seen a block yet; send the batch again in a moment.", code="no_head")
        account_id = None if person is None else person.account_id
        return await service.accept(
            connection,
            account_id=account_id,
            person=None if account_id is None else await person_of_async(connection, vault, account_id),
            events=body.events,
            epoch=Calendar.from_parameters(chain.manifest.parameters).epoch_at(head),
            now=now,
        )
