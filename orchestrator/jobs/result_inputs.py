"""Inputs that are results: which version of which job they are of, and which archives a node reads for them.

A job that reads results needs the jobs that they are of (shared/jobs/needs.py), so that these have completed when it
begins, and stay until it has ended.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from orchestrator.inputs.shares import ReadObject
from orchestrator.jobs.results import results_of_parts
from orchestrator.rules.frozen_inputs import FrozenInputs, FrozenObject, FrozenSource
from orchestrator.rules.pinned_needs import PinnedNeed
from orchestrator.rules.records import ExecutionRecord
from orchestrator.state.model import Model
from shared.errors import GrantRefused, InvalidInput
from shared.ids import JobId
from shared.jobs.inputs.kinds import ResultInputParams, kind_of, read_params
from shared.jobs.needs import needs_of
from shared.jobs.publisher_params import is_plain
from shared.jobs.rules import MANAGED
from shared.jobs.spec import Job, SpecConfig
from shared.jobs.states import JobState
from shared.protocol.objects import is_plain as is_plain_key

_NO_ARCHIVE = "it is an object for each file (`Encoding: plain`), which is no input; leave Encoding out there"

QUOTE = '"'
_NONE: Mapping[JobId, Job] = {}


class InputResultMissing(InvalidInput):
    """There is a job, and no result of it that a task could read."""

    def __init__(self, job: str, why: str) -> None:
        super().__init__(
            f"The result of job {job} cannot be an input: {why}.",
            hint="Run that job again with `Publisher: {Type: s3managed}`, or name another one. Nothing was started.",
        )


class InputResultGone(GrantRefused):
    """A result that was there when the job was submitted, or that the job has waited for."""

    def __init__(self, job: str, why: str) -> None:
        super().__init__(
            f"The result of job {job}, which is an input, cannot be read: {why}.",
            hint="Run that job again, and then this one with `tarpon job rerun`.",
        )


def with_results(
    model: Model, job: Job, inputs: FrozenInputs, needs: Sequence[PinnedNeed], together: Mapping[JobId, Job] = _NONE
) -> FrozenInputs:
    """The inputs of a job whose needs are pinned, with the versions that its results are of.

    `together` are the jobs that are submitted with it, by their ids. Raises InputResultMissing.
    """
    sources = job.task.input_sources
    if not any(kind_of(each.source) == "result" for each in sources):
        return inputs
    pinned = {said.job: need for said, need in zip(needs_of(job), needs, strict=True)}
    found = list(inputs or (FrozenSource(),) * len(sources))
    for number, each in enumerate(sources):
        if kind_of(each.source) == "result":
            need = pinned[_params(each.source).job.strip()]
            _check(model, need, together)
            found[number] = FrozenSource(job=need.job, job_version=need.version)
    return tuple(found)


def _check(model: Model, need: PinnedNeed, together: Mapping[JobId, Job]) -> None:
    entry = model.jobs.get(need.job)
    spec = together.get(need.job) or (entry.specs.get(need.version) if entry is not None else None)
    if spec is not None and spec.task.publisher.type.lower() != MANAGED:
        raise InputResultMissing(need.called, "it publishes none")
    if spec is not None and is_plain(spec.task.publisher):
        raise InputResultMissing(need.called, _NO_ARCHIVE)
    if entry is None or need.job in together:
        return
    records = results_of_parts(entry, need.version)
    has_ended = need.version != entry.job.version or entry.progress.state is JobState.COMPLETED
    if has_ended and len(records) < entry.part_count(need.version):
        raise InputResultMissing(need.called, "not all of its parts have one")
    if any(each.result_deleted for each in records):
        raise InputResultMissing(need.called, "it was deleted from the bucket")


class ResultArchives:
    """Which archives a node reads for an input that is a result, once its job has completed."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def __repr__(self) -> str:
        return f"<ResultArchives of {self._model!r}>"

    def of(self, source: SpecConfig, frozen: FrozenSource) -> Sequence[ReadObject]:
        """Several parts are folders beside each other, as `tarpon job get` lays them out. Raises InputResultGone."""
        entry = self._model.jobs.get(frozen.job)
        spec = entry.specs.get(frozen.job_version) if entry is not None else None
        if entry is None or spec is None:
            raise InputResultGone(frozen.job, "the job was deleted")
        count = entry.part_count(frozen.job_version)
        records = results_of_parts(entry, frozen.job_version)
        if any(each.result_deleted for each in records):
            raise InputResultGone(entry.job.name, "it was deleted from the bucket")
        if any(each.location is not None and is_plain_key(each.location.key) for each in records):
            raise InputResultGone(entry.job.name, _NO_ARCHIVE)
        if len(records) < count:
            raise InputResultGone(entry.job.name, "not all of its parts have one")
        members = _params(source).paths
        called = partial(entry.part_name, frozen.job_version)
        return [_read(each, called(each.partition) if count > 1 else "", members) for each in records]


def _read(record: ExecutionRecord, path: str, members: tuple[str, ...]) -> ReadObject:
    assert record.location is not None
    assert record.result is not None
    archive = FrozenObject(
        key=record.location.key,
        path=path,
        size=record.result.size_bytes,
        etag=f'"{record.result.etag.strip(QUOTE)}"',
        sha256=record.result.sha256,
    )
    read = ReadObject(record.location.at(""), archive, archive=True, members=members)
    if not members or not record.result.index_sha256:
        return read
    return read._replace(index_bytes=record.result.index_bytes, index_sha256=record.result.index_sha256)


def _params(source: SpecConfig) -> ResultInputParams:
    return read_params(source, ResultInputParams)
