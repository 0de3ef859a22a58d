"""The units of deploy/systemd: systemd finds nothing wrong with them, and what they start is what they say."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from shared.settings.keys import environment_name
from tests.e2e.stack import Service, Stack, _plain_environment, process_job
from tests.node_environment import node_python
from tests.notified import NotifySocket
from tests.programs import require_program
from tests.sandbox import sandbox_setting
from tests.servers import HOST
from tests.wheelhouse import wheelhouse

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = DEPLOY / "systemd"
INSTALLED = "/opt/tarpon/current/bin"
SCORES = {"tarpon-orchestrator.service": 2.9, "tarpon-compute@.service": 3.6, "tarpon-nats.service": 2.9}
"""The highest exposure, of 10; deploy/README.md says why that of the node is what it is."""
WATCHDOG = {"WATCHDOG_USEC": "400000"}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with programs that are there."""
    for name in ("tarpon", "nats-server"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.touch(0o755)
    for unit in (*UNITS.glob("*.service"), *UNITS.glob("*.slice")):
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, str(tmp_path / "bin")))
    return tmp_path


@pytest.mark.parametrize("name", sorted(path.name for path in UNITS.glob("*.*") if path.suffix != ".conf"))
def test_systemd_finds_nothing_wrong(name: str, installed: Path) -> None:
    command = [require_program("systemd-analyze"), "verify", str(installed / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", SCORES)
def test_a_service_can_do_little_beside_its_work(name: str) -> None:
    limit = f"--threshold={SCORES[name] * 10:.0f}"
    command = [require_program("systemd-analyze"), "security", "--offline=true", limit, str(UNITS / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_each_service_runs_as_a_user_that_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with (UNITS / "sysusers.conf").open() as wanted:
        command = [require_program("systemd-sysusers"), f"--root={tmp_path}", "-"]
        subprocess.run(command, stdin=wanted, capture_output=True, timeout=60, check=True)
    users = {line.partition(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()}
    assert users == {user for name in SCORES for user in values((UNITS / name).read_text(), "User")}


def test_a_version_is_installed_beside_the_one_before_and_nothing_is_downloaded(tmp_path: Path) -> None:
    """In a mount namespace with an /opt and an /etc of its own, and without a network."""
    if os.geteuid() != 0:
        pytest.skip("only root installs")
    require_program("systemd-sysusers")
    install = shlex.join([str(DEPLOY / "install.sh"), "node", str(wheelhouse())])
    script = f"""
        set -eu
        mount -t tmpfs tmpfs {tmp_path} && mkdir {tmp_path}/upper {tmp_path}/work
        mount -t overlay overlay -o lowerdir=/etc,upperdir={tmp_path}/upper,workdir={tmp_path}/work /etc
        mount -t tmpfs tmpfs /opt && mount -t tmpfs tmpfs /usr/local/bin
        {install} first > /dev/null && {install} second
        readlink /opt/tarpon/current
        /opt/tarpon/first/bin/tarpon version --client > /dev/null && /usr/local/bin/tarpon version --client
        if /opt/tarpon/current/tarpon-jobs/bin/python -c 'import botocore' 2> /dev/null; then exit 9; fi
        cd /etc && ls tarpon systemd/system/tarpon*
    """
    command = ["unshare", "--mount", "--net", "--propagation=private", "--", "sh", "-c", script]
    search = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # which has uv
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, check=False, env={**os.environ, "PATH": search}
    )
    assert done.returncode == 0, done.stderr
    told, current, version, *files = done.stdout.splitlines()
    assert told == "/opt/tarpon/current is second. Look at /etc/tarpon/compute.yaml next."
    assert (current, version[:6]) == ("second", "Client")
    units = {path.name for path in UNITS.glob("tarpon*")}
    assert {"compute.yaml", *(f"systemd/system/{name}" for name in units)} <= set(files)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[NotifySocket]:
    made = NotifySocket(tmp_path / "notify")
    yield made
    made.close()


def test_an_orchestrator_tells_when_it_answers_that_it_is_alive_and_that_it_stops(
    stack: Stack, manager: NotifySocket
) -> None:
    watched = stack.s3.environment() | WATCHDOG | {"NOTIFY_SOCKET": manager.address}
    orchestrator = stack.start_orchestrator(aws=watched, ready=False)
    manager.wait_for("READY=1")
    assert stack.api("/agent/alive")
    manager.wait_for("WATCHDOG=1", times=2)
    assert b"NOTIFY_SOCKET" not in Path(f"/proc/{stack.nats_pid()}/environ").read_bytes()
    orchestrator.stop()
    manager.wait_for("STOPPING=1")
    assert "EXTEND_TIMEOUT_USEC=23000000" in manager.heard


def test_a_node_asks_for_the_time_that_its_tasks_have(stack: Stack, manager: NotifySocket) -> None:
    variables = WATCHDOG | {"NOTIFY_SOCKET": manager.address}
    node = stack.start_compute("node-a", connected=False, variables=variables, Compute_DrainTimeout="10m")
    manager.wait_for("READY=1")
    manager.wait_for("WATCHDOG=1", times=2)
    node.stop()
    manager.wait_for("STOPPING=1")
    assert "EXTEND_TIMEOUT_USEC=628000000" in manager.heard


def test_a_node_that_the_watchdog_ends_says_where_it_hung(stack: Stack, manager: NotifySocket) -> None:
    variables = WATCHDOG | {"NOTIFY_SOCKET": manager.address}
    node = stack.start_compute("node-a", connected=False, variables=variables)
    manager.wait_for("READY=1")
    node.process.send_signal(6)
    assert node.process.wait(20) == -6
    assert "Current thread" in node.text()


def test_the_commands_and_example_settings_of_the_units_make_a_tarpon_that_runs_a_job(stack: Stack) -> None:
    keep(stack, "tarpon.aws", aws_file(stack))
    publisher = stack.publisher_settings() | {"Orchestrator.Advertise": f"{HOST}:{stack.nats_port}"}
    ports = {"API.Port": str(stack.api_port), "Orchestrator.Port": str(stack.nats_port), "Orchestrator.Host": HOST}
    stack.orchestrator = service(stack, "tarpon-orchestrator.service", sys.executable, publisher | ports)
    stack.orchestrator.start()
    stack.wait_ready()
    (token,) = re.findall(r"tj1_\S+", stack.cli("node", "token", "create").stdout)
    keep(stack, "tarpon.join-token", token)
    process = {"Engines.Types.Process.Enabled": "true", "Engines.Types.Process.Sandbox": sandbox_setting()}
    node = service(stack, "tarpon-compute@.service", str(node_python()), process | {"NameProvider": "node-1"})
    stack.computes["node-1"] = node
    node.start()
    stack.wait_connected("node-1")
    described = stack.wait_ended(stack.submit(process_job("echo hello")))
    assert described["Job"]["State"]["StateType"] == "Completed"
    assert (stack.root / "lib" / "tarpon-compute" / "1" / "compute").is_dir()


def service(stack: Stack, name: str, python: str, settings: Mapping[str, str]) -> Service:
    """What the unit starts, with folders of the test in place of the machine's, and settings in the environment."""
    text = (UNITS / name).read_text().replace(f"{INSTALLED}/tarpon", f"{python} -m tarpon").replace("%i", "1")
    for place, own in (
        ("/etc/tarpon", DEPLOY / "config"),
        ("/var/lib", stack.root / "lib"),
        ("%d", stack.root / "secrets"),
    ):
        text = text.replace(place, str(own))
    environment = dict(line.split("=", 1) for line in values(text, "Environment"))
    environment |= {environment_name(key): value for key, value in settings.items()}
    (command,) = values(text, "ExecStart")
    return Service(shlex.split(command), _plain_environment() | environment, stack.root / f"{name}.log")


def keep(stack: Stack, name: str, content: str) -> None:
    """As a credential of a unit."""
    path = stack.root / "secrets" / name
    path.parent.mkdir(exist_ok=True)
    path.touch(0o600)
    path.write_text(content)


def aws_file(stack: Stack) -> str:
    keys = stack.s3.orchestrator
    return f"[default]\naws_access_key_id = {keys.access}\naws_secret_access_key = {keys.secret}\n"


def values(text: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)
