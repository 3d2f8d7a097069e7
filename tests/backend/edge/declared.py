"""Whether a refusal is one that OpenAPI names: every test client looks (tests/backend/conftest.py)."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from fastapi.routing import APIRoute

from backend.app import _routes
from backend.edge.problems import codes_of

PLANTED = {"passed"}
"""Codes of tests."""
ANYWHERE = {"not_found", "method_not_allowed", "rate_limited"}
"""Of addresses rather than operations; and whatever is counted may be refused."""


def undeclared(method: str, path: str, problem: dict[str, Any]) -> str | None:
    """A sentence about a refusal that the operation's description does not name; None when it is well."""
    code = problem["code"]
    if problem["status"] >= 500 or code in PLANTED | ANYWHERE:
        return None
    route = operation(method, path)
    if route is None or code in codes_of(route):
        return None
    return (
        f"{method} {path} answered `{code}`, which OpenAPI does not name for {route.name}: add `{code}` to the line of"
        f" {route.name!r} in OWN of backend/edge/problems.py, then run `python -m scripts.openapi`"
    )


def operation(method: str, path: str) -> APIRoute | None:
    """The described route of a request; none for pages, and for what tests add."""
    return next((route for pattern, route in _patterns() if method in route.methods and pattern.fullmatch(path)), None)


@cache
def _patterns() -> list[tuple[re.Pattern[str], APIRoute]]:
    """The paths with fewest parameters first, as the routes are found."""
    routes = [route for route in _routes()[1] if isinstance(route, APIRoute) and route.include_in_schema]
    return [(route.path_regex, route) for route in sorted(routes, key=lambda route: route.path.count("{"))]
