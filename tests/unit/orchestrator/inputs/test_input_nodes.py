"""Nodes are looked for that keep what a job reads, under the names by which they keep it."""

from collections.abc import Collection, Sequence

import pytest
from msgspec.structs import replace

from orchestrator.inputs import input_nodes
from orchestrator.inputs.contents import content_of, content_of_list
from orchestrator.inputs.input_nodes import InputNodes
from orchestrator.inputs.listings import Listing
from orchestrator.inputs.shares import ReadObject, SourceShare, list_name, no_archives
from orchestrator.nodes.input_keepers import InputKeepers
from orchestrator.rules.frozen_inputs import FrozenObject, FrozenSource
from orchestrator.rules.location import Location
from orchestrator.rules.placement import Wanted
from orchestrator.state.model import Model
from shared.ids import JobId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.spec import InputSource, SpecConfig
from shared.protocol.nodes.inputs import LARGE_BYTES, held_name, kept_name, kept_view_name
from shared.protocol.objects import listing_key
from tests.builders import JOB, new_job, new_job_record, new_task

HERE = Location(bucket="b", region="r")
OBJECT = FrozenObject(key="a", path="a", size=LARGE_BYTES, etag='"e"')
FROZEN = FrozenSource(location=HERE, objects=(OBJECT,), count=1, size_bytes=LARGE_BYTES)
LISTED = FrozenSource(location=HERE, listing=listing_key("", "default", "ab" * 32, "s"), count=9, size_bytes=9)


def nodes_for(frozen: FrozenSource, held: dict[str, str], *, part: int = 0) -> list[NodeId]:
    model, keepers = Model(max_attempts=1), InputKeepers()
    job = new_job(tasks=(new_task(input_sources=(InputSource(source=SpecConfig(type="s3"), target="/in"),)),))
    record = new_job_record(first=job, inputs=(frozen,))
    model.apply(record.key, record, 1)
    for node, name in held.items():
        keepers.learn(NodeId(node), [held_name(name)])
    wanted = Wanted(job_id=JobId(JOB), version=1, job=job, resources=Capacity(), missing=((part, 0),))
    return list(InputNodes(model, keepers, no_archives).of(wanted, part))


def view_of(share: SourceShare) -> str:
    return kept_view_name(content_of_list(share))


def test_a_node_is_found_by_a_view_and_by_a_large_file() -> None:
    view = view_of(SourceShare(0, FROZEN.objects, HERE, LARGE_BYTES))
    file = kept_name(content_of(ReadObject(HERE, OBJECT)))
    assert set(nodes_for(FROZEN, {"n-1": view, "n-2": file, "n-3": kept_name("other")})) == {"n-1", "n-2"}


def test_a_file_that_is_soon_read_is_no_reason() -> None:
    small = replace(OBJECT, size=LARGE_BYTES - 1)
    file = kept_name(content_of(ReadObject(HERE, small)))
    assert nodes_for(replace(FROZEN, objects=(small,)), {"n-1": file}) == []


@pytest.mark.parametrize("part", [-1, 3])
def test_a_node_is_found_by_its_part_of_a_list_that_is_in_the_bucket(part: int) -> None:
    objects = tuple(replace(OBJECT, part=part, path=str(number)) for number in range(9))
    share = Listing(objects).share_of(3)
    listed = list_name(LISTED.listing, share.part)
    view = view_of(SourceShare(0, share.objects, HERE, share.size_bytes, listed))
    assert nodes_for(LISTED, {"n-1": view}, part=3) == ["n-1"]
    assert nodes_for(LISTED, {"n-1": view}, part=2) == ([] if part == 3 else ["n-1"])


