"""What holds for every request and answer: limits, headers, problems, the description, the pages about it."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from typing import Annotated, Any

import pytest
from eth_account.signers.local import LocalAccount
from fastapi import APIRouter, FastAPI
from psycopg_pool import PoolTimeout
from sqlalchemy import select, text

from backend.app import create_app
from backend.deps import AsyncDb, CurrentPerson, DbSession
from backend.edge.boundary import JSON_DEPTH, JSON_LIMIT
from backend.errors import AppError, Conflict
from backend.models.accounts import SignInNonce
from backend.schemas import AddressStr, Amount, AmountIn, Hash32, HexBytes, Schema, Time
from backend.settings import Settings
from tests.backend.conftest import PUBLIC_URL, Client
from tests.factories import Mirror

pytestmark = pytest.mark.feature("Q6", via="http")


class Everything(Schema):
    """A body with a field of each type that schemas share."""

    address: AddressStr | None = None
    amount: AmountIn | None = None
    data: HexBytes | None = None
    hash: Hash32 | None = None
    time: Time | None = None
    number: int | None = None
    ratio: float | None = None
    name: str | None = None


class Shown(Schema):
    """An answer with a field of each type."""

    address: AddressStr
    amount: Amount
    hash: Hash32
    time: Time


router = APIRouter(prefix="/probe")


@router.post("/echo")
def echo(body: Everything) -> Everything:
    return body


@router.get("/shown")
def shown() -> Shown:
    return Shown(address=bytes(20), amount=2**256 - 1, hash=b"\x01" * 32, time=1_700_000_000)  # type: ignore[arg-type]


@router.get("/broken")
def broken() -> None:
    raise ZeroDivisionError("SELECT secret FROM private.diary")


@router.get("/conflict")
def conflict() -> None:
    raise Conflict("It is taken by work 7.", code="taken", work_id=7)


@router.post("/write-then-fail")
def write_then_fail(session: DbSession, clock: int = 0) -> None:
    session.execute(text("INSERT INTO app.sign_in_nonce (nonce, expires_at) VALUES ('left behind', now())"))
    raise AppError(409, "conflict", "Conflict", "Changed my mind.")


@router.post("/breaks-at-commit")
def breaks_at_commit(session: DbSession) -> None:
    session.add(SignInNonce(nonce="\0", expires_at=None))  # both are refused by the database, when it is flushed


@router.get("/number/{number}")
def number(number: int, session: DbSession) -> dict[str, int]:
    session.execute(text("SELECT CAST(:n AS bigint)"), {"n": number})
    return {"number": number}


@router.get("/person")
async def person(me: CurrentPerson) -> dict[str, str]:
    return {"address": "0x" + me.address.hex()}


@router.get("/async-data-error")
async def async_data_error(db: AsyncDb) -> None:
    async with db.connection() as connection:
        await connection.execute("SELECT now() AT TIME ZONE %s", ("Nowhere/Nowhere",))


@router.get("/async-away")
async def async_away() -> None:
    raise PoolTimeout("couldn't get a connection")


@router.get("/text")
def take_text(q: Annotated[str, "any text"] = "") -> dict[str, str]:
    return {"q": q}


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    """The application with this module's probes."""
    app.include_router(router, max_body_size=JSON_LIMIT)
    return app


