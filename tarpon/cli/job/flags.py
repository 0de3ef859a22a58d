"""Flags of `tarpon docker run` and `tarpon exec`, which become a job."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import click
import msgspec

from shared.errors import InvalidDuration
from shared.jobs.durations import parse_duration
from shared.jobs.label_selectors import conditions
from shared.jobs.not_supported import inputs_problem, network_problems, publisher_problem
from shared.jobs.rules import BATCH, PUBLISHERS
from shared.jobs.spec import OPS, InputSource, Job, Network, Resources, ResultPath, SpecConfig, Task, Timeouts
from tarpon.cli.job.input_flags import LocalInput, input_option, read_inputs

FORMS = ("table", "json", "yaml")
"""What `--output` means where it is no NAME:PATH."""
NETWORKS = ("Default", "None", "Host", "HTTP", "Bridge", "Full")


class JobFlags(msgspec.Struct, frozen=True, kw_only=True):
    """What was given, as it was written."""

    name: str = ""
    namespace: str = ""
    priority: int = 0
    labels: tuple[str, ...] = ()
    count: int | None = None
    target: str = "any"
    constraints: tuple[str, ...] = ()
    task_name: str = "main"
    env: tuple[str, ...] = ()
    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    publisher: str = ""
    cpu: str = ""
    memory: str = ""
    disk: str = ""
    gpu: str = ""
    network: str | None = None
    domain: tuple[str, ...] = ()
    timeout: str = ""
    queue_timeout: str = ""
    reproducible: bool = False

    @property
    def form(self) -> str:
        """In which form the user wants to hear of the run."""
        return next((text for text in reversed(self.output) if text in FORMS), FORMS[0])


_OPTIONS = (
    click.option("--name", default="", help="The job's name; the same name is the same job, in a new version."),
    click.option("--namespace", default="", help="The job's namespace."),
    click.option("--priority", default=0, help="Jobs with a higher one are started first."),
    click.option("-l", "--labels", multiple=True, metavar="NAME=VALUE", help="A label of the job."),
    click.option("--count", type=int, help="How many parts the job has; 1 without it."),
    click.option("--target", default="any", metavar="any|all", help="On any nodes that fit, or on each once (ops)."),
    click.option("--constraints", multiple=True, metavar="SELECTOR", help="What nodes must have, such as zone=a,gpu."),
    click.option("--task-name", default="main", show_default=True, help="The task's name."),
    click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="An environment variable of the task."),
    input_option("-i", "--input"),
    click.option(
        "-o",
        "--output",
        multiple=True,
        metavar="NAME:PATH|json|yaml",
        help="A folder of the task to publish, as NAME. Or the form in which the run is told on stdout.",
    ),
    click.option("-p", "--publisher", default="", metavar="s3managed", help="What publishes the results."),
    click.option("--cpu", default="", metavar="CORES", help="Such as 2 or 500m."),
    click.option("--memory", default="", metavar="SIZE", help="Such as 512Mb or 4Gi."),
    click.option("--disk", default="", metavar="SIZE", help="Such as 10Gb."),
    click.option("--gpu", default="", metavar="COUNT", help="Such as 1."),
    click.option("--network", type=click.Choice(NETWORKS, case_sensitive=False), help="The task's access to networks."),
    click.option("--domain", multiple=True, metavar="NAME", help="Not supported yet."),
    click.option("--timeout", default="", metavar="TIME", help="Of the job in all: seconds, or such as 1h30m."),
    click.option("--queue-timeout", default="", metavar="TIME", help="How long it may wait for a node."),
    click.option(
        "--reproducible", is_flag=True, help="Give the task the same host name, locale, time zone and umask everywhere."
    ),
)


def job_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these flags; its function gets them as `flags`."""

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        flags = JobFlags(**{name: values.pop(name) for name in JobFlags.__struct_fields__})
        return function(flags=flags, **values)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def job_of(flags: JobFlags, engine: SpecConfig) -> Job:
    """Raise click.UsageError, which names the flag, or InvalidInput."""
    sources, _ = inputs_of("-i", flags.input)
    _refuse_unsupported(flags, sources)
    is_ops = flags.target == "all"
    task = Task(
        name=flags.task_name,
        engine=engine,
        publisher=_publisher(flags.publisher),
        env=_assignments("-e", flags.env),
        input_sources=sources,
        result_paths=tuple(_result_path(text) for text in flags.output if text not in FORMS),
        resources=Resources(cpu=flags.cpu, memory=flags.memory, disk=flags.disk, gpu=flags.gpu),
        network=Network(type=flags.network or ""),
        timeouts=Timeouts(
            total_timeout=_seconds("--timeout", flags.timeout),
            queue_timeout=_seconds("--queue-timeout", flags.queue_timeout),
        ),
        reproducible=flags.reproducible,
    )
    return Job(
        name=flags.name,
        namespace=flags.namespace,
        type=OPS if is_ops else BATCH,
        priority=flags.priority,
        count=1 if flags.count is None and not is_ops else flags.count,
        constraints=conditions(flags.constraints),
        labels=_assignments("-l", flags.labels),
        tasks=(task,),
    )