class Archives:
    """Of a result of so many parts; counts how often these are passed."""

    def __init__(self, parts: int) -> None:
        self._archives = [
            ReadObject(HERE, replace(OBJECT, key=str(number), etag=f'"{number}"'), archive=True)
            for number in range(parts)
        ]
        self.passed = 0

    def of(self, _source: SpecConfig, _frozen: FrozenSource) -> Sequence[ReadObject]:
        self.passed += 1
        return self._archives

    def name(self, number: int) -> str:
        return held_name(kept_name(content_of(self._archives[number])))


class Keepers(InputKeepers):
    """Counts how often nodes are looked for."""

    asked = 0

    def of(self, name: str) -> Collection[NodeId]:
        self.asked += 1
        return super().of(name)


class Readers:
    """Jobs that read the result of another one twice; `now` is what the clock says."""

    def __init__(self, parts: int, jobs: Sequence[str] = (JOB,), *, of_others: bool = False) -> None:
        self.now = 100.0
        self.archives, self.keepers = Archives(parts), Keepers()
        self.model = Model(max_attempts=1)
        source = SpecConfig(type="result", params={"Job": "j-source"})
        sources = tuple(InputSource(source=source, target=target) for target in ("/in", "/too"))
        self._job = new_job(tasks=(new_task(input_sources=sources),))
        for name in jobs:
            frozen = FrozenSource(job=JobId(f"of-{name}" if of_others else "j-source"), job_version=1)
            record = new_job_record(name, first=self._job, inputs=(frozen,) * 2)
            self.model.apply(record.key, record, 1)
        self.nodes = InputNodes(self.model, self.keepers, self.archives.of, lambda: self.now)

    def of(self, part: int, job: str = JOB) -> list[NodeId]:
        missing = ((part, 0),)
        wanted = Wanted(job_id=JobId(job), version=1, job=self._job, resources=Capacity(), missing=missing)
        return list(self.nodes.of(wanted, part))


def test_a_result_is_passed_once_a_second_for_all_parts_of_all_its_readers() -> None:
    read = Readers(3, (JOB, "j-2"))
    read.keepers.learn(NodeId("n-1"), [read.archives.name(2)])
    assert {tuple(read.of(part, job)) for part in range(50) for job in (JOB, "j-2")} == {("n-1",)}
    assert read.archives.passed == 1
    assert read.keepers.asked == 4  # by the view, and by three archives
    read.keepers.learn(NodeId("n-1"), [])
    read.keepers.learn(NodeId("n-2"), [read.archives.name(0)])
    read.now += 1
    assert read.of(0) == ["n-2"]
    assert read.archives.passed == 2


def test_of_a_result_of_many_parts_a_few_are_looked_for() -> None:
    read = Readers(600)
    read.keepers.learn(NodeId("n-1"), [read.archives.name(255)])
    read.keepers.learn(NodeId("n-2"), [read.archives.name(256)])
    assert read.of(0) == ["n-1"]
    assert read.keepers.asked == 256


def test_many_results_at_once_are_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_nodes, "MOST_PASSED", 2 * input_nodes.LEAST_PASSED)
    jobs = [f"j-{number}" for number in range(5)]
    read = Readers(1, jobs, of_others=True)
    read.keepers.learn(NodeId("n-1"), [read.archives.name(0)])
    assert [read.of(0, job) for job in jobs] == [["n-1"], ["n-1"], [], [], []]
    assert read.archives.passed == 2


def test_what_all_parts_read_is_looked_for_once() -> None:
    read = Readers(1)
    job = new_job(tasks=(new_task(input_sources=(InputSource(source=SpecConfig(type="s3"), target="/in"),)),))
    record = new_job_record("j-3", first=job, inputs=(FROZEN,))
    read.model.apply(record.key, record, 1)
    read.keepers.learn(NodeId("n-1"), [held_name(kept_name(content_of(ReadObject(HERE, OBJECT))))])
    wanted = Wanted(job_id=JobId("j-3"), version=1, job=job, resources=Capacity(), missing=())
    assert {tuple(read.nodes.of(wanted, part)) for part in range(50)} == {("n-1",)}
    assert read.keepers.asked == 2
