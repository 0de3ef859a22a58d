"""The exporter of spans: OpenTelemetry's own SDK and OTLP over HTTP, in batches, from a thread of theirs.

Whatever the collector does, jobs go on: spans that it does not take are dropped, and one warning tells so. The
environment variables OTEL_* of the SDK and the exporter hold, but for the endpoint, which is a setting of Tarpon.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, set_span_in_context

from shared.runtime.aio import finish
from shared.runtime.tracing import Place, Span, Tracing
from shared.runtime.version import version_text

_log = logging.getLogger(__name__)

PATH = "/v1/traces"
FLUSH_SECONDS = 3.0
"""How long the end of a process waits for the collector."""


@asynccontextmanager
async def exporting(endpoint: str, *, service: str, name: str) -> AsyncIterator[Tracing]:
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would tell of every batch; see _Reporting
    base = endpoint.rstrip("/")
    exporter = _Reporting(OTLPSpanExporter(endpoint=base if base.endswith(PATH) else base + PATH), endpoint)
    ids = _GivenIds()
    known = {"service.name": service, "service.instance.id": name, "service.version": version_text()}
    resource = Resource.create({**known, **OTELResourceDetector().detect().attributes})  # the environment has its say
    provider = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield _Exported(provider, ids)
    finally:
        await finish(asyncio.to_thread(_end, provider, exporter), within=2 * FLUSH_SECONDS)


def _end(provider: TracerProvider, exporter: "_Reporting") -> None:
    """Send what waits. A collector that does not answer is left, with the thread that asks it, to our exit."""
    thread = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
    thread.start()
    thread.join(FLUSH_SECONDS)
    if thread.is_alive():
        exporter.shutdown()


class _GivenIds(IdGenerator):
    """The SDK asks for an id when a span is started; here it is one that was known before."""

    def __init__(self) -> None:
        self.place = Place("", "")

    def generate_trace_id(self) -> int:
        return int(self.place.trace_id, 16)

    def generate_span_id(self) -> int:
        return int(self.place.span_id, 16)


class _Exported(Tracing):
    is_on = True

    def __init__(self, provider: TracerProvider, ids: _GivenIds) -> None:
        self._sampler = provider.sampler
        self._tracer = provider.get_tracer("tarpon", version_text())
        self._ids = ids

    def __repr__(self) -> str:
        return f"<Tracing, {self._sampler.get_description()}>"

    def sampled(self, place: Place, parent: Place | None) -> Place:
        decision = self._sampler.should_sample(_context(parent), int(place.trace_id, 16), "job").decision
        return Place(place.trace_id, place.span_id, is_sampled=decision is Decision.RECORD_AND_SAMPLE)

    def tell(self, spans: Iterable[Span]) -> None:
        for span in spans:
            if span.place.is_sampled:
                self._tell(span)

    def _tell(self, span: Span) -> None:
        self._ids.place = span.place
        started = self._tracer.start_span(
            span.name, context=_context(span.parent), attributes=span.attributes, start_time=span.begin
        )
        if span.failure:
            started.set_status(Status(StatusCode.ERROR, span.failure))
        started.end(max(span.begin, span.end))


def _context(parent: Place | None) -> Context:
    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.is_sampled else TraceFlags.DEFAULT)
    context = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(context), Context())


class _Reporting(SpanExporter):
    """Tells once that the collector takes nothing, and once that it does again."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            _log.warning("The collector at %s takes no spans; they are dropped, and jobs go on.", self._endpoint)
        elif self._fails and not fails:
            _log.info("The collector at %s takes spans again.", self._endpoint)
        self._fails = fails
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
