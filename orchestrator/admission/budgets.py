"""Budgets of nodes: what one sends beyond its own is dropped or comes later, and is counted.

Whoever has a join token is a node, and may send whatever it likes. Subscriptions and the stream of reports are
shared by all nodes, so what is too much is turned away before it takes a place there, by the node that its subject
names. Budgets are far above what a node of ours sends. A report is never dropped for one, it is only put off.
"""

import asyncio
import enum
import time
from collections import Counter
from collections.abc import Callable

from orchestrator.admission.bounds.allowance import Allowance
from shared.ids import NodeId
from shared.protocol import subjects

_MEBI = 1 << 20


class Traffic(enum.StrEnum):
    """What a node sends."""

    HEARTBEATS = "heartbeats"
    REQUESTS = "requests"
    REGISTRATIONS = "registrations"
    REPORTS = "reports"


HEARTBEATS_PER_SECOND = 10.0
REQUESTS_PER_SECOND = 200.0
REQUEST_BYTES_PER_SECOND = 1.0 * _MEBI
"""Registrations name all that a node holds; 8 MiB at once are some 200,000 executions."""
REGISTRATIONS_PER_SECOND = 1.0
REPORTS_SHARE = 0.4
"""Of all messages of a node, how many may be reports."""
REPORT_BYTES_PER_SECOND = 4.0 * _MEBI
"""And four times as much at once. To read a MiB of reports takes 20 ms, in which nobody else is heard."""
SET_ASIDE_COST = 20.0
"""A report that says nothing counts as so many: a node of ours sends next to none."""
LEAST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 10.0
MESSAGES_PER_SECOND = 5000.0
"""Of all that a node sends, by the servers' own counts, where no setting says otherwise; and bytes."""
BYTES_PER_SECOND = 64.0 * _MEBI
"""And four times as many at once: a node may have much to tell again after others were away for long."""
USELESS_BYTES_PER_SECOND = 1.0 * _MEBI
"""Of reports that are not understood, or about executions that the node does not hold; a node of ours sends few."""
FLOOD_PER_SECOND = 1000
"""More than so many too many in a second, and the node is shut out: what is dropped has to be read before, too."""
SHUT_OUT_SECONDS = 10.0
LONGEST_SHUT_OUT_SECONDS = 600.0
"""Twice as long each time, until it has behaved for so long."""


class ShutOut:
    """Since when and how long a node is not let in, and how much too much it sent in the second that began last."""

    __slots__ = ("begun", "count", "seconds", "until")

    def __init__(self, now: float) -> None:
        self.begun, self.count, self.seconds, self.until = now, 0, 0.0, now

    def note(self, now: float) -> bool:
        """Count one more; whether that makes a flood, which is told once for each time that it is shut out."""
        if now - self.begun >= 1.0:
            self.begun, self.count = now, 0
        self.count += 1
        return self.count > FLOOD_PER_SECOND and self.begin(now)

    def begin(self, now: float) -> bool:
        """Shut it out, unless it is."""
        if now < self.until:
            return False
        calm = now - self.until > LONGEST_SHUT_OUT_SECONDS
        self.seconds = SHUT_OUT_SECONDS if calm else min(LONGEST_SHUT_OUT_SECONDS, self.seconds * 2 or SHUT_OUT_SECONDS)
        self.until = now + self.seconds
        return True


