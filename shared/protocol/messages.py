"""Messages between the orchestrator and its compute nodes.

Orders go to a node by request and reply: `Assignments`, `CancelExecution`, `HandBack`, `Receipt`, `Register`,
`ReadOutput`. A node asks with a request: `Registration`, and for an upload `GrantRequest`, `IndexGrantRequest`,
`BesideRequest`, `BeginUpload`, `PartsRequest`, `CompleteUpload`; for inputs `InputsRequest`
(shared/protocol/nodes/inputs.py). It tells facts in a `Report`, which a stream keeps until the orchestrator has dealt
with it, and shows that it lives by a `Heartbeat`.

Evolution is additive: a new field has a default. What a program does not know is a named outcome, never a crash:
`decode` raises `UnknownMessage`, which the receiver counts and sets aside.
"""

from typing import Annotated, Any, TypeVar

import msgspec

from shared.data import plain_data
from shared.errors import InvalidInput
from shared.ids import ExecutionId, JobId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.spec import Task
from shared.protocol.nodes.engine_parameters import ToldEngines
from shared.protocol.nodes.gpus import ToldGpuIds, ToldGpus
from shared.protocol.nodes.inputs import HeldInputs, InputsGiven, InputsRequest
from shared.protocol.nodes.message import Message
from shared.protocol.objects import Beside
from shared.protocol.published_facts import Count, PublishedFacts
from shared.protocol.signed_url import SignedUrl

PROTOCOL = 1
"""The version of these messages. A node tells the range that it speaks when it registers."""

COPIES_HARD_LINKS = "copies-hard-links"
"""The ability to archive each further name of a file as a file, where the job says `HardLinks: copy`."""

TAKES_SECRETS = "takes-secrets"
"""The ability to give a task the secrets that its job names; others would give it what the job says instead."""

PUBLISHES_PLAIN = "publishes-plain"
"""The ability to publish an object for each file, where the job says `Encoding: plain`."""

RUNS_REPRODUCIBLY = "runs-reproducibly"
"""The ability to give a task the same surroundings as on any other node, where the job says `Reproducible: true`."""

WRITES_LOCAL_PATHS = "writes-local-paths"
"""The ability to have a task write to folders of the node, where the job says so."""

SENDS_MANIFESTS = "sends-manifests"
"""The ability to tell of each result the digest of its content, and to send the manifest of that beside an archive."""

SIGNS_RESULTS = "signs-results"
"""The ability to sign how a result was made (shared/protocol/results/provenance.py)."""

MAX_RUN_OUTPUT_BYTES = 2048
"""How much of stdout and of stderr travels in a report, beside the whole of it in the result."""

MAX_OUTPUT_CHUNK_BYTES = 128 << 10
"""How much of stdout and of stderr is in one answer to a ReadOutput."""

MAX_OUTPUT_PLACE = 1 << 60
"""No byte of stdout or stderr comes after it, and every file can be asked for this one."""

OutputPlace = Annotated[int, msgspec.Meta(ge=0, le=2 * MAX_OUTPUT_PLACE)]
"""A byte of stdout or stderr."""

MAX_REPORTS = 256
"""How many reports one message may have; a node sends a quarter of them together."""
MAX_FACTS = 1024
"""How many facts one report may have; a node tells a quarter of them together."""
MAX_HELD = 65_536
"""How many executions a registration may name."""

MAX_UPLOADS = 64
"""How far so many uploads are one heartbeat tells."""

M = TypeVar("M")


# ---- orders to a node and its answers ---------------------------------------------------------------------------


class Assignment(Message, frozen=True, kw_only=True, tag="Assignment"):
    """Run this execution. Offered until it is answered; idempotent by execution id.

    `secrets` is a SecretsGiven, sealed to the key of this node; empty where the task asks for none.
    `execution_timeout_seconds` 0 means none. `archive` is the right to PUT the result, absent where the job has no
    publisher. `traceparent` is the execution's place in the trace of its job, empty where nobody traces. Where the
    result `is_plain`, it is an object for each file, and `archive` is the right to PUT their manifest. `beside` are the
    rights to PUT what lies beside the archive, each by the name of a Beside.
    Where there is a `spec_digest`, that of the whole job, the node signs how the result was made.
    """

    execution_id: ExecutionId
    job_id: JobId
    job_name: str
    job_type: str
    namespace: str
    job_version: int
    partition_index: int = 0
    partition_count: int = 1
    task: Task
    resources: Capacity
    execution_timeout_seconds: float = 0.0
    publish_timeout_seconds: float = 3600.0
    archive: SignedUrl | None = None
    traceparent: str = ""
    secrets: bytes = b""
    is_plain: bool = False
    beside: dict[str, SignedUrl] = msgspec.field(default_factory=dict)
    spec_digest: str = ""


