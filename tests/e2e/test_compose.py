"""deploy/compose: its services and configuration files make a Tarpon that outlives the loss of a machine of each kind.

Started from compose.yaml by machines.py, in namespaces, as there is no registry and no compose here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.environments import ROOT
from tests.programs import require_program

COMPOSE = ROOT / "deploy" / "compose"
SECONDS = 100.0
BESIDE = """
set -eu
nodes() { tarpon node list --output json | grep -c '"Connection": *"CONNECTED"' || true; }
until [ "$(nodes)" -ge 4 ]; do sleep 0.2; done
tarpon job run "$EXAMPLES/hello-process.yaml" --get >&2
watched() { curl -fsS http://prometheus:9090/api/v1/targets; }
until [ "$(watched | grep -o '"health":"up"' | wc -l)" = 5 ]; do sleep 0.2; done
watched > targets.json
for name in nats-1 orchestrator-1 node-1; do kill -9 "$(cat machines/pids/$name)"; done
sed 's/^Name: .*/Name: after/' "$EXAMPLES/hello-process.yaml" > after.yaml
until tarpon job run after.yaml --get >&2; do sleep 0.5; done
"""


def test_a_job_runs_on_the_whole_set_and_another_one_after_a_machine_of_each_kind_was_lost(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has namespaces with a network between them")
    for name in ("curl", "haproxy", "ip", "prometheus"):
        require_program(name)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "EXAMPLES": str(ROOT / "deploy" / "examples")}
    secrets = tmp_path / "secrets"
    subprocess.run([str(COMPOSE / "init.sh"), str(secrets)], env=environment, check=True, timeout=60)
    assert [each.name for each in secrets.iterdir() if each.stat().st_mode & 0o077] == []
    folder = tmp_path / "machines"
    command = [sys.executable, str(COMPOSE / "machines.py"), f"--secrets={secrets}", f"--folder={folder}"]
    done = subprocess.run(
        [*command, "--", "sh", "-c", BESIDE],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("job-hello-process", "job-after"):
        assert (tmp_path / name / "stdout").read_text() == "Hello, I was stored by the managed publisher!\n"
    targets = json.loads((tmp_path / "targets.json").read_text())["data"]["activeTargets"]
    assert {each["labels"]["job"] for each in targets} == {"tarpon-compute", "tarpon-orchestrator"}
    leaked = secrets_in_logs(secrets, folder / "logs")
    assert leaked == []


def test_each_file_of_the_set_is_mounted_somewhere() -> None:
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    mounted = {volume.split(":")[0].removeprefix("./") for each in services.values() for volume in each["volumes"]}
    files = {path.name for path in COMPOSE.iterdir() if path.is_file()}
    assert files - mounted == {"compose.yaml", "init.sh", "machines.py"}


def secrets_in_logs(secrets: Path, logs: Path) -> list[str]:
    keys = [(secrets / name).read_text().strip() for name in ("join.secret", "operator.key", "prometheus.key")]
    return [log.name for log in logs.iterdir() if any(key in log.read_text(errors="replace") for key in keys)]
