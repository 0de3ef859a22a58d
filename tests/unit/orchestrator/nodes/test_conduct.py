"""A node that fails task after task is suspect until something goes well there; bad jobs make no good node look bad."""

import msgspec
import pytest

from orchestrator.dispatch.second_opinion import is_asked_for
from orchestrator.nodes.conduct import MOST_PARTS_KNOWN, SUSPECT_AFTER, Conduct
from orchestrator.rules.records import ExecutionRecord, Failure, Suspicion
from shared.ids import ExecutionId, NodeId
from shared.jobs.states import ExecutionState, FailureReason
from tests.builders import new_execution

S, R = ExecutionState, FailureReason
A, B, C = NodeId("n-a"), NodeId("n-b"), NodeId("n-c")
BAD_JOBS = (R.TASK_NOT_STARTED, R.IMAGE_NOT_FOUND, R.IMAGE_ACCESS_DENIED, R.OUT_OF_MEMORY, R.TASK_KILLED)


class Cluster:
    """Time passes from one thing that happens to the next."""

    def __init__(self) -> None:
        self.conduct = Conduct()
        self.now = 0

    def record(self, node: NodeId, job: int, *, placed: int | None = None, part: int = 0) -> ExecutionRecord:
        self.now += 10
        return new_execution(
            S.RUNNING,
            of=f"j-{job}",
            partition=part,
            on=node,
            id=ExecutionId(f"e-{self.now}"),
            create_time=self.now - 5 if placed is None else placed,
            modify_time=self.now,
        )

    def fail(
        self, node: NodeId, job: int, reason: str = R.NODE_ERROR, *, placed: int | None = None, part: int = 0
    ) -> bool:
        failure = Failure(reason=reason, detail="driver/library version mismatch", retryable=True)
        record = self.record(node, job, placed=placed, part=part)
        return self.conduct.on_failure(_ended(record, failure))

    def run(self, node: NodeId, job: int, *, placed: int | None = None, part: int = 0) -> None:
        self.conduct.on_success(self.record(node, job, placed=placed, part=part))

    @property
    def suspects(self) -> set[NodeId]:
        return {node for node, _ in self.conduct.suspicions()}


def _ended(record: ExecutionRecord, failure: Failure) -> ExecutionRecord:

    return msgspec.structs.replace(record, state=S.FAILED, failure=failure)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


class TestSuspicion:
    def test_a_node_that_fails_different_jobs_in_a_row_is_suspect_with_the_reason(self, cluster: Cluster) -> None:
        for job in range(SUSPECT_AFTER):
            assert not cluster.suspects
            cluster.fail(A, job, R.GPU_NOT_GIVEN)
        ((node, suspicion),) = cluster.conduct.suspicions()
        detail = "driver/library version mismatch"
        assert (node, suspicion) == (A, Suspicion(since=10, reason="GPUNotGiven", detail=detail))

    def test_one_task_that_goes_well_ends_it(self, cluster: Cluster) -> None:
        for job in range(5):
            cluster.fail(A, job)
        cluster.run(A, 9)
        assert not cluster.suspects
        assert cluster.fail(A, 10)
        assert cluster.conduct.holds(A) == 1

    def test_what_was_placed_there_before_the_last_failure_does_not_end_it(self, cluster: Cluster) -> None:
        for job in range(SUSPECT_AFTER):
            cluster.fail(A, job)
        cluster.run(A, 9, placed=1)
        assert cluster.suspects == {A}

    def test_jobs_that_fail_together_are_one_failure(self, cluster: Cluster) -> None:
        for job in range(20):
            assert cluster.fail(A, job, R.CONTAINER_LOST, placed=1)
        assert cluster.conduct.holds(A) == 1
        assert not cluster.suspects

    def test_one_job_that_fails_there_again_and_again_makes_no_node_suspect(self, cluster: Cluster) -> None:
        for _ in range(10):
            assert cluster.fail(A, 1)
        assert cluster.conduct.holds(A) == 1

    def test_a_successor_knows_who_is_suspect_until_something_goes_well(self, cluster: Cluster) -> None:
        cluster.now = 100
        cluster.conduct.restore(A, Suspicion(since=90, reason="NodeError"), now=cluster.now)
        assert cluster.suspects == {A}
        cluster.run(A, 1)
        assert not cluster.suspects

    def test_what_goes_well_counts_although_who_led_before_had_a_clock_that_was_ahead(self, cluster: Cluster) -> None:
        cluster.conduct.restore(A, Suspicion(since=10**12, reason="NodeError"), now=cluster.now)
        assert cluster.conduct.failed_at(A) == cluster.now, "so that what it is given now is a trial"
        cluster.run(A, 1)
        assert not cluster.suspects


