"""A node is alive as long as it speaks, holds what it was given, and gets what it has room for."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from orchestrator.nodes.node_changes import MOST_ENGINES_AWAY, engines_away
from orchestrator.nodes.presence import Nodes
from orchestrator.nodes.process_presence import QUICK_TASK_SECONDS
from orchestrator.nodes.resting_nodes import FIRST_SECONDS, LET_LIE, MOST_FIRSTS
from orchestrator.rules.fleet import Candidate
from orchestrator.rules.records import ExecutionRecord, Failure, NodeRecord
from orchestrator.state.model import Model
from shared.ids import ExecutionId, JobId, NodeId, execution_key
from shared.jobs.capacity import Capacity
from shared.jobs.states import Cause, ExecutionState, FailureReason
from shared.protocol import subjects
from shared.protocol.messages import Accepted, Heartbeat, NodeInfo, Registration
from tests.builders import new_execution

S = ExecutionState
NODE, OTHER = NodeId("n-1"), NodeId("n-2")
DISCONNECT_SECONDS = 60.0
RETURN_SECONDS = 30.0
INFO = NodeInfo(node_id=NODE, version="0.1.0", capacity=Capacity(cpu=4.0), queue_capacity=3)


class Cluster:
    """Nodes with a clock that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.model = Model(max_attempts=3)
        self.nodes = Nodes(
            self.model,
            disconnect_seconds=DISCONNECT_SECONDS,
            return_seconds=RETURN_SECONDS,
            clock=lambda: self.now,
            wall=lambda: self.wall,
        )
        self.revision = 0

    @property
    def wall(self) -> int:
        return int(self.now * 1e9)

    def know(self, info: NodeInfo = INFO) -> None:
        self.revision += 1
        self.model.apply(subjects.node_record(info.node_id), NodeRecord(info=info), self.revision)

    def execution(self, number: int, state: ExecutionState = S.NEW, *, cpu: float = 1.0) -> ExecutionId:
        key = execution_key(JobId("j-1"), 1, number, 0)
        record = new_execution(state, partition=number, resources=Capacity(cpu=cpu))
        self.revision += 1
        self.model.apply(subjects.execution_record(key), record, self.revision)
        return record.id

    def register(self, inventory: int = 1, *held: ExecutionId, session: str = "s-1") -> list[ExecutionId]:
        registration = Registration(info=INFO, session=session, inventory=inventory, held=held)
        return [record.id for record in self.nodes.on_registration(NODE, registration)]

    def accept(self, execution: ExecutionId, inventories: int, *, session: str = "s-1") -> None:
        self.nodes.on_accepted(NODE, execution, Accepted(session=session, inventories=inventories))

    def beat(self, session: str = "s-1") -> bool:
        return self.nodes.on_heartbeat(NODE, Heartbeat(session=session))

    @property
    def candidate(self) -> Candidate:
        (only,) = self.nodes.fleet({}).nodes.values()
        return only


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.know()
    return made