def inputs_of(flag: str, texts: Iterable[str]) -> tuple[tuple[InputSource, ...], tuple[LocalInput, ...]]:
    """What the task reads, and what has to be sent for that. Raise click.UsageError, which names the flag."""
    try:
        return read_inputs(texts)
    except ValueError as error:
        raise _bad(flag, str(error)) from error


def with_inputs(job: Job, sources: tuple[InputSource, ...]) -> Job:
    """The job, whose task reads these too."""
    if not sources:
        return job
    task = msgspec.structs.replace(job.task, input_sources=(*job.task.input_sources, *sources))
    return msgspec.structs.replace(job, tasks=(task,))


def _refuse_unsupported(flags: JobFlags, inputs: tuple[InputSource, ...]) -> None:
    if known := inputs_problem(inputs, bridge="--network Bridge"):
        raise click.UsageError(f"-i: {known}")
    for known in network_problems(Network(type=flags.network or "", domains=flags.domain)):
        raise click.UsageError(f"--network{known}")
    if flags.target not in {"any", "all"}:
        raise _bad("--target", f"{flags.target!r} is not a target; there are `any` and `all`.")
    if flags.target == "all" and flags.count not in {None, 1}:
        raise _bad("--count", "With --target all the job runs once on each node, and has no count.")


def _publisher(text: str) -> SpecConfig:
    name, _, rest = text.partition(",")
    bucket = text.partition("://")[2].partition("/")[0].partition(",")[0]
    named = SpecConfig(type=_scheme(name), params={"Bucket": bucket})
    if known := publisher_problem(named, instead="-p s3managed"):
        raise _bad("-p", known)
    if name.lower() not in PUBLISHERS:
        raise _bad("-p", f"{text[:80]!r} is not a publisher; there is s3managed, whose bucket the orchestrator knows.")
    if rest:
        raise _bad("-p", f"{name} takes no parameters; its bucket is a setting of the orchestrator.")
    return SpecConfig(type=name)


def _scheme(text: str) -> str:
    """What stands before a colon or a comma, as in s3://bucket/key."""
    return text.partition(":")[0].partition(",")[0]


def _result_path(text: str) -> ResultPath:
    name, colon, path = text.partition(":")
    if not (name and colon and path):
        raise _bad("-o", f"{text[:80]!r} is not NAME:PATH, such as outputs:/outputs.")
    return ResultPath(name=name, path=path)


def _assignments(flag: str, texts: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            advice = f' From your own environment: -e {name}="${name}".' if flag == "-e" and name.isidentifier() else ""
            raise _bad(flag, f"{text[:80]!r} is not NAME=VALUE.{advice}")
        found[name] = value
    return found


def _seconds(flag: str, text: str) -> int:
    """Whole seconds, rounded up, because 0 would be none at all."""
    try:
        return int(text or 0) if text.isdecimal() or not text else -int(-parse_duration(text) // 1)
    except InvalidDuration as error:
        raise _bad(flag, f"{error.message} {error.hint}") from error


def _bad(flag: str, message: str) -> click.BadParameter:
    return click.BadParameter(message, ctx=click.get_current_context(silent=True), param_hint=flag)
