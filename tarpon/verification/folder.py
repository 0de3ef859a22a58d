"""Verifying a folder into which a result was fetched: that the result is what its node signed, and the folder is it."""

import shlex
from collections.abc import Collection
from pathlib import Path

from msgspec.structs import replace

from shared.errors import Damaged, DownloadFailed, InvalidInput
from tarpon.comparison.compare import compare_results
from tarpon.comparison.local_folder import check_folder
from tarpon.http.orchestrator_calls import OrchestratorCalls
from tarpon.results.folders import owner_of
from tarpon.transfer.download import in_thread
from tarpon.verification.verify import verify_results
from tarpon.verification.views import ResultProblem, ResultsVerification, VerificationProblem


async def verify_folder(
    client: OrchestratorCalls,
    folder: Path,
    *,
    namespace: str = "",
    execution: str = "",
    records_keys: Collection[str] = (),
) -> ResultsVerification:
    """Verify the result of this execution, or of that which the folder remembers, and compare the folder with it.

    Raises InvalidInput where there is no folder, or no execution is known of it, OSError, and what verify_results
    raises.
    """
    await in_thread(lambda: check_folder(folder))
    execution = execution or await in_thread(lambda: owner_of(folder))
    if not execution:
        raise InvalidInput(
            f"It is not known of which execution {str(folder)[:200]!r} is.",
            hint="Name it with --execution. Of a job with several parts each has a folder of its own.",
        )
    job = (await client.execution(execution)).job_id
    found = await verify_results(client, job, namespace=namespace, execution=execution, records_keys=records_keys)
    try:
        compared = await compare_results(client, execution, folder, namespace=namespace, limit=1)
    except (Damaged, DownloadFailed):
        if found.verified:
            raise
        return found  # it tells already what cannot be compared
    if compared.equal:
        return found
    (result,), (compared_result,) = found.results, compared.results
    named = folder if folder.is_absolute() else f"./{folder}"
    told = (
        f"{folder} differs from it in {compared_result.differing:,} of {compared_result.paths:,} paths, first in"
        f" {compared_result.differences[0].path}: `tarpon job compare {execution} {shlex.quote(str(named))}` shows all."
    )
    problem = VerificationProblem(code=ResultProblem.FOLDER_DIFFERS.value, message=told)
    return ResultsVerification(verified=False, results=(replace(result, problems=(*result.problems, problem)),))
