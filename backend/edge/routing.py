"""Finding a request's route without trying all of them, and running it without what only describes it.

FastAPI asks one route after the other, and every included router a second time: with a hundred routes that takes
longer than all else that a cached read does. So routes are kept flat (`add_flat`), and an index of the first parts of
their paths stands before them. What it does not know, the routes behind it answer as ever: 404, 405, files.

A security scheme of FastAPI is a dependency that is solved anew for each request; ours only say in OpenAPI who may
call a route, so a `LeanRoute` shows them and does not run them. What is left of a route that is asked all the time is
often just its request, who asks, and a JSON body, and its answer is a Response: such a one runs straight, without the
stacks, the caches and the spare answer that FastAPI makes for each request of any route.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Request, Response, params
from fastapi._body_limit import wrap_app_with_body_limit
from fastapi._compat import ModelField, Undefined
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_body_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from fastapi.telemetry._api import _route_selected
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.edge.quotas import SAFE_METHODS

_COPIED = [name for name in inspect.signature(APIRouter.add_api_route).parameters if name not in ("self", "path")]
ANY = "{"
Key = tuple[str, str, int]
"""The first two parts of a path and the number of its parts; ANY and 0 stand for all."""


def without_schemes(dependant: Dependant) -> Dependant:
    """What a route depends on, but for the security schemes: whoever asked for one is called without it."""
    kept = [each for each in dependant.dependencies if not isinstance(each.call, SecurityBase)]
    return dataclasses.replace(dependant, dependencies=[without_schemes(each) for each in kept])


def calls(dependant: Dependant) -> Iterator[Any]:
    """Every function that a route depends on, directly or not."""
    for each in dependant.dependencies:
        yield each.call
        yield from calls(each)


def is_straight(route: APIRoute, dependant: Dependant) -> bool:
    """Whether a route takes nothing but its request, what async functions of the request say, and one JSON body, and
    answers with a Response."""
    answer = inspect.signature(route.endpoint, eval_str=True).return_annotation
    bodies = [field.field_info for field in dependant.body_params]
    model = len(bodies) == 1 and type(bodies[0]) is params.Body and not route._embed_body_fields
    run = list(calls(dependant))
    return (
        inspect.isclass(answer)
        and issubclass(answer, Response)
        and (model or not bodies)
        and _only_asks_the_request(dependant)
        and not any(each.body_params for each in dependant.dependencies)
        and len(run) == len(set(run))  # what is there twice, FastAPI runs once
    )


def _only_asks_the_request(dependant: Dependant) -> bool:
    taken = (dependant.path_params, dependant.query_params, dependant.header_params, dependant.cookie_params)
    more = (dependant.websocket_param_name, dependant.http_connection_param_name, dependant.response_param_name)
    return (
        inspect.iscoroutinefunction(dependant.call)
        and not any(taken)
        and not any(more)
        and dependant.concurrency is None
        and all(map(_only_asks_the_request, dependant.dependencies))
    )


async def _values(dependant: Dependant, request: Request, background: BackgroundTasks) -> dict[str, Any]:
    """What a straight route, or what it depends on, is called with, but for the body."""
    values: dict[str, Any] = {}
    for each in dependant.dependencies:
        assert each.call is not None
        found = await each.call(**await _values(each, request, background))
        if each.name is not None:
            values[each.name] = found
    if dependant.request_param_name:
        values[dependant.request_param_name] = request
    if dependant.background_tasks_param_name:
        values[dependant.background_tasks_param_name] = background
    if dependant.security_scopes_param_name:
        scopes = [*(dependant.parent_oauth_scopes or ()), *(dependant.own_oauth_scopes or ())]
        values[dependant.security_scopes_param_name] = SecurityScopes(list(dict.fromkeys(scopes)))
    return values


async def _given(request: Request) -> Any:
    """The JSON that was sent. Raises RequestValidationError."""
    raw: Any = await request.body()
    try:
        return json.loads(raw) if raw else Undefined
    except ValueError as error:
        raise RequestValidationError([{"type": "json_invalid", "loc": ("body",), "msg": str(error)}]) from error


async def _body(field: ModelField, given: Any) -> dict[str, Any]:
    """It as the route's model, by the name that the route gives to it. Raises RequestValidationError."""
    values, errors = await request_body_to_args(body_fields=[field], received_body=given, embed_body_fields=False)
    if errors:
        raise RequestValidationError(errors, body=given)
    return values