class Budgets:
    """Of all nodes. `over` counts what was too much, by node and kind; `clock` gives monotonic seconds.

    A node that floods is shut out for a while, and is put into `flooding` for its connections to be ended.
    """

    def __init__(
        self, *, messages_per_second: float = MESSAGES_PER_SECOND, clock: Callable[[], float] = time.monotonic
    ) -> None:
        reports_per_second = REPORTS_SHARE * messages_per_second
        self.over: dict[NodeId, Counter[Traffic]] = {}
        self.over_in_all: Counter[Traffic] = Counter()
        self.flooding: asyncio.Queue[NodeId] = asyncio.Queue()
        self.suspicion = asyncio.Event()
        """Some node is over its budget, or sends what is of no use: whoever can see all that it sends should look."""
        self._traffic = Allowance(messages_per_second, 2 * messages_per_second)
        self._traffic_bytes = Allowance(BYTES_PER_SECOND, 4 * BYTES_PER_SECOND)
        self._useless = Allowance(USELESS_BYTES_PER_SECOND, 8 * USELESS_BYTES_PER_SECOND)
        self._shut_out: dict[NodeId, ShutOut] = {}
        self._clock = clock
        self._heartbeats = Allowance(HEARTBEATS_PER_SECOND, 5 * HEARTBEATS_PER_SECOND)
        self._requests = Allowance(REQUESTS_PER_SECOND, 5 * REQUESTS_PER_SECOND)
        self._request_bytes = Allowance(REQUEST_BYTES_PER_SECOND, 8 * REQUEST_BYTES_PER_SECOND)
        self._registrations = Allowance(REGISTRATIONS_PER_SECOND, 20 * REGISTRATIONS_PER_SECOND)
        self._reports = Allowance(reports_per_second, 2 * reports_per_second)
        self._report_bytes = Allowance(REPORT_BYTES_PER_SECOND, 4 * REPORT_BYTES_PER_SECOND)

    def admits(self, subject: bytes, size: int) -> bool:
        """Whether a message that has just arrived is to be looked at. It must cost next to nothing."""
        if not subject.startswith(_OF_NODES):
            return True
        if subject.endswith(_HEARTBEAT):
            node = NodeId(subject[_NODE : -len(_HEARTBEAT)].decode())
            return self._heartbeats.take(node, 1, self._clock()) or self.note(node, Traffic.HEARTBEATS)
        if subject.endswith(_REQUESTS):
            node, now = NodeId(subject[_NODE : -len(_REQUESTS)].decode()), self._clock()
            is_within = self._requests.take(node, 1, now) and self._request_bytes.take(node, size, now)
            return is_within or self.note(node, Traffic.REQUESTS)
        return True

    def admits_registration(self, node: NodeId) -> bool:
        return self._registrations.take(node, 1, self._clock()) or self.note(node, Traffic.REGISTRATIONS)

    def report_delay(self, node: NodeId, size: int) -> float:
        """After how many seconds this report is to come again; 0 if it can be dealt with now."""
        now = self._clock()
        if self._reports.take(node, 1, now) and self._report_bytes.take(node, size, now):
            return 0.0
        wait = max(self._reports.wait_seconds(node, now), self._report_bytes.wait_seconds(node, now))
        return min(LONGEST_DELAY_SECONDS, max(LEAST_DELAY_SECONDS, wait))

    def charge_set_aside(self, node: NodeId, count: int) -> None:
        """So many of its reports were of no use."""
        self.suspicion.set()
        self._reports.charge(node, count * SET_ASIDE_COST, self._clock())

    def note(self, node: NodeId, kind: Traffic) -> bool:
        """Count one that was too much; always False."""
        counts = self.over.get(node)
        if counts is None:
            counts = self.over[node] = Counter()
        counts[kind] += 1
        self.over_in_all[kind] += 1
        self.suspicion.set()
        now = self._clock()
        if self._shut_out_of(node, now).note(now):
            self.flooding.put_nowait(node)
        return False

    def on_traffic(self, node: NodeId, messages: int, size: int) -> None:
        """So much more has come from it, whether anybody heard it or not."""
        now = self._clock()
        self._traffic.charge(node, messages, now)
        self._traffic_bytes.charge(node, size, now)
        wait = max(self._traffic.wait_seconds(node, now), self._traffic_bytes.wait_seconds(node, now))
        if wait:
            self._begin_shut_out(node, now)

    def on_useless(self, node: NodeId, size: int) -> None:
        """So many bytes of it are not a message, or one of which nothing is of use."""
        now = self._clock()
        self._useless.charge(node, size, now)
        if self._useless.wait_seconds(node, now):
            self._begin_shut_out(node, now)

    def _begin_shut_out(self, node: NodeId, now: float) -> None:
        if self._shut_out_of(node, now).begin(now):
            self.flooding.put_nowait(node)

    def _shut_out_of(self, node: NodeId, now: float) -> "ShutOut":
        shut_out = self._shut_out.get(node)
        if shut_out is None:
            shut_out = self._shut_out[node] = ShutOut(now)
        return shut_out

    def shut_out_seconds(self, node: NodeId) -> float:
        """For how long the node is not to be let in, because it flooded."""
        shut_out = self._shut_out.get(node)
        return max(0.0, shut_out.until - self._clock()) if shut_out is not None else 0.0

    def forget(self, node: NodeId) -> None:
        """It was deleted."""
        self.over.pop(node, None)
        if not self.shut_out_seconds(node):
            self._shut_out.pop(node, None)

    def __repr__(self) -> str:
        return f"<Budgets, {len(self.over)} nodes have been over theirs>"


_OF_NODES = subjects.ALL_NODE_HEARTBEATS.partition("*")[0].encode()
_NODE = len(_OF_NODES)
_HEARTBEAT = subjects.ALL_NODE_HEARTBEATS.partition("*")[2].encode()
_REQUESTS = subjects.ALL_NODE_REQUESTS.partition("*")[2].encode()
