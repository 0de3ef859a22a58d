"""Records that contradict each other: which are told, by kind, and which fit."""

import pytest

from orchestrator.backups.check import among_records
from orchestrator.backups.known_records import Known

JOB = Known(job="j-1", name_key="name.a.b", version=2)
OTHER = Known(job="j-2", name_key="name.a.b", version=1)
UNNAMED = Known(job="j-3", version=1)
WHOLE = {
    "job.j-1": JOB,
    "name.a.b": Known(job="j-1"),
    "spec.j-1.2": Known(job="j-1"),
    "execution.j-1.2.0.0": Known(job="j-1"),
    "job.j-3": UNNAMED,
    "namespace.a": Known(),
}


def test_a_whole_state_fits() -> None:
    assert list(among_records(WHOLE)) == []


@pytest.mark.parametrize(
    ("gone", "added", "told"),
    [
        ("name.a.b", {}, {("NameMissing", "job.j-1")}),
        ("spec.j-1.2", {}, {("SpecificationMissing", "job.j-1")}),
        (
            "",
            {"name.a.b": Known(job="j-2"), "job.j-2": Known(job="j-2", name_key="name.a.b")},
            {("NameOfOther", "job.j-1")},
        ),
        ("", {"execution.j-9.1.0.0": Known(job="j-9")}, {("JobMissing", "execution.j-9.1.0.0")}),
        ("", {"node.n-1": Known(problem="RecordUnreadable")}, {("RecordUnreadable", "node.n-1")}),
    ],
    ids=["no name", "no specification", "another's name", "no job", "unreadable"],
)
def test_what_does_not_fit_is_told(gone: str, added: dict[str, Known], told: set[tuple[str, str]]) -> None:
    records = {key: each for key, each in WHOLE.items() if key != gone} | added
    assert set(among_records(records)) == told
