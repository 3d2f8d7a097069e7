"""Finding a request's route without trying all of them, and running it without what only describes it.

FastAPI asks one route after the other, and every included router a second time: with a hundred routes that takes
longer than all else that a cached read does. So routes are kept flat (`add_flat`), and an index of the first parts of
their paths stands before them. What it does not know, the routes behind it answer as ever: 404, 405, files.

A security scheme of FastAPI is a dependency that is solved anew for each request; ours only say in OpenAPI who may
call a route, so a `LeanRoute` shows them and does not run them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from fastapi.telemetry._api import _route_selected
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

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


class LeanRoute(APIRoute):
    """Runs without the security schemes that it shows in OpenAPI."""

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
