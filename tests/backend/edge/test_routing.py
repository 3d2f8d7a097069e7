"""The index of routes finds what FastAPI would have found, route for route."""

from __future__ import annotations

import re
from typing import Annotated

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer, SecurityScopes
from pydantic import BaseModel
from starlette.routing import Match
from starlette.testclient import TestClient
from starlette.types import Scope

from backend.app import create_app
from backend.edge.boundary import JSON_LIMIT
from backend.edge.routing import RouteIndex, add_flat, without_schemes
from backend.settings import Settings


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The application, without any server: only its routes are looked at."""
    folder = tmp_path_factory.mktemp("routing")
    return create_app(
        Settings(
            env="test",
            database_url="postgresql+psycopg://nobody@/none",  # type: ignore[arg-type]
            redis_url="unix:///nowhere",
            rpc_url="http://127.0.0.1:1",
            chain_id=1,
            deployment=folder / "deployment.json",
            data_dir=folder / "data",
            public_url="http://127.0.0.1:8000",
        )
    )


def scope_of(path: str, method: str = "GET") -> Scope:
    return {"type": "http", "path": path, "method": method, "headers": [], "root_path": ""}


def plain(app: FastAPI, scope: Scope) -> object:
    """FastAPI's own way: the first route of all that matches in full."""
    for route in app.router.routes:
        if isinstance(route, APIRoute):
            match, child = route.matches(dict(scope))
            if match is Match.FULL:
                return child["route"]
    return None


def indexed(app: FastAPI, scope: Scope) -> object:
    (index,) = [route for route in app.router.routes if isinstance(route, RouteIndex)]
    match, child = index.matches(dict(scope))
    return child["route"] if match is Match.FULL else None


SAMPLES = {"address": "0x" + "1" * 40, "path": "a/b/c.txt"}


def paths(route: APIRoute) -> list[str]:
    """Addresses of a route: with a number, a word and something odd for each parameter."""
    names = re.findall(r"\{(\w+)[^}]*\}", route.path)
    return [
        route.path_format.format(**{name: SAMPLES.get(name, word) for name in names})
        for word in ("7", "mine", "{", "0192f1c2-8d2e-7c3a-9b1f-5a1de4f4b0aa")
    ]


def test_every_address_finds_the_route_that_it_found_without_the_index(app: FastAPI) -> None:
    routes = [route for route in app.router.routes if isinstance(route, APIRoute)]
    found = 0
    for route in routes:
        for path in paths(route):
            for method in route.methods:
                scope = scope_of(path, method)
                expected = plain(app, scope)
                assert indexed(app, scope) is expected, path
                found += expected is not None
    assert found >= len(routes)


@pytest.mark.parametrize(
    "path", ["", "/", "//", "/v1", "/v1/", "/v1/nothing", "/v1//x", "/nothing/at/all", "/static/x"]
)
def test_what_the_index_does_not_know_is_left_to_fastapi(app: FastAPI, path: str) -> None:
    assert indexed(app, scope_of(path)) is plain(app, scope_of(path))


def made(*paths_: str) -> FastAPI:
    router = APIRouter()
    for path in paths_:
        router.add_api_route(path, lambda path=path: path, name=path)
    app = FastAPI()
    add_flat(app.router, router, max_body_size=JSON_LIMIT)
    app.router.routes.insert(0, RouteIndex(app.router.routes))
    return app


@pytest.mark.parametrize(
    ("routes", "path", "expected"),
    [
        (("/a/{x}", "/a/b"), "/a/b", "/a/{x}"),  # the first one wins, as with FastAPI
        (("/a/b", "/a/{x}"), "/a/b", "/a/b"),
        (("/a/b", "/a/{x}"), "/a/c", "/a/{x}"),
        (("/{x}/b", "/a/b"), "/a/b", "/{x}/b"),
        (("/a/{x:path}", "/a/b/c"), "/a/b/c", "/a/{x:path}"),
        (("/a/b/c", "/a/{x:path}"), "/a/b/d/e", "/a/{x:path}"),
    ],
)
def test_the_order_of_routes_decides_as_before(routes: tuple[str, ...], path: str, expected: str) -> None:
    with TestClient(made(*routes)) as client:
        assert client.get(path).json() == expected


def test_a_wrong_method_is_still_405_and_a_late_route_is_found() -> None:
    app = made("/a/b")
    app.add_api_route("/a/late", lambda: "late")
    with TestClient(app) as client:
        assert client.post("/a/b").status_code == 405
        assert client.get("/a/late").json() == "late"


