"""Settings: every one of Tarpon with its key, type, default and meaning, declared once.

A key is the path of names from `Config` down, such as `API.Port`; shared/settings/keys.py walks them, and
shared/settings/loading.py fills them from files, the environment and the command line.
"""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from shared.jobs.durations import Duration
from shared.jobs.publisher_params import HardLinks
from shared.settings.api_limits import ApiLimits
from shared.settings.api_users import ApiUsers
from shared.settings.audit import AuditSettings
from shared.settings.input_sources import InputSources
from shared.settings.inputs import InputSettings
from shared.settings.schedules import ScheduleSettings
from shared.settings.secret import Secret
from shared.settings.sent_data import SentDataSettings
from shared.settings.sign_in import Oauth2
from shared.settings.tls.declared import ApiTls, ComputeTls, FilePath, OrchestratorTls
from shared.settings.webhooks import WebhookSettings

Port = Annotated[int, Meta(ge=0, le=65535)]
LogLevel = Literal["trace", "debug", "info", "warn", "error"]
LogMode = Literal["default", "json"]

AUTO = "auto"
REQUIRE, OFF = "require", "off"
_MINUTE = Duration(60)
_HOUR = Duration(3600)


class ApiAuth(Struct, frozen=True, kw_only=True, rename="pascal"):
    anonymous: Annotated[
        bool,
        Meta(
            description="Whether whoever reaches the HTTP API may do everything there, without a key; only where"
            " API.Host is loopback."
        ),
    ] = False
    users: Annotated[
        ApiUsers,
        Meta(
            description="Users beside those that are made and stored, as a list: an APIKey, or a Username and a"
            " Password, with Capabilities (a list of Actions such as read:job) and Namespaces."
        ),
    ] = ApiUsers()
    oauth2: Oauth2 = Oauth2()


class ApiSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    host: Annotated[
        str,
        Meta(description="Where the HTTP API listens, and where clients look for it: they take several, with commas."),
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="The port of the HTTP API.")] = 1234
    auth: ApiAuth = ApiAuth()
    limits: ApiLimits = ApiLimits()
    tls: ApiTls = field(default=ApiTls(), name="TLS")
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses and networks of proxies before the HTTP API: of what comes from there, Forwarded and"
            " X-Forwarded-For say who asks."
        ),
    ] = ()


class Auth(Struct, frozen=True, kw_only=True, rename="pascal"):
    token: Annotated[
        Secret,
        Meta(
            description="On a node its join token, or the join secret; on an orchestrator a join secret for all nodes."
        ),
    ] = Secret()
    token_file: Annotated[FilePath, Meta(description="A file that holds that token or secret.")] = FilePath()


class Nats(Struct, frozen=True, kw_only=True, rename="pascal"):
    servers: Annotated[
        tuple[str, ...], Meta(description="The addresses of an existing NATS cluster; empty starts our own server.")
    ] = ()
    replicas: Annotated[
        int,
        Meta(
            ge=0,
            le=5,
            description="On how many servers of that cluster the state is kept; 0: 3 if Servers names so many, else 1.",
        ),
    ] = 0
    sync_interval: Annotated[
        str, Meta(description="How often our own server writes through to disk: `always`, or a duration such as 2s.")
    ] = "always"
    removal_marks: Annotated[
        Duration,
        Meta(description="How long other orchestrators see a removal; those away for a third of it read all anew."),
    ] = Duration(900)
    server_binary: Annotated[FilePath, Meta(description="The nats-server program; empty finds the installed one.")] = (
        FilePath()
    )
    nkey_file: Annotated[FilePath, Meta(description="The orchestrator's own NATS key; made in DataDir if empty.")] = (
        field(default=FilePath(), name="NKeyFile")
    )
    issuer_seed_file: Annotated[
        FilePath, Meta(description="The key that signs who may do what on NATS; made in DataDir if empty.")
    ] = FilePath()
    integration_secret_file: Annotated[
        FilePath, Meta(description="The secret with which programs join the NATS API; made in DataDir if empty.")
    ] = FilePath()


class MaxCapacity(Struct, frozen=True, kw_only=True, rename="pascal"):
    cpu: Annotated[str, Meta(description="How many cores of one node are used at most, whatever it says it has.")] = (
        field(default="1024", name="CPU")
    )
    memory: Annotated[str, Meta(description="How much memory of one node is used at most.")] = "64TiB"
    disk: Annotated[str, Meta(description="How much disk space of one node is used at most.")] = "1PiB"
    gpu: Annotated[str, Meta(description="How many GPUs of one node are used at most.")] = field(
        default="64", name="GPU"
    )