class LeanRoute(APIRoute):
    """Runs without the security schemes that it shows in OpenAPI; straight, where it can."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        lean = without_schemes(self.dependant)
        self.straight = is_straight(self, lean)
        if self.straight:
            self.app = self._straight(lean, otherwise=self.app, max_body_size=options.get("max_body_size"))

    def _straight(self, dependant: Dependant, *, otherwise: ASGIApp, max_body_size: int | None) -> ASGIApp:
        """The application of this route alone. What it raises is answered where every route's is."""
        field = next(iter(dependant.body_params), None)
        call: Any = dependant.call

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            request, background = Request(scope, receive, send), BackgroundTasks()
            given = None if field is None else await _given(request)
            values = await _values(dependant, request, background)  # who may not ask is told so, whatever they sent
            body = {} if field is None else await _body(field, given)
            answer: Response = await call(**values, **body)
            if background.tasks and answer.background is None:
                answer.background = background
            await answer(scope, receive, send)

        if field is None:
            return app
        guarded = wrap_app_with_body_limit(app, max_body_size)

        async def of_json(scope: Scope, receive: Receive, send: Send) -> None:
            kinds = [value for name, value in scope["headers"] if name == b"content-type"]
            await (guarded if kinds == [b"application/json"] else otherwise)(scope, receive, send)

        return of_json

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, of fewer dependencies."""
        described = self.dependant
        self.dependant = without_schemes(described)
        try:
            return super().get_route_handler()
        finally:
            self.dependant = described


def add_flat(whole: APIRouter, router: APIRouter, *, max_body_size: int) -> None:
    """Add a router's routes to the one of the whole application. Raises TypeError for what is no plain route."""
    for route in router.routes:
        if not isinstance(route, APIRoute):
            raise TypeError(f"{route} is no plain route: include its router as FastAPI does")
        options: dict[str, Any] = {name: getattr(route, name) for name in _COPIED if hasattr(route, name)}
        reads = route.body_field is None and (route.methods or set()) <= SAFE_METHODS  # there is no body to be guarded
        options["max_body_size"] = None if reads else route.max_body_size or max_body_size
        lean = LeanRoute if type(route) is APIRoute else type(route)
        whole.add_api_route(route.path, route_class_override=lean, **options)


def _parts(path: str) -> list[str]:
    return path.split("/")[1:]


def _key(route: APIRoute) -> Key:
    parts = [ANY if part.startswith("{") else part for part in _parts(route.path)]
    first, second = [*parts, "", ""][:2]
    return first, second, 0 if ":path}" in route.path else len(parts)


def _plain(route: APIRoute) -> bool:
    return "{" not in route.path


def _fits(route: Key, asked: Key) -> bool:
    return all(mine in (ANY, 0, theirs) for mine, theirs in zip(route, asked, strict=True))


class RouteIndex(BaseRoute):
    """Stands before the routes and finds the one of a path by its first two parts and its length."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        keys = [(_key(route), route) for route in routes if isinstance(route, APIRoute)]
        lengths = {length for (_, _, length), _ in keys}
        self._found: dict[Key, list[APIRoute]] = defaultdict(list)
        for first, second in {(first, second) for (first, second, _), _ in keys}:
            for length in lengths:
                asked = (first, second, length)
                self._found[asked] = [route for key, route in keys if _fits(key, asked)]
        self._found.default_factory = None
        self._whole: dict[tuple[str, str], APIRoute] = {}
        """By method and path, of paths that hold nothing but themselves."""
        asked_for = [(method, route.path) for _, route in keys if _plain(route) for method in route.methods or ()]
        for method, path in asked_for:
            match, child = self._look({"type": "http", "method": method, "path": path})
            if match is Match.FULL:
                self._whole[method, path] = child["route"]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """The first route that matches in full; none where it takes more than a look to say so."""
        if scope["type"] != "http" or scope.get("root_path"):
            return Match.NONE, {}
        if (route := self._whole.get((scope["method"], scope["path"]))) is not None:
            return Match.FULL, {"endpoint": route.endpoint, "path_params": {}, "route": route}
        return self._look(scope)

    def _look(self, scope: Scope) -> tuple[Match, Scope]:
        parts = _parts(scope["path"])
        first, second = [*parts, "", ""][:2]
        length = len(parts)
        for key in ((first, second, length), (first, ANY, length)):
            for route in self._found.get(key, ()):
                match, child = route.matches(scope)
                if match is Match.FULL:
                    return match, child
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request to the route that was found, under whose path it is traced."""
        route: APIRoute = scope["route"]
        _route_selected(scope=scope, path=route.path_format)
        await route.handle(scope, receive, send)
