"""Rules of jobs: how one is brought into its normal form, and what makes one invalid.

Both are pure. `problems` finds everything that is wrong with a normalised job, so that its author sees it at once.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from shared.data.decoding import advised
from shared.errors import InvalidDuration, InvalidJob, InvalidQuantity, PayloadTooLarge
from shared.ids import is_safe_id
from shared.jobs import not_supported, publisher_params
from shared.jobs.capacity import Capacity
from shared.jobs.constraints import COMPARES, NEEDS_NO_VALUE, NEEDS_ONE_VALUE, NEEDS_VALUES, OPERATORS, is_number
from shared.jobs.durations import parse_duration
from shared.jobs.engine_params import as_meant, kind_of, look, misspelt
from shared.jobs.inputs.rules import inputs_problems, normalised_input, undivided_problems
from shared.jobs.modules import modules_problems, normalised_targets
from shared.jobs.needs import needs_problems, normalised_needs
from shared.jobs.paths import parts_of, path_problem
from shared.jobs.quantities import parse_bytes, parse_cpu, parse_gpu
from shared.jobs.replicas.verification import normalised_verification, verification_problems
from shared.jobs.schedules import normalised_schedule, schedule_problems
from shared.jobs.secrets import secrets_problems, uses_secrets
from shared.jobs.spec import OPS, Constraint, Job, Network, Resources, ResultPath, Retries, SpecConfig, Task, Timeouts

MAX_JOB_BYTES = 256 * 1024
"""Of a job in its normal form: one message carries it to a node, together with what belongs to it."""
MAX_COUNT = 10_000
MAX_NAME = 255
MAX_LABELS = 256
MAX_SECONDS = 365 * 86400
MAX_RETRIES = 100
MAX_BACK_OFF_SECONDS = 86400.0
MAX_EXIT_CODE = 255
MAX_QUANTITY = 64
"""How many characters a quantity may have; what was found out about one is remembered."""

MANAGED = publisher_params.MANAGED
UNSAID_NETWORKS = frozenset({"", "default"})
"""With these a setting of the orchestrator decides, or else the engine."""
NO_NETWORK = "none"
NETWORKS = UNSAID_NETWORKS | {NO_NETWORK, "host", "full", "bridge"}
"""Host and full are the same."""

FAIL = "fail"
ON_UNREADABLE = frozenset({"", "warn", FAIL})

BATCH = "batch"
"""The type of a job that names none: so many parts as its Count says, wherever there is room."""
NOOP_PUBLISHER = "noop"
NO_PUBLISHERS = frozenset({"", NOOP_PUBLISHER})
PUBLISHERS = NO_PUBLISHERS | {MANAGED}

_RESERVED_NAMES = frozenset({"stdout", "stderr", "exitcode"})
_RESULT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_RESERVED_ENV = ("BACALHAU_", "TARPON_")


def normalised(job: Job) -> Job:
    """The job with blanks removed, a namespace, type and count, and names in the spelling by which they compare."""
    kind = job.type.strip() or BATCH
    return replace(
        job,
        name=job.name.strip(),
        namespace=job.namespace.strip() or "default",
        type=kind,
        count=_normalised_count(kind, job.count),
        max_parallel=job.max_parallel or msgspec.UNSET,
        needs=normalised_needs(job) if job.needs else msgspec.UNSET,
        schedule=msgspec.UNSET if job.schedule is msgspec.UNSET else normalised_schedule(job.schedule),
        verification=normalised_verification(job.verification) if job.verification else msgspec.UNSET,
        tasks=tuple(_normalised_task(task) for task in job.tasks[:1]),
    )


def _normalised_count(kind: str, count: int | None) -> int:
    """How many parts an ops job has, its nodes decide: 1 is taken for none, as in the reference."""
    if kind == OPS and count in {None, 1}:
        return 0
    return 1 if count is None else count


def _normalised_task(given: Task) -> Task:
    task = normalised_targets(given)
    return replace(
        task,
        name=task.name.strip(),
        engine=_normalised_engine(task.engine),
        publisher=_normalised_publisher(task.publisher),
        on_unreadable=task.on_unreadable.strip().lower(),
        resources=_normalised_resources(task.resources),
        retries=_normalised_retries(task.retries),
        input_sources=tuple(map(normalised_input, task.input_sources)),
    )


def _normalised_retries(retries: Retries) -> Retries:
    if retries == Retries():
        return retries
    return replace(retries, on_exit_codes=tuple(sorted(set(retries.on_exit_codes))), back_off=retries.back_off.strip())


def _normalised_engine(engine: SpecConfig) -> SpecConfig:
    return replace(engine, type=engine.type.strip(), params=look(engine).params)


def _normalised_publisher(publisher: SpecConfig) -> SpecConfig:
    return replace(publisher, type=publisher.type.strip(), params=publisher_params.look(publisher).params)


def _normalised_resources(resources: Resources) -> Resources:
    """Amounts that are none stay as they were typed, for whoever is told so."""
    given = f"{resources.cpu}{resources.memory}{resources.disk}{resources.gpu}"
    if given == plain_amount(given) or any(_found_in(resources)):
        return resources
    return Resources(
        cpu=plain_amount(resources.cpu),
        memory=plain_amount(resources.memory),
        disk=plain_amount(resources.disk),
        gpu=plain_amount(resources.gpu),
    )


def plain_amount(text: str) -> str:
    """A quantity in the spelling in which it is compared."""
    return text.lower().replace(" ", "")


def check(job: Job) -> None:
    """Raise InvalidJob with every problem of a normalised job, or PayloadTooLarge."""
    try:
        size = len(msgspec.json.encode(job))
    except UnicodeEncodeError:
        raise InvalidJob(["It contains a character that is half of a surrogate pair, which no text may."]) from None
    if size > MAX_JOB_BYTES:
        raise PayloadTooLarge("The job", size, MAX_JOB_BYTES)
    found = tuple(problems(job))
    if found:
        raise InvalidJob(found)


def problems(job: Job) -> Iterator[str]:
    """Each in a sentence that begins with the path of what is wrong."""
    yield from _job_problems(job)
    if job.needs:
        yield from needs_problems(job)
    if job.schedule:
        yield from schedule_problems(job)
    if job.verification:
        yield from verification_problems(job)
    for number, constraint in enumerate(job.constraints):
        yield from _constraint_problems(constraint, f"Constraints[{number}]")
    if not job.tasks:
        yield "Tasks is empty; a job needs one task."
    for task in job.tasks:
        yield from _task_problems(task)
        if job.type == OPS:
            yield from undivided_problems(task)


def _job_problems(job: Job) -> Iterator[str]:
    if len(job.name) > MAX_NAME or not job.name.isprintable():
        yield f"Name may have at most {MAX_NAME} printable characters."
    if not is_safe_id(job.namespace):
        yield f"Namespace {job.namespace[:80]!r} may have 1 to 64 characters out of A-Z a-z 0-9 _ and -."
    if known := not_supported.type_problem(job.type):
        yield f"Type {known}"
    elif job.type not in {BATCH, OPS}:
        yield f"Type {job.type[:80]!r} is not a type of job; write `Type: batch`, or `Type: ops` to run on each node."
    if job.type == OPS and job.count:
        yield f"Count is {job.count}; an ops job has none: it runs once on each node that fulfils its Constraints."
    elif job.type != OPS and job.count is not None and not 1 <= job.count <= MAX_COUNT:
        yield f"Count is {job.count}; it must be between 1 and {MAX_COUNT:,}."
    if job.max_parallel and not 1 <= job.max_parallel <= MAX_COUNT:
        yield f"MaxParallel is {job.max_parallel}; it must be between 1 and {MAX_COUNT:,}, or 0 for no limit."
    for what, entries in (("Labels", job.labels), ("Meta", job.meta)):
        if len(entries) > MAX_LABELS:
            yield f"{what} has {len(entries):,} entries; at most {MAX_LABELS} are possible."


def _constraint_problems(constraint: Constraint, path: str) -> Iterator[str]:
    operator, values = constraint.operator.lower(), len(constraint.values)
    where = f"{path} on {constraint.key[:80]!r}"
    if not constraint.key:
        yield f"{path} has no Key."
    if operator not in OPERATORS:
        advice = advised(operator, OPERATORS, f"there are {', '.join(sorted(OPERATORS))}.")
        yield f"{where}: {constraint.operator[:20]!r} is not an operator; {advice}"
    elif operator in NEEDS_NO_VALUE and values:
        yield f"{where}: {operator} takes no Values."
    elif operator in NEEDS_ONE_VALUE and values != 1:
        yield f"{where}: {operator} takes exactly one of Values."
    elif operator in COMPARES and not is_number(constraint.values[0]):
        yield f"{where}: {operator} takes a number, and {constraint.values[0][:80]!r} is none."
    elif operator in NEEDS_VALUES and not values:
        yield f"{where}: {operator} needs at least one of Values."


def _task_problems(task: Task) -> Iterator[str]:
    if not task.name:
        yield "Tasks[0].Name is missing."
    if not task.engine.type:
        yield "Tasks[0].Engine.Type is missing."
    for problem in look(as_meant(task.engine)).problems:
        yield f"Tasks[0].{problem}"
    if meant := misspelt(task.engine):
        yield f"Tasks[0].Engine.Type {task.engine.type[:80]!r} is not an engine; did you mean {meant}?"
    yield from _publisher_problems(task.publisher)
    for problem in publisher_params.look(task.publisher).problems:
        yield f"Tasks[0].{problem}"
    if task.result_paths and not task.publisher.type:
        yield "Tasks[0].ResultPaths needs a publisher to publish them; write `Publisher: {Type: s3managed}`."
    if task.on_unreadable not in ON_UNREADABLE:
        yield f"Tasks[0].OnUnreadable {task.on_unreadable[:80]!r} is neither warn nor fail."
    yield from _env_problems(task.env)
    if uses_secrets(task):
        yield from secrets_problems(task)
    yield from _network_problems(task.network)
    yield from _timeout_problems(task.timeouts)
    if task.retries != Retries():
        yield from _retry_problems(task)
    yield from _resource_problems(task.resources)
    if known := not_supported.inputs_problem(task.input_sources):
        yield f"Tasks[0].InputSources: {known}"
    elif task.input_sources:
        yield from inputs_problems(task)
    yield from modules_problems(task)
    yield from _result_path_problems(task.result_paths)


def _publisher_problems(publisher: SpecConfig) -> Iterator[str]:
    if known := not_supported.publisher_problem(publisher):
        yield f"Tasks[0].Publisher.Type {known}"
    elif publisher.type.lower() not in PUBLISHERS:
        advice = advised(publisher.type, (MANAGED, "noop"), "there are s3managed and noop.")
        yield f"Tasks[0].Publisher.Type {publisher.type[:80]!r} is not a publisher; {advice}"


def _env_problems(env: dict[str, str]) -> Iterator[str]:
    for name, value in env.items():
        if not _ENV_NAME.match(name):
            yield f"Tasks[0].Env: {name[:80]!r} is not the name of an environment variable."
        elif name.upper().startswith(_RESERVED_ENV):
            yield f"Tasks[0].Env: {name[:80]} begins with a reserved prefix ({' or '.join(_RESERVED_ENV)})."
        elif "\0" in value:
            yield f"Tasks[0].Env: the value of {name[:80]} contains a NUL character."


def _network_problems(network: Network) -> Iterator[str]:
    for known in not_supported.network_problems(network):
        yield f"Tasks[0].Network{known}"
    if network.type.lower() not in {*NETWORKS, "http"}:
        advice = advised(network.type, ("None", "Host", "Bridge"), "there are None, Host and Bridge.")
        yield f"Tasks[0].Network.Type {network.type[:80]!r} is not a kind of network; {advice}"


def _timeout_problems(timeouts: Timeouts) -> Iterator[str]:
    for name, value in (
        ("ExecutionTimeout", timeouts.execution_timeout),
        ("QueueTimeout", timeouts.queue_timeout),
        ("TotalTimeout", timeouts.total_timeout),
    ):
        if not 0 <= value <= MAX_SECONDS:
            yield f"Tasks[0].Timeouts.{name} is {value}; it must be between 0 (none) and {MAX_SECONDS:,} seconds."
    if 0 < timeouts.total_timeout < timeouts.execution_timeout + timeouts.queue_timeout:
        yield (
            f"Tasks[0].Timeouts: ExecutionTimeout ({timeouts.execution_timeout}) and QueueTimeout"
            f" ({timeouts.queue_timeout}) together exceed TotalTimeout ({timeouts.total_timeout})."
        )


def _retry_problems(task: Task) -> Iterator[str]:
    retries = task.retries
    if not task.fail_on_exit_code:
        yield "Tasks[0].Retries are for tasks that fail by their exit code; write `FailOnExitCode: true` beside them."
    if not 1 <= retries.max <= MAX_RETRIES:
        yield f"Tasks[0].Retries.Max is {retries.max}; it must be between 1 and {MAX_RETRIES}."
    if any(not 1 <= code <= MAX_EXIT_CODE for code in retries.on_exit_codes):
        yield f"Tasks[0].Retries.OnExitCodes may have codes from 1 to {MAX_EXIT_CODE} alone."
    try:
        seconds = parse_duration(retries.back_off or "0")
    except InvalidDuration as error:
        yield f"Tasks[0].Retries.BackOff: {error.message} {error.hint}"
    else:
        if not 0 <= seconds <= MAX_BACK_OFF_SECONDS:
            yield f"Tasks[0].Retries.BackOff is {retries.back_off[:80]}; it must be between 0s and 24h."


def _resource_problems(resources: Resources) -> tuple[str, ...]:
    size = len(resources.cpu) + len(resources.memory) + len(resources.disk) + len(resources.gpu)
    return _known_problems(resources) if size <= MAX_QUANTITY else tuple(_found_in(resources))


@lru_cache(maxsize=4096)
def _known_problems(resources: Resources) -> tuple[str, ...]:
    """Remembered, because most jobs ask for what others asked for."""
    return tuple(_found_in(resources))


def _found_in(resources: Resources) -> Iterator[str]:
    parsers: tuple[tuple[str, str, Callable[[str], float]], ...] = (
        ("CPU", resources.cpu, parse_cpu),
        ("Memory", resources.memory, parse_bytes),
        ("Disk", resources.disk, parse_bytes),
        ("GPU", resources.gpu, parse_gpu),
    )
    for name, text, parse in parsers:
        if len(text) > MAX_QUANTITY:
            yield f"Tasks[0].Resources.{name} has {len(text):,} characters; at most {MAX_QUANTITY} are possible."
            continue
        try:
            if text:
                parse(text)
        except InvalidQuantity as error:
            yield f"Tasks[0].Resources.{name}: {error.message} {error.hint}"


def _result_path_problems(paths: tuple[ResultPath, ...]) -> Iterator[str]:
    names: set[str] = set()
    folders: set[tuple[str, ...]] = set()
    for number, each in enumerate(paths):
        where = f"Tasks[0].ResultPaths[{number}]"
        name, path = f"{where}.Name {each.name[:80]!r}", f"{where}.Path {each.path[:80]!r}"
        if not _RESULT_NAME.match(each.name):
            yield f"{name} may have letters, digits, _ - and inner dots alone."
        if each.name.lower() in _RESERVED_NAMES:
            yield f"{name} is one of those that Tarpon itself writes."
        parts = parts_of(each.path)
        if problem := path_problem(each.path):
            yield f"{path} {problem}"
        if each.name.lower() in names:
            yield f"{name} is there twice."
        if parts in folders:
            yield f"{path} is there twice."
        names.add(each.name.lower())
        folders.add(parts)


@lru_cache(maxsize=4096)
def capacity_of(resources: Resources) -> Capacity:
    """What one execution reserves. Raises InvalidQuantity for text that `problems` would have found."""
    return Capacity(
        cpu=parse_cpu(resources.cpu) if resources.cpu else 0.0,
        memory=parse_bytes(resources.memory) if resources.memory else 0,
        disk=parse_bytes(resources.disk) if resources.disk else 0,
        gpu=parse_gpu(resources.gpu) if resources.gpu else 0,
    )


def unsaid(job: Job) -> Iterator[str]:
    """Warnings about what a normalised job leaves open, and its author may take for something else than it is."""
    for task in job.tasks:
        if task.result_paths and task.publisher.type.lower() == NOOP_PUBLISHER:
            yield "Tasks[0].ResultPaths are not published, because Tasks[0].Publisher.Type is noop."
        kind = kind_of(task.engine)
        if kind is not None and kind.in_containers and task.network.type.lower() in UNSAID_NETWORKS:
            yield (
                "The container has no network, because the job names none (Tasks[0].Network.Type): Bridge gives it one,"
                " and None says that it needs none."
            )


def dropped(job: Job) -> tuple[str, ...]:
    """Warnings about what normalising leaves out."""
    if len(job.tasks) > 1:
        return (f"The job has {len(job.tasks)} tasks; only the first is run.",)
    return ()
