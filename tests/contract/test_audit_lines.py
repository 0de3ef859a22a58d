"""Lines of the audit log are read by programs: what was written stays readable, and none looks otherwise."""

from datetime import UTC, datetime

from orchestrator.audit.events import AuditEvent
from orchestrator.audit.lines import Chain, follows, read_line, written_time

TIME = written_time(datetime(2026, 1, 2, 3, 4, 5, 67, tzinfo=UTC))

SUBMIT = (
    b'{"Seq":1,"Time":"2026-01-02T03:04:05.000067Z","Orchestrator":"o-1","Kind":"key","Who":"maria","From":"192.0.2.1",'
    b'"Action":"write:job","Operation":"submit","Object":"j-1","Namespace":"default","Detail":"sums",'
    b'"Digest":"29a0cbbba62c1463538ba13c2859a895"}'
)
SIGN = (
    b'{"Seq":2,"Time":"2026-01-02T03:04:05.000067Z","Orchestrator":"o-1","Kind":"node","Who":"n-1","From":"nats",'
    b'"Action":"sign","Operation":"parts","Object":"s3://b/results/j-1/e-1.tar.gz","Namespace":"default","Job":"j-1",'
    b'"Execution":"e-1","Method":"PUT","First":3,"Count":5,"LifetimeSeconds":3600,'
    b'"Digest":"216c995a06175b70ec54679e71d4f538"}'
)
REFUSED = (
    b'{"Seq":3,"Time":"2026-01-02T03:04:05.000067Z","Orchestrator":"o-1","Kind":"stranger","From":"192.0.2.9",'
    b'"Action":"write:job","Operation":"submit","Outcome":"refused","Code":"KeyMissing","Times":40,"Seconds":60,'
    b'"Digest":"f507377ec7bbe4ea39a51a529e090ab1"}'
)
EVENTS = (
    AuditEvent(
        kind="key",
        who="maria",
        source="192.0.2.1",
        action="write:job",
        operation="submit",
        object="j-1",
        namespace="default",
        detail="sums",
    ),
    AuditEvent(
        kind="node",
        who="n-1",
        source="nats",
        action="sign",
        operation="parts",
        object="s3://b/results/j-1/e-1.tar.gz",
        namespace="default",
        job="j-1",
        execution="e-1",
        method="PUT",
        first=3,
        count=5,
        lifetime_seconds=3600,
    ),
    AuditEvent(
        kind="stranger",
        source="192.0.2.9",
        action="write:job",
        operation="submit",
        outcome="refused",
        code="KeyMissing",
        times=40,
        seconds=60,
    ),
)


def test_lines_look_as_they_always_have() -> None:
    chain = Chain("o-1")
    assert [chain.line(TIME, each) for each in EVENTS] == [line + b"\n" for line in (SUBMIT, SIGN, REFUSED)]


def test_what_an_earlier_version_wrote_is_read_and_found_whole() -> None:
    lines, before = (SUBMIT, SIGN, REFUSED), ""
    for text in lines:
        line = read_line(text)
        assert line is not None
        assert follows(before, text)
        before = line.digest


def test_what_a_later_version_writes_beside_it_is_read_over() -> None:
    line = read_line(SUBMIT.replace(b'"Kind"', b'"Weather":"fine","Kind"'))
    assert line is not None
    assert line.who == "maria"
