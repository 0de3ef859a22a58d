"""Trace export: who takes the spans of this process, as its settings say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.errors import ExtraMissing
from shared.runtime.tracing import OFF, Tracing


@asynccontextmanager
async def open_tracing(endpoint: str, *, service: str, name: str) -> AsyncIterator[Tracing]:
    """Off without an endpoint; else what takes the spans of the process that is called `name`. Raises ExtraMissing."""
    if not endpoint:
        yield OFF
        return
    try:
        from shared.runtime import otlp
    except ImportError as error:
        raise ExtraMissing("Tracing (Tracing.Endpoint)", "trace") from error
    async with otlp.exporting(endpoint, service=service, name=name) as tracing:
        yield tracing
