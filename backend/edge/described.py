"""What FastAPI leaves out of OpenAPI: who may call an operation, which problems it answers, an example of asking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi.routing import APIRoute

from backend.accounts.scopes import MEANING
from backend.deps import OPTIONAL_SCHEME
from backend.edge import problems
from backend.edge.examples import add_examples
from backend.errors import MEDIA_TYPE

Json = dict[str, Any]


def finish(schema: Json, routes: Sequence[APIRoute]) -> None:
    """Complete the description that FastAPI made of these routes."""
    _describe_callers(schema)
    by_id = {route.name: route for route in routes}
    for operation in _operations(schema):
        if (route := by_id.get(operation["operationId"])) is not None:
            _describe_problems(operation, route)
    add_examples(schema)


def _operations(schema: Json) -> Iterator[Json]:
    return (operation for methods in schema["paths"].values() for operation in methods.values())


def _describe_callers(schema: Json) -> None:
    """Say of each operation who may call it: nobody too, a session by bearer token or cookie, a key with a scope."""
    schemes = schema["components"].setdefault("securitySchemes", {})
    schemes.pop(OPTIONAL_SCHEME, None)
    schemes["key"] = {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of POST /v1/keys, within its scopes:\n"
        + "\n".join(f"- `{scope}`: {meaning}" for scope, meaning in MEANING.items()),
    }
    for operation in _operations(schema):
        named = operation.get("security")
        if named is None:
            continue
        required = any("bearer" in each for each in named)
        scopes = sorted({scope for each in named for scopes in each.values() for scope in scopes})
        operation["security"] = [*([] if required else [{}]), {"bearer": []}, {"cookie": []}]
        operation["security"] += [{"key": scopes}] if scopes else []


def _describe_problems(operation: Json, route: APIRoute) -> None:
    """Name the codes that it answers, each below its status; they are application/problem+json, and not the JSON under
    which FastAPI files every model.
    """
    answers = operation["responses"]
    for answer in answers.values():
        content = answer.get("content", {})
        if content.get("application/json", {}).get("schema", {}).get("$ref", "").endswith("/Problem"):
            content[MEDIA_TYPE] = content.pop("application/json")
    answers.pop("4XX", None)
    answers |= problems.answers(route)
    operation["responses"] = dict(sorted(answers.items()))