class NodeManager(Struct, frozen=True, kw_only=True, rename="pascal"):
    disconnect_timeout: Annotated[
        Duration, Meta(description="How long a node may be silent before its executions count as lost.")
    ] = _MINUTE
    answer_timeout: Annotated[
        Duration,
        Meta(description="How long a connected node may leave orders unanswered before its work goes elsewhere."),
    ] = _MINUTE
    start_timeout: Annotated[
        Duration,
        Meta(
            description="How long a node may say nothing of an execution that it accepted and has not begun before it"
            " goes elsewhere; a pull of an image that makes progress is reported now and then."
        ),
    ] = Duration(1800)
    return_timeout: Annotated[
        Duration,
        Meta(
            description="How long jobs wait for a node that could run them and has disappeared, or whose engine has;"
            " then they fail if no other node could."
        ),
    ] = Duration(300)
    rest_after_differences: Annotated[
        int,
        Meta(
            ge=0,
            description="After how many results that differ from what other nodes agree about a node gets nothing more,"
            " until `tarpon node approve`; 0 is never. Of jobs with Verification.",
        ),
    ] = 3
    messages_per_second: Annotated[
        int,
        Meta(
            ge=100,
            description="How many messages a second one node may send; one that sends more is shut out for a while, and"
            " of its reports those beyond two fifths of this come later.",
        ),
    ] = 5000
    max_capacity: MaxCapacity = MaxCapacity()


class BackoffSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    floor: Annotated[
        Duration,
        Meta(
            description="How long a part of a job waits at least after a failed attempt. After the first it is up to"
            " twice, or 8 times where an engine or a registry was away, and twice as long after each further one."
        ),
    ] = Duration(1)
    ceiling: Annotated[Duration, Meta(description="How long it waits at most, however many attempts have failed.")] = (
        Duration(300)
    )


class SchedulerSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    max_attempts: Annotated[
        int, Meta(ge=1, description="How often one part of a job is tried before the job fails.")
    ] = 5
    backoff: BackoffSettings = BackoffSettings()
    queue_labels: Annotated[
        tuple[str, ...],
        Meta(
            description="Labels by which the metrics tarpon_queue_jobs and tarpon_queue_oldest_seconds tell what waits"
            " for a node, such as pool, for programs that start nodes."
        ),
    ] = ()


class JobRetention(Struct, frozen=True, kw_only=True, rename="pascal"):
    max_age: Annotated[Duration, Meta(description="How long a job is known after its end; 0s is for ever.")] = Duration(
        30 * 86400
    )
    max_jobs: Annotated[
        int, Meta(ge=0, description="How many ended jobs are known; beyond it the oldest ones go. 0 is no limit.")
    ] = 100_000


class TaskSecretsSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    key_file: Annotated[
        FilePath, Meta(description="The key under which secrets of tasks are stored; made in DataDir if empty.")
    ] = FilePath()


class Orchestrator(Struct, frozen=True, kw_only=True, rename="pascal"):
    enabled: Annotated[bool, Meta(description="Whether `tarpon serve` runs an orchestrator.")] = False
    host: Annotated[str, Meta(description="Where our own NATS server listens for nodes.")] = "0.0.0.0"  # noqa: S104 - nodes are elsewhere
    port: Annotated[Port, Meta(description="The port on which our own NATS server listens for nodes.")] = 4222
    advertise: Annotated[str, Meta(description="The host:port that nodes are told to connect to, if not Host.")] = ""
    auth: Auth = Auth()
    tls: OrchestratorTls = field(default=OrchestratorTls(), name="TLS")
    nats: Nats = field(default=Nats(), name="NATS")
    node_manager: NodeManager = NodeManager()
    scheduler: SchedulerSettings = SchedulerSettings()
    job_retention: JobRetention = JobRetention()
    task_secrets: TaskSecretsSettings = TaskSecretsSettings()
    sent_data: SentDataSettings = SentDataSettings()
    audit: AuditSettings = AuditSettings()
    webhooks: WebhookSettings = WebhookSettings()
    schedules: ScheduleSettings = ScheduleSettings()


class HeartbeatSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    interval: Annotated[Duration, Meta(description="How often a node says that it is alive.")] = Duration(15)


