"""The fleet: which nodes suit which jobs, in the order in which they are chosen, kept up to date.

Jobs of one shape suit the same nodes. For each shape that was asked for lately there is a lane: the nodes that suit it,
best first. A lane learns of the nodes that have changed when it is asked, so that a choice costs by what has changed
and not by how many nodes there are. Jobs of different owners share a lane, so it is made from their shape alone.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from shared.ids import NodeId
from shared.jobs.capacity import Capacity, sum_of
from shared.jobs.inputs.kinds import is_writable
from shared.jobs.namespaces import DEFAULT_NAMESPACE
from shared.jobs.publisher_params import copies_hard_links, is_plain
from shared.jobs.replicas.verification import replicas_of
from shared.jobs.secrets import uses_secrets
from shared.jobs.spec import Constraint, Job, Resources
from shared.protocol.messages import (
    COPIES_HARD_LINKS,
    PUBLISHES_PLAIN,
    RUNS_REPRODUCIBLY,
    SENDS_MANIFESTS,
    TAKES_SECRETS,
    WRITES_LOCAL_PATHS,
    NodeInfo,
)

LANES = 256
"""How many shapes are remembered."""
SPARE_CHANGES = 1024


class Shape(NamedTuple):
    """What of a job decides which nodes suit it, in the words of its author.

    What is known of one shape is told to every job of that shape, so nothing else of a job may come into it: of the
    nodes that refused the job this is who they are, and not what they said. Jobs of two namespaces never share one, as
    a node that does not serve a namespace is not there for its jobs.
    """

    engine: str
    publisher: str
    resources: Resources
    constraints: tuple[Constraint, ...]
    input_sources: tuple[str, ...]
    refused_by: frozenset[NodeId]
    abilities: tuple[str, ...] = ()
    namespace: str = DEFAULT_NAMESPACE
    replicas: int = 1
    """Of which each runs at another owner, so that a node that is nobody's gets none of several."""


def shape_of(job: Job, refused_by: frozenset[NodeId]) -> Shape:
    task = job.task
    return Shape(
        task.engine.type,
        task.publisher.type,
        task.resources,
        job.constraints,
        tuple(source.source.type for source in task.input_sources),
        refused_by,
        _abilities_for(job),
        job.namespace,
        replicas_of(job),
    )


def _abilities_for(job: Job) -> tuple[str, ...]:
    task = job.task
    wanted = {
        COPIES_HARD_LINKS: copies_hard_links(task.publisher),
        PUBLISHES_PLAIN: is_plain(task.publisher),
        RUNS_REPRODUCIBLY: task.reproducible,
        WRITES_LOCAL_PATHS: any(is_writable(each.source) for each in task.input_sources),
        TAKES_SECRETS: uses_secrets(task),
        SENDS_MANIFESTS: replicas_of(job) > 1,
    }
    return tuple(ability for ability, is_wanted in wanted.items() if is_wanted)


class Candidate(msgspec.Struct, kw_only=True):
    """A node while plans are made. What is placed on it is taken off `free` and `queue_left`.

    `expected` is a node that is not connected but may be back soon, or one that is `draining`, or `resting` for the
    reason that is told: nothing is placed on it, and what only it could run waits. `unreachable` are publishers that
    the node knows and whose store it cannot reach, with the reason; `away` are engines
    that it offered before, and whether they are waited for still. One that `takes_one` is given no more than that.
    Where it serves some `namespaces` alone, it is as if it were not there for the jobs of others; while it is
    `unapproved`, it is given nothing. `owner` is whose it is, empty where nobody was named.
    """

    info: NodeInfo
    free: Capacity
    queue_left: int = 0
    expected: bool = False
    draining: bool = False
    resting: str = ""
    unreachable: Mapping[str, str] = {}
    away: Mapping[str, bool] = {}
    takes_one: bool = False
    namespaces: tuple[str, ...] = ()
    unapproved: bool = False
    owner: str = ""

    def serves(self, namespace: str) -> bool:
        return not self.namespaces or namespace in self.namespaces

    @property
    def has_room(self) -> bool:
        return not self.expected and (self.queue_left > 0 or self.free.cpu > 0)

    def is_as(self, other: "Candidate") -> bool:
        """Whether the same jobs can ever run there."""
        return (
            self.info is other.info
            and self.unreachable == other.unreachable
            and self.away == other.away
            and (self.namespaces, self.unapproved) == (other.namespaces, other.unapproved)
            and self.owner == other.owner
        )

    def take(self, resources: Capacity) -> None:
        """Place something on it, beside what runs or behind it."""
        if self.takes_one:
            self.free, self.queue_left = Capacity(), 0
        elif resources.fits_in(self.free):
            self.free = self.free.minus(resources)
        else:
            # Nothing overtakes what is queued, so that whatever comes to this node from now on is queued too.
            self.free, self.queue_left = Capacity(), self.queue_left - 1


