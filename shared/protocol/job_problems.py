"""Problems of a job of which a part cannot be read, so that its author is told all of them at once."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from shared.jobs.rules import normalised, problems
from shared.jobs.spec import Job

if TYPE_CHECKING:
    from shared.protocol.rest import DiffRequest, SubmitAllRequest, SubmitRequest, ValidateRequest

_PATH = re.compile(r"[A-Za-z]+(?:\[[0-9]+\])?(?:\.[A-Za-z]+(?:\[[0-9]+\])?)*")
_FIELDS = frozenset(each.encode_name for each in msgspec.structs.fields(Job))
_NEEDS = {"Tasks[0].ResultPaths": "Tasks[0].Publisher", "Tasks[0].Retries": "Tasks[0].FailOnExitCode"}
"""What a problem of one part may follow from besides that part."""
_WHOLE = "Constraints["
"""Problems of what begins so are those of all its fields together."""


def path_of(problem: str) -> str:
    """Where in the job it is, such as `Tasks[0].Name`; empty where the sentence does not begin with that."""
    found = _PATH.match(problem.removeprefix("Job."))
    return found[0] if found is not None and re.split(r"[.\[]", found[0])[0] in _FIELDS else ""


def of_request(request: "SubmitRequest | DiffRequest | ValidateRequest", wrong: Collection[str]) -> Iterator[str]:
    """Of the job in a request, where the parts of the request at the paths `wrong` cannot be read."""
    within = {each.removeprefix("Job.") for each in wrong}
    return (f"Job.{each}" for each in independent(problems(normalised(request.job)), within))


def of_requests(request: "SubmitAllRequest", wrong: Collection[str]) -> Iterator[str]:
    """As `of_request`, of several jobs."""
    for number, job in enumerate(request.jobs):
        begin = f"Jobs[{number}]"
        within = {each.removeprefix(f"{begin}.") for each in wrong if each.startswith(f"{begin}.")}
        if begin not in wrong:
            yield from (f"{begin}.{each}" for each in independent(problems(normalised(job)), within))


def independent(found: Iterable[str], wrong: Collection[str]) -> Iterator[str]:
    """Those of the problems that do not follow from what cannot be read."""
    return (each for each in found if not any(_follows(each, part) for part in wrong))


def _follows(problem: str, wrong: str) -> bool:
    begun = _PATH.match(problem)
    path = begun[0] if begun else ""
    needed = _NEEDS.get(path, "")
    return (
        _is_within(path, wrong)
        or (path.startswith(_WHOLE) and _is_within(wrong, path))
        or bool(needed and (_is_within(needed, wrong) or _is_within(wrong, needed)))
    )


def _is_within(path: str, other: str) -> bool:
    return path == other or path.startswith((f"{other}.", f"{other}["))