class SecretsGiven(msgspec.Struct, frozen=True, kw_only=True):
    """The values of secrets, by their names, for the task of one execution."""

    execution_id: ExecutionId
    values: dict[str, bytes]

    def __repr__(self) -> str:
        return f"<SecretsGiven to {self.execution_id}>"


class Assignments(Message, frozen=True, kw_only=True, tag="Assignments"):
    """Run these executions, each for itself: the answers are in the same order."""

    assignments: tuple[Assignment, ...]


class CancelExecution(Message, frozen=True, kw_only=True, tag="CancelExecution"):
    execution_id: ExecutionId
    reason: str = ""


class Receipt(Message, frozen=True, kw_only=True, tag="Receipt"):
    """The orchestrator has stored the end of these executions: the node may forget them and their results."""

    execution_ids: tuple[ExecutionId, ...]


class HandBack(Message, frozen=True, kw_only=True, tag="HandBack"):
    """Report those of these executions that have not begun as such, and do not begin them any more."""

    execution_ids: tuple[ExecutionId, ...]


class Register(Message, frozen=True, kw_only=True, tag="Register"):
    """Send a Registration now: an orchestrator that has just started does not know this session yet."""


class ReadOutput(Message, frozen=True, kw_only=True, tag="ReadOutput"):
    """Show what the task has written from these bytes on, or from `tail_lines` before the end of each stream.

    Answered with an OutputRead, or with Rejected where the node holds no such execution.
    """

    execution_id: ExecutionId
    stdout_from: int = 0
    stderr_from: int = 0
    tail_lines: int | None = None


Order = Assignment | Assignments | CancelExecution | HandBack | Receipt | Register | ReadOutput


class Accepted(Message, frozen=True, kw_only=True, tag="Accepted"):
    """The order is carried out. `session` and `inventories` tell which later inventories must name the execution."""

    session: str
    inventories: int


class Rejected(Message, frozen=True, kw_only=True, tag="Rejected"):
    """The node will not run this. `retryable` tells whether it might at another time."""

    reason: str
    detail: str = ""
    retryable: bool = False


class OutputRead(Message, frozen=True, kw_only=True, tag="OutputRead"):
    """At most MAX_OUTPUT_CHUNK_BYTES of each stream, and from which bytes on to ask next.

    `is_over` tells that the task has ended, so that nothing follows once nothing comes.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    stdout_next: OutputPlace
    stderr_next: OutputPlace
    is_over: bool = False


class AssignmentsAnswered(Message, frozen=True, kw_only=True, tag="AssignmentsAnswered"):
    """One answer for each assignment, in the order of the assignments."""

    answers: tuple[Accepted | Rejected, ...]


OrderAnswer = Accepted | Rejected
OutputAnswer = OutputRead | Rejected

# ---- requests of a node and the answers -------------------------------------------------------------------------


class ContainerEngine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What runs a node's containers, in its own words: for people, and nothing is decided by it.

    `store` is how it keeps images, `isolation` what keeps containers apart: the runtime, and what the kernel does.
    """

    name: str = ""
    version: str = ""
    store: str = ""
    rootless: bool = False
    isolation: tuple[str, ...] = ()


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node can do. Untrusted: it decides about this node's own work alone.

    `loopback_id` is equal on processes that share a loopback interface, which tells whether a loopback endpoint of
    S3 can be reached from the node. `problems` are sentences for its operator. `abilities` are what the node does that
    the nodes of earlier versions would leave out without a word. `host` is what its machine is called.
    `isolation` is by the name of an engine what keeps its tasks in their place, which jobs demand by labels, and
    `runtimes` what runs them, with its version, where that is none of the node's own. `engine_parameters` are those of
    its engines from outside, of which nobody else knows any. `gpus` are those that it has found and gives to tasks.
    """

    node_id: NodeId
    host: str = ""
    version: str
    protocol_min: int = PROTOCOL
    protocol_max: int = PROTOCOL
    labels: dict[str, str] = {}
    engines: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()
    input_sources: tuple[str, ...] = ()
    capacity: Capacity = Capacity()
    queue_capacity: int = 0
    loopback_id: str = ""
    problems: tuple[str, ...] = ()
    container_engine: ContainerEngine | None = None
    abilities: tuple[str, ...] = ()
    isolation: dict[str, str] = {}
    runtimes: dict[str, str] = {}
    engine_parameters: ToldEngines = {}
    gpus: ToldGpus = ()


class Registration(Message, frozen=True, kw_only=True, tag="Registration"):
    """Who the node is and which executions it holds: sent on each (re)connect and once a while.

    `session` is new at each start of the process; `inventory` counts the registrations of a session. A node that is
    `leaving` takes nothing on any more, so that what it does not hold now it never will.
    """

    info: NodeInfo
    session: str
    inventory: int
    held: Annotated[tuple[ExecutionId, ...], msgspec.Meta(max_length=MAX_HELD)] = ()
    leaving: bool = False


class GrantRequest(Message, frozen=True, kw_only=True, tag="GrantRequest"):
    """A fresh URL to PUT the archive of this execution, because the last one is too old or was refused.

    `s3_code` is what S3 said to the last one, where it said something.
    """

    execution_id: ExecutionId
    s3_code: str = ""


class IndexGrantRequest(Message, frozen=True, kw_only=True, tag="IndexGrantRequest"):
    """A URL to PUT the index of this execution's archive. `s3_code` as in GrantRequest."""

    execution_id: ExecutionId
    s3_code: str = ""


