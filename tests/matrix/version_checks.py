"""What is done with an earlier version of Tarpon and this one: side by side, upgraded while jobs run, and back."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.e2e.cluster import Cluster
from tests.e2e.conftest import ended
from tests.e2e.failover import Flow, judge, let_decide
from tests.e2e.stack import Service, Stack
from tests.e2e.versions import Upgrade, nodes_first, there_and_back
from tests.earlier_version import COMMIT, earlier_commit, earlier_python
from tests.environments import ROOT
from tests.matrix.cells import Check, NotHere, Peer
from tests.node_environment import node_python
from tests.servers import S3Server, start_weed


class VersionBench:
    def __init__(self, folder: Path, s3: S3Server, old: str) -> None:
        self.folder = folder
        self.s3 = s3
        self.old = old

    @contextmanager
    def upgrade(self, name: str) -> Iterator[Upgrade]:
        root = self.folder / name
        (root / "gates").mkdir(parents=True)
        stack = Stack(root, self.s3)
        stack.shown = root
        try:
            yield Upgrade(stack, self.old, root / "gates")
        finally:
            ended(stack)


def orchestrator_first(bench: VersionBench) -> None:
    with bench.upgrade("orchestrator-first") as upgrade:
        there_and_back(upgrade)


def node_first(bench: VersionBench) -> None:
    with bench.upgrade("node-first") as upgrade:
        nodes_first(upgrade)


def rolled(bench: VersionBench) -> str:
    """Three orchestrators and two nodes, one after the other to this version and back, while jobs are submitted."""
    root = bench.folder / "rolled"
    root.mkdir()
    cluster = Cluster(root, bench.s3)
    try:
        cluster.start()
        flow = Flow(cluster)
        with flow.going():
            for orchestrators, nodes in ((bench.old, bench.old), (sys.executable, str(node_python()))):
                _roll(cluster, orchestrators, nodes)
        outcome = judge(cluster, flow, [])
        assert (outcome.lost, outcome.doubled) == ({}, {})
        cluster.stop()
    finally:
        cluster.kill()
    return f"{outcome.accepted} jobs, none lost or run twice"


def _roll(cluster: Cluster, orchestrators: str, nodes: str) -> None:
    for orchestrator in cluster.orchestrators:
        orchestrator.is_away = True
        _replace(orchestrator, orchestrators)
        orchestrator.wait_ready()
        let_decide(cluster)
    for node in cluster.computes.values():
        _replace(node, nodes)
        let_decide(cluster)


def _replace(service: Service, python: str) -> None:
    service.stop()
    service.command[0] = python
    service.start()


CHECKS: Sequence[Check[VersionBench]] = (
    Check("orchestrator first, and back, jobs in flight", orchestrator_first),
    Check("node first, and back, jobs in flight", node_first),
    Check("three orchestrators and two nodes rolled there and back under load", rolled),
)


def peers() -> Sequence[Peer[VersionBench]]:
    """The commit that the tests know, and the last release, if there is one."""
    commits = dict.fromkeys((COMMIT, earlier_commit()))
    return [Peer(f"Tarpon {each}", partial(_day, each), partial(_bench, each)) for each in commits]


def _day(commit: str) -> str:
    told = ["git", "log", "-1", "--format=of %cs", commit]
    done = subprocess.run(told, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHere(f"The commit {commit} is not in this clone.")
    return done.stdout.strip()


@contextmanager
def _bench(commit: str) -> Iterator[VersionBench]:
    folder = Path(tempfile.mkdtemp(prefix="tarpon-matrix-"))
    try:
        s3 = start_weed(folder / "s3")
        try:
            yield VersionBench(folder, s3, str(earlier_python(commit)))
        finally:
            s3.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