class TestBadJobs:
    @pytest.mark.parametrize("reason", BAD_JOBS)
    def test_the_bad_jobs_of_one_author_make_no_node_suspect(self, cluster: Cluster, reason: str) -> None:
        for job in range(50):
            assert not cluster.fail(A, job, reason)
            assert not cluster.fail(B, job, reason)
        assert cluster.conduct.holds(A) == cluster.conduct.holds(B) == 0

    @pytest.mark.parametrize("reason", [R.NODE_ERROR, R.DISK_FULL, R.GPU_NOT_GIVEN])
    def test_what_fails_on_a_second_node_as_well_is_held_against_neither(self, cluster: Cluster, reason: str) -> None:
        for job in range(50):
            cluster.fail(A, job, reason)
            assert not cluster.fail(B, job, reason)
        assert not cluster.suspects
        assert cluster.conduct.holds(A) == 0

    def test_a_rest_ends_where_what_it_is_for_is_held_against_the_node_no_more(self, cluster: Cluster) -> None:
        def failed(job: int, reason: str) -> ExecutionRecord:
            return _ended(cluster.record(B, job), Failure(reason=reason, retryable=True))

        cluster.fail(A, 1, R.TASK_NOT_STARTED)
        told = failed(1, R.TASK_NOT_STARTED)
        cluster.conduct.on_failure(told)
        assert list(cluster.conduct.disputed(told)) == [], "nothing was held against it, so it rests for something else"
        cluster.fail(A, 2, R.NODE_ERROR)
        told = failed(2, R.NODE_ERROR)
        cluster.conduct.on_failure(told)
        assert list(cluster.conduct.disputed(told)) == [A]

    @pytest.mark.parametrize("reason", [R.OUT_OF_MEMORY, R.TASK_NOT_STARTED, R.NODE_ERROR])
    def test_a_job_some_of_whose_parts_are_bad_makes_no_node_suspect(self, cluster: Cluster, reason: str) -> None:
        for part in range(0, 60, 2):
            cluster.run(B, 1, part=part)
            cluster.fail(A, 1, reason, part=part + 1)
        assert not cluster.suspects

    def test_a_registry_that_is_away_makes_no_node_suspect(self, cluster: Cluster) -> None:
        for job in range(30):
            for node in (A, B, C):
                cluster.fail(node, job, R.IMAGE_NOT_PULLED)
        for job in range(30):
            cluster.run((A, B, C)[job % 3], job)
        assert not cluster.suspects

    def test_what_is_known_of_jobs_is_bounded(self, cluster: Cluster) -> None:
        for job in range(MOST_PARTS_KNOWN + 100):
            cluster.fail(A, job, R.OUT_OF_MEMORY)
        assert len(cluster.conduct._failed_on) == MOST_PARTS_KNOWN


