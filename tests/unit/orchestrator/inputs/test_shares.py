"""What an execution reads is what was recorded at submit: where nothing is, that is not taken for nothing to read."""

import pytest

from orchestrator.inputs.listings import Listings
from orchestrator.inputs.shares import InputShares, InputsUnknown
from orchestrator.rules.frozen_inputs import FrozenObject, FrozenSource
from orchestrator.rules.location import Location
from orchestrator.s3.locations import Locations
from orchestrator.state.model import Model
from shared.jobs.spec import InputSource, SpecConfig
from tests.builders import new_execution, new_job, new_job_record, new_task

OBJECT = FrozenObject(key="a", path="a", size=1, etag='"e"')
FROZEN = FrozenSource(location=Location(bucket="b", region="r"), objects=(OBJECT,), count=1, size_bytes=1)


def shares_of(inputs: tuple[FrozenSource, ...], kind: str) -> InputShares:
    model = Model(max_attempts=1)
    source = InputSource(source=SpecConfig(type=kind), target="/in")
    record = new_job_record(first=new_job(tasks=(new_task(input_sources=(source,)),)), inputs=inputs)
    model.apply(record.key, record, 1)
    return InputShares(model, Listings(Locations(None)))


@pytest.mark.parametrize("inputs", [(), (FrozenSource(),)])
async def test_inputs_that_are_not_recorded_are_told_and_not_left_out(inputs: tuple[FrozenSource, ...]) -> None:
    shares = shares_of(inputs, "s3")
    with pytest.raises(InputsUnknown):
        await shares.of(new_execution())


async def test_those_of_a_version_that_is_forgotten_are_told_too() -> None:
    shares = shares_of((FROZEN,), "s3")
    with pytest.raises(InputsUnknown):
        await shares.of(new_execution(job_version=2))


async def test_what_nodes_read_by_themselves_is_not_recorded() -> None:
    shares = shares_of((), "inline")
    assert await shares.of(new_execution()) == []
    known = shares_of((FROZEN,), "s3")
    assert [each.size_bytes for each in await known.of(new_execution())] == [1]