def is_problem(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["type"] == f"/docs/errors#{code}"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert {"title", "detail", "instance"} <= body.keys()
    for leak in ("Traceback", "SELECT", 'File "', "/root", "sqlalchemy", "psycopg"):
        assert leak not in answer.text


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "invalid"),
        (b"{", 400, "malformed_json"),
        (b"nonsense", 400, "malformed_json"),
        (b'{"name": "x"', 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b'{"name": "\xff"}', 400, "malformed_json"),
        ('{"name": "x"}'.encode("utf-16"), 400, "malformed_json"),
        ('{"name": "x"}'.encode("utf-32-be"), 400, "malformed_json"),
        (b"[1, 2]", 422, "invalid"),
        (b"null", 422, "invalid"),
        (b'"text"', 422, "invalid"),
        (b"7", 422, "invalid"),
        (b'{"name": ' + b"[" * 40 + b"]" * 40 + b"}", 400, "json_too_deep"),
        (b"[" * 500_000, 400, "json_too_deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, "json_too_deep"),
        (b'{"name": "\\u0000"}', 400, "unstorable_text"),
        (b'{"\\u0000": 1}', 400, "unstorable_text"),
        (b'{"name": "\\ud800"}', 400, "unstorable_text"),
        (b'{"name": "' + b"x" * JSON_LIMIT + b'"}', 413, "body_too_large"),
        (b'{"number": ' + b"9" * 5000 + b"}", 400, "malformed"),
        (b'{"ratio": NaN}', 422, "invalid"),
        (b'{"ratio": 1e999}', 422, "invalid"),
        (b'{"ratio": "x"}', 422, "invalid"),
        (b'{"number": 1.5}', 422, "invalid"),
        (b'{"number": {}}', 422, "invalid"),
        (b'{"name": 7}', 422, "invalid"),
        (b'{"name": ["x"]}', 422, "invalid"),
        (b'{"unknown": 1}', 422, "invalid"),
        (b'{"name": "x", "Name": "y"}', 422, "invalid"),
        (b'{"address": "0x12"}', 422, "invalid"),
        (b'{"address": 7}', 422, "invalid"),
        (b'{"address": "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}', 422, "invalid"),
        (b'{"amount": 5}', 422, "invalid"),
        (b'{"amount": true}', 422, "invalid"),
        (b'{"amount": "-1"}', 422, "invalid"),
        (b'{"amount": "1.0"}', 422, "invalid"),
        (b'{"amount": "1e18"}', 422, "invalid"),
        (b'{"amount": "007"}', 422, "invalid"),
        (b'{"amount": " 7"}', 422, "invalid"),
        ('{"amount": "٣"}'.encode(), 422, "invalid"),
        (b'{"amount": "' + str(2**256).encode() + b'"}', 422, "invalid"),
        (b'{"data": "00"}', 422, "invalid"),
        (b'{"data": "0x0"}', 422, "invalid"),
        (b'{"data": 7}', 422, "invalid"),
        (b'{"hash": "0x00"}', 422, "invalid"),
        (b'{"time": "yesterday"}', 422, "invalid"),
        (b'{"time": "2026-11-21T09:00:00"}', 422, "invalid"),
        (b'{"time": "9999-12-31T23:59:59-23:59"}', 422, "invalid"),
        (b'{"time": 99999999999999999999}', 422, "invalid"),
        (b'{"time": []}', 422, "invalid"),
    ],
    ids=lambda value: repr(value)[:50] if isinstance(value, bytes) else str(value),
)
def test_V15_a_body_that_does_not_fit_is_a_problem(content: bytes, status: int, code: str, client: Client) -> None:
    is_problem(client.post("/probe/echo", content=content, headers=JSON), status, code)


def test_every_wrong_field_is_named(client: Client) -> None:
    answer = client.post("/probe/echo", json={"amount": 5, "unknown": 1})
    is_problem(answer, 422, "invalid")
    errors = answer.json()["errors"]
    assert {error["location"] for error in errors} == {"body.amount", "body.unknown"}
    assert all(error["message"] and error["code"] for error in errors)


def test_what_fits_is_taken_to_the_limit(client: Client) -> None:
    frame = len(b'{"name": ""}')
    full = client.post("/probe/echo", content=b'{"name": "' + b"x" * (JSON_LIMIT - frame) + b'"}', headers=JSON)
    assert full.status_code == 200
    depth = JSON_DEPTH - 1
    deep = client.post("/probe/echo", content=b'{"name": ' + b"[" * depth + b"]" * depth + b"}", headers=JSON)
    is_problem(deep, 422, "invalid")
    brackets = client.post("/probe/echo", json={"name": '[{"\\' * 99})
    assert brackets.json()["name"] == '[{"\\' * 99
    accents = client.post("/probe/echo", content=b'{"name": "\\u00e9\\ud83c\\udfad"}', headers=JSON)
    assert accents.json()["name"] == "é🎭"


def test_V15_a_body_of_unknown_length_is_counted_as_it_arrives(client: Client) -> None:
    def endless() -> Any:
        for _ in range(40):
            yield b"[" + b" " * 65536

    is_problem(client.post("/probe/echo", content=endless(), headers=JSON), 413, "body_too_large")


def test_V15_a_body_that_is_no_json_is_counted_too(client: Client) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    answer = client.post("/probe/echo", content=b"x" * (JSON_LIMIT + 1), headers=headers)
    is_problem(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data; boundary=x"]
)
def test_V15_a_body_of_another_type_is_refused(kind: str, client: Client) -> None:
    answer = client.post("/probe/echo", content=b'{"name": "x"}', headers={"Content-Type": kind})
    is_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("path", ["/probe/text?q=%00", "/probe/text?q=%ff", "/probe/text%00", "/probe/%c3%28"])
