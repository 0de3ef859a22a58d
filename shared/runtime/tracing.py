"""Traces of jobs: spans whose ids follow from the job, so that each process makes its part by itself.

A trace is made of what is known anyway, when a job or an execution has ended: nothing is measured for it on the way.
Its ids are digests of the ids of Tarpon, so that orchestrator and nodes agree about them, and a part that is told
twice is the same part. From whoever submits it takes a `traceparent` (https://www.w3.org/TR/trace-context/), under
which the trace hangs then; with an assignment it passes one on. It is off unless `Tracing.Endpoint` is set.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

import msgspec

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})\Z")
_SAMPLED = 1


class Place(msgspec.Struct, frozen=True):
    """Where in which trace: below which span. `is_sampled` tells whether anybody wants to know."""

    trace_id: str
    span_id: str
    is_sampled: bool = True

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"

    def below(self, *names: str) -> "Place":
        """The place of the span that these names tell from all others of the trace."""
        return msgspec.structs.replace(self, span_id=_digest("span", self.trace_id, *names)[:16])


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Times are nanoseconds since 1970. `failure` is why it failed, a code and never a text with content."""

    name: str
    place: Place
    parent: Place | None = None
    begin: int
    end: int
    attributes: Mapping[str, str | int | float] = {}
    failure: str = ""


def place_of(traceparent: str) -> Place | None:
    """None where it is no such text."""
    found = _TRACEPARENT.match(traceparent)
    if found is None:
        return None
    return Place(found[1], found[2], is_sampled=bool(int(found[3], 16) & _SAMPLED))


def root(name: str) -> Place:
    """The first span of a trace that nobody has begun before."""
    trace_id = _digest("trace", name)[:32]
    return Place(trace_id, trace_id).below("job", name)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Tracing:
    """Off: knows nobody who wants spans. shared/runtime/otlp.py has the other one."""

    is_on = False

    def sampled(self, place: Place, parent: Place | None) -> Place:
        """The place of a trace's first span, with the decision whether the trace is wanted."""
        del parent
        return place

    def tell(self, spans: Iterable[Span]) -> None:
        """Never waits and never raises. Spans of a trace that is not sampled are dropped."""


OFF = Tracing()
