"""Records: what is stored, the one source of truth, in the state bucket of JetStream.

| key                                              | record          | written                                       |
|--------------------------------------------------|-----------------|-----------------------------------------------|
| `name.<namespace>.<name>`                        | NameRecord      | once: the name belongs to this job            |
| `spec.<job>.<version>`                           | SpecRecord      | once for each version after the first         |
| `job.<job>`                                      | JobRecord       | at submit, update, stop, failure, removal     |
| `execution.<job>.<version>.<partition>.<attempt>`| ExecutionRecord | created once; then by revision                |
| the same and `.<incarnation>`                    | ExecutionRecord | the same, in a state that was restored        |
| `node.<node>`                                    | NodeRecord      | when what a node says changes; at drain       |
| `binding.<node>`                                 | BindingRecord   | the id belongs to this key; when it is rejected|
| `keys.<node>`                                    | NodeKeysRecord  | when a key begins or ceases to be the node's  |
| `user.<name>`                                    | UserRecord      | when a user is made, or revoked               |
| `token.<token>`                                  | TokenRecord     | when it is made, used by a node, revoked      |
| `spent.<id>`                                     | SpentRecord     | when a session is signed out of, a link used  |
| `namespace.<namespace>`                          | NamespaceRecord | when its weight is set                        |
| `secret.<namespace>.<name>`                      | SecretRecord    | each time that somebody puts it               |
| `data.<namespace>.<digest>`                      | DataRecord      | when data is sent, named, used, deleted       |
| `sweep.data`                                     | SweepRecord     | when a sweep of deleted data begins and ends  |
| `recorded.results`                               | ResultsRecorded | now and then, while results are verified      |
| `webhooks.sent`                                  | WebhooksRecord  | every 2 s in which webhooks are sent          |
| `backup.last`                                    | BackupRecord    | when a backup is whole, or was restored       |
| `incarnation.current`                            | IncarnationRecord | each time that the state is restored         |

All of a job goes some time after its end (orchestrator/jobs/removal/retention.py), its record as the last.
A job's state is never stored: it is computed from its executions (orchestrator/rules/job_progress.py). No record has
a URL. Times are nanoseconds since 1970, by the orchestrator's clock.
"""

from collections.abc import Iterator

import msgspec

from orchestrator.rules.frozen_inputs import FrozenInputs
from orchestrator.rules.location import Location
from orchestrator.rules.pinned_needs import PinnedNeed
from shared.ids import ExecutionId, JobId, NodeId, execution_key
from shared.jobs.capacity import Capacity
from shared.jobs.needs import needs_of
from shared.jobs.secrets import uses_secrets
from shared.jobs.spec import OPS, Job
from shared.jobs.states import DesiredState, ExecutionState, FailureReason, JobState
from shared.protocol import subjects
from shared.protocol.messages import NodeInfo, RunOutput
from shared.protocol.published_facts import PublishedFacts
from shared.runtime.log_lines import about

SCHEMA = 1
"""Of all records. A program that finds a larger one must not decide anything: it would drop what it does not know."""

OF_INCARNATIONS = 2
"""Of records that only a program which knows incarnations may change: it finds their keys by them."""

OF_LIMITED_NODES = 3
"""Of bindings whose nodes do not get every job: a program that does not know of that must place nothing."""

OF_TASK_SECRETS = 4
"""Of jobs whose tasks are given secrets: a program that does not know of these would drop what names them."""

OF_INPUTS = 5
"""Of jobs with inputs: a program that does not know of these would drop which objects they are."""

OF_NEEDS = 6
"""Of jobs that wait for others: a program that does not know of these would run them at once."""

OF_REFILLS = 7
"""Of the mark of a state that is being restored: a program that does not know of it would decide by half of it."""

OF_SCHEDULES = 8
"""Of schedules and their runs: a program that does not know of these would run a schedule at once, and only once."""

OF_OPS = 9
"""Of jobs that run on each node: a program that does not know of these would run them on any one."""