class TestBlackHoles:
    @pytest.mark.parametrize("reason", [R.TASK_NOT_STARTED, R.IMAGE_NOT_PULLED, R.UNKNOWN, "EatenByADog"])
    def test_a_node_that_blames_the_tasks_is_known_when_they_run_elsewhere(self, cluster: Cluster, reason: str) -> None:
        cluster.fail(A, 0, reason)
        cluster.run(B, 0)
        for job in range(1, 1 + SUSPECT_AFTER):
            assert not cluster.suspects
            assert cluster.fail(A, job, reason)
        assert cluster.suspects == {A}

    def test_a_node_that_fails_the_parts_of_one_job_is_known_when_they_run_elsewhere(self, cluster: Cluster) -> None:
        for part in range(SUSPECT_AFTER):
            cluster.fail(A, 1, part=part)
        assert not cluster.suspects, "because they may all be bad"
        for part in range(SUSPECT_AFTER):
            cluster.run(B, 1, part=part)
        assert cluster.suspects == {A}

    def test_two_of_them_do_not_excuse_each_other(self, cluster: Cluster) -> None:
        for job in range(SUSPECT_AFTER):
            cluster.fail(A, job)
            cluster.fail(C, job)
            cluster.run(B, job)
        assert cluster.suspects == {A, C}

    def test_a_node_that_gives_back_whatever_it_is_given_is_one(self, cluster: Cluster) -> None:
        for job in range(SUSPECT_AFTER):
            failure = Failure(reason=R.HANDED_BACK, retryable=True, excused=True)
            assert cluster.conduct.on_failure(_ended(cluster.record(A, job), failure))
        assert cluster.suspects == {A}

    def test_a_node_that_is_drained_or_stops_is_none(self, cluster: Cluster) -> None:
        for job in range(9):
            assert not cluster.fail(A, job, R.HANDED_BACK)


class TestSecondOpinion:
    def asked(
        self, cluster: Cluster, reason: FailureReason, *before: ExecutionRecord, others: bool = True, node: NodeId = A
    ) -> bool:
        record = cluster.record(node, 99)
        return is_asked_for(record, reason, (*before, record), cluster.conduct, lambda without: others)

    def failed(self, cluster: Cluster, node: NodeId, reason: str) -> ExecutionRecord:
        return _ended(cluster.record(node, 99), Failure(reason=reason, retryable=True))

    @pytest.mark.parametrize(
        "reason",
        [
            *(R.TASK_NOT_STARTED, R.IMAGE_NOT_FOUND, R.IMAGE_ACCESS_DENIED),
            *(R.INPUT_NOT_FOUND, R.INPUT_ACCESS_DENIED, R.INPUT_NOT_ALLOWED),
        ],
    )
    def test_whether_a_task_can_be_begun_at_all_is_asked_of_two_nodes(
        self, cluster: Cluster, reason: FailureReason
    ) -> None:
        assert self.asked(cluster, reason)
        assert not self.asked(cluster, reason, self.failed(cluster, A, reason), node=B)
        assert not self.asked(cluster, reason, others=False)

    def test_what_a_task_did_itself_is_believed(self, cluster: Cluster) -> None:
        assert not self.asked(cluster, R.OUT_OF_MEMORY)

    def test_a_node_that_says_so_of_everything_is_not_believed_alone(self, cluster: Cluster) -> None:
        for job in range(2):
            cluster.fail(A, job, R.OUT_OF_MEMORY)
        assert self.asked(cluster, R.OUT_OF_MEMORY)
        cluster.run(A, 3)
        assert not self.asked(cluster, R.OUT_OF_MEMORY)

    @pytest.mark.parametrize("reason", [R.NODE_ERROR, R.IMAGE_NOT_PULLED, R.NODE_RESTARTED, R.ENGINE_UNAVAILABLE])
    def test_no_node_uses_up_more_than_one_attempt_of_a_job_while_others_are_there(
        self, cluster: Cluster, reason: FailureReason
    ) -> None:
        assert not self.asked(cluster, reason)
        assert self.asked(cluster, reason, self.failed(cluster, A, reason))
        assert not self.asked(cluster, reason, self.failed(cluster, A, reason), others=False)

    def test_a_node_that_fails_others_uses_up_none(self, cluster: Cluster) -> None:
        cluster.fail(A, 1)
        assert self.asked(cluster, R.NODE_ERROR)
        assert not self.asked(cluster, R.NODE_ERROR, node=B)
