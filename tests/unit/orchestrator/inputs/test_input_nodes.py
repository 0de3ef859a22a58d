"""Nodes are looked for that keep what a job reads, under the names by which they keep it."""

import pytest
from msgspec.structs import replace

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
