"""The chain that is served, health, readiness and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response, status
from prometheus_client import CONTENT_TYPE_LATEST

from backend.deps import AsyncDb, Chain, CoreDep
from backend.system import gauges, readiness
from backend.system.schemas import ChainStatus, FinalityInfo, Health, MirroredBlock, Part, Readiness, TokenInfo

router = APIRouter(tags=["system"])


@router.get("/v1/chain")
async def get_chain_status(chain: Chain, db: AsyncDb) -> ChainStatus:
    """The deployment that is served (contracts, currencies, finality) and the last block of its mirror."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT head_number, head_hash, head_time, final_number FROM chain.cursor")
        row = await cursor.fetchone()
    head = final = None
    if row is not None:
        number, final = int(row["head_number"]), int(row["final_number"])
        head = MirroredBlock(
            block=number,
            hash=bytes(row["head_hash"]),
            time=row["head_time"],
            stage="final" if number <= final else "seen",
        )
    manifest = chain.manifest
    return ChainStatus(
        chain_id=manifest.chainId,
        network=manifest.network,
        contracts={name: contract.address for name, contract in manifest.contracts.items()},
        tokens=[TokenInfo.model_validate(token) for token in chain.tokens.values()],
        finality=FinalityInfo.model_validate(manifest.finality),
        head=head,
        final_block=final,
    )


@router.get("/health")
async def get_health() -> Health:
    """Whether this process answers; it asks nothing else. `/ready` says whether it can serve."""
    return Health(status="ok")


@router.get("/ready", responses={status.HTTP_503_SERVICE_UNAVAILABLE: {"model": Readiness, "description": "Not ready"}})
def get_readiness(core: CoreDep, response: Response) -> Readiness:
    """Whether requests can be served: database and its migrations, Redis, node, mirror, content. 503 when not.

    Each part that is not well says what to do.
    """
    checks = readiness.examine(core)
    ready = all(check.ok for check in checks)
    if not ready:
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        response.headers["Retry-After"] = "2"
    parts = [Part.model_validate(check) for check in checks]
    return Readiness(status="ready" if ready else "not_ready", checks=parts)


@router.get("/metrics", response_class=Response, include_in_schema=False)
def get_metrics(core: CoreDep) -> Response:
    """Prometheus metrics; docs/operations.md says what each one is."""
    return Response(gauges.exposition(core), media_type=CONTENT_TYPE_LATEST)
