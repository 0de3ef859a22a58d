"""Checks of settings: values that make no sense although their type is right."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, urlsplit

from shared.data.addresses import allowed_networks
from shared.errors import InvalidInput
from shared.ids import is_safe_id
from shared.jobs.durations import parse_duration
from shared.jobs.quantities import parse_bytes, parse_cpu, parse_gpu, share_or_amount
from shared.protocol.nats_address import parse_nats_address
from shared.settings.api_limits import limit_problems
from shared.settings.config import Auth, Config, JobDefaults, TaskDefaults
from shared.settings.input_sources import input_problems
from shared.settings.inputs import InputSettings
from shared.settings.local_paths import local_path_problems
from shared.settings.schedules import schedule_settings_problems
from shared.settings.sign_in import sign_in_problems
from shared.settings.tls.checks import tls_problems
from shared.settings.webhooks import webhook_problems

_CLOUD_NAMES = {"aws", "gcp"}
_KERNEL_FOLDERS = {"proc", "dev", "sys"}


def setting_problems(config: Config) -> Iterator[str]:
    """Everything wrong with settings of any role; each problem begins with the key."""
    yield from _node(config)
    yield from _durations(config)
    yield from _secrets("Orchestrator.Auth", config.orchestrator.auth)
    yield from _secrets("Compute.Auth", config.compute.auth)
    yield from _addresses("Orchestrator.NATS.Servers", config.orchestrator.nats.servers)
    yield from _addresses("Compute.Orchestrators", config.compute.orchestrators)
    yield from tls_problems(config)
    yield from sign_in_problems(config.api.auth.oauth2, anonymous=config.api.auth.anonymous)
    yield from limit_problems(config.api.limits, config.api.trusted_proxies)
    yield from _advertise(config.orchestrator.advertise)
    yield from _metrics(config.compute.metrics.address)
    yield from _collector(config.tracing.endpoint)
    yield from _amounts(config)
    yield from input_problems(config.input_sources)
    yield from webhook_problems(config.orchestrator.webhooks)
    yield from schedule_settings_problems(config.orchestrator.schedules)
    yield from _inputs(config.compute.inputs)
    yield from local_path_problems(config.compute.allow_listed_local_paths)
    yield from _read_only_paths(config.engines.types.process.read_only_paths, config.data_dir)
    if config.job_defaults != JobDefaults():
        yield from _job_defaults(config.job_defaults.batch.task)


def _node(config: Config) -> Iterator[str]:
    text = str(config.data_dir)
    if "$" in text or not config.data_dir.is_absolute():
        yield f"DataDir: {text!r} is not an absolute path; variables such as $HOME are not replaced here"
    name = config.name_provider
    if name.lower() in _CLOUD_NAMES:
        yield f"NameProvider: {name} is not supported; use host, hostname, uuid, puuid, or the name itself"
    elif not is_safe_id(name):
        yield f"NameProvider: {name[:80]!r} cannot name a node; use 1 to 64 characters out of A-Z a-z 0-9 _ and -"
    if "" in config.labels:
        yield "Labels: a label has no name"


def _advertise(text: str) -> Iterator[str]:
    """`host`, `host:port` or `[address]:port`."""
    parts = _split(f"//{text}")
    if text and (not parts.hostname or parts.netloc != text or "@" in text or not _has_good_port(parts)):
        yield f"Orchestrator.Advertise: {text[:80]!r} is not a host, or a host and port, such as example.com:4222"


def _metrics(text: str) -> Iterator[str]:
    """`host:port` or `[address]:port`."""
    parts = _split(f"//{text}")
    try:
        is_whole = bool(parts.hostname and parts.port) and parts.netloc == text and "@" not in text
    except ValueError:
        is_whole = False
    if text and not is_whole:
        yield f"Compute.Metrics.Address: {text[:80]!r} is not a host and port, such as 127.0.0.1:9464"


def _collector(text: str) -> Iterator[str]:
    parts = _split(text)
    if text and "@" in parts.netloc:  # not shown, because what stands before the @ is a secret
        yield "Tracing.Endpoint holds a password; give it in OTEL_EXPORTER_OTLP_HEADERS instead"
    elif text and (parts.scheme not in {"http", "https"} or not parts.hostname or not _has_good_port(parts)):
        yield f"Tracing.Endpoint: {text[:80]!r} is not a URL such as http://127.0.0.1:4318"


def _durations(config: Config) -> Iterator[str]:
    positive = {
        "Orchestrator.NodeManager.DisconnectTimeout": config.orchestrator.node_manager.disconnect_timeout,
        "Orchestrator.NodeManager.AnswerTimeout": config.orchestrator.node_manager.answer_timeout,
        "Orchestrator.NodeManager.StartTimeout": config.orchestrator.node_manager.start_timeout,
        "Orchestrator.Scheduler.Backoff.Floor": config.orchestrator.scheduler.backoff.floor,
        "Compute.Heartbeat.Interval": config.compute.heartbeat.interval,
        "Engines.Types.Wasm.CompileTimeout": config.engines.types.wasm.compile_timeout,
        "Publishers.PublishTimeout": config.publishers.publish_timeout,
        "Publishers.Types.S3Managed.ProbeInterval": config.publishers.types.s3managed.probe_interval,
    }
    for key, value in positive.items():
        if value <= 0:
            yield f"{key} must be greater than zero"
    backoff = config.orchestrator.scheduler.backoff
    if backoff.ceiling < backoff.floor:
        yield f"Orchestrator.Scheduler.Backoff.Ceiling must not be less than its Floor, which is {backoff.floor}"
    for key, value in {
        "Orchestrator.NodeManager.ReturnTimeout": config.orchestrator.node_manager.return_timeout,
        "Engines.Types.Docker.PullTimeout": config.engines.types.docker.pull_timeout,
        "Engines.Types.Docker.PullStallTimeout": config.engines.types.docker.pull_stall_timeout,
        "Engines.Types.Docker.AwayTimeout": config.engines.types.docker.away_timeout,
        "JobDefaults.Batch.Task.Timeouts.ExecutionTimeout": config.job_defaults.batch.task.timeouts.execution_timeout,
        "JobDefaults.Batch.Task.Timeouts.TotalTimeout": config.job_defaults.batch.task.timeouts.total_timeout,
    }.items():
        if value < 0:
            yield f"{key} must not be negative"
    if config.orchestrator.nats.removal_marks < 3:  # NATS counts in seconds
        yield "Orchestrator.NATS.RemovalMarks must be at least 3s"
    for key, text in {
        "Orchestrator.NATS.SyncInterval": config.orchestrator.nats.sync_interval,
        "Orchestrator.Audit.SyncInterval": config.orchestrator.audit.sync_interval,
    }.items():
        if not _is_sync_interval(text):
            yield f"{key} must be always, or a duration greater than zero such as 2s"


def _is_sync_interval(text: str) -> bool:
    try:
        return text == "always" or parse_duration(text) > 0
    except InvalidInput:
        return False


def _secrets(section: str, auth: Auth) -> Iterator[str]:
    if auth.token and auth.token_file:
        yield f"{section}.Token and {section}.TokenFile are both set; keep one of them"


def _addresses(key: str, addresses: tuple[str, ...]) -> Iterator[str]:
    for address in addresses:
        try:
            parse_nats_address(address)
        except InvalidInput as error:
            yield f"{key}: {error.message}"


def _inputs(settings: InputSettings) -> Iterator[str]:
    for entry in settings.allowed_addresses:
        try:
            tuple(allowed_networks((entry,)))
        except ValueError:
            yield (
                f"Compute.Inputs.AllowedAddresses: {entry[:80]!r} is neither an address, nor a network such as"
                " 10.1.0.0/16, nor `private`"
            )


def _read_only_paths(paths: tuple[str, ...], data_dir: Path) -> Iterator[str]:
    key = "Engines.Types.Process.ReadOnlyPaths"
    for text in paths:
        path = PurePosixPath(text)
        if not path.is_absolute() or ".." in path.parts or "\0" in text:
            yield f"{key}: {text[:80]!r} is not the whole path of a file or a folder"
        elif len(path.parts) == 1 or path.parts[1] in _KERNEL_FOLDERS:
            yield f"{key}: {text[:80]!r} would show tasks more than any of them needs; name the folders that they need"
        elif path.is_relative_to(data_dir):
            yield f"{key}: {text[:80]!r} is in the DataDir, where the node's key is"


def _split(text: str) -> SplitResult:
    """With no host, where brackets hold no IPv6 address or are not closed."""
    try:
        return urlsplit(text)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _has_good_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _job_defaults(task: TaskDefaults) -> Iterator[str]:
    """What no job could be completed with."""
    from shared.jobs.not_supported import publisher_problem
    from shared.jobs.rules import MAX_SECONDS, NETWORKS, PUBLISHERS  # most processes have no such settings
    from shared.jobs.spec import SpecConfig

    section = "JobDefaults.Batch.Task"
    publisher = SpecConfig(type=task.publisher.type.strip())
    if known := publisher_problem(publisher, instead="s3managed"):
        yield f"{section}.Publisher.Type: {known}"
    elif publisher.type.lower() not in PUBLISHERS:
        yield f"{section}.Publisher.Type: {publisher.type[:80]!r} is not a publisher; there are s3managed and noop"
    if task.network.type.strip().lower() not in NETWORKS:
        yield f"{section}.Network.Type: {task.network.type[:80]!r} is none of None, Bridge and Host"
    if 0 < task.timeouts.total_timeout < task.timeouts.execution_timeout:
        yield f"{section}.Timeouts.ExecutionTimeout must not be longer than its TotalTimeout"
    for name, seconds in (
        ("ExecutionTimeout", task.timeouts.execution_timeout),
        ("TotalTimeout", task.timeouts.total_timeout),
    ):
        if seconds > MAX_SECONDS:
            yield f"{section}.Timeouts.{name} must not be longer than {MAX_SECONDS // 3600}h"


def _amounts(config: Config) -> Iterator[str]:
    capacity, resources = config.compute.allocated_capacity, config.job_defaults.batch.task.resources
    allocated, asked = "Compute.AllocatedCapacity", "JobDefaults.Batch.Task.Resources"
    yield from _amount(f"{allocated}.CPU", capacity.cpu, lambda text: share_or_amount(text, 1.0, parse_cpu))
    yield from _amount(f"{allocated}.Memory", capacity.memory, lambda text: share_or_amount(text, 1, parse_bytes))
    yield from _amount(f"{allocated}.Disk", capacity.disk, lambda text: share_or_amount(text, 1, parse_bytes))
    yield from _amount(f"{allocated}.GPU", capacity.gpu, lambda text: share_or_amount(text, 1, parse_gpu))
    most, key = config.orchestrator.node_manager.max_capacity, "Orchestrator.NodeManager.MaxCapacity"
    yield from _amount(f"{key}.CPU", most.cpu, parse_cpu)
    yield from _amount(f"{key}.Memory", most.memory, parse_bytes)
    yield from _amount(f"{key}.Disk", most.disk, parse_bytes)
    yield from _amount(f"{key}.GPU", most.gpu, parse_gpu)
    yield from _amount("Compute.DiskLimit", config.compute.disk_limit, parse_bytes)
    wasm = config.engines.types.wasm
    yield from _amount("Engines.Types.Wasm.ModuleLimit", wasm.module_limit, parse_bytes)
    yield from _amount("Engines.Types.Wasm.CacheLimit", wasm.cache_limit, parse_bytes)
    yield from _amount("InputSources.SizeLimit", config.input_sources.size_limit, parse_bytes)
    yield from _amount(
        "Compute.Inputs.URLDownload.SizeLimit", config.compute.inputs.url_download.size_limit, parse_bytes
    )
    kept = config.compute.inputs.cache_size
    yield from _amount("Compute.Inputs.CacheSize", kept, lambda text: share_or_amount(text, 1, parse_bytes))
    yield from _amount(f"{asked}.CPU", resources.cpu or "0", parse_cpu)
    yield from _amount(f"{asked}.Memory", resources.memory or "0", parse_bytes)
    yield from _amount(f"{asked}.Disk", resources.disk or "0", parse_bytes)
    yield from _amount(f"{asked}.GPU", resources.gpu or "0", parse_gpu)
    sent = config.orchestrator.sent_data
    yield from _amount("Orchestrator.SentData.Quota", sent.quota, parse_bytes)
    yield from _amount("Orchestrator.Audit.MaxSize", config.orchestrator.audit.max_size, parse_bytes)
    yield from _amount("Orchestrator.SentData.MaxFileSize", sent.max_file_size, parse_bytes)


def _amount(key: str, text: str, parse: Callable[[str], float]) -> Iterator[str]:
    try:
        parse(text)
    except InvalidInput as error:
        yield f"{key}: {error.message} {error.hint}"