def test_V15_an_address_that_cannot_be_text_is_refused(path: str, client: Client) -> None:
    is_problem(client.get(path), 400, "malformed")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/probe/number/x", 422, "invalid"),
        ("/probe/number/1.5", 422, "invalid"),
        ("/probe/number/99999999999999999999", 422, "value_out_of_range"),
        ("/probe/number/" + "9" * 5000, 422, "invalid"),
        ("/nowhere", 404, "not_found"),
        ("/v1/nowhere", 404, "not_found"),
        ("/static/nowhere.css", 404, "not_found"),
        ("/static/../app.py", 404, "not_found"),
        ("/static/..%2fapp.py", 404, "not_found"),
        ("/probe/echo", 405, "method_not_allowed"),
        ("/probe/conflict", 409, "taken"),
    ],
)
def test_V15_every_refusal_has_one_shape(path: str, status: int, code: str, client: Client) -> None:
    is_problem(client.get(path), status, code)


@pytest.mark.parametrize("accept", ["text/html,application/xhtml+xml,*/*;q=0.8", "text/html"])
def test_a_browser_is_shown_a_page_where_there_is_nothing(client: Client, accept: str) -> None:
    answer = client.get("/nowhere/<script>", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is nothing at this address." in answer.text
    assert "<script>" not in answer.text.partition("</head>")[2].replace('<script src="', "")
    assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/works/abc", 404), ("/works/0", 404), ("/works/7/more", 404)],
)
def test_a_browser_is_shown_a_page_for_every_refusal_and_a_program_is_told(
    client: Client, mirror: Mirror, path: str, status: int
) -> None:
    mirror.block(1)
    answer = client.get(path, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert "Nothing was lost" in answer.text
    assert 'href="/"' in answer.text
    assert client.get(path).headers["content-type"] == "application/problem+json"
    part = client.get(path, headers={"Accept": "text/html", "HX-Request": "true"})
    assert part.headers["content-type"] == "application/problem+json", "a part of a page shows it in its place"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/html"])
def test_a_program_is_told_of_it_as_a_problem(client: Client, accept: str) -> None:
    is_problem(client.get("/nowhere", headers={"Accept": accept}), 404, "not_found")
    is_problem(client.get("/v1/nowhere", headers={"Accept": "text/html"}), 404, "not_found")


def test_a_problem_carries_its_objects(client: Client) -> None:
    assert client.get("/probe/conflict").json()["work_id"] == 7


def test_V15_an_unforeseen_error_shows_nothing_of_itself(client: Client) -> None:
    is_problem(client.get("/probe/broken"), 500, "internal")


def test_an_error_after_a_write_leaves_nothing_behind(client: Client, app: FastAPI) -> None:
    assert client.post("/probe/write-then-fail").status_code == 409
    with app.state.core.database.session() as session:
        assert session.scalars(select(SignInNonce.nonce)).all() == []


def test_V15_what_the_database_refuses_at_the_commit_is_a_problem_and_not_a_success(client: Client) -> None:
    answer = client.post("/probe/breaks-at-commit")
    assert answer.status_code in (422, 500)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.slow
def test_a_database_that_is_away_is_503_with_retry_after(settings: Settings) -> None:
    away = settings.model_copy(
        update={"database_url": type(settings.database_url)("postgresql+psycopg://x@/y?host=/nowhere")}
    )
    with Client(create_app(away), base_url=PUBLIC_URL, raise_server_exceptions=False) as client:
        answer = client.get("/v1/me", headers={"Authorization": "Bearer x"})
        is_problem(answer, 503, "database_unavailable")
        assert answer.headers["retry-after"] == "2"
        assert client.get("/health").status_code == 200


def test_the_async_pools_database_errors_are_problems_too(client: Client, app: FastAPI) -> None:
    """Attack: any value that only PostgreSQL refuses, sent to a route of the async pool, was a 500."""
    is_problem(client.get("/probe/async-data-error"), 422, "value_out_of_range")
    is_problem(client.get("/probe/async-away"), 503, "database_unavailable")


def test_the_recursion_limit_is_pythons_own_while_we_serve(app: FastAPI) -> None:
    """Attack: py_ecc raises it to 100,000, and deep input of any kind then kills the process."""
    sys.setrecursionlimit(100_000)
    create_app(app.state.core.settings)
    assert sys.getrecursionlimit() == 1_000


def test_shared_types_are_shown_in_the_projects_form(client: Client) -> None:
    assert client.get("/probe/shown").json() == {
        "address": "0x" + "00" * 20,
        "amount": str(2**256 - 1),
        "hash": "0x" + "01" * 32,
        "time": "2023-11-14T22:13:20Z",
    }


def test_async_routes_know_the_person_too(client: Client, alice: LocalAccount) -> None:
    assert client.as_(alice).get("/probe/person").json()["address"] == alice.address.lower()
    is_problem(client.get("/probe/person"), 401, "sign_in_required")
    is_problem(client.get("/probe/person", headers={"Authorization": "Bearer x"}), 401, "session_unknown")


@pytest.mark.parametrize(
    "path", ["/health", "/nowhere", "/probe/broken", "/probe/text?q=%00", "/docs", "/v1/me", "/static/docs.css"]
)
def test_every_answer_carries_the_security_headers(path: str, client: Client) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["x-request-id"]


def test_a_request_id_is_taken_over_when_it_is_one(client: Client) -> None:
    assert client.get("/health", headers={"X-Request-ID": "trace-0042"}).headers["x-request-id"] == "trace-0042"
    for bad in ("short", "x" * 65, "a b c d e f g h", "<script>alert(1)</script>"):
        assert client.get("/health", headers={"X-Request-ID": bad}).headers["x-request-id"] != bad


def operations(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]


@pytest.fixture
def described(settings: Settings) -> FastAPI:
    """The product's own application, without this module's probes."""
    return create_app(settings)


def test_operation_ids_are_function_names_and_unique(described: FastAPI) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in ids)


