"""The exporter between the SDK and whoever collects traces; imported only where traces are on (tracing.py)."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status


class Reticent(SpanExporter):
    """Hands spans on with the attributes that are allowed, without events and without words on their status."""

    def __init__(self, inner: SpanExporter, allowed: frozenset[str]) -> None:
        self._inner = inner
        self._allowed = allowed

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export copies that hold what may leave."""
        return self._inner.export([self._copy(span) for span in spans])

    def _copy(self, span: ReadableSpan) -> ReadableSpan:
        kept = {name: value for name, value in (span.attributes or {}).items() if name in self._allowed}
        return ReadableSpan(
            name=span.name,
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=kept,
            kind=span.kind,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def shutdown(self) -> None:
        """End the inner exporter."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is waiting."""
        return self._inner.force_flush(timeout_millis)
