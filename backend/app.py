"""The HTTP application: `create_app(settings)`, or for uvicorn `backend.app:create_app --factory`."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psycopg
import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DataError, OperationalError, TimeoutError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from backend import preflight, worker
from backend.deps import Clock, Core, wall_clock
from backend.edge import described
from backend.edge.boundary import JSON_LIMIT, Boundary, is_json, problem_response
from backend.edge.conditional import Conditional
from backend.edge.idempotency import Idempotency
from backend.edge.routing import RouteIndex, add_flat
from backend.errors import AppError, Invalid, NotFound, Problem, Unauthorized, Unavailable
from backend.live.hub import Hub
from backend.live.shutdown import before_shutdown
from backend.settings import Settings
from backend.telemetry import tracing
from backend.vault.master_key import VaultError
from backend.vault.vault import Erased
from backend.web.routes import trouble_page
from backend.webhooks import routes as webhooks

log = structlog.get_logger()

VERSION = "0.1.0"
RECURSION_LIMIT = 1_000
"""Python's own. py_ecc, which eth-account brings, raises it to 100,000 for the whole process, and then whatever
recurses over a stranger's input ends the process with a segmentation fault instead of a RecursionError."""
STATIC = Path(__file__).resolve().parent / "web" / "static"

ROUTERS = (  # each module has a `router`; a package adds its line
    "backend.system.routes",
    "backend.accounts.routes",
    "backend.accounts.key_routes",
    "backend.consent.routes",
    "backend.consent.own_routes",
    "backend.engagement.routes",
    "backend.personalization.routes",
    "backend.personalization.policy_routes",
    "backend.personalization.person.control_routes",
    "backend.personalization.person.taste_routes",
    "backend.personalization.person.portable_routes",
    "backend.search.routes",
    "backend.search.wish_routes",
    "backend.personalization.evaluation.experiment_routes",
    "backend.personalization.showing.routes",
    "backend.personalization.packaging.routes",
    "backend.governance.routes",
    "backend.works.routes",
    "backend.works.standing_routes",
    "backend.works.licence_routes",
    "backend.shop.routes",
    "backend.shop.intent_routes",
    "backend.shop.order_routes",
    "backend.content.routes",
    "backend.payouts.routes",
    "backend.rewards.routes",
    "backend.live.routes",
    "backend.webhooks.routes",
    "backend.web.docs",
    "backend.web.routes",
    "backend.web.shop_routes",
    "backend.web.privacy_routes",
    "backend.web.operator_routes",
    "backend.web.feed_routes",
    "backend.web.search_routes",
)

TAGS = [
    {"name": "accounts", "description": "Sign-In with Ethereum (EIP-4361) and sessions."},
    {"name": "consent", "description": "What you allow, purpose by purpose; everything is off until you turn it on."},
    {
        "name": "your data",
        "description": "Take everything with you, freeze it, erase it; what was erased, and what remains.",
    },
    {"name": "engagement", "description": "What people do with works, accepted once."},
    {"name": "feed", "description": "What to watch next, why, and the off switch."},
    {"name": "search", "description": "Find works by words and by meaning, with the reason why each was found."},
    {"name": "works", "description": "Drafts and their registration; works, provenance, splits, licences."},
    {
        "name": "shop",
        "description": "What works sell: copies, tickets, rentals, subscriptions; who has access.",
    },
    {"name": "content", "description": "Files by their IPFS content id, checked block by block."},
    {
        "name": "payouts",
        "description": "What a holder earned and can withdraw, statements, paying a work, moving shares.",
    },
    {"name": "governance", "description": "Proposals, votes, and the policy that they have made."},
    {"name": "rewards", "description": "Epochs, scores, reward roots, and claims with their proofs."},
    {
        "name": "webhooks",
        "description": "Addresses of yours that are told what happens, by Standard Webhooks; what was sent, and again.",
    },
    {"name": "system", "description": "The chain that is served, health, readiness, metrics."},
]

DESCRIPTION = """\
Works, tickets and characters that are owned on chain; what they earn, split by contribution; votes on how it all runs.

The server holds nobody's key: it answers with **intents** (`{to, data, value, chainId}`) and EIP-712 typed data, and
the wallet signs. Amounts are decimal strings in base units, addresses EIP-55, times RFC 3339 in UTC. Answers that come
from the chain carry `as_of`: the block they were read at and its stage. Errors are `application/problem+json` with a
stable `code`. Sign in with `POST /v1/auth/nonce` and `POST /v1/auth/verify`; then send the cookie, or the token as
`Authorization: Bearer`.
"""


def operation_id(route: APIRoute) -> str:
    """Stable names for generated clients: the route function's own name."""
    return route.name


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    core: Core = app.state.core
    hub = app.state.live_hub = Hub(core.settings.database_url.get_secret_value())
    loop = asyncio.get_running_loop()
    await core.database.open()
    with before_shutdown(lambda: loop.call_soon_threadsafe(hub.end_all, "shutdown")):
        yield
    await hub.close()
    if (model := getattr(app.state, "wish_model", None)) is not None:
        await model.aclose()
    await core.close()
    tracing.stop()


