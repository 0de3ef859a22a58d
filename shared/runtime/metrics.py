"""The format of metrics for Prometheus; which numbers there are is the business of each service.

Services count in plain numbers of their own, and this module alone knows prometheus-client, which is imported when
somebody asks. The format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Values = Mapping[tuple[str, ...], float]
"""By the values of the labels, in their order. No label has values without bound, or that somebody else chooses."""


class Gauge(NamedTuple):
    """What is so now."""

    name: str
    about: str
    values: Values
    labels: tuple[str, ...] = ()


class Total(NamedTuple):
    """What has been counted since the process began; `name` is without the `_total` at its end."""

    name: str
    about: str
    values: Values
    labels: tuple[str, ...] = ()


class Distribution:
    """How many values were seen, and how large they were, by upper `bounds` that ascend."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.sum = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def buckets(self) -> Iterator[tuple[str, int]]:
        """Each bound, and how many values are not above it."""
        names = (*(str(float(bound)) for bound in self.bounds), "+Inf")
        return zip(names, accumulate(self._counts), strict=True)

    def __repr__(self) -> str:
        return f"<Distribution of {self.count} values, {self.sum:g} in all>"


class Histogram(NamedTuple):
    name: str
    about: str
    distribution: Distribution


Metric = Gauge | Total | Histogram


def plain(value: float) -> Values:
    """The one value of a metric without labels."""
    return {(): value}


def connection_metrics(*, connected: bool, connections: int) -> Iterator[Metric]:
    """About the connection to NATS, which both services have; `connections` is how many there have been."""
    yield Gauge("tarpon_nats_connected", "Whether there is a connection to NATS.", plain(connected))
    about = "How often a lost connection to NATS was made again."
    yield Total("tarpon_nats_reconnects", about, plain(max(0, connections - 1)))


def build_metric(version: str) -> Metric:
    """Which version of Tarpon a process runs: 1, with the version as a label."""
    return Gauge("tarpon_build_info", "The version of Tarpon that runs.", {(version,): 1.0}, ("version",))


def disk_metrics(*, free: int, size: int) -> Iterator[Metric]:
    """Of the file system on which DataDir is; none as long as nobody has looked."""
    if size:
        yield Gauge("tarpon_disk_free_bytes", "What is free where DataDir is.", plain(free))
        yield Gauge("tarpon_disk_size_bytes", "How large that file system is.", plain(size))


def exposition(metrics: Iterable[Metric]) -> bytes:
    """All of them as text, with what the process itself uses. It reads /proc, so it belongs into a thread."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
    from prometheus_client.metrics_core import Metric as Family
    from prometheus_client.registry import Collector

    class Collected(Collector):
        def collect(self) -> Iterator[Family]:
            return map(_family, metrics)

        def describe(self) -> Iterator[Family]:
            return iter(())

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(Collected())
    return generate_latest(registry)


def _family(metric: Metric) -> "Family":
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    match metric:
        case Gauge(name, about, values, labels):
            gauge = GaugeMetricFamily(name, about, labels=labels)
            for each, value in values.items():
                gauge.add_metric(each, value)
            return gauge
        case Total(name, about, values, labels):
            counter = CounterMetricFamily(name, about, labels=labels)
            for each, value in values.items():
                counter.add_metric(each, value)
            return counter
        case Histogram(name, about, distribution):
            histogram = HistogramMetricFamily(name, about)
            histogram.add_metric([], list(distribution.buckets()), distribution.sum)
            return histogram