class TestInventory:
    def test_what_was_accepted_must_be_in_every_later_inventory(self, cluster: Cluster) -> None:
        cluster.register(1)
        execution = cluster.execution(0)
        cluster.accept(execution, 1)
        assert cluster.register(2) == [execution]

    def test_an_inventory_that_was_on_its_way_before_says_nothing(self, cluster: Cluster) -> None:
        cluster.register(1)
        execution = cluster.execution(0)
        cluster.accept(execution, 2)
        assert cluster.register(2) == []
        assert cluster.register(3) == [execution]

    def test_what_is_held_is_not_missing(self, cluster: Cluster) -> None:
        cluster.register(1)
        execution = cluster.execution(0)
        cluster.accept(execution, 1)
        assert cluster.register(2, execution) == []

    def test_what_was_only_offered_may_not_have_arrived_yet(self, cluster: Cluster) -> None:
        cluster.register(1)
        cluster.execution(0)
        assert cluster.register(2) == []

    @pytest.mark.parametrize("state", [S.RUNNING, S.PUBLISHING])
    def test_what_had_begun_is_missing_even_if_another_orchestrator_gave_it(
        self, cluster: Cluster, state: ExecutionState
    ) -> None:
        execution = cluster.execution(0, state)
        assert cluster.register(1) == [execution]

    def test_what_has_ended_is_not_missing(self, cluster: Cluster) -> None:
        cluster.register(1)
        execution = cluster.execution(0)
        cluster.accept(execution, 1)
        cluster.execution(0, S.COMPLETED)
        assert cluster.register(2) == []
        assert not cluster.nodes.has_accepted(NODE, execution), "and is forgotten"

    def test_a_new_session_has_accepted_nothing(self, cluster: Cluster) -> None:
        cluster.register(5)
        offered, begun = cluster.execution(0), cluster.execution(1, S.RUNNING)
        for execution in (offered, begun):
            cluster.accept(execution, 5)
        assert cluster.register(1, session="s-2") == [begun]
        assert not cluster.nodes.has_accepted(NODE, offered), "so that it is offered again"

    def test_an_acceptance_of_an_earlier_session_counts_for_nothing(self, cluster: Cluster) -> None:
        cluster.register(1, session="s-2")
        execution = cluster.execution(0)
        cluster.accept(execution, 0, session="s-1")
        assert not cluster.nodes.has_accepted(NODE, execution)
        assert cluster.register(2, session="s-2") == []

    def test_an_acceptance_of_a_node_that_has_not_registered_counts_for_nothing(self, cluster: Cluster) -> None:
        execution = cluster.execution(0)
        cluster.accept(execution, 0)
        assert not cluster.nodes.has_accepted(NODE, execution)


class TestLeaving:
    def leave(self, cluster: Cluster, *held: ExecutionId) -> list[ExecutionId]:
        registration = Registration(info=INFO, session="s-1", inventory=2, held=held, leaving=True)
        return [record.id for record in cluster.nodes.on_registration(NODE, registration)]

    def test_nothing_is_placed_on_a_node_that_leaves(self, cluster: Cluster) -> None:
        cluster.register()
        self.leave(cluster)
        assert cluster.candidate.expected
        assert not cluster.nodes.is_connected(NODE)

    def test_what_it_does_not_hold_when_it_leaves_it_never_will(self, cluster: Cluster) -> None:
        cluster.register()
        held, offered = cluster.execution(0), cluster.execution(1)
        assert self.leave(cluster, held) == []
        late = cluster.execution(2)
        assert [record.id for record in cluster.nodes.never_to_begin()] == [offered, late]

    def test_its_next_start_ends_that(self, cluster: Cluster) -> None:
        cluster.register()
        self.leave(cluster)
        cluster.execution(0)
        assert cluster.register(1, session="s-2") == []
        assert not cluster.candidate.expected
        assert cluster.nodes.never_to_begin() == []

    def test_what_it_holds_is_not_known_from_its_heartbeat(self, cluster: Cluster) -> None:
        cluster.execution(0)
        cluster.nodes.on_heartbeat(NODE, Heartbeat(session="s-1", leaving=True))
        assert cluster.nodes.never_to_begin() == []

    def test_whoever_decides_is_woken_by_what_a_leaving_node_keeps(self, cluster: Cluster) -> None:
        cluster.register()
        cluster.nodes.on_heartbeat(NODE, Heartbeat(session="s-1", leaving=True))
        cluster.model.wake.clear()
        cluster.nodes.on_registration(NODE, Registration(info=INFO, session="s-1", inventory=2, leaving=True))
        assert cluster.model.wake.is_set()