Unsuitable = Callable[[Candidate], str]
"""Why a node can never run a job; empty if it can."""
Favour = Callable[[Mapping[str, str]], int]
"""How many of a job's preferences the labels of a node fulfil."""

_Rank = tuple[bool, int, float, int, int]
"""Whether it would have to wait there, and then what `min` is to prefer; the last one is the order of nodes."""


class Lane:
    """The nodes for jobs of one shape. `reasons` are why others that serve its namespace are not suitable.

    Those that are `open` may be given something, if they have room; the others of them may be open again one day.
    """

    def __init__(
        self,
        fleet: "Fleet",
        resources: Capacity,
        unsuitable: Unsuitable,
        favour: Favour,
        *,
        engine: str = "",
        namespace: str = DEFAULT_NAMESPACE,
    ) -> None:
        self.suitable: dict[NodeId, Candidate] = {}
        self.open: dict[NodeId, Candidate] = {}
        self.reasons: dict[NodeId, str] = {}
        self._fleet = fleet
        self._resources = resources
        self._unsuitable = unsuitable
        self._favour = favour
        self._engine = engine
        self._namespace = namespace
        self._heap: list[tuple[_Rank, NodeId]] = []
        self._ranks: dict[NodeId, _Rank] = {}
        self._seen = -1

    def catch_up(self) -> None:
        """Learn of the nodes that have changed since this was called last."""
        changed, self._seen = self._fleet.changed_since(self._seen)
        if changed is None:
            self.suitable, self.open, self.reasons, self._heap, self._ranks = {}, {}, {}, [], {}
            changed = self._fleet.nodes
        for node in changed:
            self._learn(node)
        if len(self._heap) > SPARE_CHANGES + 2 * len(self._ranks):
            self._heap = [(rank, node) for node, rank in self._ranks.items()]
            heapq.heapify(self._heap)

    def _learn(self, node: NodeId) -> None:
        candidate = self._fleet.nodes.get(node)
        known = self.suitable.get(node)
        if candidate is None or not candidate.serves(self._namespace):
            self._leave_out(node)
            self.reasons.pop(node, None)
            return
        if known is None or not known.is_as(candidate):
            reason = self._unsuitable(candidate)
            if reason:
                self.reasons[node] = reason
                self._leave_out(node)
                return
            self.reasons.pop(node, None)
        self.suitable[node] = candidate
        self._enter(candidate)

    def _leave_out(self, node: NodeId) -> None:
        self.suitable.pop(node, None)
        self.open.pop(node, None)
        self._ranks.pop(node, None)

    def _enter(self, candidate: Candidate) -> None:
        node = candidate.info.node_id
        if self._is_open(candidate):
            self.open[node] = candidate
        else:
            self.open.pop(node, None)
        rank = self._rank(candidate)
        if rank is None:
            self._ranks.pop(node, None)
        elif self._ranks.get(node) != rank:
            self._ranks[node] = rank
            heapq.heappush(self._heap, (rank, node))

    def _rank(self, candidate: Candidate) -> _Rank | None:
        """None while it can take nothing."""
        fits = self._resources.fits_in(candidate.free)
        if candidate.info.node_id not in self.open or not (fits or candidate.queue_left > 0):
            return None
        info = candidate.info
        share = candidate.free.cpu / info.capacity.cpu if info.capacity.cpu else 0.0
        order = self._fleet.order_of(info.node_id)
        return not fits, -self._favour(info.labels), -share, -candidate.queue_left, order

    def _is_open(self, candidate: Candidate) -> bool:
        """Whether it may be given something, if it has room."""
        return not candidate.expected and self._engine not in candidate.away

    def choose(
        self,
        failed_on: Collection[NodeId],
        taken: Mapping[NodeId, int],
        at_hand: Sequence[NodeId] = (),
        without: Collection[str] = (),
    ) -> Candidate | None:
        """The best node with free capacity, else one that queues: not failed, spread, favoured, at hand, emptiest.

        `at_hand` are nodes that have what is needed there already, the best of them first. Nodes of the owners
        `without` which it has to be done are none.
        """
        passed: list[tuple[_Rank, NodeId]] = []
        best: tuple[bool, bool, int, _Rank, NodeId] | None = None
        while self._heap:
            rank, node = self._heap[0]
            if self._ranks.get(node) != rank:
                heapq.heappop(self._heap)  # it has changed since
                continue
            if best is not None and best < (rank[0], False, 0, rank, node):
                break
            passed.append(heapq.heappop(self._heap))
            if self.suitable[node].owner in without:
                continue
            found = (rank[0], *_met(node, failed_on, taken), rank, node)
            best = found if best is None else min(best, found)
            if found[1:3] == (False, 0):
                break
        for each in passed:
            heapq.heappush(self._heap, each)
        if best is None:
            return None
        is_as_good = (*best[:3], best[3][1])
        for node in at_hand:
            known = self._ranks.get(node)
            if known is None or self.suitable[node].owner in without:
                continue
            if not known[0] and (False, *_met(node, failed_on, taken), known[1]) == is_as_good:
                return self.suitable[node]
        return self.suitable[best[4]]

    @property
    def has_room(self) -> bool:
        """Whether any of its nodes can take something now."""
        return bool(self._ranks)

    def with_room(self, node: NodeId) -> Candidate | None:
        """This node, if it can take something now."""
        return self.suitable[node] if node in self._ranks else None

    def some_suitable(self, most: int) -> Iterator[Candidate]:
        return islice(self.suitable.values(), most)

    def __repr__(self) -> str:
        return f"<Lane of {len(self.suitable)} nodes, {len(self._ranks)} of which have room>"


