"""A node that has joined and sends whatever it likes: what it does costs others next to nothing, proved by counts."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from nats.js import JetStreamContext

from orchestrator.admission import budgets
from orchestrator.dispatch import reports
from orchestrator.nodes.presence import Nodes
from orchestrator.storage.streams import REPORTS_PER_NODE
from shared.errors import MessagingUnavailable
from shared.ids import ExecutionId, NodeId
from shared.messaging.client import taken_in
from shared.protocol import messages, subjects
from shared.protocol.messages import (
    ExecutionFailed,
    ExecutionStarted,
    Heartbeat,
    OutputPublished,
    Reconciliation,
    Register,
    Report,
    RunOutput,
    TaskEnded,
)
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running
from tests.waiting import eventually

NOOP = {"Name": "main", "Engine": {"Type": "noop"}, "Resources": {"CPU": "10m", "Memory": "1mb"}}
FAILED = 10
ENDED = TaskEnded(output=RunOutput(), run_seconds=0.1)
GONE = OutputPublished(size_bytes=1, md5="0" * 32, sha256="0" * 64, entries=1, raw_bytes=1)


class Calls(Counter[str]):
    """How often something was called, by what `key` makes of its arguments; what is called is as it was."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, name: str, key: Callable[..., str]) -> None:
        super().__init__()
        real = getattr(owner, name)

        def counted(*args: Any, **named: Any) -> Any:
            self[key(*args, **named)] += 1
            return real(*args, **named)

        patch.setattr(owner, name, counted)


async def over_budget(running: Running, kind: str) -> float:
    text = (await running.ask("/metrics")).body.decode()
    name = f'tarpon_node_messages_over_budget_total{{kind="{kind}"}} '
    return next(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))


async def run_job(running: Running, node: PlayedNode) -> None:
    """What an honest user and an honest node do."""
    job = await running.submit(Tasks=[NOOP], Constraints=[_on(node)])
    execution = (await node.accept_assignment()).execution_id
    await node.report(execution, ENDED)
    await running.wait_state(job, "Completed")


def _on(node: PlayedNode) -> dict[str, Any]:
    return {"Key": "name", "Operator": "=", "Values": [node.id]}


def unknown(number: int) -> bytes:
    return messages.encode(Report(execution_id=ExecutionId(f"e-{number}"), facts=(ExecutionStarted(),)))


async def test_a_message_about_many_unknown_executions_costs_one_look_up(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Calls(monkeypatch, JetStreamContext, "stream_info", lambda _, name: str(name))
    state = f"KV_{subjects.STATE_BUCKET}"
    async with running.node("hostile") as node:
        await node.register()
        before, sent = looks[state], 8
        for first in range(sent):
            inner = b",".join(unknown(20 * first + number) for number in range(20))
            await node.tell(b'{"type":"Reports","reports":[%b]}' % inner)
        set_aside = await eventually_set_aside(running, 20 * sent)
    assert set_aside == 20 * sent
    assert looks[state] - before <= sent


async def eventually_set_aside(running: Running, count: int) -> int:
    name = "tarpon_reports_set_aside_total "
    async with asyncio.timeout(20):
        while True:
            text = (await running.ask("/metrics")).body.decode()
            told = next(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))
            if told >= count:
                return int(told)
            await asyncio.sleep(0.02)


async def test_a_message_of_more_reports_than_a_node_sends_is_set_aside_as_a_whole(running: Running) -> None:
    async with running.node("hostile") as node:
        await node.register()
        job = await running.submit(Tasks=[NOOP])
        execution = (await node.accept_assignment()).execution_id
        inner = b",".join([messages.encode(Report(execution_id=execution, facts=(ENDED,)))] * 7000)
        await node.tell(b'{"type":"Reports","reports":[%b]}' % inner)
        assert await eventually_set_aside(running, 1) == 1
        await node.report(execution, ENDED)
        await running.wait_state(job, "Completed")