class BesideRequest(Message, frozen=True, kw_only=True, tag="BesideRequest"):
    """A URL to PUT what lies beside this execution's archive. `s3_code` as in GrantRequest."""

    execution_id: ExecutionId
    beside: Beside
    s3_code: str = ""


class BeginUpload(Message, frozen=True, kw_only=True, tag="BeginUpload"):
    """Send the archive in parts. What was begun before goes on, unless it is `lost`: S3 no longer knows that upload.

    `checksums` is whether the node can tell the CRC-32 of a part before it asks for its URL.
    """

    execution_id: ExecutionId
    lost: str = ""
    checksums: bool = False


class PartsRequest(Message, frozen=True, kw_only=True, tag="PartsRequest"):
    """URLs to PUT the parts from number `first` on, which may be fewer than `count`. `s3_code` as in GrantRequest.

    `crc32` are those of the bytes of these parts, in base64, where the upload was begun with checksums.
    """

    execution_id: ExecutionId
    upload_id: str
    first: int
    count: int
    s3_code: str = ""
    crc32: tuple[str, ...] = ()


class CompleteUpload(Message, frozen=True, kw_only=True, tag="CompleteUpload"):
    """All parts are there: make them one object. `etags` are what S3 said to each, in order and without quotes.

    `crc32` as in PartsRequest, of all parts.
    """

    execution_id: ExecutionId
    upload_id: str
    etags: tuple[str, ...]
    crc32: tuple[str, ...] = ()


class BeginFiles(Message, frozen=True, kw_only=True, tag="BeginFiles"):
    """Send the result as an object for each file."""

    execution_id: ExecutionId


class FileToSend(msgspec.Struct, frozen=True, array_like=True):
    """An object to be: its key below that of the result's folder, its size in bytes, and its MD5 in base64."""

    key: str
    size: Count
    md5: str


MAX_FILES = 512
"""For how many files URLs are asked for at once."""


class FilesRequest(Message, frozen=True, kw_only=True, tag="FilesRequest"):
    """URLs to PUT these files, each for these bytes alone. `s3_code` as in GrantRequest."""

    execution_id: ExecutionId
    files: Annotated[tuple[FileToSend, ...], msgspec.Meta(min_length=1, max_length=MAX_FILES)]
    s3_code: str = ""


class StoreRequest(Message, frozen=True, kw_only=True, tag="StoreRequest"):
    """Where do results go? The checkup of a node asks it, which holds no execution and so has no URL."""


UploadRequest = (
    GrantRequest
    | IndexGrantRequest
    | BesideRequest
    | BeginUpload
    | PartsRequest
    | CompleteUpload
    | BeginFiles
    | FilesRequest
)
NodeRequest = Registration | UploadRequest | InputsRequest | StoreRequest


class Reconciliation(Message, frozen=True, kw_only=True, tag="Reconciliation"):
    """What the node may forget, and stop where it is still at it: it has ended for the orchestrator, or is unknown."""

    settled: tuple[ExecutionId, ...] = ()


class GrantGiven(Message, frozen=True, kw_only=True, tag="GrantGiven"):
    archive: SignedUrl


class IndexGrantGiven(Message, frozen=True, kw_only=True, tag="IndexGrantGiven"):
    index: SignedUrl


class BesideGiven(Message, frozen=True, kw_only=True, tag="BesideGiven"):
    url: SignedUrl


class UploadBegun(Message, frozen=True, kw_only=True, tag="UploadBegun"):
    """With `checksums`, the URL of a part is for bytes of one CRC-32 alone, which S3 compares."""

    upload_id: str
    checksums: bool = False