class TestDraining:
    def drain(self, cluster: Cluster, *, draining: bool = True) -> None:
        cluster.revision += 1
        record = NodeRecord(info=INFO, draining=draining)
        cluster.model.apply(subjects.node_record(NODE), record, cluster.revision)

    def test_nothing_is_placed_on_a_node_that_is_drained(self, cluster: Cluster) -> None:
        cluster.register()
        self.drain(cluster)
        assert (cluster.candidate.expected, cluster.candidate.draining) == (True, True)
        assert cluster.nodes.is_connected(NODE)

    def test_it_may_be_ended(self, cluster: Cluster) -> None:
        cluster.register()
        self.drain(cluster)
        self.drain(cluster, draining=False)
        assert (cluster.candidate.expected, cluster.candidate.draining) == (False, False)

    def test_it_outlives_a_new_session(self, cluster: Cluster) -> None:
        self.drain(cluster)
        cluster.register(session="s-2")
        assert cluster.candidate.draining


def failed(reason: str, *, state: ExecutionState = S.FAILED, retryable: bool = True) -> ExecutionRecord:
    return new_execution(
        state,
        id=ExecutionId("e-1"),
        modify_time=2,
        failure=Failure(reason=reason, detail="secret words", retryable=retryable),
    )


def ran(*, at: int = 10) -> ExecutionRecord:
    """What was placed at this time."""
    return replace(failed(""), state=S.RUNNING, failure=None, create_time=at)


class TestRests:
    def rest(self, cluster: Cluster, reason: str = "DiskFull") -> float:
        cluster.nodes.on_failure(failed(reason))
        cluster.nodes.on_failure(failed(reason))  # what else it was given at the same time
        began = cluster.now
        while cluster.candidate.resting:
            cluster.now += 0.5
            cluster.beat()
        return cluster.now - began

    @pytest.mark.parametrize(
        ("reason", "told"),
        [
            ("DiskFull", ", whose disk was full"),
            ("NodeError", ", where a task failed (NodeError)"),
            ("GPUNotGiven", ", where a task failed (GPUNotGiven)"),
            ("DataDirNotSeen", ", where a task failed (DataDirNotSeen)"),
            ("EngineUnavailable", ", where a task failed (EngineUnavailable)"),
            ("NodeRestarted", ", where a task failed (NodeRestarted)"),
            ("ContainerLost", ", where a task failed (ContainerLost)"),
        ],
    )
    def test_a_node_where_a_task_failed_through_its_fault_is_given_nothing_for_a_while(
        self, cluster: Cluster, reason: str, told: str
    ) -> None:
        cluster.register()
        cluster.nodes.on_failure(failed(reason))
        assert (cluster.candidate.expected, cluster.candidate.resting) == (True, told)
        cluster.now += FIRST_SECONDS
        assert (cluster.candidate.expected, cluster.candidate.resting) == (False, "")

    @pytest.mark.parametrize(
        "record",
        [
            *(failed(each, retryable=each.retryable) for each in FailureReason if each.cause is Cause.TASK),
            failed("ImageNotPulled"),
            failed("TaskKilled"),
            failed("ObjectInTheWay"),
            failed("HandedBack"),
            failed("QueueFull", state=S.REJECTED),
            failed("NodeStopping", state=S.REJECTED),
            failed("VariableRefused", state=S.REJECTED, retryable=False),
        ],
        ids=lambda record: record.failure.reason,
    )
    def test_it_does_not_rest_for_what_the_task_the_registry_or_a_restart_is_the_reason_of(
        self, cluster: Cluster, record: ExecutionRecord
    ) -> None:
        cluster.register()
        cluster.nodes.on_failure(record)
        assert (cluster.candidate.expected, cluster.candidate.resting) == (False, "")

    def test_a_node_gives_back_unasked_unless_it_is_drained_or_leaves(self, cluster: Cluster) -> None:
        assert not cluster.nodes.gives_back_unasked(NODE), "which nobody has heard"
        cluster.register()
        assert cluster.nodes.gives_back_unasked(NODE)
        cluster.nodes.on_heartbeat(NODE, Heartbeat(session="s-1", leaving=True))
        assert not cluster.nodes.gives_back_unasked(NODE)
        cluster.register(session="s-2")
        cluster.revision += 1
        record = NodeRecord(info=INFO, draining=True)
        cluster.model.apply(subjects.node_record(NODE), record, cluster.revision)
        assert not cluster.nodes.gives_back_unasked(NODE)

    def test_it_rests_when_it_refuses_for_want_of_its_engine(self, cluster: Cluster) -> None:
        cluster.register()
        cluster.nodes.on_failure(failed("EngineUnavailable", state=S.REJECTED))
        assert cluster.candidate.resting

    def test_it_is_given_a_longer_rest_each_time_until_it_has_run_something(self, cluster: Cluster) -> None:
        cluster.register()
        rests = [self.rest(cluster, reason) for reason in ("DiskFull", "NodeError") * 4]
        assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, MOST_FIRSTS, MOST_FIRSTS]
        cluster.nodes.on_run(ran(), 1.0)
        assert self.rest(cluster) == FIRST_SECONDS

    def test_what_still_ran_there_does_not_end_the_rest(self, cluster: Cluster) -> None:
        cluster.register()
        cluster.nodes.on_failure(failed("DiskFull"))
        cluster.nodes.on_run(ran(at=1), 1.0)
        assert cluster.candidate.resting

    def test_one_that_lets_work_lie_rests_for_that_also_where_something_had_failed_there(
        self, cluster: Cluster
    ) -> None:
        cluster.register()
        cluster.nodes.on_failure(failed("DiskFull"))
        cluster.nodes.on_unattended(NODE)
        cluster.now += FIRST_SECONDS
        assert cluster.candidate.resting == LET_LIE
        cluster.nodes.on_failure(replace(failed("DiskFull"), node_id=OTHER))  # so that it may be the task's fault
        assert cluster.candidate.resting == LET_LIE

    def test_whoever_decides_is_woken(self, cluster: Cluster) -> None:
        cluster.register()
        cluster.model.wake.clear()
        cluster.nodes.on_failure(failed("DiskFull"))
        assert cluster.model.wake.is_set()


