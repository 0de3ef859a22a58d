"""What one `tarpon serve` is when it is told to be both."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.e2e.stack import wait_until
from tests.sandbox import sandbox_setting
from tests.servers import free_ports


def tarpon(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tarpon", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_an_orchestrator_and_a_node_in_one_process_find_each_other(tmp_path: Path) -> None:
    api, nats = free_ports(2)
    settings = {
        "DataDir": str(tmp_path / "data"),
        "NameProvider": "both",
        "API.Port": str(api),
        "Orchestrator.Port": str(nats),
        "Engines.Types.Process.Enabled": "true",
        "Engines.Types.Process.Sandbox": sandbox_setting(),
    }
    flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    here = ("-c", f"DataDir={tmp_path / 'data'}")  # as its own user, who needs no key
    job = tmp_path / "job.yaml"
    job.write_text("Type: batch\nTasks: [{Name: main, Engine: {Type: process, Params: {Entrypoint: [hostname]}}}]")
    log = tmp_path / "log"
    with log.open("w") as file:
        serving = subprocess.Popen(
            [sys.executable, "-m", "tarpon", "serve", "--orchestrator", "--compute", *flags],
            stderr=file,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:

        def is_connected() -> bool:
            assert serving.poll() is None, log.read_text()
            lines = tarpon("node", "list", *here).stdout.splitlines()
            return any({"Compute", "CONNECTED"} <= set(line.split()) for line in lines)

        wait_until(is_connected, within=40, what="the node is connected to its own orchestrator")
        done = tarpon("job", "run", str(job), *here)
        assert done.returncode == 0, done.stderr
        line = tarpon("node", "token", "create", *here).stdout
        assert line.startswith("TARPON_COMPUTE_AUTH_TOKEN=tj1_")
        shown = tarpon("node", "token", "show", *flags)
        assert shown.stdout.startswith("tarpon serve --compute -c Compute.Orchestrators=")
        assert "There is no join secret" in shown.stderr
        assert not (tmp_path / "data" / "orchestrator" / "secrets" / "join.secret").exists()
    finally:
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(40) == 0, log.read_text()
    (begun,) = [line for line in log.read_text().splitlines() if "Stopping: " in line]
    assert "the node takes nothing on any more" in begun
    assert "tasks may run for 10s more (Compute.DrainTimeout)" in begun
    assert "then the orchestrator answers what it was asked" in begun
    assert begun.endswith("A second signal ends this at once.")
    assert "Stopped, after " in log.read_text().splitlines()[-1]
