"""Presence: which nodes there are, whether they are alive, and how much they can take.

What a node says of itself is stored; whether it lives is known from its heartbeats, and only in memory. Every message
here is attributed to the node that its subject names.
"""

import math
import time
from collections.abc import Callable, Container, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from orchestrator.admission.budgets import Budgets
from orchestrator.nodes.conduct import Conduct
from orchestrator.nodes.process_presence import Presence
from orchestrator.nodes.resting_nodes import FIRST_SECONDS, RestingNodes, why_resting
from orchestrator.rules import time_outs
from orchestrator.rules.fleet import Candidate, Fleet
from orchestrator.rules.life_events import Unattended
from orchestrator.rules.records import ExecutionRecord, NodeRecord
from orchestrator.rules.time_outs import LastHeard, SilenceLimits
from orchestrator.state.model import Model
from orchestrator.storage.wall_clock import now_ns
from shared.ids import ExecutionId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.states import ExecutionState
from shared.protocol.messages import Accepted, Heartbeat, Registration

IN_ADVANCE_SECONDS = 2.0
"""So much, one task after another, up to the capacity of its queue."""
LEAST_RUN_SECONDS = 0.001
AVERAGE_WEIGHT = 0.1
PROBE_SECONDS = 10.0
"""What a suspect node runs for so long goes well there."""
WAITED_FOR = ", which has failed task after task and is tried with one"
DIFFERS = ", which gave other results than others agree about: `tarpon node approve` lifts that"
LOOK_SECONDS = 0.25
"""How often it is looked who has been silent for too long."""