class TestEnginesAway:
    """Records have the wall clock of `Cluster.wall`, in nanoseconds."""

    def away(self, cluster: Cluster, since: int) -> None:
        cluster.revision += 1
        record = NodeRecord(info=replace(INFO), engines_away={"docker": since})
        cluster.model.apply(subjects.node_record(NODE), record, cluster.revision)
        cluster.register()

    def test_an_engine_that_is_away_is_waited_for_up_to_a_limit(self, cluster: Cluster) -> None:
        self.away(cluster, cluster.wall)
        assert cluster.candidate.away == {"docker": True}
        cluster.now += RETURN_SECONDS - 1
        cluster.beat()
        assert cluster.candidate.away == {"docker": True}
        cluster.now += 1
        assert cluster.candidate.away == {"docker": False}

    def test_what_is_away_is_what_was_offered_before_and_is_not_now(self) -> None:
        before = NodeRecord(info=replace(INFO, engines=("noop", "docker")), engines_away={"wasm": 5})
        assert engines_away(before, replace(INFO, engines=("noop",)), 7) == {"docker": 7, "wasm": 5}
        after = NodeRecord(info=replace(INFO, engines=("noop",)), engines_away={"docker": 7, "wasm": 5})
        assert engines_away(after, replace(INFO, engines=("noop", "wasm")), 9) == {"docker": 7}, "since the first time"

    def test_however_many_engines_a_node_says_it_had_few_are_remembered(self) -> None:
        before = NodeRecord(info=replace(INFO, engines=tuple(f"e-{number}" for number in range(1000))))
        assert len(engines_away(before, INFO, 7)) == MOST_ENGINES_AWAY