class AllocatedCapacity(Struct, frozen=True, kw_only=True, rename="pascal"):
    cpu: Annotated[str, Meta(description="CPU that tasks may use: a share such as 80%, or an amount such as 4.")] = (
        field(default="80%", name="CPU")
    )
    memory: Annotated[str, Meta(description="Memory that tasks may use: a share, or an amount such as 16GB.")] = "80%"
    disk: Annotated[str, Meta(description="Disk space that tasks may use: a share, or an amount.")] = "80%"
    gpu: Annotated[str, Meta(description="GPUs that tasks may use: a share, or a number.")] = field(
        default="100%", name="GPU"
    )


class Env(Struct, frozen=True, kw_only=True, rename="pascal"):
    allow_list: Annotated[
        tuple[str, ...], Meta(description="Patterns of the node's environment variables that a task may ask for.")
    ] = ()


class NodeMetrics(Struct, frozen=True, kw_only=True, rename="pascal"):
    address: Annotated[str, Meta(description="The host:port of the node's metrics for Prometheus; empty is none.")] = ""


class Compute(Struct, frozen=True, kw_only=True, rename="pascal"):
    enabled: Annotated[bool, Meta(description="Whether `tarpon serve` runs a compute node.")] = False
    orchestrators: Annotated[
        tuple[str, ...],
        Meta(
            description="Where the node finds its orchestrators; empty: where its join token says, or else on this"
            " machine, at nats://127.0.0.1:4222."
        ),
    ] = ()
    auth: Auth = Auth()
    tls: ComputeTls = field(default=ComputeTls(), name="TLS")
    heartbeat: HeartbeatSettings = HeartbeatSettings()
    allocated_capacity: AllocatedCapacity = AllocatedCapacity()
    queue_capacity: Annotated[int, Meta(ge=0, description="How many executions may wait on the node.")] = 256
    drain_timeout: Annotated[
        Duration, Meta(description="How long running tasks may go on when the node is told to stop (SIGTERM).")
    ] = Duration(10)
    disk_limit: Annotated[
        str, Meta(description="Disk space that a task may fill if its job names none, such as 10GB; 0 is no limit.")
    ] = "10GB"
    allow_listed_local_paths: Annotated[
        tuple[str, ...],
        Meta(
            description="Files and folders of the node that tasks may read as inputs of kind localDirectory: whole"
            " paths, or patterns such as /data/**. docs/inputs.md says what to look out for."
        ),
    ] = ()
    env: Env = Env()
    inputs: InputSettings = InputSettings()
    metrics: NodeMetrics = NodeMetrics()


class ProcessSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    enabled: Annotated[bool, Meta(description="Whether jobs may run commands on the node without a container.")] = False
    pids_limit: Annotated[int, Meta(ge=1, description="How many processes and threads a task may have at once.")] = 1024
    sandbox: Annotated[
        str,
        Meta(
            pattern=f"^({REQUIRE}|{OFF})$",
            description="Whether bubblewrap keeps tasks in their place: `require`, and where that does not work the"
            " engine is not offered; or `off`, with which a task has all rights of the node.",
        ),
    ] = REQUIRE
    read_only_paths: Annotated[
        tuple[str, ...],
        Meta(
            description="Further files and folders of the node that such tasks can read, beside its programs in /usr,"
            " /bin, /lib and /opt."
        ),
    ] = ()

    @property
    def is_sandboxed(self) -> bool:
        return self.sandbox == REQUIRE


class DockerSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    socket: Annotated[
        str,
        Meta(
            pattern=rf"^({AUTO}|(unix://)?(/.*)?)$",
            description="Where the container engine listens: unix:// and a path; empty to use none."
            " `auto` is where `docker` would look: DOCKER_HOST, the current docker context, /var/run/docker.sock.",
        ),
    ] = AUTO
    pids_limit: Annotated[int, Meta(ge=1, description="How many processes and threads a container may have.")] = 1024
    pull_timeout: Annotated[Duration, Meta(description="How long the pull of an image may take; 0s is no limit.")] = (
        _HOUR
    )
    pull_stall_timeout: Annotated[
        Duration,
        Meta(
            description="How long a pull may stand still before it ends and is tried again, until all of the image is"
            " here and is unpacked; 0s is no limit."
        ),
    ] = Duration(300)
    away_timeout: Annotated[
        Duration,
        Meta(
            description="How long a running task waits for an engine that does not answer, where its container goes on"
            " without it: with Podman, and with Docker's live-restore. Else it waits for 1m at most."
        ),
    ] = Duration(600)
    keep_running: Annotated[
        bool, Meta(description="Whether containers go on when the node stops, and are found again at its next start.")
    ] = True
    bridge_network: Annotated[
        str, Meta(description="The engine's network for tasks that ask for Bridge; operators may make one for them.")
    ] = "bridge"
    metadata_addresses: Annotated[
        bool,
        Meta(
            description="Whether tasks with a network may reach the metadata addresses at which a cloud gives its"
            " machines keys. Else a node that root runs has them dropped for Bridge, and there no Host is offered."
        ),
    ] = False

    @property
    def socket_path(self) -> str:
        return self.socket.removeprefix("unix://")


class WasmSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    module_limit: Annotated[str, Meta(description="How large a WebAssembly module may be.")] = "64MB"
    compile_timeout: Annotated[
        Duration, Meta(description="How long a module may take to compile, which is done once on each node.")
    ] = Duration(60)
    cache_limit: Annotated[
        str, Meta(description="Disk space for compiled modules, of which the longest unused go first.")
    ] = "1GB"


class EngineTypes(Struct, frozen=True, kw_only=True, rename="pascal"):
    docker: DockerSettings = DockerSettings()
    process: ProcessSettings = ProcessSettings()
    wasm: WasmSettings = WasmSettings()


class Engines(Struct, frozen=True, kw_only=True, rename="pascal"):
    disabled: Annotated[tuple[str, ...], Meta(description="Engines that this node does not offer.")] = ()
    types: EngineTypes = EngineTypes()
    plugins: Annotated[
        dict[str, str],
        Meta(
            description="Settings of engines from outside, each by the engine's name and its own, such as"
            " rootfs.images=/srv/images."
        ),
    ] = {}


class S3Managed(Struct, frozen=True, kw_only=True, rename="pascal"):
    bucket: Annotated[str, Meta(description="The bucket for results; it must exist.")] = ""
    key: Annotated[str, Meta(description="What the keys of all results begin with.")] = ""
    region: Annotated[str, Meta(description="The region of the bucket.")] = ""
    endpoint: Annotated[str, Meta(description="The URL of an S3-compatible service; empty means AWS.")] = ""
    public_endpoint: Annotated[
        str, Meta(description="The URL under which nodes and users reach that service, if it is another.")
    ] = ""
    ca_file: Annotated[
        FilePath,
        Meta(description="The authorities, as PEM, of that service, for orchestrators, nodes and clients."),
    ] = field(default=FilePath(), name="CAFile")
    plain_text: Annotated[
        bool,
        Meta(description="Whether that service may be reached by http:// where it is not on loopback."),
    ] = False
    presigned_url_expiration: Annotated[
        Duration, Meta(description="How long a signed URL is valid; more than zero and at most 168h.")
    ] = field(default=_HOUR, name="PreSignedURLExpiration")
    probe_interval: Annotated[
        Duration,
        Meta(
            description="How often the bucket is tried again while it cannot be used, and read from to see that it"
            " answers."
        ),
    ] = Duration(30)
    retention: Annotated[
        Duration,
        Meta(
            description="How long after its job's end a result is deleted, at the latest with the job itself; needs"
            " s3:DeleteObject. 0s: Tarpon deletes none."
        ),
    ] = Duration()
    most_files: Annotated[
        int,
        Meta(description="How many files a result of `Encoding: plain` may have.", ge=1, le=250_000),
    ] = 100_000
    result_records: Annotated[
        bool,
        Meta(
            description="Whether a small signed record is put beside each result, by which `tarpon admin rebuild` finds"
            " it where the state was lost."
        ),
    ] = True


class PublisherTypes(Struct, frozen=True, kw_only=True, rename="pascal"):
    s3managed: S3Managed = field(default=S3Managed(), name="S3Managed")


class Archive(Struct, frozen=True, kw_only=True, rename="pascal"):
    threads: Annotated[
        int, Meta(ge=0, le=256, description="How many threads compress results; 0 is one for each CPU of the node.")
    ] = 0
    level: Annotated[
        int, Meta(ge=0, le=3, description="How hard results are compressed: 0 is the fastest, 3 the smallest.")
    ] = 2
    size_limit: Annotated[str, Meta(description="How large the packed result of one execution may be.")] = "1TB"