class PartsGiven(Message, frozen=True, kw_only=True, tag="PartsGiven"):
    """One URL for each part from the first one asked for on, at least one."""

    parts: tuple[SignedUrl, ...]


class UploadCompleted(Message, frozen=True, kw_only=True, tag="UploadCompleted"):
    """The object is there, or one was there already, which is compared with what the node reports."""


class UploadLost(Message, frozen=True, kw_only=True, tag="UploadLost"):
    """S3 does not know the upload, or not all of its parts: begin again."""

    message: str = ""


class FilesBegun(Message, frozen=True, kw_only=True, tag="FilesBegun"):
    """A result may have so many files, with keys of so many bytes below that of its folder."""

    most_files: int
    most_key_bytes: int


class FilesGiven(Message, frozen=True, kw_only=True, tag="FilesGiven"):
    """The right to PUT each of the files that were asked for, in their order.

    All are signed at once, so that what their URLs have in common is told once; shared/protocol/results/file_urls.py
    makes them of it. With `create_only` no object is replaced.
    """

    base_url: str
    query: str
    signatures: tuple[str, ...]
    lifetime_seconds: int
    create_only: bool = False

    def __repr__(self) -> str:
        return f"<FilesGiven of {len(self.signatures)} files, {self.lifetime_seconds} s>"


class StoreTold(Message, frozen=True, kw_only=True, tag="StoreTold"):
    """The scheme, host and port to which nodes send results; empty where no bucket is configured."""

    url: str = ""


class RequestRefused(Message, frozen=True, kw_only=True, tag="RequestRefused"):
    code: str
    message: str
    retryable: bool = False


UploadAnswer = (
    GrantGiven
    | IndexGrantGiven
    | BesideGiven
    | UploadBegun
    | PartsGiven
    | UploadCompleted
    | UploadLost
    | FilesBegun
    | FilesGiven
    | RequestRefused
)
NodeRequestAnswer = Reconciliation | UploadAnswer | InputsGiven | StoreTold

# ---- facts ------------------------------------------------------------------------------------------------------


class Fact(Message, frozen=True, kw_only=True):
    """Something that has happened to an execution, `age_seconds` before its report was sent (clocks may be wrong)."""

    age_seconds: float = 0.0


class ExecutionStarted(Fact, frozen=True, kw_only=True, tag="ExecutionStarted"):
    """The task runs. Before that its inputs and its image took so long, 0 where there was nothing to fetch or pull.

    `gpus` are the ids of those that are its own on this node.
    """

    fetch_seconds: float = 0.0
    pull_seconds: float = 0.0
    gpus: ToldGpuIds = ()


class RunOutput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The beginning of what the task wrote, at most MAX_RUN_OUTPUT_BYTES each, and its exit code."""

    stdout: str = ""
    stdout_truncated: bool = False
    stderr: str = ""
    stderr_truncated: bool = False
    exit_code: int = 0


class TaskEnded(Fact, frozen=True, kw_only=True, tag="TaskEnded"):
    """The task has ended by itself; a result is published next, where the job has a publisher.

    `peak_memory_bytes` is the most memory that was seen of it, 0 where none was.
    """

    output: RunOutput
    run_seconds: float
    peak_memory_bytes: Count = 0


class OutputPublished(PublishedFacts, Message, frozen=True, kw_only=True, tag="OutputPublished"):
    """The archive is in the bucket: its facts. Where S3 took none because one `was_there`, that one is compared.

    A Fact in all but its base, as a Struct takes its fields from one base alone; so `age_seconds` is here again.
    """

    md5: str
    entries: Count
    raw_bytes: Count
    was_there: bool = False
    manifest_md5: str = ""
    """In hexadecimal, as S3 makes its ETag of it."""
    provenance: str = ""
    """The envelope that lies beside the result (shared/protocol/results/provenance.py)."""
    age_seconds: float = 0.0


class ExecutionFailed(Fact, frozen=True, kw_only=True, tag="ExecutionFailed"):
    """`reason` is a states.FailureReason; text, so that a newer node's reason is data and not an error.

    `not_begun` is true of an execution that its node gives back, because it takes nothing on any more. For how long a
    task ran that did not end by itself, and its memory, are as in TaskEnded; 0 of one that did, or did not run.
    """

    reason: str
    detail: str = ""
    output: RunOutput | None = None
    not_begun: bool = False
    run_seconds: float = 0.0
    peak_memory_bytes: Count = 0


class ExecutionCancelled(Fact, frozen=True, kw_only=True, tag="ExecutionCancelled"):
    reason: str = ""


class ExecutionProgressed(Fact, frozen=True, kw_only=True, tag="ExecutionProgressed"):
    """What a task that does not run yet, or a result, waits for, in a sentence. It changes no state and may be lost.

    It travels in reports of its own: an orchestrator that does not know it sets aside the whole report.
    """

    detail: str


AnyFact = ExecutionStarted | TaskEnded | OutputPublished | ExecutionFailed | ExecutionCancelled | ExecutionProgressed


class Report(Message, frozen=True, kw_only=True, tag="Report"):
    """Facts about one execution in the order in which they happened; those that coincide travel together."""

    execution_id: ExecutionId
    facts: Annotated[tuple[AnyFact, ...], msgspec.Meta(max_length=MAX_FACTS)]


class Reports(Message, frozen=True, kw_only=True, tag="Reports"):
    """What one node tells of several executions at once. Each is a Report, and is read and dealt with by itself."""

    reports: Annotated[tuple[msgspec.Raw, ...], msgspec.Meta(max_length=MAX_REPORTS)]


AnyReport = Report | Reports


class UploadProgress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far the upload of a result is, in bytes of what the task left; a `total_bytes` of 0 is not known."""

    execution_id: ExecutionId
    done_bytes: Count = 0
    total_bytes: Count = 0
    bytes_per_second: Count = 0