class TestLiveness:
    def test_a_node_that_registers_is_connected(self, cluster: Cluster) -> None:
        assert not cluster.nodes.is_connected(NODE)
        cluster.register()
        assert cluster.nodes.is_connected(NODE)
        assert repr(cluster.nodes) == "<Nodes, 1 of 1 connected>"

    def test_a_heartbeat_of_an_unknown_session_asks_for_a_registration(self, cluster: Cluster) -> None:
        assert not cluster.beat()
        cluster.register(session="s-2")
        assert not cluster.beat("s-1")
        assert cluster.beat("s-2")

    def test_a_node_is_lost_when_it_has_been_silent_for_longer_than_the_limit(self, cluster: Cluster) -> None:
        cluster.execution(0, S.RUNNING)
        cluster.register()
        cluster.now += DISCONNECT_SECONDS
        assert cluster.nodes.sweep() == ()
        cluster.now += 0.1
        assert cluster.nodes.sweep() == (NODE,)
        assert not cluster.nodes.is_connected(NODE)

    def test_what_only_a_lost_node_could_run_waits_for_it_for_a_while(self, cluster: Cluster) -> None:
        cluster.register()
        cluster.now += DISCONNECT_SECONDS + RETURN_SECONDS
        cluster.nodes.sweep()
        assert cluster.candidate.expected
        cluster.now += 1
        assert not cluster.nodes.fleet({}).nodes

    def test_nothing_waits_for_a_node_that_was_deleted(self, cluster: Cluster) -> None:
        cluster.register()
        assert cluster.nodes.fleet({}).nodes
        cluster.model.forget(subjects.node_record(NODE), cluster.revision + 1)
        assert not cluster.nodes.fleet({}).nodes

    def test_heartbeats_keep_a_node_connected(self, cluster: Cluster) -> None:
        cluster.execution(0, S.RUNNING)
        cluster.register()
        for _ in range(5):
            cluster.now += DISCONNECT_SECONDS
            assert cluster.beat()
            assert cluster.nodes.sweep() == ()

    def test_a_lost_node_without_executions_is_not_reported(self, cluster: Cluster) -> None:
        cluster.execution(0, S.COMPLETED)
        cluster.register()
        cluster.now += DISCONNECT_SECONDS + 1
        assert cluster.nodes.sweep() == ()
        assert not cluster.nodes.is_connected(NODE)

    def test_a_node_that_this_orchestrator_has_not_heard_yet_gets_time_too(self, cluster: Cluster) -> None:
        cluster.execution(0, S.RUNNING)
        assert cluster.nodes.sweep() == ()
        assert cluster.candidate.expected
        cluster.now += DISCONNECT_SECONDS + 1
        assert cluster.nodes.sweep() == (NODE,)

    def test_a_node_that_comes_back_is_connected_again_since_then(self, cluster: Cluster) -> None:
        cluster.register()
        cluster.now += 1000
        cluster.nodes.sweep()
        cluster.now += 100
        cluster.beat()
        assert cluster.nodes.is_connected(NODE)
        since = cluster.nodes.changed_at(NODE)
        assert since is not None
        assert abs(datetime.now(UTC) - since) < timedelta(seconds=5)

    def test_times_are_told_by_the_clock_on_the_wall(self, cluster: Cluster) -> None:
        assert cluster.nodes.last_seen(NODE) is None
        assert cluster.nodes.changed_at(NODE) is None
        cluster.register()
        cluster.now += 3600
        seen = cluster.nodes.last_seen(NODE)
        assert seen is not None
        assert abs(datetime.now(UTC) - timedelta(hours=1) - seen) < timedelta(seconds=5)

    @pytest.mark.parametrize("swept", [True, False], ids=["known to be lost", "not looked at yet"])
    def test_whoever_decides_is_woken_by_a_node_that_is_back_and_not_by_each_beat(
        self, cluster: Cluster, *, swept: bool
    ) -> None:
        cluster.register()
        cluster.nodes.fleet({})
        cluster.model.wake.clear()
        cluster.beat()
        assert not cluster.model.wake.is_set()
        cluster.now += DISCONNECT_SECONDS + 1
        if swept:
            cluster.nodes.sweep()
        assert cluster.candidate.expected
        cluster.model.wake.clear()
        cluster.beat()
        assert cluster.model.wake.is_set()
        assert not cluster.candidate.expected


