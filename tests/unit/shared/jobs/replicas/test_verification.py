"""A job says how many replicas its parts have and how many of them decide, in a way that can decide once at most."""

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from shared.jobs.replicas.verification import replicas_of, verification_problems
from shared.jobs.rules import normalised
from shared.jobs.spec import OPS, ResultPath, Retries, SpecConfig, Verification
from tests.builders import new_job, new_task

TASK = new_task(publisher="s3managed")


def problems(verification: Verification, **task: object) -> list[str]:
    job = new_job(tasks=(replace(TASK, **task),), verification=verification)
    return list(verification_problems(normalised(job)))


@pytest.mark.parametrize(("replicas", "quorum"), [(2, 2), (3, 2), (4, 3), (5, 3), (9, 5)])
def test_without_a_word_more_than_half_decide_about_the_whole_result(replicas: int, quorum: int) -> None:
    said = normalised(new_job(verification=Verification(replicas=replicas))).verification
    assert said == Verification(replicas=replicas, quorum=quorum, of="result")
    assert not problems(Verification(replicas=replicas))


def test_a_job_that_says_nothing_of_it_runs_once() -> None:
    assert normalised(new_job()).verification is UNSET
    assert replicas_of(new_job()) == 1
    assert replicas_of(new_job(verification=Verification(replicas=3))) == 3


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (Verification(replicas=1), "Replicas is 1; it must be between 2 and 9"),
        (Verification(replicas=10), "Replicas is 10; it must be between 2 and 9"),
        (Verification(replicas=4, quorum=2), "Quorum is 2; of 4 replicas 3 to 4 can decide"),
        (Verification(replicas=3, quorum=4), "Quorum is 4; of 3 replicas 2 to 3 can decide"),
        (Verification(replicas=3, of="stdou"), "Of 'stdou' is nothing that can be compared; did you mean stdout?"),
        (Verification(replicas=3, of="paths"), "Of is paths, and the task has no ResultPaths"),
    ],
)
def test_what_cannot_decide_is_refused(said: Verification, told: str) -> None:
    (problem,) = problems(said)
    assert told in problem


def test_what_replicas_cannot_be_compared_by_is_refused() -> None:
    three = Verification(replicas=3)
    assert "compares archives" in problems(three, publisher=SpecConfig())[0]
    plain = SpecConfig(type="s3managed", params={"Encoding": "plain"})
    assert "compares archives" in problems(three, publisher=plain)[0]
    assert "Retries exclude each other" in problems(three, fail_on_exit_code=True, retries=Retries(max=1))[0]
    on_each = new_job(type=OPS, tasks=(TASK,), verification=three)
    assert "for one node alone" in next(verification_problems(normalised(on_each)))


def test_paths_can_be_compared_where_there_are_any() -> None:
    paths = (ResultPath(name="out", path="/out"),)
    assert not problems(Verification(replicas=3, of=" Paths "), result_paths=paths)