@cache
def _routes() -> tuple[RouteIndex, list[BaseRoute]]:
    """All routes and what finds one of them. Made once a process: it takes longer than all else in an application."""
    whole = APIRouter(
        generate_unique_id_function=operation_id,
        responses={
            "4XX": {"model": Problem, "description": "Refused, with a code of docs/errors.md"},
            "5XX": {"model": Problem, "description": "Failed on our side"},
        },
    )
    for name in ROUTERS:
        router: APIRouter = importlib.import_module(name).router
        add_flat(whole, router, max_body_size=JSON_LIMIT)  # a route that takes more says so itself
    return RouteIndex(whole.routes), whole.routes


def create_app(settings: Settings | None = None, *, clock: Clock = wall_clock) -> FastAPI:
    """Build the application. `clock` is the wall clock of sessions and receipts.

    With settings nothing connects before it serves. Without, as a server starts it, they come from the environment and
    are checked against chain and database: what is wrong is one sentence on stderr and exit status 1.
    """
    if settings is None:
        settings = preflight.settings_or_exit()
    worker.use(settings)
    core = Core(settings, clock)
    app = FastAPI(
        telemetry=tracing.for_fastapi(tracing.start(settings, "troupe-api")),
        title="Troupe",
        version=VERSION,
        summary="The backend of an entertainment platform that its audience co-owns.",
        description=DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    app.state.core = core
    index, routes = _routes()
    app.router.routes[:0] = [index, *routes]
    app.webhooks.include_router(webhooks.sent)
    import eth_account  # noqa: F401, PLC0415 - now, so that no later import raises the limit again

    sys.setrecursionlimit(RECURSION_LIMIT)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _handle_errors(app)
    _describe(app, routes)
    app.add_middleware(Conditional, core=core)
    app.add_middleware(Idempotency, core=core)
    app.add_middleware(Boundary, core=core)  # the last one added is the outermost
    return app


def _describe(app: FastAPI, routes: list[BaseRoute]) -> None:
    """OpenAPI as backend.edge.described finishes it."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described.finish(build(), [route for route in routes if isinstance(route, APIRoute)])
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(AppError)
    async def _app_error(request: Request, error: AppError) -> Response:
        return _answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> Response:
        return _answer(request, _page_unknown(request, error) or invalid_request(request, error))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return _answer(request, http_error(error))

    @app.exception_handler(DataError)
    @app.exception_handler(psycopg.DataError)  # from the async pool, which SQLAlchemy does not see
    async def _data(request: Request, error: DataError) -> Response:
        return _answer(request, Invalid("A value is outside what can be stored.", code="value_out_of_range"))

    @app.exception_handler(Erased)
    async def _erased(request: Request, error: Erased) -> Response:
        return _answer(
            request,
            Unauthorized("What was kept of this account was erased: sign in again to begin anew.", code="erased"),
        )

    @app.exception_handler(VaultError)
    async def _vault(request: Request, error: VaultError) -> Response:
        log.error("vault_refused", reason=str(error))  # names places and ids, never a key
        return _answer(
            request,
            Unavailable("A key that this needs cannot be used just now; nothing was changed.", code="keys_unavailable"),
        )

    @app.exception_handler(OperationalError)
    @app.exception_handler(psycopg.OperationalError)  # psycopg_pool.PoolTimeout is one
    @app.exception_handler(TimeoutError)
    async def _database(request: Request, error: Exception) -> Response:
        return _answer(
            request,
            Unavailable("The database does not answer; nothing was changed.", code="database_unavailable"),
        )


def _answer(request: Request, error: AppError) -> Response:
    """A page for a browser that asked for one; problem+json for programs."""
    return trouble_page(request, error) or problem_response(request.scope, error)


def _page_unknown(request: Request, error: RequestValidationError) -> AppError | None:
    """A page's address that no page can have, such as /works/abc: to a person there is nothing there."""
    wrong = any(item["loc"][0] == "path" for item in error.errors())
    missing = NotFound("There is nothing at this address.")
    return missing if wrong and trouble_page(request, missing) else None


def invalid_request(request: Request, error: RequestValidationError) -> AppError:
    """What a request that does not fit its schema is answered with."""
    problems: list[dict[str, Any]] = list(error.errors())
    if any(item["type"] == "json_invalid" for item in problems):
        return AppError(400, "malformed_json", "Malformed request", "The body is not valid JSON.")
    kind = request.headers.get("content-type", "")
    if any(tuple(item["loc"]) == ("body",) for item in problems) and kind and not is_json(kind):
        return AppError(415, "unsupported_media_type", "Unsupported media type", "Send the body as application/json.")
    fields = [
        {"location": ".".join(map(str, item["loc"])), "message": _message(item), "code": str(item["type"])}
        for item in problems
    ]
    return Invalid(
        f"{fields[0]['location']}: {fields[0]['message']}" + (f" (and {len(fields) - 1} more)" if fields[1:] else ""),
        errors=fields,
    )


def _message(item: dict[str, Any]) -> str:
    return str(item["msg"]).removeprefix("Value error, ")


_HTTP_CODES = {
    400: ("malformed", "The request cannot be read."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take this method; the Allow header names those it takes."),
    413: ("body_too_large", "The request body is larger than this route takes."),
    415: ("unsupported_media_type", "This route does not take this type of body."),
}


def http_error(error: HTTPException) -> AppError:
    """The framework's own errors in our form."""
    status = HTTPStatus(error.status_code)
    code, detail = _HTTP_CODES.get(status, (f"http_{status.value}", status.description or status.phrase))
    made = AppError(status.value, code, status.phrase, detail)
    made.headers.update(error.headers or {})
    return made
