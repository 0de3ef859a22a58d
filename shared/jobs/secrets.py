"""Secrets of tasks: how a job names what its task is given, which its specification never holds.

A variable of the environment is `secret:NAME`, and a file an entry of `Secrets`.
"""

from collections.abc import Iterator, Mapping

from shared.ids import is_safe_id
from shared.jobs.paths import overlap, parts_of, path_problem
from shared.jobs.spec import Task

FROM_SECRET = "secret:"  # noqa: S105  # it names one, and is none

MAX_SECRET_BYTES = 64 * 1024
MAX_TASK_SECRET_BYTES = 256 * 1024
"""Of all secrets of one task, which travel to its node in one message together with the job."""
MAX_FILES = 64

_TARPON_S = parts_of("/etc/hosts")


def uses_secrets(task: Task) -> bool:
    if not task.env:  # the rule, and this is asked again and again
        return bool(task.secrets)
    return bool(task.secrets) or any(value.startswith(FROM_SECRET) for value in task.env.values())


def variables(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The variables that are secrets, each with the name of its secret."""
    return ((name, value.removeprefix(FROM_SECRET)) for name, value in env.items() if value.startswith(FROM_SECRET))


def names_of(task: Task) -> tuple[str, ...]:
    """The secrets that it asks for, each once."""
    return tuple(dict.fromkeys((*(name for _, name in variables(task.env)), *(each.name for each in task.secrets))))


def can_be_variable(value: bytes) -> bool:
    """Whether an environment can hold it."""
    try:
        return "\0" not in value.decode()
    except UnicodeDecodeError:
        return False


def secrets_problems(task: Task) -> Iterator[str]:
    for variable, name in variables(task.env):
        if not is_safe_id(name):
            yield f"Tasks[0].Env.{variable[:80]}: {name[:80]!r} {_NO_NAME}"
    if len(task.secrets) > MAX_FILES:
        yield f"Tasks[0].Secrets has {len(task.secrets):,} entries; at most {MAX_FILES} are possible."
        return
    taken = [(parts_of(each.path), "a result path") for each in task.result_paths]
    taken.append((_TARPON_S, "a file that Tarpon itself writes"))
    for number, each in enumerate(task.secrets):
        where = f"Tasks[0].Secrets[{number}]"
        if not is_safe_id(each.name):
            yield f"{where}.Name {each.name[:80]!r} {_NO_NAME}"
        path, parts = f"{where}.Path {each.path[:80]!r}", parts_of(each.path)
        if problem := path_problem(each.path):
            yield f"{path} {problem}"
            continue
        met = next((what for place, what in taken if overlap(parts, place)), "")
        if met:
            yield f"{path} is, holds or is inside of {met}; no secret may be part of a result or of another."
        taken.append((parts, "another secret"))


_NO_NAME = "is not the name of a secret, which has 1 to 64 characters out of A-Z a-z 0-9 _ and -."