async def test_heartbeats_beyond_the_budget_are_dropped_and_told(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Calls(monkeypatch, Nodes, "on_heartbeat", lambda _, node, __: str(node))
    monkeypatch.setattr(budgets, "FLOOD_PER_SECOND", 10**9)
    flood = 8_000  # within what a node may send of all kinds at once, for which it would be cut off
    async with running.node("hostile") as hostile, running.node("honest") as honest:
        await hostile.register()
        await honest.register()
        beat = messages.encode(Heartbeat(session=hostile.session))
        for number in range(flood):
            await hostile.connection.publish(subjects.node_heartbeat(hostile.id), beat)
            if number % 1000 == 0:
                await honest.connection.publish(
                    subjects.node_heartbeat(honest.id), messages.encode(Heartbeat(session=honest.session))
                )
        await hostile.register()  # behind all of that
        await honest.register()
        dropped = await over_budget(running, "heartbeats")
        told = (await running.api("/nodes/hostile"))["Node"]["OverBudget"]
        honest_told = (await running.api("/nodes/honest"))["Node"]["OverBudget"]
    assert heard["honest"] == flood / 1000
    assert heard["hostile"] + dropped == flood
    assert heard["hostile"] < flood / 20
    assert (told, honest_told) == ({"heartbeats": dropped}, {})


async def test_large_registrations_beyond_the_budget_are_dropped(running: Running) -> None:
    async with running.node("hostile") as hostile, running.node("honest") as honest:
        await hostile.register()
        held = tuple(ExecutionId(f"e-{number:028}") for number in range(20_000))
        sent = 30
        replies = hostile.connection.client.new_inbox()
        answered = await hostile.connection.client.subscribe(replies)
        request = registration(hostile, held)
        assert len(request) > 600_000
        for _ in range(sent):
            await hostile.connection.client.publish(subjects.node_requests(hostile.id), request, reply=replies)
        await taken_in(hostile.connection.client)
        assert isinstance(await honest.register(), Reconciliation)
        dropped = await over_budget(running, "requests")
        await eventually(lambda: answered.pending_msgs >= sent - dropped)
        await run_job(running, honest)
    assert answered.pending_msgs == sent - dropped
    assert dropped > 0


def registration(node: PlayedNode, held: tuple[ExecutionId, ...]) -> bytes:
    info = {"node_id": node.id, "version": "0"}
    told = {"type": "Registration", "info": info, "session": node.session, "inventory": 9, "held": held}
    return json.dumps(told).encode()


async def test_a_node_that_registers_again_and_again_is_refused_and_may_try_later(running: Running) -> None:
    async with running.node("hostile") as node:
        answers = Counter[str]()
        for _ in range(60):
            answers[type(await node.register()).__name__] += 1
        assert await over_budget(running, "registrations") > 0
    assert answers["RequestRefused"] > 20


async def test_reports_beyond_the_budget_come_later_and_hold_nobody_up(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "LEAST_DELAY_SECONDS", 0.2)
    count = 24
    async with running.node("hostile") as hostile, running.node("honest") as honest:
        await hostile.register()
        job = await running.submit(Count=count, Tasks=[NOOP], Constraints=[_on(hostile)])
        held = [(await hostile.accept_assignment()).execution_id for _ in range(count)]
        await honest.register()
        for _ in range(10):  # of no use, which uses its budget up
            await hostile.tell(b'{"type":"Reports","reports":[%b]}' % b",".join(map(unknown, range(200))))
        for execution in held:
            await hostile.report(execution, ENDED)
        await run_job(running, honest)
        assert await over_budget(running, "reports") > 0
        await running.wait_state(job, "Completed")


async def test_of_one_node_few_reports_wait_on_the_disk_that_all_share(running: Running) -> None:
    sent, refused = 48, 0
    async with running.node("hostile") as hostile, running.node("honest") as honest:
        await hostile.register()
        await honest.register()
        for _ in range(10):  # of no use, which uses its budget up
            await hostile.tell(b'{"type":"Reports","reports":[%b]}' % b",".join(map(unknown, range(200))))
        for number in range(sent):
            try:
                await hostile.tell(unknown(number))
            except MessagingUnavailable:
                refused += 1
        assert refused >= sent - REPORTS_PER_NODE
        await run_job(running, honest)


async def test_a_node_that_sends_much_about_what_it_does_not_hold_is_shut_out(running: Running) -> None:
    facts = (ExecutionFailed(reason="X" * 200, detail="y" * 800),) * 900
    large = messages.encode(Report(execution_id=ExecutionId("e-1"), facts=facts))
    async with running.node("hostile") as hostile, running.node("honest") as honest:
        await honest.register()
        connection = hostile.connection
        with suppress(MessagingUnavailable):
            for _ in range(20):
                await hostile.tell(large)
        await eventually(lambda: not connection.connected or connection.connections > 1)
        await run_job(running, honest)


async def test_results_that_take_long_to_verify_hold_up_no_other_node(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "ABSENT_SECONDS", 5.0)
    count = REPORTS_PER_NODE - 4
    publishing = {**NOOP, "Publisher": {"Type": "s3managed"}}
    async with running.node("hostile") as hostile, running.node("honest") as honest:
        await hostile.register()
        job = await running.submit(Count=count, Tasks=[publishing], Constraints=[_on(hostile)])
        for _ in range(count):
            await hostile.report((await hostile.accept_assignment()).execution_id, ENDED, GONE)
        await honest.register()
        await run_job(running, honest)
        found = await running.api(f"/jobs/{job}?include=executions")
    states = Counter(each["ComputeState"]["StateType"] for each in found["Executions"]["Items"])
    assert states[FAILED] == 0


async def test_a_node_of_an_unknown_session_that_does_not_answer_is_asked_once(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Calls(monkeypatch, Nodes, "on_heartbeat", lambda _, node, __: str(node))
    async with running.node("honest") as honest, running.node("hostile") as node:
        await honest.register()  # somebody leads now
        orders = await node.connection.client.subscribe(subjects.node_orders(node.id))
        await taken_in(node.connection.client)
        for number in range(30):
            beat = messages.encode(Heartbeat(session=f"s-{number}"))
            await node.connection.publish(subjects.node_heartbeat(node.id), beat)
        await eventually(lambda: heard["hostile"] == 30)
        assert isinstance((await node.next_order())[0], Register)
        await node.register()  # and no order was sent before its answer
        assert orders.pending_msgs == 1


def test_a_node_that_was_silent_has_all_of_its_budget_again() -> None:
    now = 100.0
    made = budgets.Budgets(clock=lambda: now)
    subject = subjects.node_heartbeat(NodeId("a")).encode()
    first = sum(made.admits(subject, 10) for _ in range(1000))
    now += 60.0
    assert sum(made.admits(subject, 10) for _ in range(1000)) == first < 100


def test_an_operator_may_let_nodes_send_more_or_less() -> None:
    delays = [budgets.Budgets(messages_per_second=rate, clock=lambda: 100.0) for rate in (100.0, 1000.0)]
    within = [sum(made.report_delay(NodeId("a"), 10) == 0.0 for _ in range(2000)) for made in delays]
    assert [round(each, -1) for each in within] == [80, 800]


def test_a_node_whose_servers_count_too_much_is_shut_out_once_and_for_longer_each_time() -> None:
    now, node = 100.0, NodeId("a")
    made = budgets.Budgets(clock=lambda: now)
    made.on_traffic(node, 5000, 1 << 20)
    assert made.flooding.empty()
    shut_out: list[float] = []
    for _ in range(3):
        for _ in range(3):
            made.on_traffic(node, 100_000, 1 << 20)
        assert made.flooding.qsize() == 1
        made.flooding.get_nowait()
        shut_out.append(made.shut_out_seconds(node))
        now += shut_out[-1] + 1.0
    assert shut_out == [10.0, 20.0, 40.0]


def test_a_node_that_sends_much_that_is_no_message_is_shut_out() -> None:
    made, node = budgets.Budgets(clock=lambda: 100.0), NodeId("a")
    for _ in range(1000):  # as a later version may, of which this one does not know all
        made.on_useless(node, 1000)
    assert made.flooding.empty()
    for _ in range(10):
        made.on_useless(node, 1 << 20)
    assert made.flooding.qsize() == 1
