"""What a whole orchestrator counts of what its nodes report, over real NATS and real S3."""

import hashlib

from prometheus_client.parser import text_string_to_metric_families

from shared.ids import ExecutionId
from shared.protocol.messages import ExecutionStarted, OutputPublished, RunOutput, TaskEnded
from tests.integration.running import Running
from tests.waiting import answered

BODY = b"looked at by size and digest alone"


async def scraped(running: Running) -> dict[str, float]:
    answer = await running.ask("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.body.decode())
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value for each in families for sample in each.samples
    }


async def scraped_when(running: Running, name: str, value: float) -> dict[str, float]:
    """What is told as soon as the metric has this value."""
    return await answered(lambda: scraped(running), lambda found: found[name] == value, what=f"{name} is {value}")


async def test_a_result_is_counted_once_however_often_it_is_reported(running: Running) -> None:
    published = OutputPublished(
        size_bytes=len(BODY),
        md5=hashlib.md5(BODY, usedforsecurity=False).hexdigest(),
        sha256=hashlib.sha256(BODY).hexdigest(),
        entries=1,
        raw_bytes=1,
        publish_seconds=2.5,
        retries=3,
        renewals=1,
    )
    facts = (ExecutionStarted(), TaskEnded(output=RunOutput(), run_seconds=0.1), published)
    async with running.node("a") as node:
        await node.register()
        job = await running.submit()
        assignment = await node.accept_assignment()
        assert assignment.archive is not None
        await running.put(assignment.archive, BODY)
        before = await scraped(running)
        assert (before["tarpon_executions New"], before["tarpon_published_results_total"]) == (1, 0)
        await node.report(assignment.execution_id, *facts)
        await running.wait_state(job, "Completed")
        await node.report(assignment.execution_id, *facts)
        found = await scraped_when(running, "tarpon_report_seconds_count", 2)
    assert (found["tarpon_jobs Completed"], found["tarpon_executions Completed"]) == (1, 1)
    assert (found["tarpon_published_results_total"], found["tarpon_published_bytes_total"]) == (1, len(BODY))
    assert (found["tarpon_publish_seconds_total"], found["tarpon_publish_retries_total"]) == (2.5, 3)
    assert found["tarpon_publish_renewals_total"] == 1
    assert (found["tarpon_lease_held"], found["tarpon_placement_seconds_count"]) == (1, 1)


async def test_a_report_about_what_a_node_does_not_hold_is_counted_as_set_aside(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        await node.report(ExecutionId("e-of-nobody"), ExecutionStarted())
        found = await scraped_when(running, "tarpon_reports_set_aside_total", 1)
    assert found["tarpon_report_seconds_count"] == 1
