"""Text of jobs and their executions in tables and in `tarpon job describe`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from shared.data.plain_text import one_line, printable
from shared.ids import short
from shared.jobs.publisher_params import PLAIN
from shared.jobs.spec import OPS, WAITS_FOR, ChainLink, ChainView, JobView
from shared.jobs.states import DesiredState, JobState
from shared.protocol.published_facts import PublishedParams
from shared.protocol.rest import (
    ExecutionView,
    HistoryItem,
    JobResponse,
    desired_state_name,
    desired_state_number,
)
from tarpon.cli.console.output import (
    from_nanoseconds,
    in_local_time,
    lasting,
    moment,
    pairs,
    size,
    table,
    terminal_width,
)
from tarpon.cli.console.progress import event_line, heading, part_of
from tarpon.cli.display.shown_executions import ShownExecutions

SHOWN_WARNINGS = 3
SHOWN_CODES = 4
SHOWN_FOLLOWERS = 10
SHOWN_NODES = 20
RUNNING = desired_state_number(DesiredState.RUNNING)


def jobs_table(jobs: Sequence[JobView], now: datetime, *, with_namespace: bool = False) -> str:
    rows = [
        [
            moment(from_nanoseconds(job.create_time), now),
            short(job.id),
            job.tasks[0].engine.type if job.tasks else "",
            job.type,
            _state(job),
            exit_text(job.exit_codes),
            *([job.namespace] if with_namespace else []),
            "" if job.name == job.id else job.name,
        ]
        for job in jobs
    ]
    namespace = ["NAMESPACE"] if with_namespace else []
    return table(["CREATED", "ID", "ENGINE", "TYPE", "STATE", "EXIT", *namespace, "NAME"], rows)


def exit_text(codes: Mapping[int, int]) -> str:
    """`0` of one part, `0x18 1x2` of several."""
    if sum(codes.values()) == 1:
        return str(next(iter(codes)))
    told = [f"{code}x{count}" for code, count in sorted(codes.items())]
    more = [f"and {len(told) - SHOWN_CODES} more"] if len(told) > SHOWN_CODES else []
    return " ".join([*told[:SHOWN_CODES], *more])


def _state(job: JobView) -> str:
    """With a mark where the results are not whole."""
    state = job.state.state_type
    return f"{state} ({job.left_out_count:,} left out)" if job.left_out_count else state


def versions_table(versions: Sequence[JobView], now: datetime) -> str:
    rows = [
        [
            str(job.version),
            moment(from_nanoseconds(job.create_time), now),
            moment(from_nanoseconds(job.modify_time), now),
            job.tasks[0].engine.type if job.tasks else "",
            str(job.part_count),
            job.state.state_type,
            exit_text(job.exit_codes),
        ]
        for job in versions
    ]
    return table(["VERSION", "CREATED", "MODIFIED", "ENGINE", "COUNT", "STATE", "EXIT"], rows)


def executions_table(executions: Sequence[ExecutionView], now: datetime) -> str:
    """With the versions in which they ran where there are several."""
    has_versions = len({each.job_version for each in executions}) > 1
    rows = [
        [
            moment(from_nanoseconds(each.create_time), now),
            short(each.id),
            *([str(each.job_version)] if has_versions else []),
            str(each.partition_index),
            each.state_name,
            desired_state_name(each.desired_state.state_type),
            "" if each.run_output is None else str(each.run_output.exit_code),
            short(each.node_id),
        ]
        for each in executions
    ]
    versions, doing = ["VERSION"] if has_versions else [], list(map(_doing, executions))
    headings = ["CREATED", "ID", *versions, "PART", "STATE", "DESIRED", "EXIT", "NODE"]
    columns = {
        "RAN": map(_ran, executions),
        "MEMORY": map(_memory, executions),
        "GPU": map(_gpus, executions),
        "DOING": doing,
    }
    for heading_of, values in columns.items():
        told = list(values)
        if any(told):
            headings, rows = [*headings, heading_of], [[*row, each] for row, each in zip(rows, told, strict=True)]
    return table(headings, rows)


def _nodes(job: JobView) -> str:
    """Of an ops job, those on which it runs."""
    nodes = job.targets or ()
    more = f" and {len(nodes) - SHOWN_NODES:,} more" if len(nodes) > SHOWN_NODES else ""
    return f"{', '.join(nodes[:SHOWN_NODES])}{more}"


def _ran(execution: ExecutionView) -> str:
    return lasting(timedelta(seconds=execution.run_seconds)) if execution.run_seconds > 0 else ""


def _memory(execution: ExecutionView) -> str:
    """At most, where its node has seen that."""
    return size(execution.peak_memory) if execution.peak_memory > 0 else ""


def _gpus(execution: ExecutionView) -> str:
    return ",".join(execution.gpus)


def _doing(execution: ExecutionView) -> str:
    """What it waits for, where its node tells; of one that has ended, the message is why."""
    return execution.compute_state.message if execution.desired_state.state_type == RUNNING else ""


def history_lines(items: Sequence[HistoryItem], now: datetime) -> str:
    """With the parts of the job where there are several."""
    width, with_parts = terminal_width(), any(part_of(item) not in {"", "0"} for item in items)
    lines = (event_line(item, now=now, width=width, with_parts=with_parts) for item in items)
    return "\n".join([heading(with_parts=with_parts), *lines])


def waits_text(job: JobView) -> str:
    """What those parts wait for that are on no node, in one line; empty where none waits."""
    state = job.state
    told = state.message if state.state_type == JobState.QUEUED else state.details.get(WAITS_FOR, "")
    return one_line(in_local_time(told, datetime.now(UTC)))


def description(described: JobResponse, now: datetime, waiting: str = "") -> str:
    """What a person wants to know about one job, in sections; `waiting` is what it waits for, in one line.

    Of a job with many executions those are shown that have failed, and some of the others.
    """
    job, of_schedule, last_runs = described.job, dict[str, str](), list[str]()
    if job.schedule or job.run_of:
        from tarpon.cli.display.schedule_lines import runs_section, schedule_values  # most never need it

        of_schedule, last_runs = schedule_values(job, now), list(runs_section(job, now))
    values = {
        "ID": job.id,
        "Name": job.name,
        "Namespace": job.namespace,
        "Type": job.type,
        "State": _state(job),
        "Message": job.state.message,
        "Waiting": f"{waiting}; `tarpon job why {job.id}` tells more" if waiting else "",
        "Exit codes": exit_text(job.exit_codes),
        "Parts wait": job.state.details.get(WAITS_FOR, ""),
        "Count": "" if job.count is None or job.type == OPS else str(job.count),
        "Nodes": _nodes(job),
        "Version": str(job.version),
        "Needs": "; ".join(map(_link, job.chain.needs)) if job.chain else "",
        "Needed by": _needed_by(job.chain) if job.chain else "",
        **of_schedule,
        "Labels": ", ".join(f"{name}={value}" for name, value in sorted(job.labels.items())),
        "Created": moment(from_nanoseconds(job.create_time), now),
        "Submitted": moment(from_nanoseconds(job.submit_time), now) if 0 < job.create_time < job.submit_time else "",
        "Modified": moment(from_nanoseconds(job.modify_time), now),
    }
    sections = [pairs(values), *last_runs]
    shown = None
    if described.executions is not None and described.executions.items:
        shown = ShownExecutions(described.executions.items)
        table_of = executions_table(shown.items, now)
        sections.append("\n".join(["Executions", *shown.counts(), table_of, *shown.others(job.id)]))
        sections += _inputs(shown.items)
        sections += _published(shown.items)
        sections += _outputs(shown.items)
    if described.history is not None and described.history.items:
        items = described.history.items if shown is None else shown.history(described.history.items)
        sections.append("History\n" + history_lines(items, now))
        if len(items) < len(described.history.items):
            sections.append(f"What happened to the other executions: tarpon job history {job.id}")
    return "\n\n".join(sections)


def _link(link: ChainLink) -> str:
    """Such as `prepare (j-0a1b2c3d version 1, Completed)`."""
    called = "" if link.name in {"", link.job_id} else f"{link.name} "
    version = f" version {link.job_version}" if link.job_version else ""
    return f"{called}({short(link.job_id)}{version}, {link.state or 'not known any more'})"


def _needed_by(chain: ChainView) -> str:
    told = [_link(each) for each in chain.needed_by[:SHOWN_FOLLOWERS]]
    more = chain.needed_by_total - len(told)
    return "; ".join([*told, *([f"and {more:,} more"] if more > 0 else [])])


def _inputs(executions: Sequence[ExecutionView]) -> Iterator[str]:
    """What each execution reads."""
    lines = []
    for each in executions:
        if (inputs := each.inputs) is not None:
            more = ", ..." if inputs.files > len(inputs.names) else ""
            names = f": {', '.join(inputs.names)}{more}" if inputs.names else ""
            counted = f"{size(inputs.size)} in {counted_in_words(inputs.files, 'file')}"
            lines.append(printable(f"{short(each.id)}  part {each.partition_index}  {counted}{names}"))
    if lines:
        yield "\n".join(["Inputs", *lines])


def _published(executions: Sequence[ExecutionView]) -> Iterator[str]:
    """Where each result is, for those who have keys of their own."""
    lines = []
    for each in executions:
        params = each.published_result.params if each.published_result is not None else None
        if params is not None:
            lines += [
                printable(f"{short(each.id)}  s3://{params.bucket}/{params.key}"),
                *(f"{'':10}{line}" for line in _about(params)),
            ]
    if lines:
        yield "\n".join(["Results", *lines])


def _about(params: PublishedParams) -> Iterator[str]:
    if params.left_out_count:
        yield f"not whole: {counted_in_words(params.left_out_count, 'entry')} could not be read, or not as they were"
    is_plain = params.encoding == PLAIN
    if is_plain:
        yield f"{size(params.raw_size)} in {params.entries:,} entries, an object for each file"
    else:
        yield f"{size(params.size)} in {params.entries:,} entries, {size(params.raw_size)} unpacked"
    if params.publish_seconds > 0:
        rate = f"{size((params.raw_size if is_plain else params.size) / params.publish_seconds)}/s"
        numbers = {"part": params.parts if params.parts > 1 else 0, "retry": params.retries, "renewal": params.renewals}
        counted = "".join(f", {counted_in_words(count, what)}" for what, count in numbers.items() if count)
        yield f"published in {params.publish_seconds:.1f} s ({rate}), packed in {params.archive_seconds:.1f} s{counted}"
    for warning in params.warnings[:SHOWN_WARNINGS]:
        yield f"warning: {printable(warning)}"
    if params.warnings_count > SHOWN_WARNINGS:
        yield f"and {params.warnings_count - SHOWN_WARNINGS:,} more warnings"


def counted_in_words(count: int, what: str) -> str:
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count:,} {what if count == 1 else plural}"


def _outputs(executions: Sequence[ExecutionView]) -> Iterator[str]:
    for each in executions:
        output = each.run_output
        if output is None:
            continue
        of = f" of {short(each.id)}" if len(executions) > 1 else ""
        is_kept = each.published_result is not None and each.published_result.params is not None
        rest = "all of it is in the result" if is_kept else "the rest was not kept"
        if output.error_msg:
            yield f"Error{of}\n{printable(output.error_msg)}"
        if output.stdout:
            yield _written(f"Standard output{of}", output.stdout, rest if output.stdout_truncated else "")
        if output.stderr:
            yield _written(f"Standard error{of}", output.stderr, rest if output.stderr_truncated else "")


def _written(title: str, text: str, rest: str) -> str:
    note = f" (the beginning; {rest})" if rest else ""
    return f"{title}{note}\n{printable(text).rstrip()}"