class Heartbeat(Message, frozen=True, kw_only=True, tag="Heartbeat"):
    """A node that is `leaving` takes nothing on any more. Of those `publishing`, some may be `waiting_for_s3`.

    `uploads` are of those that go on for long. `inputs` are some of what it keeps of inputs, told when that has changed
    and once in a while. `sent_at` is what the node's clock showed, in seconds since 1970. `disk_free` and `disk_size`
    are bytes where its DataDir is. All three are 0 where they are not told.
    """

    session: str
    running: Count = 0
    queued: Count = 0
    publishing: Count = 0
    waiting_for_s3: Count = 0
    leaving: bool = False
    uploads: Annotated[tuple[UploadProgress, ...], msgspec.Meta(max_length=MAX_UPLOADS)] = ()
    inputs: HeldInputs | None = None
    sent_at: float = 0.0
    disk_free: Count = 0
    disk_size: Count = 0


# ---- the one encoder, and a decoder per direction ---------------------------------------------------------------


class UnknownMessage(InvalidInput):
    """Not a well-formed message of this direction: counted and set aside by who receives it."""


_encoder = msgspec.json.Encoder()
orders: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
output_answers: msgspec.json.Decoder[OutputAnswer] = msgspec.json.Decoder(OutputAnswer)
order_answers: msgspec.json.Decoder[OrderAnswer] = msgspec.json.Decoder(OrderAnswer)
assignment_answers: msgspec.json.Decoder[AssignmentsAnswered] = msgspec.json.Decoder(AssignmentsAnswered)
node_requests: msgspec.json.Decoder[NodeRequest] = msgspec.json.Decoder(NodeRequest)
node_request_answers: msgspec.json.Decoder[NodeRequestAnswer] = msgspec.json.Decoder(NodeRequestAnswer)
report: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
reports: msgspec.json.Decoder[AnyReport] = msgspec.json.Decoder(AnyReport)
secrets_given: msgspec.json.Decoder[SecretsGiven] = msgspec.json.Decoder(SecretsGiven)
heartbeats: msgspec.json.Decoder[Heartbeat] = msgspec.json.Decoder(Heartbeat)


def encode(message: Message) -> bytes:
    return _encoder.encode(message)


def encode_secrets(given: SecretsGiven) -> bytes:
    """What is to be sealed."""
    return _encoder.encode(given)


def decode(decoder: "msgspec.json.Decoder[M]", payload: bytes | msgspec.Raw) -> M:
    """Raise UnknownMessage, which never repeats the payload, unless it is a message of this direction."""
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnknownMessage(
            f"{len(memoryview(payload))} bytes are not a message that is expected here: {_shape(error)}"
        ) from None


def decode_of_node(decoder: "msgspec.json.Decoder[M]", payload: bytes | msgspec.Raw) -> M:
    """As `decode`, of what a node says: also unless its numbers are of 64 bits, as all that is stored must be."""
    message = decode(decoder, payload)
    # Each of the reports is read by itself; the type of an OutputRead bounds all numbers of it, and it is large.
    if not isinstance(message, Reports | OutputRead):
        try:
            plain_data.check_message(bytes(payload))
        except InvalidInput as error:
            raise UnknownMessage(error.message) from None
    return message


def _shape(error: Exception) -> Any:
    """What msgspec found wrong; it names types and paths and no values other than a tag."""
    return str(error)[:200]
