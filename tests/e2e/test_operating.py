"""What an operator sees of a stack that works: numbers for Prometheus, readiness, and log lines for machines."""

import contextlib
import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.stack import Stack, process_job, wait_until
from tests.servers import HOST, free_ports

JOBS = 3


def answered(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def scraped(port: int) -> dict[str, float]:
    """As Prometheus reads it: by name and values of labels."""
    status, text = answered(port, "/metrics")
    assert status == 200
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def lines_about(log: str, execution: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in found if line.get("execution_id") == execution]


def test_what_prometheus_is_told_is_what_has_happened(stack: Stack) -> None:
    (port,) = free_ports(1)
    stack.start_orchestrator(Logging_Mode="json")
    stack.start_compute("node-a", Logging_Mode="json", Compute_Metrics_Address=f"{HOST}:{port}")
    jobs = [stack.submit(process_job("echo hello > outputs/file; echo hello")) for _ in range(JOBS)]
    jobs_ended = [stack.wait_ended(job) for job in jobs]
    failed = stack.submit(process_job("sleep 60", Timeouts={"ExecutionTimeout": 1}))
    stack.wait_ended(failed)
    executions = [ended["Executions"]["Items"][0] for ended in jobs_ended]
    sizes = [each["PublishedResult"]["Params"]["Size"] for each in executions]

    def all_measured() -> dict[str, float]:
        """A report is measured once it is acknowledged, which a user may be quicker than."""
        seen = scraped(stack.api_port)
        return seen if seen["tarpon_report_seconds_count"] >= JOBS + 1 else {}

    found = wait_until(all_measured, within=10, what="all reports are measured")
    assert found["tarpon_jobs Completed"] == found["tarpon_executions Completed"] == JOBS
    assert found["tarpon_jobs Failed"] == found["tarpon_executions Failed"] == 1
    assert found["tarpon_jobs Running"] == found["tarpon_oldest_queued_job_seconds"] == 0
    assert found["tarpon_placement_seconds_count"] == JOBS + 1
    assert found["tarpon_published_results_total"] == JOBS
    assert found["tarpon_published_bytes_total"] == sum(sizes)
    assert found["tarpon_publish_seconds_total"] > 0
    assert (found["tarpon_lease_held"], found["tarpon_nodes CONNECTED"], found["tarpon_nats_connected"]) == (1, 1, 1)
    assert found["tarpon_api_requests_total PUT /api/v1/orchestrator/jobs 200"] == JOBS + 1
    assert answered(stack.api_port, "/no/such/page")[0] == 404
    assert scraped(stack.api_port)["tarpon_api_requests_total other other 404"] == 1

    here = scraped(port)
    assert here["tarpon_node_uploaded_bytes_total"] == found["tarpon_published_bytes_total"]
    assert here["tarpon_node_slots_used"] == here["tarpon_node_executions running"] == 0
    assert (here["tarpon_node_results_waiting_for_s3"], here["tarpon_nats_connected"]) == (0, 1)
    for text in (answered(port, "/metrics")[1].decode(), answered(stack.api_port, "/metrics")[1].decode()):
        assert not [each for each in (*jobs, *(each["ID"] for each in executions), "node-a") if each in text]


def test_log_lines_name_what_they_are_about_and_tell_of_what_goes_well_at_debug_alone(stack: Stack) -> None:
    orchestrator = stack.start_orchestrator(Logging_Mode="json", Logging_Level="info")
    node = stack.start_compute("node-a", Logging_Mode="json", Logging_Level="info")
    jobs = [
        stack.submit(process_job("echo hello")),
        stack.submit(process_job("sleep 60", Timeouts={"ExecutionTimeout": 1})),
    ]
    good, bad = (next(each["ID"] for each in stack.wait_ended(job)["Executions"]["Items"]) for job in jobs)

    def told() -> list[list[dict[str, Any]]]:
        logs = (node.log, good), (node.log, bad), (orchestrator.log, bad)
        return [lines_about(log.read_text(), execution) for log, execution in logs]

    of_node, of_both, of_orchestrator = wait_until(
        lambda: found if all(found := told()) else None, within=20, what="all of them are logged"
    )
    for lines, job in ((of_node, jobs[0]), (of_both, jobs[1]), (of_orchestrator, jobs[1])):
        assert {line["job_id"] for line in lines} == {job}
    assert {line["node_id"] for line in of_orchestrator} == {"node-a"}
    assert not lines_about(orchestrator.log.read_text(), good)


@contextmanager
def port_held(port: int) -> Iterator[None]:
    """Whoever comes next cannot listen there, and who connects hears nothing."""
    with contextlib.ExitStack() as stack:

        def bound() -> bool:
            held = stack.enter_context(socket.socket())
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                held.bind((HOST, port))
            except OSError:
                return False
            held.listen(1)
            return True

        wait_until(bound, within=5, what="the port is free")
        yield


@pytest.mark.timeout(120)
def test_an_orchestrator_without_nats_lives_and_is_not_ready(stack: Stack) -> None:
    stack.start_orchestrator()
    assert answered(stack.api_port, "/readyz")[0] == 200
    os.kill(stack.nats_pid(), signal.SIGKILL)
    with port_held(stack.nats_port):
        wait_until(lambda: answered(stack.api_port, "/readyz")[0] == 503, within=10, what="it is not ready")
        body = json.loads(answered(stack.api_port, "/readyz")[1])
        assert body["Code"] == "MessagingUnavailable"
        assert "NATS" in body["Message"]
        assert answered(stack.api_port, "/livez")[0] == 200
        assert scraped(stack.api_port)["tarpon_nats_connected"] == 0
    wait_until(lambda: answered(stack.api_port, "/readyz")[0] == 200, within=30, what="it is ready again")
    assert scraped(stack.api_port)["tarpon_nats_reconnects_total"] >= 1


def test_an_address_that_is_taken_ends_the_node_at_its_start(stack: Stack) -> None:
    stack.start_orchestrator()
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen(1)
        address = f"{HOST}:{taken.getsockname()[1]}"
        node = stack.start_compute("node-a", connected=False, Compute_Metrics_Address=address)
        assert node.process.wait(20) == 1
    assert "Compute.Metrics.Address" in node.text()
