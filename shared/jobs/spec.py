"""Jobs: the shapes that people write and that REST and NATS carry, with the names of the reference.

Nothing is checked here; shared/jobs/rules.py normalises and validates.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType, field

from shared.jobs.partition_names import part_name
from shared.jobs.states import JobState

OPS = "ops"
"""The type of a job that runs once on each node that matches when it begins."""


class SpecConfig(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """The kind of an engine, publisher or input, and its parameters."""

    type: str = ""
    params: dict[str, Any] = {}


class InputSource(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    source: SpecConfig = SpecConfig()
    alias: str = ""
    target: str = ""


class ResultPath(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A folder of the task that becomes the folder `name` of the result."""

    name: str = ""
    path: str = ""


class SecretFile(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A file that holds the secret `name` while the task runs."""

    name: str = ""
    path: str = ""


class Resources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one execution asks for, as text: CPU "500m", Memory "512Mb", Disk "1Gb", GPU "1"."""

    cpu: str = field(name="CPU", default="")
    memory: str = field(name="Memory", default="")
    disk: str = field(name="Disk", default="")
    gpu: str = field(name="GPU", default="")


class Network(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """Domains and ports are not supported yet; they are known so that nobody thinks they were."""

    type: str = ""
    domains: tuple[str, ...] = ()
    ports: tuple[dict[str, Any], ...] = ()


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """Whole seconds; 0 means none."""

    execution_timeout: int = 0
    queue_timeout: int = 0
    total_timeout: int = 0


class Constraint(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A condition on a node's labels. Operators: = == != in notin exists ! gt lt."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class Retries(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """How often a task is run again that has failed by its exit code: at most `max` times for each part.

    Without `on_exit_codes` after any but 0. `back_off` is the first wait, such as `30s`, which doubles from one to the
    next; without it the orchestrator waits as after other failures.
    """

    max: int = 0
    on_exit_codes: tuple[int, ...] = ()
    back_off: str = ""


class Task(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    name: str = ""
    engine: SpecConfig = field(default_factory=SpecConfig)
    publisher: SpecConfig = field(default_factory=SpecConfig)
    env: dict[str, str] = {}
    meta: dict[str, str] = {}
    input_sources: tuple[InputSource, ...] = ()
    result_paths: tuple[ResultPath, ...] = ()
    resources: Resources = Resources()
    network: Network = Network()
    timeouts: Timeouts = Timeouts()
    on_unreadable: str = ""
    """What becomes of a result that lacks what the task wrote: `warn`, as without it, or `fail`."""
    fail_on_exit_code: bool = False
    """Whether an exit code other than 0 makes the execution a failed one; its result is published all the same."""
    retries: Retries = Retries()
    secrets: tuple[SecretFile, ...] = ()
    reproducible: bool = False
    """Whether what differs from node to node without the task's doing is the same: docs/provenance.md names it all."""


class Need(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """A job that has to have ended before this one begins: with exit code 0 in every part, unless `on` says more."""

    job: str = ""
    on: str = ""


class Schedule(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """When a job is run again and again (shared/jobs/schedules.py): `cron` in `time_zone`, which is UTC without.

    `missed` and `overlap` are some of MISSED and OVERLAP there; a run begins within `starting_deadline` after it was
    due, or not at all. Of its runs that have ended the last `keep` stay, all for as long as other jobs where it is 0.
    """

    cron: str = ""
    time_zone: str = ""
    missed: str = ""
    overlap: str = ""
    starting_deadline: str = ""
    keep: int = 0


class Verification(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """How many nodes of different owners run each part, and how many of them have to agree about `of`, one of OF.

    In its normal form all three are there. `of` is what is compared: the `result` as it is, the `paths` of the result
    alone, or what the task wrote on `stdout`; the exit code always.
    """

    replicas: int = 0
    quorum: int = 0
    of: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What the author of a job decides. The fields that the server owns are added by `JobView`."""

    name: str = ""
    namespace: str = ""
    type: str = ""
    priority: int = 0
    count: int | None = None
    constraints: tuple[Constraint, ...] = ()
    meta: dict[str, str] = {}
    labels: dict[str, str] = {}
    tasks: tuple[Task, ...] = ()
    max_parallel: int | UnsetType = UNSET
    """How many of its parts may run at once; absent where that is not limited."""
    needs: tuple[str | Need, ...] | UnsetType = UNSET
    """The jobs that it waits for; absent where it waits for none. In their normal form all are of the long kind."""
    schedule: str | Schedule | UnsetType = UNSET
    """When it is run, each time as a job of its own; absent where it is run once. In its normal form it is long."""
    verification: Verification | UnsetType = UNSET
    """Whether its results count only where several nodes agree about them; absent where they do not."""

    @property
    def task(self) -> Task:
        """The one task of a validated job."""
        return self.tasks[0]


LEFT_OUT_COUNT = "LeftOutCount"
"""Among a job's details: of how many entries its results lack the content. Absent if they are whole."""

WAITS_FOR = "WaitsFor"
"""Among the details of a job that runs: what those of its parts wait for that run on no node yet."""


class StateView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    state_type: str
    message: str = ""
    details: dict[str, str] = {}


class ChainLink(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """Another job of a chain, how it stands, and which version of it is needed; 0 where it is the one that needs."""

    job_id: str = field(name="JobID")
    name: str = ""
    state: str = ""
    job_version: int = 0
    any_code: bool = False
    """Whether it may end with any exit codes."""


class ChainView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """What a job needs, and jobs that need it: as many as fit, of `needed_by_total`."""

    needs: tuple[ChainLink, ...] = ()
    needed_by: tuple[ChainLink, ...] = ()
    needed_by_total: int = 0


class RunView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """A run of a schedule, and when it was due, or asked for `by_hand`, in nanoseconds since 1970."""

    job_id: str = field(name="JobID")
    name: str = ""
    state: str = ""
    due: int = 0
    by_hand: bool = False


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """How a schedule stands: the `next` times at which it is due, its newest runs, and how many there were.

    Times are nanoseconds since 1970. `paused_since` is 0 where it is not paused. Runs were `begun`, `missed` as nobody
    decided in time, `left_out` beside earlier ones, or `refused` as a submit would have been. `going` are those that
    have not ended.
    """

    next: tuple[int, ...] = ()
    paused_since: int = 0
    runs: tuple[RunView, ...] = ()
    going: int = 0
    begun: int = 0
    missed: int = 0
    left_out: int = 0
    refused: int = 0


class RunOfView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """The schedule of which a job is a run, and when that was due, or asked for `by_hand`."""

    job_id: str = field(name="JobID")
    name: str = ""
    due: int = 0
    by_hand: bool = False


class JobView(Job, frozen=True, kw_only=True, rename="pascal"):
    """A job as the server shows it: times in nanoseconds since 1970."""

    id: str = field(name="ID")
    state: StateView
    version: int
    revision: int
    create_time: int
    modify_time: int
    submit_time: int = 0
    """When this version was submitted; of the first one, when the job was created."""
    targets: tuple[str, ...] | UnsetType = UNSET
    """The nodes of an ops job, the first that of part 0; absent of others, and until they are chosen."""
    exit_codes: dict[int, int] = {}
    """With which codes tasks have ended, and how many parts with each; of a part with several attempts, the last."""
    chain: ChainView | UnsetType = UNSET
    """Absent where it needs no job, and no job needs it."""
    schedule_status: ScheduleView | UnsetType = UNSET
    """Absent where it has no schedule."""
    run_of: RunOfView | UnsetType = UNSET
    """Absent where it is no run of a schedule."""

    @property
    def part_count(self) -> int:
        """How many parts it has; of an ops job whose nodes are not chosen yet one, which waits for that."""
        return len(self.targets or ()) or self.count or 1

    def part_name(self, index: int) -> str:
        """By which folders, files and lines of its parts are told apart: of an ops job its node."""
        return part_name(index, self.count or 1, self.targets or ())

    @property
    def status(self) -> JobState | str:
        """Its state by name; plain text where only a later version knows it."""
        name = self.state.state_type
        return JobState(name) if name in JobState.__members__.values() else name

    @property
    def left_out_count(self) -> int:
        """Of how many entries the results lack the content, because a node could not read them; 0 if they are whole."""
        told = self.state.details.get(LEFT_OUT_COUNT, "")
        return int(told) if told.isdecimal() else 0

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        from shared.jobs.markup import job_table  # most never need it

        return job_table(self)