OF_AGREEMENT = 10
"""Of jobs with replicas, and of these: a program that does not know of them would take any one for the result."""

NEWEST_SCHEMA = OF_AGREEMENT


def schema_of(job: Job) -> int:
    """That of a record which has this specification."""
    if job.verification:
        return OF_AGREEMENT
    if job.type == OPS:
        return OF_OPS
    if job.schedule:
        return OF_SCHEDULES
    if needs_of(job):
        return OF_NEEDS
    if job.task.input_sources:
        return OF_INPUTS
    return OF_TASK_SECRETS if uses_secrets(job.task) else SCHEMA


MAX_EVENTS = 64
"""How many events one record keeps; then the oldest but the first go."""


VERSION_DETAIL = "JobVersion"
"""The detail of an event that tells which version of the job it is about."""

JUST_RECORDED = -1
"""For the number of an event whose record is being stored."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the history: what happened at `time`, and was `recorded` then or, where that is given, later.

    The history is in the order of numbers (orchestrator/state/event_numbers.py), so that what a reader has seen of it
    never changes. Earlier versions of Tarpon gave none.
    """

    time: int
    recorded: int = 0
    number: int = 0
    topic: str
    message: str
    details: dict[str, str] = {}


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    schema: int = SCHEMA


class KeyedRecord(Record, frozen=True, kw_only=True):
    """A record that tells by itself where it is stored. The others say nothing of what their keys name."""

    @property
    def key(self) -> str:
        """Its key in the state bucket."""
        raise NotImplementedError


class NameRecord(Record, frozen=True, kw_only=True):
    job_id: JobId


