"""What the audit log tells of signed URLs: for whom, which object, for what and how long. Never the URL."""

from collections.abc import Sequence
from itertools import takewhile

from orchestrator.audit.events import MOST_NAMED, SIGN, ActorKind, AuditEvent, bounded
from orchestrator.rules.location import Location
from orchestrator.rules.records import ExecutionRecord
from shared.protocol.signed_url import SignedUrl

FROM_NATS = "nats"
MOST_CHARACTERS = 1200
"""Of an object's place: S3 allows 1,024 bytes in a key."""


def signed_for_node(
    record: ExecutionRecord,
    location: Location,
    url: SignedUrl,
    *,
    operation: str,
    namespace: str,
    key: str = "",
    first: int = 0,
    count: int = 1,
) -> AuditEvent:
    """One URL, or several of one kind of which `url` is the first, for the node that holds the execution."""
    return AuditEvent(
        kind="node",
        who=record.node_id,
        source=FROM_NATS,
        action=SIGN,
        operation=operation,
        object=place(location.bucket, key or location.key),
        namespace=namespace,
        job=record.job_id,
        execution=record.id,
        method=url.method,
        first=first,
        count=count,
        lifetime_seconds=url.lifetime_seconds,
    )


def refused_to_node(node: str, execution: str, *, operation: str, code: str) -> AuditEvent:
    return AuditEvent(
        kind="node",
        who=node,
        source=FROM_NATS,
        action=SIGN,
        operation=operation,
        execution=bounded(execution),
        outcome="refused",
        code=code,
    )


def signed_for_reader(
    kind: ActorKind,
    who: str,
    source: str,
    *,
    job: str,
    namespace: str,
    objects: Sequence[tuple[str, str]],
    urls: int,
    lifetime_seconds: int,
) -> list[AuditEvent]:
    """URLs of results: the `objects` are executions with the places of their results. `urls` are of each of these."""
    return [
        AuditEvent(
            kind=kind,
            who=who,
            source=source,
            action=SIGN,
            operation="results",
            object=places([each for _, each in some]),
            namespace=namespace,
            job=job,
            executions=tuple(execution for execution, _ in some),
            method="GET",
            count=urls * len(some),
            lifetime_seconds=lifetime_seconds,
        )
        for some in (objects[at : at + MOST_NAMED] for at in range(0, len(objects), MOST_NAMED))
    ]


def place(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{key}"[:MOST_CHARACTERS].encode(errors="replace").decode()


def places(found: Sequence[str]) -> str:
    """That of one object, or how those of several begin."""
    first, last = min(found), max(found)
    if first == last:
        return first
    return "".join(one for one, _ in takewhile(lambda each: each[0] == each[1], zip(first, last, strict=False))) + "*"
