"""The committed description of the API: what the server says today, and what a change of it would break."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from scripts import openapi
from scripts.openapi import Json, breaking

OLD: Json = {
    "paths": {
        "/works/{id}": {
            "get": {
                "operationId": "get_work",
                "parameters": [{"in": "path", "name": "id", "required": True}, {"in": "query", "name": "lang"}],
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Work"}}}}
                },
            },
            "post": {
                "operationId": "change_work",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Change"}}},
                },
                "responses": {"204": {}},
            },
        }
    },
    "components": {
        "schemas": {
            "Work": {
                "type": "object",
                "required": ["id", "title"],
                "properties": {
                    "id": {"type": "integer"},
                    "title": {"type": "string"},
                    "parents": {"type": "array", "items": {"$ref": "#/components/schemas/Work"}},
                },
            },
            "Change": {
                "type": "object",
                "required": ["title"],
                "properties": {"title": {"type": "string"}, "kind": {"type": "string", "enum": ["song", "story"]}},
            },
        }
    },
}


def get(spec: Json) -> Json:
    return spec["paths"]["/works/{id}"]["get"]  # type: ignore[no-any-return]


def schema(spec: Json, name: str) -> Json:
    return spec["components"]["schemas"][name]  # type: ignore[no-any-return]


BREAKS: dict[str, Callable[[Json], Any]] = {
    "GET /works/{id} is gone": lambda s: s["paths"]["/works/{id}"].pop("get"),
    "called fetch_work": lambda s: get(s).update(operationId="fetch_work"),
    "parameter lang is gone": lambda s: get(s)["parameters"].pop(),
    "parameter lang is required now": lambda s: get(s)["parameters"][1].update(required=True),
    "the answer 200 is gone": lambda s: get(s)["responses"].pop("200"),
    "200: the field title is gone": lambda s: schema(s, "Work")["properties"].pop("title"),
    "200: the field title may be missing": lambda s: schema(s, "Work")["required"].remove("title"),
    "200.id: is string now": lambda s: schema(s, "Work")["properties"].update(id={"type": "string"}),
    "body: the field kind is not taken": lambda s: schema(s, "Change")["properties"].pop("kind"),
    "body: the field kind is required": lambda s: schema(s, "Change")["required"].append("kind"),
    "value song is not taken": lambda s: schema(s, "Change")["properties"]["kind"].update(enum=["story"]),
}


@pytest.mark.parametrize("said", BREAKS)
def test_what_breaks_clients_is_named(said: str) -> None:
    new = copy.deepcopy(OLD)
    BREAKS[said](new)
    assert any(said in line for line in breaking(OLD, new)), breaking(OLD, new)


def test_what_is_added_breaks_nothing() -> None:
    new = copy.deepcopy(OLD)
    new["paths"]["/more"] = {"get": {"operationId": "more", "responses": {"200": {}}}}
    get(new)["parameters"].append({"in": "query", "name": "limit"})
    schema(new, "Work")["properties"]["year"] = {"type": "integer"}
    schema(new, "Change")["properties"]["kind"]["enum"].append("film")
    assert breaking(OLD, new) == []
    assert breaking(OLD, OLD) == []


@pytest.mark.slow
@pytest.mark.feature("Q6", via="http")
def test_the_committed_description_is_what_the_api_says() -> None:
    old, new = json.loads(openapi.FILE.read_text()), openapi.described()
    broken = "\n".join(f"breaks clients: {line}" for line in breaking(old, new))
    assert openapi.text_of(old) == openapi.text_of(new), f"clients/openapi.json is old: {openapi.RENEW}\n{broken}"