class TestRoom:
    def test_an_idle_node_has_all_of_its_capacity(self, cluster: Cluster) -> None:
        cluster.register()
        assert cluster.candidate == Candidate(info=INFO, free=INFO.capacity)

    @pytest.mark.parametrize(
        ("state", "left"), [(S.NEW, 3.0), (S.RUNNING, 3.0), (S.PUBLISHING, 4.0), (S.COMPLETED, 4.0)]
    )
    def test_capacity_is_held_until_the_task_has_ended(
        self, cluster: Cluster, state: ExecutionState, left: float
    ) -> None:
        cluster.register()
        cluster.execution(0, state)
        assert cluster.candidate.free.cpu == left

    def test_nothing_is_given_in_advance_to_a_node_whose_tasks_may_be_long(self, cluster: Cluster) -> None:
        cluster.register()
        assert cluster.candidate.queue_left == 0

    def test_a_node_whose_tasks_are_quick_queues_and_one_long_task_ends_that(self, cluster: Cluster) -> None:
        cluster.register()
        for _ in range(60):
            cluster.nodes.on_run(ran(), 0.01)
        assert cluster.candidate.queue_left == INFO.queue_capacity
        cluster.nodes.on_run(ran(), 10 * QUICK_TASK_SECONDS)
        assert cluster.candidate.queue_left == 0

    @pytest.mark.parametrize(("run_seconds", "in_advance"), [(0.0, 2000), (0.01, 200), (0.25, 8), (0.6, 0)])
    def test_work_for_two_seconds_at_most_is_given_in_advance(
        self, cluster: Cluster, run_seconds: float, in_advance: int
    ) -> None:
        cluster.register()
        cluster.know(replace(INFO, queue_capacity=10_000))
        for _ in range(300):
            cluster.nodes.on_run(ran(), run_seconds)
        assert cluster.candidate.queue_left == pytest.approx(in_advance, abs=1)

    def test_what_is_queued_is_taken_off_the_queue_and_leaves_nothing_free(self, cluster: Cluster) -> None:
        self.quick(cluster)
        cluster.execution(0, S.RUNNING, cpu=3.0)
        cluster.execution(1, cpu=2.0)
        assert (cluster.candidate.free, cluster.candidate.queue_left) == (Capacity(), 2)

    def test_what_comes_after_something_queued_is_queued_too_however_small(self, cluster: Cluster) -> None:
        self.quick(cluster)
        cluster.execution(0, S.RUNNING, cpu=3.0)
        cluster.execution(1, cpu=2.0)
        cluster.execution(2, cpu=1.0)
        assert cluster.candidate.queue_left == 1

    def test_what_runs_is_not_queued_in_whichever_order_it_was_given(self, cluster: Cluster) -> None:
        self.quick(cluster)
        cluster.execution(0, cpu=4.0)
        cluster.execution(1, S.RUNNING)
        cluster.execution(2, S.RUNNING)
        assert cluster.candidate.queue_left == 2

    def test_a_queue_that_is_more_than_full_has_no_room(self, cluster: Cluster) -> None:
        self.quick(cluster)
        for number in range(10):
            cluster.execution(number, cpu=4.0)
        assert cluster.candidate.queue_left == 0

    def test_what_cannot_be_reached_comes_with_its_node(self, cluster: Cluster) -> None:
        cluster.register()
        cluster.know(replace(INFO, node_id=OTHER))
        unreachable = {OTHER: {"s3managed": "too far"}}
        found = {each.info.node_id: each for each in cluster.nodes.fleet(unreachable).nodes.values()}
        assert (found[NODE].unreachable, found[OTHER].unreachable) == ({}, {"s3managed": "too far"})
        assert (found[NODE].expected, found[OTHER].expected) == (False, True)

    @staticmethod
    def quick(cluster: Cluster) -> None:
        cluster.register()
        for _ in range(60):
            cluster.nodes.on_run(ran(), 0.01)