def test_every_operation_is_described_tagged_and_says_its_problems(described: FastAPI) -> None:
    known = {tag["name"] for tag in described.openapi()["tags"]}
    for path, method, operation in operations(described):
        assert operation.get("description"), f"{method} {path} has no docstring"
        assert set(operation["tags"]) <= known, f"{method} {path} has a tag that backend/app.py does not describe"
        refusals = {status: answer for status, answer in operation["responses"].items() if status[0] == "4"}
        assert refusals, f"{method} {path}"
        for status, answer in refusals.items():
            assert list(answer["content"]) == ["application/problem+json"], f"{method} {path} {status}"


def test_routes_that_need_a_sign_in_say_so(described: FastAPI) -> None:
    described_as = {
        operation["operationId"]: operation.get("security", []) for _, _, operation in operations(described)
    }
    assert described_as["get_me"] == [{"bearer": []}, {"cookie": []}]
    assert described_as["create_nonce"] == []


def test_every_route_of_ours_is_below_v1_or_a_page(described: FastAPI) -> None:
    for path, _, _ in operations(described):
        assert path.startswith(("/v1/", "/.well-known/")) or path in ("/health", "/ready"), path


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [value for key in ("href", "src") if (value := given.get(key))]
        if tag == "style" or "style" in given or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        self.inline += [key for key in given if key.startswith("on")]


@pytest.mark.parametrize("path", ["/docs", "/docs/errors"])
def test_the_reference_needs_nothing_from_elsewhere(path: str, client: Client) -> None:
    page = client.get(path)
    assert page.status_code == 200
    links = _Links()
    links.feed(page.text)
    assert links.found
    assert links.inline == [], "the page's policy forbids inline styles, scripts and handlers"
    for link in links.found:
        assert link.startswith(("/", "#")), link
        if link.startswith("/"):
            assert client.get(link).status_code == 200, link
    for asset in ("/static/docs.js", "/static/docs.css"):
        assert not re.search(r"https?://(?!www\.w3\.org)", client.get(asset).text)


def test_metrics_count_by_route_and_not_by_address(client: Client) -> None:
    client.get("/probe/number/123456789")
    lines = client.get("/metrics").text
    assert 'route="/probe/number/{number}",status="200"' in lines
    assert "123456789" not in lines


def test_the_description_is_json_that_a_generator_can_read(client: Client) -> None:
    spec = client.get("/openapi.json").json()
    assert spec["openapi"].startswith("3.1")
    assert spec["components"]["schemas"]["Problem"]["properties"]["code"]
    json.dumps(spec)
