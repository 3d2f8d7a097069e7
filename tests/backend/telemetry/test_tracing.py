"""A request, the task that it wakes and the node that the task asks are one trace; off, none of it is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from eth_account.signers.local import LocalAccount
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis import Redis

from backend import worker
from backend.app import create_app
from backend.settings import Settings
from backend.telemetry import tracing, trail
from tests.backend.conftest import PUBLIC_URL, Client

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Receiver:
    """An HTTP server that keeps what it is sent: a node, or a collector of traces."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append((self.path, headers, body))
                asked = json.loads(body) if body.startswith(b"{") else {}
                answer = json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), "result": "0x7a69"}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.use(tracing.make_provider(exporter, service="test", batch=False))
    yield exporter
    tracing.stop()


@worker.celery.task(name="test.ask_the_node")  # type: ignore[untyped-decorator]  # celery has no types
def ask_the_node() -> None:
    worker.core().node.chain_id()


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_request_task_and_node_are_one_trace_and_carry_the_requests_id(
    spans: InMemorySpanExporter,
    receiver: Receiver,
    settings: Settings,
    environment: dict[str, str],
    alice: LocalAccount,
) -> None:
    asked = settings.model_copy(update={"rpc_url": receiver.url})
    app = create_app(asked)

    @app.get("/v1/test/{address}")
    def wake(address: str) -> None:
        trail.at_block(12)
        ask_the_node.delay()

    with Client(app, base_url=PUBLIC_URL) as client:
        headers = {"traceparent": PARENT, "X-Request-ID": "trace-0042", "Cookie": "secret"}
        client.get(f"/v1/test/{alice.address}?token=hunter2", headers=headers)
        tracing.use(tracing.make_provider(spans, service="test", batch=False))
        with Redis.from_url(settings.redis_url) as redis:
            message = json.loads(redis.lindex("celery", 0))  # type: ignore[arg-type]
        worker.core.cache_clear()
        worker.core().settings.__dict__["rpc_url"] = receiver.url
        try:
            ask_the_node.apply(headers=message["headers"])
        finally:
            worker.core().database.dispose()
            worker.core.cache_clear()

    found = by_name(spans)
    request, task, node = (
        found[name] for name in ("GET /v1/test/{address}", "task test.ask_the_node", "node eth_chainId")
    )
    assert {f"{span.context.trace_id:032x}" for span in (request, task, node)} == {TRACE}
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"  # type: ignore[union-attr]
    assert task.parent.span_id == request.context.span_id  # type: ignore[union-attr]
    assert node.parent.span_id == task.context.span_id  # type: ignore[union-attr]
    ((_, carried, _body),) = receiver.requests
    assert carried["traceparent"] == f"00-{TRACE}-{node.context.span_id:016x}-01"
    for span in (request, task):
        assert dict(span.attributes or {})["troupe.request_id"] == "trace-0042"
        assert dict(span.attributes or {})["troupe.block"] == 12
    everything = "".join(span.to_json() for span in spans.get_finished_spans())
    for secret in (alice.address, "hunter2", "secret", "/v1/test/0x", receiver.url):
        assert secret not in everything


def test_an_error_is_told_by_its_kind_and_nothing_else_leaves(spans: InMemorySpanExporter, settings: Settings) -> None:
    app = create_app(settings)

    @app.get("/v1/test")
    def fail() -> None:
        raise RuntimeError("hunter2")

    with Client(app, base_url=PUBLIC_URL, raise_server_exceptions=False) as client:
        assert client.get("/v1/test").status_code == 500
        client.get("/health")
    (span,) = spans.get_finished_spans()
    assert dict(span.attributes or {})["http.response.status_code"] == 500
    assert not span.status.is_ok
    assert "hunter2" not in span.to_json()
    assert set(span.attributes or {}) <= tracing.ALLOWED


def test_what_is_not_allowed_would_leave_without_the_filter(settings: Settings) -> None:
    """FastAPI does put path and query on its spans: the filter has something to do."""
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    try:
        with Client(create_app(settings), base_url=PUBLIC_URL) as client:
            client.get("/v1/works?cursor=hunter2")
    finally:
        tracing.stop()
    assert "hunter2" in exporter.get_finished_spans()[0].to_json()


def test_traces_reach_a_collector_by_otlp(receiver: Receiver, settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"otel_endpoint": f"{receiver.url}/v1/traces"}))
    with Client(app, base_url=PUBLIC_URL) as client:
        client.get("/v1/chain", headers={"traceparent": PARENT})
    ((path, headers, body),) = receiver.requests  # sent before the application ended
    assert (path, headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    (span,) = resource.scope_spans[0].spans
    assert (span.name, span.trace_id.hex()) == ("GET /v1/chain", TRACE)
    assert b"troupe-api" in body


def test_a_caller_cannot_ask_for_more_traces_than_are_kept() -> None:
    exporter = InMemorySpanExporter()
    provider = tracing.make_provider(exporter, service="test", ratio=0.0, batch=False)
    tracing.use(provider)
    try:
        with tracing.task("x", {"traceparent": PARENT}):
            pass
    finally:
        tracing.stop()
    assert exporter.get_finished_spans() == ()


@pytest.mark.slow
def test_without_traces_their_library_is_not_loaded(environment: dict[str, str]) -> None:
    code = (
        "import sys; from backend.app import create_app; from backend.settings import load_settings;"
        "create_app(load_settings()); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "backend.telemetry.tracing" in loaded
    ours = (
        "opentelemetry.sdk.trace",
        "opentelemetry.exporter",
        "backend.telemetry.spans",
    )  # redis loads the SDK's metrics
    assert [name for name in loaded if name.startswith(ours)] == []