def _met(node: NodeId, failed_on: Collection[NodeId], taken: Mapping[NodeId, int]) -> tuple[bool, int]:
    """What a job has met there: whether it has failed, and how many of it are there. Both are best if low."""
    return node in failed_on, taken.get(node, 0)


class Fleet:
    """All nodes that are there or may be back soon. Who changes a candidate says so by `put`.

    What plans take off a node is a guess until it is stored, so each of these has to be `put` as it is then.
    """

    def __init__(self, candidates: Iterable[Candidate] = ()) -> None:
        self.nodes: dict[NodeId, Candidate] = {}
        self._order: dict[NodeId, int] = {}
        self._roomy: set[NodeId] = set()
        self._lanes: dict[Shape, Lane] = {}
        self._changes: list[NodeId] = []
        self._forgotten_changes = 0
        self._planned: set[NodeId] = set()
        self._total: Capacity | None = Capacity()
        for each in candidates:
            self.put(each)

    @property
    def total(self) -> Capacity:
        """What all nodes have together, whatever of it is free."""
        if self._total is None:
            self._total = sum_of(each.info.capacity for each in self.nodes.values())
        return self._total

    @property
    def has_room(self) -> bool:
        """Whether any node could take anything at all."""
        return bool(self._roomy)

    def put(self, candidate: Candidate) -> None:
        """It is new, or has changed."""
        node = candidate.info.node_id
        known = self.nodes.get(node)
        if known is None or known.info.capacity != candidate.info.capacity:
            self._total = None
        self._order.setdefault(node, len(self._order))
        self.nodes[node] = candidate
        if candidate.has_room:
            self._roomy.add(node)
        else:
            self._roomy.discard(node)
        self._change(node)

    def take(self, candidate: Candidate, resources: Capacity) -> None:
        """Plan to place something there."""
        candidate.take(resources)
        self._plan(candidate)

    def keep_free(self, candidate: Candidate) -> None:
        """Plan to place nothing more there."""
        candidate.free, candidate.queue_left = Capacity(), 0
        self._plan(candidate)

    def _plan(self, candidate: Candidate) -> None:
        self._planned.add(candidate.info.node_id)
        self.put(candidate)

    def pop_planned(self) -> set[NodeId]:
        """The nodes off which plans have taken something since this was asked last."""
        planned, self._planned = self._planned, set()
        return planned

    def drop(self, node: NodeId) -> None:
        """Also where it is not there."""
        if self.nodes.pop(node, None) is not None:
            self._roomy.discard(node)
            self._total = None
            self._change(node)

    def _change(self, node: NodeId) -> None:
        self._changes.append(node)
        if len(self._changes) > SPARE_CHANGES + len(self.nodes):
            self._forgotten_changes += len(self._changes)
            self._changes.clear()

    def changed_since(self, number: int) -> tuple[Collection[NodeId] | None, int]:
        """Which nodes have, None for any of them, and the number to ask with the next time."""
        now = self._forgotten_changes + len(self._changes)
        if number < self._forgotten_changes:
            return None, now
        return set(self._changes[number - self._forgotten_changes :]), now

    def order_of(self, node: NodeId) -> int:
        return self._order[node]

    def lane(self, shape: Shape, make: Callable[[], Lane]) -> Lane:
        lane = self._lanes.pop(shape, None) or make()
        self._lanes[shape] = lane
        if len(self._lanes) > LANES:
            del self._lanes[next(iter(self._lanes))]
        lane.catch_up()
        return lane

    def __repr__(self) -> str:
        return f"<Fleet of {len(self.nodes)} nodes, {len(self._roomy)} with room>"
