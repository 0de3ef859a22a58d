"""An occupied Key: an object in the way of all below, where objects are files and cannot be folders as well."""

from orchestrator.rules.location import Location
from orchestrator.s3.problems import BucketProblem, ProblemCode, explain_failure, host_of
from orchestrator.s3.requests import Send, Sign
from shared.protocol.s3_errors import S3Failure, UploadAction, action_for
from shared.runtime.aio import pipelined

AT_ONCE = 8
_MAY_BE = frozenset({ProblemCode.SERVICE_FAILING, ProblemCode.REQUEST_REFUSED})
_CONFLICTS = frozenset({"OperationAborted", "ConditionalRequestConflict"})


async def explain_unwritten(
    failure: S3Failure, location: Location, skew: float | None, send: Send, sign: Sign
) -> BucketProblem:
    """Why the probe's object could not be written. Raises as `send` and `sign` do."""
    problem = explain_failure(failure, location, skew)
    names = _above(location.key)
    if problem.code not in _MAY_BE or action_for(failure) is UploadAction.RETRY_SLOWER or not names:
        return problem
    statuses: dict[str, int] = {}

    async def look(name: str) -> None:
        statuses[name] = (await send(await sign("HEAD", name))).status

    await pipelined(names, look, at_once=AT_ONCE)
    found = [name for name in names if statuses[name] == 200]
    if found:
        return _occupied(found[0], failure, location)
    if failure.status == 409 and failure.code not in _CONFLICTS:
        return _perhaps_occupied(names, failure, location)
    return problem


def _above(key: str) -> list[str]:
    """The names that would have to be folders: of `a/b` these are `a` and `a/b`."""
    parts = key.strip("/").split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)] if key.strip("/") else []


def _occupied(name: str, failure: S3Failure, location: Location) -> BucketProblem:
    return BucketProblem(
        code=ProblemCode.KEY_OCCUPIED,
        message=f"Nothing can be written below Key: the bucket {location.bucket!r} has an object named {name!r}, which"
        f" cannot be a folder too where objects are kept as files. [S3: {failure}]",
        hint="Remove or rename that object, or set Key to another one.",
    )


def _perhaps_occupied(names: list[str], failure: S3Failure, location: Location) -> BucketProblem:
    listed = " or ".join(map(repr, names))
    return BucketProblem(
        code=ProblemCode.KEY_OCCUPIED,
        message=f"{host_of(location)} refuses to write below Key, as services do where objects are files and one is"
        f" in the place of a folder. [S3: {failure}]",
        hint=f"Remove or rename the object that is named {listed}, or set Key to another one.",
    )
