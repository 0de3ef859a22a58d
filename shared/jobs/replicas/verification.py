"""Verification of jobs: how many replicas a part has, how many of them have to agree, and about what."""

from collections.abc import Iterator

from msgspec.structs import replace

from shared.data.decoding import advised
from shared.jobs.publisher_params import MANAGED, is_plain
from shared.jobs.spec import OPS, Job, Retries, Verification

RESULT, PATHS, STDOUT = "result", "paths", "stdout"
OF = (RESULT, PATHS, STDOUT)
MOST_REPLICAS = 9


def normalised_verification(said: Verification) -> Verification:
    """With a quorum, which without a word is more than half, and what is compared, which then is the whole result."""
    return replace(said, quorum=said.quorum or said.replicas // 2 + 1, of=said.of.strip().lower() or RESULT)


def replicas_of(job: Job) -> int:
    """How many nodes run each part at once: 1 where nobody has to agree."""
    return job.verification.replicas if job.verification else 1


def verification_problems(job: Job) -> Iterator[str]:
    """Each in a sentence that begins with the path of what is wrong."""
    said = job.verification
    if not said:
        return
    if not 2 <= said.replicas <= MOST_REPLICAS:
        yield f"Verification.Replicas is {said.replicas}; it must be between 2 and {MOST_REPLICAS}."
    elif not said.replicas // 2 < said.quorum <= said.replicas:
        least = said.replicas // 2 + 1
        yield (
            f"Verification.Quorum is {said.quorum}; of {said.replicas} replicas {least} to {said.replicas} can decide,"
            " which is more than half."
        )
    if said.of not in OF:
        advice = advised(said.of, OF, "there are result, paths and stdout.")
        yield f"Verification.Of {said.of[:80]!r} is nothing that can be compared; {advice}"
    if job.type == OPS:
        yield "Verification is for batch jobs: a part of an ops job is for one node alone."
    for task in job.tasks:
        if task.publisher.type.lower() != MANAGED or is_plain(task.publisher):
            yield "Verification compares archives; write `Publisher: {Type: s3managed}` in the task, without Encoding."
        if said.of == PATHS and not task.result_paths:
            yield "Verification.Of is paths, and the task has no ResultPaths; write `Of: stdout` or leave it out."
        if task.retries != Retries():
            yield "Verification and Retries exclude each other: replicas that agree about an exit code do so for good."
