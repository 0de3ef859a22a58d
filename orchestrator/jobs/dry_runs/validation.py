"""Validation: everything for which a submit would be refused now, at once, and nothing is stored."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.jobs.idempotency import use_to_submit
from orchestrator.jobs.job_records import Wish
from orchestrator.jobs.name_claims import check_name
from orchestrator.jobs.result_inputs import with_results
from orchestrator.jobs.submissions import Submissions
from orchestrator.nodes.outside_engines import check_outside_engine
from orchestrator.state.model import Model
from shared.errors import InvalidDocument, InvalidJob, MessagingUnavailable, TarponError
from shared.jobs.rules import normalised
from shared.jobs.spec import Job
from shared.protocol.job_problems import path_of
from shared.protocol.rest import JobProblem, ValidateResponse


async def validated(model: Model, submissions: Submissions, job: Job) -> ValidateResponse:
    """What it takes that is stored is looked at once the job keeps all rules, as nothing else can be looked up."""
    found: list[JobProblem] = []
    plain = normalised(job)
    with noted(found):
        wanted = submissions.completed(plain)
    if found:
        return ValidateResponse(valid=False, problems=tuple(found))
    with noted(found):
        check_outside_engine(model, wanted)
    with noted(found):
        submissions.check_publisher_of(wanted)
    with noted(found):
        check_name(model, wanted)
    with noted(found):
        submissions.check_changed(Wish(wanted, use_to_submit("", plain)))
    with noted(found):
        await submissions.check_secrets(wanted)
    with noted(found):
        await submissions.look_up_inputs(wanted)
    with noted(found):
        submissions.check_schedule(wanted)
    with noted(found):
        with_results(model, wanted, (), await submissions.pinned_needs(wanted))
    warnings = submissions.warnings_about(job, plain)
    return ValidateResponse(valid=not found, problems=tuple(found), warnings=warnings)


@contextmanager
def noted(found: list[JobProblem]) -> Iterator[None]:
    try:
        yield
    except MessagingUnavailable:  # no fault of the job's, and nothing can be told
        raise
    except TarponError as error:
        found += problems_of(error)


def problems_of(error: TarponError) -> tuple[JobProblem, ...]:
    """One for each sentence of an error that has several."""
    several = error.problems if isinstance(error, InvalidJob | InvalidDocument) else ()
    return tuple(
        JobProblem(code=error.code, message=each.removeprefix("Job."), hint=error.hint, path=path_of(each))
        for each in several or (error.message,)
    )
