"""Rules of inputs: what makes the inputs of a task impossible, told before anything is looked up."""

from collections.abc import Iterator

from msgspec.structs import replace

from shared.data.decoding import advised
from shared.ids import is_safe_id
from shared.jobs.engine_params import kind_of as kind_of_engine
from shared.jobs.inputs.kinds import is_divided, is_writable, kind_of, look, names, unknown_told
from shared.jobs.paths import overlap, parts_of, path_problem
from shared.jobs.spec import InputSource, Task

MAX_INPUTS = 64
"""Of one task."""

_OUTPUTS = parts_of("/outputs")
_TARPON_S = parts_of("/etc/hosts")


def normalised_input(source: InputSource) -> InputSource:
    named = replace(source.source, type=kind_of(source.source) or source.source.type.strip())
    return replace(
        source,
        source=replace(named, params=look(named).params),
        alias=source.alias.strip(),
        target=source.target.strip(),
    )


def inputs_problems(task: Task) -> Iterator[str]:
    """Each in a sentence that begins with the path of what is wrong."""
    if len(task.input_sources) > MAX_INPUTS:
        yield f"Tasks[0].InputSources has {len(task.input_sources):,} entries; at most {MAX_INPUTS} are possible."
        return
    taken = [(parts_of(each.path), "a result path") for each in task.result_paths]
    taken += [(parts_of(each.path), "a secret") for each in task.secrets]
    taken += [(_OUTPUTS, "where tasks write results"), (_TARPON_S, "a file that Tarpon itself writes")]
    aliases: set[str] = set()
    for number, each in enumerate(task.input_sources):
        where = f"Tasks[0].InputSources[{number}]"
        yield from _source_problems(each, where)
        if is_writable(each.source) and (engine := kind_of_engine(task.engine)) and not engine.may_write:
            yield f"{where}.Source.Params.ReadWrite is not possible: tasks of the engine {task.engine.type} only read."
        if each.alias and not is_safe_id(each.alias):
            yield f"{where}.Alias {each.alias[:80]!r} may have 1 to 64 characters out of A-Z a-z 0-9 _ and -."
        if each.alias and each.alias.lower() in aliases:
            yield f"{where}.Alias {each.alias[:80]!r} is there twice."
        aliases.add(each.alias.lower())
        yield from _target_problems(each.target, where, taken)
        taken.append((parts_of(each.target), "another input"))


def undivided_problems(task: Task) -> Iterator[str]:
    """Of a task that runs on each node, as often as there are nodes then: each reads all of its inputs."""
    for number, each in enumerate(task.input_sources[:MAX_INPUTS]):
        if is_divided(each.source):
            where = f"Tasks[0].InputSources[{number}].Source.Params.Partition"
            yield f"{where} divides an input between parts, and an ops job has none: each node reads all of it."


def unknown_in_inputs(task: Task) -> Iterator[str]:
    """A sentence for each parameter that a kind does not know, after the path of its task."""
    for number, each in enumerate(task.input_sources[:MAX_INPUTS]):
        yield from (f"InputSources[{number}].{told}" for told in unknown_told(each.source))


def _source_problems(given: InputSource, where: str) -> Iterator[str]:
    kind = given.source.type
    if not kind:
        yield f"{where}.Source.Type is missing; there are {', '.join(names())}."
    elif not kind_of(given.source):
        advice = advised(kind, names(), f"there are {', '.join(names())}.")
        yield f"{where}.Source.Type {kind[:80]!r} is not a kind of input; {advice}"
    for problem in look(given.source).problems:
        yield f"{where}.{problem}"


def _target_problems(target: str, where: str, taken: list[tuple[tuple[str, ...], str]]) -> Iterator[str]:
    path, parts = f"{where}.Target {target[:80]!r}", parts_of(target)
    if not target:
        yield f"{where}.Target is missing: the path at which the task finds the input."
    elif problem := path_problem(target):
        yield f"{path} {problem}"
    elif met := next((what for place, what in taken if overlap(parts, place)), ""):
        yield f"{path} is, holds or is inside of {met}; give each a place of its own."
