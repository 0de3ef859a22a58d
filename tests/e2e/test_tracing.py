"""One job is one trace, told by an orchestrator and a node of their own processes to a collector over OTLP."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.e2e.stack import Stack, process_job
from tests.e2e.test_documented_programs import _program, _run
from tests.e2e.test_start_errors import _serve
from tests.node_environment import node_python
from tests.servers import HOST, free_ports
from tests.waiting import eventually

SUBMITTERS_TRACE, SUBMITTERS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TREE = {
    "job": "",
    "submit": "job",
    "place": "job",
    "execution": "job",
    "assign": "execution",
    "verify": "execution",
    "complete": "job",
    "node": "execution",
    "queue": "node",
    "run": "node",
    "archive": "node",
    "upload": "node",
    "report": "node",
}
OF_NODE = {"node", "queue", "run", "archive", "upload", "report"}


class Collector:
    """Decodes what it gets by the protocol's own classes."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.spans: list[tuple[str, Any]] = []
        self.paths: set[str] = set()

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def take(self, request: web.Request) -> web.Response:
        self.paths.add(request.path)
        told = ExportTraceServiceRequest.FromString(await request.read())
        for part in told.resource_spans:
            attributes = {each.key: each.value.string_value for each in part.resource.attributes}
            for scope in part.scope_spans:
                self.spans += [(attributes["service.name"], span) for span in scope.spans]
        content = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=content, content_type="application/x-protobuf")

    def trace(self) -> dict[str, Any]:
        return {span.name: span for _, span in self.spans}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    made = Collector()
    application = web.Application()
    application.router.add_post("/{path:.*}", made.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, HOST, made.port).start()
    yield made
    await runner.cleanup()


def _start(stack: Stack, endpoint: str) -> None:
    stack.start_orchestrator(Tracing_Endpoint=endpoint)
    stack.start_compute("node-a", python=sys.executable, Tracing_Endpoint=endpoint)


def _submit(stack: Stack, traceparent: str) -> str:
    task_environment = {"SECRET_OF_THE_TASK": "not-to-be-told"}
    job = process_job("echo hello", Env=task_environment)
    return str(stack.api("/orchestrator/jobs", {"Job": job}, "PUT", headers={"traceparent": traceparent})["JobID"])


@pytest.mark.parametrize("submitters", ["", f"00-{SUBMITTERS_TRACE}-{SUBMITTERS_SPAN}-01"])
async def test_one_job_is_one_trace_across_orchestrator_and_node(
    stack: Stack, collector: Collector, submitters: str
) -> None:
    await asyncio.to_thread(_start, stack, collector.endpoint)
    job = await asyncio.to_thread(_submit, stack, submitters)
    described = await asyncio.to_thread(stack.wait_ended, job)
    await eventually(lambda: set(collector.trace()) >= set(TREE), within=30, what=f"spans: {set(collector.trace())}")
    spans = collector.trace()
    assert collector.paths == {"/v1/traces"}
    assert len(collector.spans) == len(spans) == len(TREE)
    ids = {span.span_id: name for name, span in spans.items()}
    parents = {name: ids.get(span.parent_span_id, "") for name, span in spans.items()}
    assert parents == TREE
    assert spans["job"].parent_span_id.hex() == (SUBMITTERS_SPAN if submitters else "")
    traces = {span.trace_id.hex() for span in spans.values()}
    assert len(traces) == 1
    assert not submitters or traces == {SUBMITTERS_TRACE}
    assert {name: service for service, span in collector.spans for name in [span.name]} == {
        name: "tarpon-node" if name in OF_NODE else "tarpon-orchestrator" for name in TREE
    }
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans.values())
    (execution,) = described["Executions"]["Items"]
    texts = {each.key: each.value.string_value for each in spans["node"].attributes}
    assert (texts["tarpon.job.id"], texts["tarpon.execution.id"]) == (job, execution["ID"])
    assert (texts["tarpon.node.id"], texts["tarpon.engine"]) == ("node-a", "process")
    everything = "".join(str(span) for _, span in collector.spans)
    assert not [each for each in ("not-to-be-told", "hello", "://", *stack.secrets()) if each in everything]


