"""Metrics of what an orchestrator stands on: its bucket, backup, streams in NATS, disk, certificates and version."""

from collections.abc import Callable, Iterator, Mapping

from orchestrator.admission.tls.certificates import ends_at
from orchestrator.admission.tls.served_certificate import Served
from orchestrator.s3.bucket import Bucket
from orchestrator.storage.stream_usage import StreamFill
from shared.runtime.metrics import Gauge, Metric, Values, plain


def bucket_metrics(bucket: Bucket | None) -> Iterator[Metric]:
    """None where no bucket is configured."""
    if bucket is None:
        return
    outcome, watch = bucket.health.outcome, bucket.watch
    yield Gauge(
        "tarpon_bucket_usable",
        "Whether the bucket took and gave what the orchestrator tried last.",
        plain(outcome.ready and watch.problem is None),
    )
    skew = outcome.clock_skew_seconds if watch.clock_skew_seconds is None else watch.clock_skew_seconds
    if skew is not None:
        yield Gauge("tarpon_bucket_clock_skew_seconds", "How far S3's clock is ahead of this machine's.", plain(skew))


def backup_metrics(taken: int) -> Iterator[Metric]:
    """Of the last backup, in nanoseconds since 1970; none where it is not known that there is one."""
    if taken:
        yield Gauge(
            "tarpon_last_backup_timestamp_seconds",
            "When the last backup was taken, in seconds since 1970.",
            plain(taken / 1e9),
        )


def stream_metrics(streams: Mapping[str, StreamFill]) -> Iterator[Metric]:
    """By the names of the streams, which are those of the code."""

    def gauge(name: str, about: str, amount: Callable[[StreamFill], float]) -> Gauge:
        return Gauge(name, about, {(stream,): amount(fill) for stream, fill in streams.items()}, ("stream",))

    yield gauge("tarpon_stream_bytes", "Bytes in a stream of NATS.", lambda fill: fill.bytes)
    yield gauge("tarpon_stream_messages", "Messages in a stream.", lambda fill: fill.messages)
    yield gauge("tarpon_stream_replicas", "On how many servers a stream should be.", lambda fill: fill.replicas)
    yield gauge("tarpon_stream_replicas_current", "How many of them have all of it.", lambda fill: fill.current)
    limits: Values = {(stream,): float(fill.limit_bytes) for stream, fill in streams.items() if fill.limit_bytes}
    yield Gauge("tarpon_stream_limit_bytes", "The most that a stream may hold, if it is limited.", limits, ("stream",))


def certificate_metrics(certificates: Mapping[str, Served]) -> Iterator[Metric]:
    """`api` and `nats` are the listeners."""
    ends: Values = {(listener,): ends_at(served.shown) for listener, served in certificates.items()}
    yield Gauge(
        "tarpon_certificate_end_timestamp_seconds",
        "When the certificate ends that a listener shows, in seconds since 1970.",
        ends,
        ("listener",),
    )
