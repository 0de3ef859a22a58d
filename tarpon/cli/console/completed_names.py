"""Names that a shell completes: jobs and their parts, nodes, settings, paths, files.

The orchestrator is asked, and where it does not answer at once nothing is offered. What others named is offered as it
is only if it could steer no terminal.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from tarpon.http.quick_calls import QuickCalls

T = TypeVar("T")

ANSWER_SECONDS = 1.0
"""TLS to another continent takes three ways there and back."""
NEWEST_JOBS = 200
MOST_PARTS = 100
FILE = "file"
BEGINNING = "beginning"
"""The types of items: a file of this machine, and what more will be written after."""

REQUESTER = "Requester"
"""An orchestrator, among the nodes."""

_JOBS = "/orchestrator/jobs"


def files(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    return [_item(incomplete, type=FILE)]


def jobs(context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """The newest jobs: their names and, where they have none or it has been begun, their ids."""

    def ask(calls: "QuickCalls") -> "list[CompletionItem]":
        namespace = context.params.get("namespace") or ""
        items = calls.get(_JOBS, limit=str(NEWEST_JOBS), namespace=namespace)["Items"] or ()
        if not any(each["ID"].startswith(incomplete) or each["Name"].startswith(incomplete) for each in items):
            items = [calls.get(_job(incomplete), namespace=namespace)["Job"]]
        named = {each["Name"]: each for each in reversed(items) if each["Name"] not in {"", each["ID"]}}
        found = [_item(name, help=f"{each['State']['StateType']} {each['ID']}") for name, each in named.items()]
        found += [
            _item(each["ID"], help=" ".join(filter(None, (each["State"]["StateType"], _name(each)))))
            for each in items
            if incomplete or not _name(each)
        ]
        return found

    return _fitting(_asked(context, ask), incomplete)


def jobs_with_paths(context: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Of what is JOB, or JOB/PATH."""
    found = jobs(context, parameter, incomplete)
    job, slash, path = incomplete.partition("/")
    if found or not slash:
        return found
    return [_item(f"{job}/{each.value}", type=each.type) for each in _paths(context, job, path)]


def executions(context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Of the job that is named."""
    job = _named_job(context)

    def ask(calls: "QuickCalls") -> "list[CompletionItem]":
        answer = calls.get(f"{_job(job)}/executions", namespace=context.params.get("namespace") or "")
        return [_item(each["ID"], help=f"part {each.get('PartitionIndex', 0)}") for each in answer["Items"] or ()]

    return _fitting(_asked(context, ask), incomplete) if job else []


def partitions(context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """The numbers of the parts of the job that is named."""
    job = _named_job(context)

    def ask(calls: "QuickCalls") -> "list[CompletionItem]":
        found = calls.get(_job(job), namespace=context.params.get("namespace") or "")["Job"]
        numbers = (number for number in map(str, range(found.get("Count") or 1)) if number.startswith(incomplete))
        return [_item(number, help=f"part {number}") for number in islice(numbers, MOST_PARTS)]

    return _fitting(_asked(context, ask), incomplete) if job else []


def nodes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    def ask(calls: "QuickCalls") -> "list[CompletionItem]":
        answer = calls.get("/orchestrator/nodes")
        found = [each for each in answer["Nodes"] or () if each["Info"].get("NodeType") != REQUESTER]
        return [_item(each["Info"]["NodeID"], help=each["Connection"]) for each in found]

    return _fitting(_asked(context, ask), incomplete)


def sent_data(context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """The names of what was sent."""

    def ask(calls: "QuickCalls") -> "list[CompletionItem]":
        answer = calls.get("/orchestrator/data", namespace=context.params.get("namespace") or "")
        return [_item(name) for each in answer["Data"] or () for name in each.get("Names") or ()]

    return _fitting(_asked(context, ask), incomplete)


def paths(context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """In the result of the job that is named, step by step."""
    job, _, beginning = (context.params.get("job") or "").partition("/")
    return [] if beginning or not job else _paths(context, job, incomplete)


def settings(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Keys, and values of those that are yes or no."""
    from shared.settings.keys import plain_type
    from shared.settings.keys import settings as known

    key, equals, _ = incomplete.partition("=")
    if equals:
        flags = [each.key for each in known() if each.key.lower() == key.lower() and plain_type(each.type) is bool]
        return _fitting([_item(f"{key}={value}") for _ in flags for value in ("true", "false")], incomplete)
    wanted = incomplete.lower()
    found = [_item(f"{each.key}=", type=BEGINNING) for each in known() if each.key.lower().startswith(wanted)]
    return found or [_item(incomplete, type=FILE)]


def _paths(context: click.Context, job: str, incomplete: str) -> "list[CompletionItem]":
    def ask(calls: "QuickCalls") -> list[str]:
        from tarpon.results.quick_listing import listed

        given = context.params
        version, partition = given.get("job_version") or "", given.get("partition")
        execution = given.get("execution_id") or ""
        query = {"namespace": given.get("namespace") or "", "job_version": str(version), "execution_id": execution}
        results = [each["Params"] for each in calls.get(f"{_job(job)}/results", **query)["Items"] or ()]
        found = next(each for each in results if partition is None or each.get("PartitionIndex", 0) == partition)
        return listed(found, calls.trust.store_context())

    folder = incomplete[: incomplete.rfind("/") + 1]
    steps = dict.fromkeys(_step(name, folder) for name in _asked(context, ask) if name.startswith(incomplete))
    found = [_item(step, type=BEGINNING if step.endswith("/") else "plain") for step in steps if step != folder]
    return _fitting(found, incomplete)


def _step(name: str, folder: str) -> str:
    """The name as far as one level below the folder."""
    step, slash, _ = name[len(folder) :].partition("/")
    return f"{folder}{step}{slash}"


def _asked(context: click.Context, ask: "Callable[[QuickCalls], list[T]]") -> list[T]:
    """What the orchestrator of the command's own settings says, or nothing."""
    from shared.errors import TarponError
    from tarpon.cli.console.clients import orchestrators
    from tarpon.cli.console.commands import Given
    from tarpon.http.quick_calls import QuickCalls, within
    from tarpon.http.trust import known_by, trust_of

    try:
        options = context.find_root().ensure_object(Given)
        config = options.config()
        urls, credentials = orchestrators(config, options)
        calls = QuickCalls(urls, known_by(trust_of(config), credentials), credentials)
    except TarponError:
        return []
    return within(ANSWER_SECONDS, lambda: ask(calls)) or []


def _fitting(items: "Iterable[CompletionItem]", incomplete: str) -> "list[CompletionItem]":
    return [each for each in items if each.value.startswith(incomplete) and each.value.isprintable()]


def _item(value: str, **about: Any) -> "CompletionItem":
    from click.shell_completion import CompletionItem

    return CompletionItem(value, **about)


def _named_job(context: click.Context) -> str:
    """Where an option has no value yet, click leaves the arguments as they are."""
    return context.params.get("job") or context.params.get("first") or next(iter(context.args), "")


def _job(job: str) -> str:
    return f"{_JOBS}/{quote(job, safe='')}"


def _name(job: Any) -> str:
    return "" if job["Name"] == job["ID"] else str(job["Name"])