@pytest.mark.parametrize("header", ["traceparent", "Traceparent", "TRACEPARENT"])
async def test_a_job_that_comes_over_nats_joins_the_trace_of_its_submitter(
    stack: Stack, collector: Collector, header: str
) -> None:
    await asyncio.to_thread(stack.start_orchestrator, Tracing_Endpoint=collector.endpoint)
    data_dir = f"DataDir={stack.root / 'orchestrator'}"
    shown = (await asyncio.to_thread(stack.cli, "agent", "integration", "show", "billing", "-c", data_dir)).stdout
    given = dict(line.removeprefix("export ").split("=", 1) for line in shown.splitlines() if line.startswith("export"))
    client = await nats.connect(
        f"nats://{HOST}:{stack.nats_port}",
        user=given["NATS_USER"],
        password=given["NATS_PASSWORD"],
        inbox_prefix=given["NATS_INBOX_PREFIX"],
    )
    headers = {header: f"00-{SUBMITTERS_TRACE}-{SUBMITTERS_SPAN}-01"}
    body = json.dumps({"Job": process_job("true")}).encode()
    await client.request(f"{given['TARPON_API_SUBJECT']}jobs.submit", body, timeout=10, headers=headers)
    await client.close()
    await eventually(
        lambda: {"submit", "job"} <= set(collector.trace()), within=30, what="the job, which no node can run"
    )
    assert {span.trace_id.hex() for _, span in collector.spans} == {SUBMITTERS_TRACE}
    assert collector.trace()["job"].status.message == "Failed"


async def test_a_submitter_who_does_not_sample_gets_no_trace(stack: Stack, collector: Collector) -> None:
    await asyncio.to_thread(_start, stack, collector.endpoint)
    unwanted = await asyncio.to_thread(_submit, stack, f"00-{SUBMITTERS_TRACE}-{SUBMITTERS_SPAN}-00")
    await asyncio.to_thread(stack.wait_ended, unwanted)
    wanted = await asyncio.to_thread(_submit, stack, "")
    await asyncio.to_thread(stack.wait_ended, wanted)
    await eventually(lambda: set(collector.trace()) >= set(TREE), within=30)
    assert SUBMITTERS_TRACE not in {span.trace_id.hex() for _, span in collector.spans}


def test_without_a_collector_jobs_go_on_and_one_warning_tells_so(stack: Stack) -> None:
    (closed,) = free_ports(1)
    _start(stack, f"http://{HOST}:{closed}")
    assert {stack.wait_ended(_submit(stack, ""))["Job"]["State"]["StateType"] for _ in range(3)} == {"Completed"}
    assert stack.orchestrator is not None
    services = (stack.orchestrator, stack.computes["node-a"])
    for service in reversed(services):
        assert service.stop() == 0
    for service in services:
        lines = [line for line in service.log.read_text().splitlines() if "collector" in line or "telemetry" in line]
        assert len(lines) <= 1, lines
        assert "Traceback" not in service.log.read_text()
    assert "takes no spans; they are dropped, and jobs go on." in services[0].log.read_text()


def test_tracing_without_its_packages_says_how_to_install_them(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = ("Tracing.Endpoint=http://127.0.0.1:4318", "Compute.Auth.Token=secret")
    done = _serve(tmp_path_factory.mktemp("data"), *settings, python=str(node_python()), role="--compute")
    assert done.returncode == 1
    assert "pip install 'tarpon-jobs[trace]'" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_documented_program_has_the_whole_job_below_its_own_span(
    stack: Stack, collector: Collector, tmp_path: Path
) -> None:
    await asyncio.to_thread(_start, stack, collector.endpoint)
    program = _program("OTLPSpanExporter").replace("127.0.0.1:1234", f"{HOST}:{stack.api_port}")
    environment = {"TARPON_API_KEY": "of-nobody", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    job = (await asyncio.to_thread(_run, program, tmp_path, **environment)).strip()
    await asyncio.to_thread(stack.wait_ended, job)
    await eventually(lambda: {"nightly run", "job", "run"} <= set(collector.trace()), within=30, what="all spans")
    spans = collector.trace()
    assert spans["job"].parent_span_id == spans["nightly run"].span_id
    assert {span.trace_id for span in spans.values()} == {spans["nightly run"].trace_id}
