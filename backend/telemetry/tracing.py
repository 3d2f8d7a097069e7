"""OpenTelemetry traces over HTTP, task and node, where TROUPE_OTEL_ENDPOINT is set; else the SDK is not even imported.

FastAPI opens the span of a request (`for_fastapi`), the worker that of a task, the node's client that of a question.
A caller's `traceparent` (W3C Trace Context) is continued, and passed on to the task and to the node. What leaves is
what `ALLOWED` names: no path, no query, no address, no exception's text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from fastapi.telemetry import TelemetryConfig

from backend.telemetry import trail

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from backend.settings import Settings

ALLOWED = frozenset(
    {
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "messaging.operation.name",
        "messaging.system",
        "network.protocol.version",
        "rpc.method",
        "rpc.system",
        "troupe.block",
        "troupe.request_id",
        "troupe.task",
        "url.scheme",
    }
)
"""The attributes that leave the process. FastAPI also knows the path and the query, which name people."""
UNTRACED = frozenset({"/health", "/ready", "/metrics"})
"""Asked by machines every few seconds."""

_provider: TracerProvider | None = None
_OFF: AbstractContextManager[dict[str, str]] = nullcontext({})


def make_provider(exporter: SpanExporter, *, service: str, ratio: float = 1.0, batch: bool = True) -> TracerProvider:
    """A provider that hands finished spans to `exporter`, without what is not ALLOWED.

    `ratio` of the traces are kept, chosen by their id, so that all processes choose the same ones; a caller who sends
    `traceparent` cannot ask for more.
    """
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - only where traces are on
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

    from backend.telemetry.spans import Reticent  # noqa: PLC0415

    by_id = TraceIdRatioBased(ratio)
    provider = TracerProvider(
        sampler=ParentBased(by_id, remote_parent_sampled=by_id),
        resource=Resource.create({"service.name": service}),
        shutdown_on_exit=False,
    )
    reticent = Reticent(exporter, ALLOWED)
    provider.add_span_processor(BatchSpanProcessor(reticent) if batch else SimpleSpanProcessor(reticent))
    return provider


def start(settings: Settings, service: str) -> TracerProvider | None:
    """Turn traces on for this process if the settings say where they go; the provider in use, or None."""
    if settings.otel_endpoint is None:
        return _provider
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    exporter = OTLPSpanExporter(endpoint=settings.otel_endpoint, timeout=5)
    provider = make_provider(exporter, service=service, ratio=settings.otel_ratio)
    use(provider)
    return provider


def use(provider: TracerProvider | None) -> None:
    """Trace what this process does with `provider`; None turns it off."""
    global _provider  # noqa: PLW0603 - of the process, as its logs and metrics are
    _provider = provider


def stop() -> None:
    """Send what is left, wait for it a few seconds at most, and turn traces off."""
    if (provider := _provider) is not None:
        use(None)
        provider.shutdown()


def for_fastapi(provider: TracerProvider | None) -> TelemetryConfig:
    """The argument `telemetry` of FastAPI: spans of requests by `provider`, or nothing at all."""
    return {
        "tracing": provider is not None,
        "tracer_provider": provider,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": lambda scope: scope["path"] in UNTRACED,
    }


def note() -> None:
    """Put the trail's ids on the span of what runs now."""
    if _provider is None or (found := trail.current()) is None:
        return
    from opentelemetry import trace  # noqa: PLC0415

    trace.get_current_span().set_attributes({f"troupe.{name}": value for name, value in found.fields().items()})


def node_call(method: str) -> AbstractContextManager[dict[str, str]]:
    """The span of a question to the node; gives the headers that carry the trace on."""
    return _OFF if _provider is None else _node_call(_provider, method)


@contextmanager
def _node_call(provider: TracerProvider, method: str) -> Iterator[dict[str, str]]:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    attributes = {"rpc.system": "jsonrpc", "rpc.method": method}
    with _span(provider, f"node {method}", kind=SpanKind.CLIENT, attributes=attributes):
        headers: dict[str, str] = {}
        inject(headers)
        yield headers


def inject(headers: MutableMapping[str, Any]) -> None:
    """Add `traceparent` of what runs now."""
    if _provider is None:
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    TraceContextTextMapPropagator().inject(headers)


@contextmanager
def task(name: str, carried: Mapping[str, Any]) -> Iterator[None]:
    """The span of a task, below the span that sent it."""
    if _provider is None:
        yield
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    parent = TraceContextTextMapPropagator().extract({k: v for k, v in carried.items() if isinstance(v, str)})
    attributes = {"messaging.system": "celery", "messaging.operation.name": "process"}
    with _span(_provider, f"task {name}", context=parent, kind=SpanKind.CONSUMER, attributes=attributes):
        note()
        yield


@contextmanager
def _span(provider: TracerProvider, name: str, **what: Any) -> Iterator[None]:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    tracer = provider.get_tracer("troupe")
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False, **what) as span:
        try:
            yield
        except Exception as error:  # whatever it is: its kind is told, never its text
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
            raise