class Publishers(Struct, frozen=True, kw_only=True, rename="pascal"):
    disabled: Annotated[tuple[str, ...], Meta(description="Publishers that this node does not offer.")] = ()
    publish_timeout: Annotated[
        Duration,
        Meta(description="How long a result may be on its way to the bucket, also on a silent node."),
    ] = Duration(7200)
    provenance: Annotated[
        bool,
        Meta(
            description="Whether nodes sign how each result was made, which is kept beside it and looked at when it is"
            " reported. The orchestrator's."
        ),
    ] = True
    archive: Archive = Archive()
    types: PublisherTypes = PublisherTypes()


class DefaultResources(Struct, frozen=True, kw_only=True, rename="pascal"):
    cpu: Annotated[str, Meta(description="CPU of a task that names none.")] = field(default="500m", name="CPU")
    memory: Annotated[str, Meta(description="Memory of a task that names none.")] = "512Mb"
    disk: Annotated[str, Meta(description="Disk space of a task that names none.")] = ""
    gpu: Annotated[str, Meta(description="GPUs of a task that names none.")] = field(default="", name="GPU")


class DefaultPublisherParams(Struct, frozen=True, kw_only=True, rename="pascal"):
    hard_links: Annotated[
        HardLinks,
        Meta(
            description="What a result has for the further names of a file: `keep` is hard links, `copy` files with the"
            " same content, for readers that know no hard links, such as Bacalhau's client. For tasks that do not say."
        ),
    ] = "keep"


class DefaultPublisher(Struct, frozen=True, kw_only=True, rename="pascal"):
    type: Annotated[str, Meta(description="Publisher of a task that names none.")] = ""
    params: DefaultPublisherParams = DefaultPublisherParams()


class DefaultNetwork(Struct, frozen=True, kw_only=True, rename="pascal"):
    type: Annotated[
        str,
        Meta(
            description="Network of a container whose task names none: Bridge, Host, None; empty is None and a warning."
        ),
    ] = ""


class DefaultTimeouts(Struct, frozen=True, kw_only=True, rename="pascal"):
    execution_timeout: Annotated[
        Duration, Meta(description="How long an execution may take if the task does not say; 0s is no limit.")
    ] = Duration()
    total_timeout: Annotated[
        Duration,
        Meta(description="How long one run may take where no ExecutionTimeout says; 0s is no limit."),
    ] = Duration()


class TaskDefaults(Struct, frozen=True, kw_only=True, rename="pascal"):
    resources: DefaultResources = DefaultResources()
    publisher: DefaultPublisher = DefaultPublisher()
    network: DefaultNetwork = DefaultNetwork()
    timeouts: DefaultTimeouts = DefaultTimeouts()


class BatchDefaults(Struct, frozen=True, kw_only=True, rename="pascal"):
    priority: Annotated[int, Meta(description="Priority of a job that names none.")] = 0
    task: TaskDefaults = TaskDefaults()


class JobDefaults(Struct, frozen=True, kw_only=True, rename="pascal"):
    batch: BatchDefaults = BatchDefaults()


class Logging(Struct, frozen=True, kw_only=True, rename="pascal"):
    level: Annotated[LogLevel, Meta(description="The least important messages to log.")] = "info"
    mode: Annotated[LogMode, Meta(description="How log lines look.")] = "default"


class TracingSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    endpoint: Annotated[
        str,
        Meta(description="The OpenTelemetry collector that gets traces by OTLP over HTTP; empty is none."),
    ] = ""


class Config(Struct, frozen=True, kw_only=True, rename="pascal"):
    """All settings of one process, complete and checked when they come from shared/settings/loading.py."""

    data_dir: Annotated[Path, Meta(description="Where this process keeps what must outlive it.")] = Path("~/.tarpon")
    labels: Annotated[
        dict[str, str],
        Meta(description="Labels of this node, which jobs can ask for beside name, os_type and os_arch."),
    ] = {}
    name_provider: Annotated[
        str,
        Meta(
            description="The node's name: host (the host's and some letters, which stay), hostname, uuid,"
            " puuid (a uuid that stays), or the name itself."
        ),
    ] = "host"
    api: ApiSettings = field(default=ApiSettings(), name="API")
    orchestrator: Orchestrator = Orchestrator()
    compute: Compute = Compute()
    engines: Engines = Engines()
    publishers: Publishers = Publishers()
    input_sources: InputSources = InputSources()
    job_defaults: JobDefaults = JobDefaults()
    logging: Logging = Logging()
    tracing: TracingSettings = TracingSettings()