class Nodes:
    """Liveness of nodes, as any orchestrator hears it; what they hold, only the one that leads.

    `disconnect_seconds` of silence make a node lost. Jobs wait `return_seconds` for it then, and for its engine.
    `rest_seconds` is the first rest of one where a task failed. After `rest_after_differences` from what others agree
    about a node is given nothing; 0 is never. `clock` gives monotonic seconds, `wall` the time of
    records.
    """

    def __init__(
        self,
        model: Model,
        *,
        disconnect_seconds: float,
        return_seconds: float = 0.0,
        rest_seconds: float = FIRST_SECONDS,
        rest_after_differences: int = 0,
        budgets: Budgets | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = now_ns,
    ) -> None:
        self.budgets = budgets or Budgets(clock=clock)
        self._model = model
        self._disconnect_seconds = disconnect_seconds
        self._return_seconds = return_seconds
        self._clock = clock
        self._wall = wall
        self._started = clock()
        self._present: dict[NodeId, Presence] = {}
        self._fleet = Fleet()
        self._touched = set(model.nodes)
        model.news.on_node = self._touched.add
        self._rests = RestingNodes(rest_seconds)
        self._rest_after_differences = rest_after_differences
        self.conduct = Conduct()
        self._unreachable: dict[NodeId, dict[str, str]] = {}
        self._looked_at = -math.inf

    def begin(self) -> None:
        """Start to lead: every node has to register, and none is lost before it had its time to be heard here."""
        self._started = self._clock()
        for present in self._present.values():
            present.session, present.accepted, present.kept = "", {}, None
            present.told, present.silent_since = {}, None
        self.conduct = Conduct()
        for node, record in self._model.nodes.items():
            if record.suspicion is not None:
                self.conduct.restore(node, record.suspicion, now=self._wall())
        self._touched.update(self._model.nodes)

    def presence(self, node: NodeId) -> Presence | None:
        return self._present.get(node)

    def is_rejected(self, node: NodeId) -> bool:
        """Whether an operator has rejected it, so that nothing counts that it says."""
        return node in self._model.rejected

    def is_connected(self, node: NodeId) -> bool:
        present = self._present.get(node)
        return present is not None and present.connected and self._is_expected(node)

    def may_be_connected(self, node: NodeId) -> bool:
        """As `is_connected`; also of a node that had not its time yet to be heard by this orchestrator."""
        return self.is_connected(node) if node in self._present else self._is_expected(node)

    def is_registered(self, node: NodeId) -> bool:
        """Connected, and known by its inventory to this orchestrator since it leads."""
        present = self._present.get(node)
        return present is not None and bool(present.session) and self.is_connected(node)

    @property
    def return_seconds(self) -> float:
        """For how long a node that cannot be given its work is waited for."""
        return self._return_seconds

    def is_joining(self, node: NodeId) -> bool:
        """Connected for all that is known, and about to tell this orchestrator what it holds."""
        return self.may_be_connected(node) and not self.is_registered(node)

    def last_seen(self, node: NodeId) -> datetime | None:
        present = self._present.get(node)
        return self._wall_clock(present.last_seen) if present else None

    def changed_at(self, node: NodeId) -> datetime | None:
        """Since when the node is connected, or is not."""
        present = self._present.get(node)
        return self._wall_clock(present.changed_at) if present else None

    def on_heartbeat(self, node: NodeId, beat: Heartbeat) -> bool:
        """Take note; False if this session has not registered with this orchestrator since it leads."""
        now = self._clock()
        present = self._present.setdefault(node, Presence(last_seen=now, changed_at=now))
        present.heartbeat = beat
        present.clock_skew_seconds = beat.sent_at - self._wall() / 1e9 if beat.sent_at else 0.0
        if beat.leaving:
            self._leave(node, present, now)
        else:
            present.leaving = False
        self._seen(node, present)
        return present.session == beat.session

    def on_registration(self, node: NodeId, registration: Registration) -> tuple[ExecutionRecord, ...]:
        """Take note; give the live executions which this node should hold, and does not hold any more."""
        now = self._clock()
        present = self._present.setdefault(node, Presence(last_seen=now, changed_at=now))
        if present.session != registration.session:
            present.session, present.accepted, present.leaving = registration.session, {}, False
            present.kept = None
            self._touch(node)
        if registration.leaving:
            self._leave(node, present, now)
            present.kept = frozenset(registration.held)
            self._model.wake.set()  # what it does not hold can begin elsewhere
        self._seen(node, present)
        held = frozenset(registration.held)
        live = self._model.executions.live.get(node, {})
        present.accepted = {each: number for each, number in present.accepted.items() if each in live}
        present.told = {each: told for each, told in present.told.items() if each in live}
        return tuple(
            record
            for execution, record in live.items()
            if execution not in held and self._should_be_held(present, record, registration.inventory)
        )

    @staticmethod
    def _should_be_held(present: Presence, record: ExecutionRecord, inventory: int) -> bool:
        """An execution accepted at inventory k is in all later ones; one only offered may not have arrived yet."""
        accepted = present.accepted.get(record.id)
        if record.awaits_agreement:
            return False
        if accepted is None:
            return record.state is not ExecutionState.NEW
        return inventory > accepted

    def never_to_begin(self) -> list[ExecutionRecord]:
        """What was placed on nodes that leave and is not there: they do not take it any more, also if it was late."""
        return [
            record
            for node, present in self._present.items()
            if present.leaving and present.kept is not None
            for record in self._model.executions.live.get(node, {}).values()
            if record.state is ExecutionState.NEW and record.id not in present.kept
        ]

    def on_accepted(self, node: NodeId, execution: ExecutionId, answer: Accepted) -> None:
        present = self._present.get(node)
        if present is not None and present.session == answer.session:
            present.accepted[execution] = answer.inventories
            now = self._clock()
            present.told.setdefault(execution, LastHeard(accepted_at=now, last_at=now))

    def on_progress(self, node: NodeId, execution: ExecutionId) -> None:
        """It says something of what it accepted."""
        present = self._present.get(node)
        if present is not None and execution in present.told:
            told = present.told[execution]
            present.told[execution] = LastHeard(accepted_at=told.accepted_at, last_at=self._clock())

    def on_offers(self, node: NodeId, *, answered: bool) -> None:
        """It has answered offers, in whatever way, or has not."""
        present = self._present.get(node)
        if present is None:
            return
        if answered:
            present.silent_since = None
        elif present.silent_since is None:
            present.silent_since = self._clock()

    def unattended(self, record: ExecutionRecord, limits: SilenceLimits) -> Unattended | None:
        """What is to happen to this execution where its node, which is connected, lets it lie."""
        present = self._present.get(record.node_id)
        if present is None or not self.is_registered(record.node_id):
            return None
        return time_outs.of_silence(
            record,
            silent_since=present.silent_since,
            told=present.told.get(record.id),
            limits=limits,
            now=self._clock(),
        )

    def on_unattended(self, node: NodeId) -> None:
        """Give it nothing for a longer while."""
        self._rests.begin_idle(node, self._clock())
        self._touch(node)

    def has_accepted(self, node: NodeId, execution: ExecutionId) -> bool:
        present = self._present.get(node)
        return present is not None and execution in present.accepted

    def on_run(self, record: ExecutionRecord, run_seconds: float) -> None:
        """Its task has ended there: learn how long this node's tasks take, and that it does well."""
        node = record.node_id
        was_suspect = self.conduct.is_suspect(node)
        self.conduct.on_success(record)
        present = self._present.get(node)
        if present is not None:
            was_quick = present.is_quick
            weight = AVERAGE_WEIGHT if run_seconds < present.average_run_seconds else 0.5
            present.average_run_seconds += weight * (run_seconds - present.average_run_seconds)
            if present.is_quick is not was_quick or was_suspect:
                self._touch(node)
            if not self.conduct.holds(node):
                self._rests.worked(node)

    def on_failure(self, record: ExecutionRecord) -> None:
        """Where it is held against the node, give it nothing for a while."""
        if self.conduct.on_failure(record):
            self._rests.begin(record.node_id, self._clock(), why_resting(record))
            self._touch(record.node_id)
        for node in self.conduct.disputed(record):
            self._rests.end(node)
            self._touch(node)

    def gives_back_unasked(self, node: NodeId) -> bool:
        """Whether nobody knows that it stops or is drained, as nodes of ours do when they give back what they have."""
        known = self._model.nodes.get(node)
        return self.is_connected(node) and not (known is not None and known.draining)

    def others(self, without: Container[NodeId]) -> Iterator[Candidate]:
        """The nodes but for these that may be given something, now or when they have room, and do well."""
        for node, each in self._fleet.nodes.items():
            is_there = node not in without and not each.draining and self.is_registered(node)
            if is_there and not self.conduct.is_suspect(node):
                yield each

    def _leave(self, node: NodeId, present: Presence, now: float) -> None:
        """It takes nothing on any more, until a new session of it registers."""
        if not present.leaving:
            present.leaving, present.connected, present.changed_at = True, False, now
            self._touch(node)

    def _seen(self, node: NodeId, present: Presence) -> None:
        was_expected = self._is_expected(node)
        present.last_seen = self._clock()
        if not present.connected and not present.leaving:
            present.connected, present.changed_at = True, present.last_seen
            self._touch(node)
        elif not was_expected:
            self._touch(node)

    def _touch(self, node: NodeId) -> None:
        """Something changed about what may be placed on it; most heartbeats change nothing."""
        self._touched.add(node)
        self._model.wake.set()

    def sweep(self) -> tuple[NodeId, ...]:
        """Mark nodes that have been silent for too long; give all that are silent and may still have executions."""
        now = self._clock()
        for node, present in self._present.items():
            if present.connected and now - self._last_heard(present) > self._disconnect_seconds:
                present.connected, present.changed_at = False, now
                self._touch(node)
        for node in [each for each in self._present if each not in self._model.nodes and not self._is_expected(each)]:
            del self._present[node]  # it was deleted, or never registered
            self.budgets.forget(node)
            self.conduct.forget(node)
        held = self._model.executions.live.items()
        return tuple(node for node, executions in held if executions and not self._is_expected(node))

    def _is_expected(self, node: NodeId) -> bool:
        """Connected, or not silent for too long: a node that was known before this one began to lead gets time too."""
        return node not in self._model.rejected and self._is_heard(node)

    def _is_heard(self, node: NodeId) -> bool:
        return self._silent_seconds(node) <= self._disconnect_seconds

    def _may_return(self, node: NodeId) -> bool:
        known = node in self._model.nodes and node not in self._model.rejected
        return known and self._silent_seconds(node) <= self._disconnect_seconds + self._return_seconds

    def _silent_seconds(self, node: NodeId) -> float:
        return self._clock() - self._last_heard(self._present.get(node))

    def _last_heard(self, present: Presence | None) -> float:
        return max(present.last_seen, self._started) if present is not None else self._started

    def fleet(self, unreachable: dict[NodeId, dict[str, str]]) -> Fleet:
        """Every node that is connected or may be back soon, with what it has left.

        Looked at are those of which something has changed: what they say, what is stored of them, what plans took off.
        """
        if unreachable != self._unreachable:
            self._unreachable = unreachable
            self._touched.update(self._model.nodes)
        if self._clock() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = self._clock()
            self._touched.update(node for node, each in self._fleet.nodes.items() if self._has_aged(each))
            self._look_at_suspects()
        self._touched.update(self._rests.over(self._clock()), self._fleet.pop_planned())
        while self._touched:
            node = self._touched.pop()
            if self._may_return(node):
                self._fleet.put(self.candidate(node, unreachable.get(node, {})))
            else:
                self._fleet.drop(node)
        return self._fleet

    def _has_aged(self, candidate: Candidate) -> bool:
        """Whether time alone has made another of it."""
        node = candidate.info.node_id
        is_gone = not (candidate.expected or self._is_expected(node)) or not self._may_return(node)
        return is_gone or any(candidate.away.values())

    def _look_at_suspects(self) -> None:
        """What a suspect was given to try, and runs for some time, does well."""
        since = self._wall() - int(PROBE_SECONDS * 1e9)
        for node, _ in list(self.conduct.suspicions()):
            for record in self._probes(node):
                if record.state is ExecutionState.RUNNING and record.modify_time <= since:
                    self.conduct.on_success(record)
                    self._rests.worked(node)
                    self._touch(node)

    def _probes(self, node: NodeId) -> list[ExecutionRecord]:
        """What it was given since something failed there last."""
        at = self.conduct.failed_at(node)
        live = self._model.executions.live.get(node, {}).values()
        return [each for each in live if each.state.holds_capacity and each.create_time > at]

    def candidate(self, node: NodeId, unreachable: Mapping[str, str]) -> Candidate:
        known = self._model.nodes[node]
        info, draining = known.info, known.draining
        used, overcommitted = Capacity(), 0
        holding = [each for each in self._model.executions.live.get(node, {}).values() if each.state.holds_capacity]
        for record in sorted(holding, key=lambda each: each.state is not ExecutionState.RUNNING):
            if not overcommitted and used.plus(record.resources).fits_in(info.capacity):
                used = used.plus(record.resources)
            else:
                overcommitted += 1
        is_suspect = self.conduct.is_suspect(node)
        binding = self._model.bindings.get(node)
        resting = self._rests.why(node) or (WAITED_FOR if self.is_on_trial(node) else "")
        if self.differs_too_often(node):
            resting = DIFFERS
        return Candidate(
            info=info,
            free=info.capacity.minus(used) if not overcommitted else Capacity(),
            queue_left=max(0, self._queue_capacity(node, info.queue_capacity) - overcommitted),
            expected=draining or bool(resting) or not self.is_registered(node),
            draining=draining,
            resting=resting,
            takes_one=is_suspect,
            unreachable=unreachable,
            away=self._away(known),
            namespaces=binding.namespaces if binding else (),
            unapproved=bool(binding and binding.unapproved),
            owner=binding.owner if binding else "",
        )

    def rests_until(self, node: NodeId) -> int:
        """In nanoseconds since 1970; 0 where it does not rest, as far as this orchestrator knows."""
        until = self._rests.until(node)
        return 0 if until is None else self._wall() + int((until - self._clock()) * 1e9)

    def differs_too_often(self, node: NodeId) -> bool:
        """Whether it gave other results than others had agreed about so often that it is given nothing more."""
        known = self._model.nodes.get(node)
        return known is not None and 0 < self._rest_after_differences <= known.differed

    def is_on_trial(self, node: NodeId) -> bool:
        """Whether it is suspect, and has the task that it is tried with."""
        return self.conduct.is_suspect(node) and bool(self._probes(node))

    def _away(self, known: NodeRecord) -> dict[str, bool]:
        """Its engines that are away, and whether they are waited for still."""
        if not known.engines_away:
            return {}
        since = self._wall() - int(self._return_seconds * 1e9)
        return {engine: at > since for engine, at in known.engines_away.items()}

    def _queue_capacity(self, node: NodeId, most: int) -> int:
        """Work is given in advance only to a node whose tasks are quick, so that none waits behind a long one."""
        present = self._present.get(node)
        if present is None or not present.is_quick:
            return 0
        return min(most, int(IN_ADVANCE_SECONDS / max(present.average_run_seconds, LEAST_RUN_SECONDS)))

    def _wall_clock(self, moment: float) -> datetime:
        """When a monotonic moment was."""
        return datetime.now(UTC) - timedelta(seconds=self._clock() - moment)

    def __repr__(self) -> str:
        connected = sum(present.connected for present in self._present.values())
        return f"<Nodes, {connected} of {len(self._model.nodes)} connected>"