class Replaced(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a version of a job stood when a later one took its place. It may not have ended by then.

    `token` is its idempotency token; `digest` tells what was asked for with that (orchestrator/jobs/idempotency.py).
    `targets` are its nodes, as in JobRecord.
    """

    version: int
    submit_time: int
    modify_time: int
    state: JobState
    message: str = ""
    token: str = ""
    digest: str = ""
    targets: tuple[NodeId, ...] = ()


class SpecRecord(Record, frozen=True, kw_only=True):
    """One version of a job, normalised and validated, with the server's defaults filled in.

    `replaced` is the version before it: which one that was, and how it stood. Parts that have completed in the versions
    that it `keeps`, all with the same specification, are not run again: their results are also those of this version.
    """

    job: Job
    replaced: Replaced | None = None
    keeps: tuple[int, ...] = ()
    inputs: FrozenInputs = ()
    needs: tuple[PinnedNeed, ...] = ()


class Removal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """That a job, which ended in `state`, is being removed: its record goes last, so that whoever leads finishes it.

    With `results` what it published goes first. `problem` is why that cannot be done at present. `ended_by` is the
    number of the event by which the job ended, which may go before the record does.
    """

    state: JobState
    message: str = ""
    ended_by: int = 0
    results: bool = False
    problem: str = ""


class ScheduleState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a schedule has come, in nanoseconds since 1970: about each due time up to `decided` it is decided.

    `due` are those of them for which a run is to be begun that is not known to be there. `paused` is since when; 0 is
    not at all. The others count its runs since it was made: those that were `begun`, those for which nobody decided in
    time (`missed`), those `left_out` beside earlier ones, and those that were `refused` as they would be by a submit.
    """

    decided: int
    due: tuple[int, ...] = ()
    paused: int = 0
    begun: int = 0
    missed: int = 0
    left_out: int = 0
    refused: int = 0


class RunOf(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """That a job is a run of the schedule `job`, which was `called` so, and when it was due, or asked for `by_hand`."""

    job: JobId
    called: str
    due: int
    by_hand: bool = False


class JobRecord(KeyedRecord, frozen=True, kw_only=True):
    """`failure` is why the job failed without a (further) execution; `token` the idempotency token of its version.

    `digest` tells what was asked for with that token (orchestrator/jobs/idempotency.py).

    `first` is the specification of version 1, `inputs` are its inputs and `needs` what it waits for, so that most jobs
    are one record.
    `traceparent` is that of who submitted this version, where jobs are traced.
    `schedule` is there where the newest version has one, and `run_of` where the job is a run of one.
    `targets` are the nodes of the newest version of an ops job, the first that of part 0: those that matched when it
    was their turn to be chosen, and no others ever. Until then there are none.
    """

    id: JobId
    namespace: str
    name: str
    version: int
    priority: int = 0
    token: str = ""
    digest: str = ""
    desired: DesiredState = DesiredState.RUNNING
    failure: str = ""
    removal: Removal | None = None
    events: tuple[Event, ...] = ()
    create_time: int
    submit_time: int
    modify_time: int
    first: Job | None = None
    inputs: FrozenInputs = ()
    needs: tuple[PinnedNeed, ...] = ()
    traceparent: str = ""
    schedule: ScheduleState | None = None
    run_of: RunOf | None = None
    targets: tuple[NodeId, ...] = ()

    @property
    def key(self) -> str:
        return subjects.job_record(self.id)


class RecordedProvenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What lies beside a result, signed by its node with this public key, which counted when it was reported.

    It is of the `specification` with this digest, which may be lost since: that of a rebuilt job is another one.
    """

    size_bytes: int
    sha256: str
    key: str
    specification: str = ""


class VerifiedResult(PublishedFacts, frozen=True, kw_only=True):
    """A verified archive: what its node told of it, and what S3 showed, which the `etag` is of."""

    etag: str
    verify_seconds: float = 0.0
    provenance: RecordedProvenance | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`reason` is a states.FailureReason. What is `excused` counts for nothing until another node says so too."""

    reason: str
    detail: str = ""
    retryable: bool = False
    excused: bool = False


class ExecutionRecord(KeyedRecord, frozen=True, kw_only=True):
    id: ExecutionId
    job_id: JobId
    job_version: int
    partition: int
    attempt: int
    node_id: NodeId
    resources: Capacity
    state: ExecutionState = ExecutionState.NEW
    location: Location | None = None
    upload_id: str = ""
    """Of the upload in parts that was begun for the result, if one was."""
    upload_has_checksums: bool = False
    """Whether S3 compares the CRC-32 of each of its parts."""
    left_uploads: tuple[str, ...] = ()
    """Uploads that another one has replaced, or that met an object that was there already."""
    output: RunOutput | None = None
    run_seconds: float = 0.0
    peak_memory_bytes: int = 0
    """The most memory that its node has seen of its task; 0 where it has seen none, or tells none."""
    fetch_seconds: float = 0.0
    """How long its inputs took, before its task ran; 0 where it reads none, or its node does not tell."""
    pull_seconds: float = 0.0
    """The same of its image; 0 where that was there."""
    gpus: tuple[str, ...] = ()
    """The ids of those that its task had for itself, as its node tells."""
    result: VerifiedResult | None = None
    result_deleted: int = 0
    """When its objects were deleted from the bucket; 0 if they were not."""
    failure: Failure | None = None
    """Also while the result of a task is being published that has failed by its exit code, and then fails for that."""
    events: tuple[Event, ...] = ()
    create_time: int
    modify_time: int
    incarnation: str = ""
    """That of the state when this was decided; empty where it had never been restored."""
    owner: str = ""
    """Of a replica: whose node it is placed on, by the join token."""
    answer: str = ""
    """Of a replica that has published: the digest, in hexadecimal, by which it is compared with the others."""

    @property
    def key(self) -> str:
        return subjects.execution_record(self.decision)

    @property
    def awaits_agreement(self) -> bool:
        """Whether it has published, so that its node is done with it, and it is not decided yet whether that counts."""
        return bool(self.answer) and self.state is ExecutionState.PUBLISHING

    @property
    def has_counting_result(self) -> bool:
        """Whether what it published is a result of its part: not that of a replica which nobody has agreed with."""
        if self.result is None or self.awaits_agreement or self.state is ExecutionState.CANCELLED:
            return False
        return not self.answer or self.failure is None or self.failure.reason == FailureReason.NON_ZERO_EXIT_CODE

    @property
    def is_over_there(self) -> bool:
        """Whether nothing is left to do for its node."""
        return self.state.is_terminal or self.awaits_agreement

    @property
    def decision(self) -> str:
        """What was decided: this attempt at this part, as ids.execution_key spells it."""
        return execution_key(self.job_id, self.job_version, self.partition, self.attempt, self.incarnation)

    @property
    def may_have_objects(self) -> bool:
        """Also of an execution that failed: it may have published, and not been heard."""
        return self.location is not None and not self.result_deleted and self.state is not ExecutionState.REJECTED

    @property
    def unfinished_uploads(self) -> tuple[str, ...]:
        """Uploads in parts, by their ids, of which nothing will come any more, and whose parts are paid for."""
        is_over = self.state.is_terminal and self.state is not ExecutionState.COMPLETED and self.result is None
        is_left = is_over and self.upload_id and self.upload_id not in self.left_uploads
        return (*self.left_uploads, self.upload_id) if is_left else self.left_uploads


class Suspicion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A node fails task after task, `since` so many nanoseconds since 1970: what the last one failed for there."""

    since: int
    reason: str = ""
    detail: str = ""


class NodeDifference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A node has answered otherwise than the others of a part have agreed about, at this time: how, in a sentence."""

    execution: ExecutionId
    job: JobId
    time: int
    detail: str = ""


MOST_DIFFERENCES = 32
"""So many are kept of a node; all are counted."""


class NodeRecord(KeyedRecord, frozen=True, kw_only=True):
    """On a node that is `draining` nothing new is placed.

    `engines_away` are engines that it offered before and does not offer now, and since when, in nanoseconds since 1970.
    `differences` are the last of those that it had, `differed` how many there were, since an operator approved it last.
    """

    info: NodeInfo
    draining: bool = False
    engines_away: dict[str, int] = {}
    suspicion: Suspicion | None = None
    differences: tuple[NodeDifference, ...] = ()
    differed: int = 0

    @property
    def key(self) -> str:
        return subjects.node_record(self.info.node_id)


class EarlierKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key that was a node's, `since` and `until` so many nanoseconds since 1970; 0 is not known."""

    public_key: str
    since: int = 0
    until: int = 0


class KeyLife(EarlierKey, frozen=True, kw_only=True):
    """That a key was a node's: `until` is 0 as long as it is. One key may have several lives, as of a node that went.

    `ended` is how, as NodeKeyView tells it: empty, Replaced, Rejected or Deleted. `token`, `owner` and `namespaces` are
    as in BindingRecord.
    """

    ended: str = ""
    token: str = ""
    owner: str = ""
    namespaces: tuple[str, ...] = ()


class NodeKeysRecord(KeyedRecord, frozen=True, kw_only=True):
    """The keys that a name of nodes has had, the newest last; it stays when the node is deleted.

    Of lives that are kept no more the last one ended at `forgotten`; 0 where all are here.
    """

    node: NodeId
    lives: tuple[KeyLife, ...] = ()
    forgotten: int = 0

    @property
    def key(self) -> str:
        return subjects.keys_record(self.node)

    @property
    def last(self) -> KeyLife | None:
        return next(reversed(self.lives), None)


class BindingRecord(Record, frozen=True, kw_only=True):
    """`rejected` is when an operator shut this key out, 0 if none did; `message` why, in the operator's words.

    What the join token said holds for as long as the binding does, whatever becomes of the token: the `labels`, and the
    `namespaces` whose jobs the node may be given, where it is not to be given all, and the `owner`, empty where nobody
    was named. One that is `unapproved` is given nothing until an operator approves it. With the token `rekey`, and no
    other, another key may take the id. The key is the node's `since` so many nanoseconds since 1970, 0 where that is
    not known. `earlier` are those before it, of bindings that were written before these had a record of their own.
    """

    public_key: str
    since: int = 0
    earlier: tuple[EarlierKey, ...] = ()
    rejected: int = 0
    message: str = ""
    token: str = ""
    labels: dict[str, str] = {}
    namespaces: tuple[str, ...] = ()
    unapproved: bool = False
    rekey: str = ""
    owner: str = ""

    def serves(self, namespace: str) -> bool:
        """Whether the node may be given jobs of this namespace, or learn of them."""
        return not self.namespaces or namespace in self.namespaces


class JoinClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A use of a token that was counted for this node and this key, which may not be bound yet."""

    node: NodeId
    public_key: str


class TokenRecord(KeyedRecord, frozen=True, kw_only=True):
    """A join token, of whose secret the SHA-256 alone is kept. 0 `uses` are any number, 0 `expires` is never.

    What was `used` is counted where uses are limited. `node` is the one whose key it may exchange, if it is for that.
    """

    id: str
    digest: str
    create_time: int
    expires: int = 0
    uses: int = 1
    used: int = 0
    claims: tuple[JoinClaim, ...] = ()
    revoked: int = 0
    labels: dict[str, str] = {}
    namespaces: tuple[str, ...] = ()
    approval: bool = False
    node: str = ""
    owner: str = ""

    @property
    def key(self) -> str:
        return subjects.token_record(self.id)


class UserRecord(KeyedRecord, frozen=True, kw_only=True):
    """A person or a program, who is known by a key: by its id, and the `digest` of its secret, which is nowhere else.

    `verify_key` recognises what is signed with the secret (shared/protocol/request_signature.py); without one nothing
    is. `capabilities` are some of shared/protocol/capabilities.py. `expires` and `revoked` are in nanoseconds since
    1970; 0 is never. Who was revoked stays, so that it can be told, until the name is given to another.
    """

    name: str
    key_id: str
    digest: str
    verify_key: str = ""
    capabilities: tuple[str, ...]
    namespaces: tuple[str, ...]
    create_time: int
    made_by: str = ""
    expires: int = 0
    revoked: int = 0

    @property
    def key(self) -> str:
        return subjects.user_record(self.name)


class SpentRecord(KeyedRecord, frozen=True, kw_only=True):
    """A session that was signed out of, or a link that was used. It goes some time after it would have expired."""

    id: str
    expires: int

    @property
    def key(self) -> str:
        return subjects.spent_record(self.id)


class NamespaceRecord(KeyedRecord, frozen=True, kw_only=True):
    """What was set for a namespace. It need not have any jobs; one that has no record is like any other."""

    namespace: str
    weight: int
    modify_time: int

    @property
    def key(self) -> str:
        return subjects.namespace_record(self.namespace)


class SecretRecord(KeyedRecord, frozen=True, kw_only=True):
    """A secret of tasks, `sealed` by the key that `key_id` names, for this namespace and name alone.

    `is_text` tells whether the value can be an environment variable.
    """

    namespace: str
    name: str
    sealed: bytes
    key_id: str
    size_bytes: int
    is_text: bool = False
    create_time: int
    modify_time: int

    @property
    def key(self) -> str:
        return subjects.secret_record(self.namespace, self.name)


class DataRecord(KeyedRecord, frozen=True, kw_only=True):
    """Data that was sent, or is being sent: a tree of files, by the `digest` of its manifest, which is at `location`.

    `names` are what it is called, each with when it was called so last: the newest data of a name is what it means.
    It is `ready` since its files were all seen in the bucket; 0 is not yet. What was `deleted` is swept some time after
    that, files that no other data of the namespace has among it, and then the record goes. `uploads` are those in parts
    that have begun: the id of each by the digest of its file.
    """

    namespace: str
    digest: str
    location: Location
    manifest_bytes: int
    files: int
    size_bytes: int
    names: dict[str, int] = {}
    ready: int = 0
    deleted: int = 0
    uploads: dict[str, str] = {}
    create_time: int
    last_use: int

    @property
    def key(self) -> str:
        return subjects.data_record(self.namespace, self.digest)

    @property
    def is_ready(self) -> bool:
        return bool(self.ready) and not self.deleted


class SweepRecord(KeyedRecord, frozen=True, kw_only=True):
    """Which sweep of deleted data was the last, and whether it goes on: what is seen in the bucket may go meanwhile."""

    number: int
    is_on: bool = False

    @property
    def key(self) -> str:
        return subjects.SWEEP_RECORD


class ResultsRecorded(KeyedRecord, frozen=True, kw_only=True):
    """Each result that was verified before `until` has a record beside it in the bucket."""

    until: int

    @property
    def key(self) -> str:
        return subjects.RESULTS_RECORDED


class WebhooksRecord(KeyedRecord, frozen=True, kw_only=True):
    """By receiver the number up to which each end of a job was taken or given up; a receiver is a digest of its URL."""

    sent_up_to: dict[str, int]

    @property
    def key(self) -> str:
        return subjects.WEBHOOKS_RECORD


class BackupRecord(KeyedRecord, frozen=True, kw_only=True):
    """`taken` is the moment of the last backup that is whole and on its disk, or that this state was restored from."""

    taken: int

    @property
    def key(self) -> str:
        return subjects.BACKUP_RECORD


class IncarnationRecord(KeyedRecord, frozen=True, kw_only=True):
    """`unfinished` is a state that is being restored: not all of it is there yet."""

    incarnation: str
    since: int
    unfinished: bool = False

    @property
    def key(self) -> str:
        return subjects.INCARNATION_RECORD


def about_execution(record: ExecutionRecord) -> dict[str, str]:
    """For a log line about it."""
    return about(execution=record.id, job=record.job_id, node=record.node_id)


def versioned(job: JobRecord) -> Iterator[tuple[int, Event]]:
    """The events of a job, each with the version that it is about: that which it names, or which was submitted last."""
    version = 0
    for event in job.events:
        version = int(event.details.get(VERSION_DETAIL, version or job.version))
        yield version, event


def with_event(events: tuple[Event, ...], event: Event) -> tuple[Event, ...]:
    """Append what happens now; beyond MAX_EVENTS the second oldest goes, because the first tells how it began."""
    event = msgspec.structs.replace(event, number=JUST_RECORDED)
    if len(events) >= MAX_EVENTS:
        return (events[0], *events[2:], event)
    return (*events, event)


_decoders: dict[str, msgspec.json.Decoder[Record]] = {
    "name": msgspec.json.Decoder(NameRecord),
    "job": msgspec.json.Decoder(JobRecord),
    "spec": msgspec.json.Decoder(SpecRecord),
    "execution": msgspec.json.Decoder(ExecutionRecord),
    "node": msgspec.json.Decoder(NodeRecord),
    "binding": msgspec.json.Decoder(BindingRecord),
    "keys": msgspec.json.Decoder(NodeKeysRecord),
    "user": msgspec.json.Decoder(UserRecord),
    "token": msgspec.json.Decoder(TokenRecord),
    "spent": msgspec.json.Decoder(SpentRecord),
    "namespace": msgspec.json.Decoder(NamespaceRecord),
    "secret": msgspec.json.Decoder(SecretRecord),
    "data": msgspec.json.Decoder(DataRecord),
    "sweep": msgspec.json.Decoder(SweepRecord),
    "webhooks": msgspec.json.Decoder(WebhooksRecord),
    "backup": msgspec.json.Decoder(BackupRecord),
    "incarnation": msgspec.json.Decoder(IncarnationRecord),
    "recorded": msgspec.json.Decoder(ResultsRecorded),
}


def decode_record(key: str, payload: bytes) -> Record | None:
    """The record that is stored under `key`; None for a kind of key that this program does not know.

    Raises msgspec.DecodeError when the payload is not such a record.
    """
    decoder = _decoders.get(key.partition(".")[0])
    return decoder.decode(payload) if decoder else None