def test_a_planted_index_that_forgets_the_order_is_found(app: FastAPI) -> None:
    app_ = made("/a/{x}", "/a/b")
    _, found = RouteIndex(app_.router.routes[::-1]).matches(scope_of("/a/b"))
    assert found["route"] is not plain(app_, scope_of("/a/b"))


def test_only_plain_routes_are_added_flat() -> None:
    outer, inner = APIRouter(), APIRouter()
    inner.add_api_route("/x", lambda: "x")
    outer.include_router(inner)
    with pytest.raises(TypeError, match="no plain route"):
        add_flat(FastAPI().router, outer, max_body_size=JSON_LIMIT)


class Loud(HTTPBearer):
    async def __call__(self, request: Request) -> None:
        raise AssertionError("it was run")


def nested(scheme: Annotated[object, Security(Loud(scheme_name="bearer"))] = None) -> str:
    return str(scheme)


def test_security_schemes_are_shown_and_not_run() -> None:
    """FastAPI's own route, which runs it, is the planted break."""
    router = APIRouter()

    @router.get("/who")
    def who(found: Annotated[str, Depends(nested)]) -> str:
        return found

    whole = APIRouter()
    add_flat(whole, router, max_body_size=JSON_LIMIT)
    app, planted = FastAPI(), FastAPI()
    app.router.routes[:0] = whole.routes
    planted.include_router(router)
    assert TestClient(app).get("/who").json() == "None"
    assert app.openapi()["paths"]["/who"]["get"]["security"] == [{"bearer": []}]
    with pytest.raises(AssertionError, match="it was run"):
        TestClient(planted).get("/who")
    (route,) = (each for each in whole.routes if isinstance(each, APIRoute))
    assert route.dependant.dependencies[0].dependencies, "the description is whole"
    assert not without_schemes(route.dependant).dependencies[0].dependencies


class Song(BaseModel):
    title: str
    bars: int = 4


async def _who(request: Request, scopes: SecurityScopes, background: BackgroundTasks) -> str:
    if request.headers.get("x-who") == "stranger":
        raise HTTPException(401, "who are you?")
    background.add_task(request.app.state.after.append, "told")
    return f"{request.headers.get('x-who', 'nobody')} {scopes.scopes}"


async def _sing(request: Request, song: Song, who: Annotated[str, Security(_who, scopes=["sing"])]) -> Response:
    return Response(f"{who}: {song.title} {song.bars}")


STRANGE_BODIES = [
    (b'{"title":"A"}', "application/json"),
    (b'{"title":"A","bars":2}', "application/json; charset=utf-8"),
    (b'{"title":"A"}', "application/vnd.song+json"),
    (b'{"title":1}', "application/json"),
    (b"[]", "application/json"),
    (b"null", "application/json"),
    (b"{", "application/json"),
    (b"", "application/json"),
    (b'{"title":"A"}', "text/plain"),
    (b'{"title":"A"}', None),
    (b"x" * 2000, "application/json"),
]


@pytest.mark.parametrize("who", ["alice", "stranger"])
@pytest.mark.parametrize(("body", "kind"), STRANGE_BODIES)
def test_a_straight_route_answers_as_fastapi_does(body: bytes, kind: str | None, who: str) -> None:
    answers = []
    for straight in (True, False):
        app, router = FastAPI(), APIRouter()
        app.state.after = []
        router.add_api_route("/sing", _sing, methods=["POST"])
        if straight:
            add_flat(app.router, router, max_body_size=1000)
            assert app.router.routes[-1].straight  # type: ignore[attr-defined]
        else:
            app.include_router(router, max_body_size=1000)
        headers = {"x-who": who} | ({"content-type": kind} if kind else {})
        answer = TestClient(app).post("/sing", content=body, headers=headers)
        said = answer.json()["detail"] if answer.status_code == 422 else answer.text
        told = [(each["type"], each["loc"][0]) for each in said] if isinstance(said, list) else said
        answers.append((answer.status_code, told, app.state.after))
    assert answers[0] == answers[1]


async def _takes(number: int) -> Response:
    return Response(str(number))


async def _plain(request: Request) -> dict[str, str]:
    return {}


def _sync(request: Request) -> Response:
    return Response()


@pytest.mark.parametrize("endpoint", [_takes, _plain, _sync])
def test_what_needs_more_of_fastapi_does_not_run_straight(endpoint: object) -> None:
    router = APIRouter()
    router.add_api_route("/it", endpoint)  # type: ignore[arg-type]
    whole = APIRouter()
    add_flat(whole, router, max_body_size=1000)
    assert not whole.routes[0].straight  # type: ignore[attr-defined]