class TestTakingTheLead:
    """What an orchestrator knows that has heard the nodes for long, and begins to lead."""

    def test_nobody_is_lost_because_this_one_has_not_led_before(self, cluster: Cluster) -> None:
        cluster.execution(0, S.RUNNING)
        cluster.now += 100 * DISCONNECT_SECONDS
        cluster.nodes.begin()
        assert cluster.nodes.sweep() == ()
        cluster.now += DISCONNECT_SECONDS + 1
        assert cluster.nodes.sweep() == (NODE,)

    def test_nobody_is_lost_because_this_one_was_paused(self, cluster: Cluster) -> None:
        cluster.execution(0, S.RUNNING)
        cluster.register()
        cluster.now += 100 * DISCONNECT_SECONDS
        cluster.nodes.begin()
        assert cluster.nodes.sweep() == ()

    def test_a_node_is_connected_by_its_heartbeats_and_gets_work_when_it_has_registered(self, cluster: Cluster) -> None:
        assert not cluster.beat()
        assert cluster.nodes.is_connected(NODE)
        assert not cluster.nodes.is_registered(NODE)
        assert cluster.candidate.expected
        cluster.register()
        assert cluster.nodes.is_registered(NODE)
        assert not cluster.candidate.expected

    def test_every_node_has_to_register_again(self, cluster: Cluster) -> None:
        cluster.register()
        execution = cluster.execution(0)
        cluster.accept(execution, 0)
        cluster.nodes.begin()
        assert cluster.nodes.is_connected(NODE)
        assert not cluster.nodes.is_registered(NODE)
        assert not cluster.nodes.has_accepted(NODE, execution), "so that it is offered again"
        assert not cluster.beat(), "so that it is asked to register"

    def test_a_node_that_leaves_is_not_connected_for_one_that_only_hears_it(self, cluster: Cluster) -> None:
        cluster.beat()
        cluster.nodes.on_heartbeat(NODE, Heartbeat(session="s-1", leaving=True))
        assert not cluster.nodes.is_connected(NODE)
        cluster.beat("s-2")
        assert cluster.nodes.is_connected(NODE)

    def test_a_node_that_fell_silent_is_not_connected_for_one_that_only_hears_it(self, cluster: Cluster) -> None:
        cluster.beat()
        cluster.now += DISCONNECT_SECONDS + 1
        assert not cluster.nodes.is_connected(NODE)


class TestDeleted:
    """Whether a node may be forgotten, and what is left of one that was."""

    def forget(self, cluster: Cluster) -> None:
        cluster.revision += 1
        cluster.model.forget(subjects.node_record(NODE), cluster.revision)

    def test_one_that_had_no_time_to_be_heard_may_be_connected(self, cluster: Cluster) -> None:
        assert (cluster.nodes.is_connected(NODE), cluster.nodes.may_be_connected(NODE)) == (False, True)
        cluster.now += DISCONNECT_SECONDS + 1
        assert not cluster.nodes.may_be_connected(NODE)

    def test_one_that_leaves_is_not_connected_at_once(self, cluster: Cluster) -> None:
        cluster.register()
        assert cluster.nodes.may_be_connected(NODE)
        cluster.nodes.on_heartbeat(NODE, Heartbeat(session="s-1", leaving=True))
        assert not cluster.nodes.may_be_connected(NODE)

    def test_nothing_is_kept_of_one_that_was_forgotten_and_is_silent(self, cluster: Cluster) -> None:
        cluster.register()
        self.forget(cluster)
        cluster.nodes.sweep()
        assert cluster.nodes.presence(NODE) is not None, "it may register any moment"
        cluster.now += DISCONNECT_SECONDS + 1
        cluster.nodes.sweep()
        assert cluster.nodes.presence(NODE) is None
        cluster.nodes.fleet({})
        assert cluster.nodes.sweep() == ()

    def test_one_that_is_known_keeps_what_is_known_of_it_however_long_it_is_silent(self, cluster: Cluster) -> None:
        cluster.register()
        cluster.now += DISCONNECT_SECONDS + 1
        cluster.nodes.sweep()
        assert cluster.nodes.last_seen(NODE) is not None
