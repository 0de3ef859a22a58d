"""Requests of programs to Tarpon over NATS; the answers are those of shared/protocol/rest.py.

A program connects as a user of its own, its principal, and asks on `tarpon.v1.api.<principal>.<what>`. What is wrong
with a request is answered with a rest.ErrorBody and the headers of a NATS micro service
(`Nats-Service-Error-Code`, `Nats-Service-Error`).
"""

import msgspec
from msgspec import field

from shared.jobs.spec import JobView
from shared.protocol import rest, rest_nodes
from shared.protocol.jobs import rest_schedules, rest_waits


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Names a job by its id, the beginning of an id, or its name in the namespace.

    Without a namespace it is the only one of a key that is for one alone, and else `default`.
    """

    job_id: str = field(name="JobID")
    namespace: str = ""


class GetRequest(JobRequest, frozen=True, kw_only=True, rename="pascal"):
    """`include` may name history and executions.

    Where they do not fit into the answer, each has a `next_token`: that of the executions is for the next request of
    this kind, that of the history for `jobs.history`.
    """

    include: tuple[str, ...] = ()
    next_token: str = ""


class StopJobRequest(JobRequest, frozen=True, kw_only=True, rename="pascal"):
    reason: str = ""


class DeleteRequest(JobRequest, frozen=True, kw_only=True, rename="pascal"):
    """Forget an ended job, with `results` also what it published; with `force` it is stopped first."""

    results: bool = False
    force: bool = False


class ScheduleJobRequest(JobRequest, frozen=True, kw_only=True, rename="pascal"):
    """Have the schedule of a job begin no further run, go on with what is due from now on, or begin a run at once.

    With a token a repeated request begins one run. What is due while a schedule is paused is not made up for.
    """

    action: rest_schedules.Action
    reason: str = ""
    idempotency_token: str = ""

    @property
    def wanted(self) -> rest_schedules.ScheduleRequest:
        """As it is asked for over HTTP."""
        return rest_schedules.ScheduleRequest(
            action=self.action, reason=self.reason, idempotency_token=self.idempotency_token
        )


class HistoryRequest(JobRequest, frozen=True, kw_only=True, rename="pascal"):
    """What has been recorded after the item with this number: late listeners ask for what they missed."""

    after_seq_num: int = 0
    next_token: str = ""


class ResultsRequest(JobRequest, frozen=True, kw_only=True, rename="pascal"):
    """Of one version, 0 being the newest; or of one execution, by its id or the beginning of it.

    `refused` says that S3 has refused the URLs that were given last: the orchestrator then reads its S3 keys again.
    """

    job_version: int = 0
    execution_id: str = field(name="ExecutionID", default="")
    refused: bool = False
    next_token: str = ""


class ListRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The newest jobs first; `limit` is at most 500. A namespace of `*` means all that may be seen."""

    namespace: str = ""
    limit: int = 100
    next_token: str = ""


class WaitsRequest(JobRequest, frozen=True, kw_only=True, rename="pascal"):
    """What the job waits for, with the first `limit` nodes, at most 1000."""

    limit: int = 100


class NodesRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    next_token: str = ""


class Announced(rest.HistoryItem, frozen=True, kw_only=True, rename="pascal"):
    """A line of the history, and the number of the line before it: a number that is not known was missed."""

    previous_seq_num: int = 0


REQUESTS: dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct]]] = {
    "jobs.submit": (rest.SubmitRequest, rest.SubmitResponse),
    "jobs.submit-all": (rest.SubmitAllRequest, rest.SubmitAllResponse),
    "jobs.get": (GetRequest, rest.JobResponse),
    "jobs.list": (ListRequest, rest.Page[JobView]),
    "jobs.stop": (StopJobRequest, rest.StopResponse),
    "jobs.delete": (DeleteRequest, rest.DeleteResponse),
    "jobs.schedule": (ScheduleJobRequest, rest_schedules.ScheduleResponse),
    "jobs.results": (ResultsRequest, rest.Page[rest.ResultItem]),
    "jobs.history": (HistoryRequest, rest.Page[rest.HistoryItem]),
    "jobs.waits": (WaitsRequest, rest_waits.WaitsResponse),
    "nodes.list": (NodesRequest, rest_nodes.ListNodesResponse),
}
"""What can be asked: the end of the subject, the shape of the request, the shape of the answer."""

EVENTS: dict[str, type[msgspec.Struct]] = {"history": Announced, "state": JobView}
"""What is told on `tarpon.v1.events.<namespace>.<jobID>.<what>`: each new line of the history, each new state."""
