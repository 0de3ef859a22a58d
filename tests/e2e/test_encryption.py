"""Everything over TLS, as real processes do it: nodes and people, each with the one line that it was given."""

import json
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shared.protocol import pasted
from shared.protocol.pasted import JoinToken
from tests.client_certificates import ClientAuthority
from tests.e2e.stack import Service, Stack, _plain_environment, process_job, wait_until
from tests.sandbox import sandbox_setting
from tests.servers import HOST

EVERYWHERE = "0.0.0.0"


@contextmanager
def a_stranger_at(port: int) -> Iterator[list[bytes]]:
    """Somebody who listens there, and keeps what is sent in the clear."""
    heard: list[bytes] = []

    def listen() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    heard.append(connection.recv(4096))

    with socket.create_server((HOST, port)) as server:
        thread = threading.Thread(target=listen)
        thread.start()
        yield heard
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def data_dir(stack: Stack) -> Path:
    return stack.root / "orchestrator"


def operated(stack: Stack, *arguments: str) -> str:
    """What an operator is told on the orchestrator's machine, where nothing has to be named but DataDir."""
    return asked_elsewhere(stack, *arguments, "-c", f"DataDir={data_dir(stack)}")


def asked_elsewhere(
    stack: Stack, *arguments: str, check: bool = True, variables: Mapping[str, str] = MappingProxyType({})
) -> str:
    """What the command line says that finds no orchestrator of its own on this machine."""
    done = subprocess.run(
        [sys.executable, "-m", "tarpon", *arguments],
        env=_plain_environment() | {"HOME": str(stack.root / "person")} | dict(variables),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=stack.root,
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout if check else done.stderr


def started_by(line: str, stack: Stack, name: str) -> Service:
    """The node that a pasted line starts, with what it needs on this machine."""
    words = shlex.split(line)
    variables = dict(word.split("=", 1) for word in words if word.startswith("TARPON_"))
    flags = words[words.index("--compute") + 1 :]
    own = {"DataDir": str(stack.root / name), "NameProvider": name, "Engines.Types.Process.Enabled": "true"}
    own |= {"Engines.Types.Process.Sandbox": sandbox_setting()}
    command = [sys.executable, "-m", "tarpon", "serve", "--compute", *flags]
    command += [part for key, value in own.items() for part in ("-c", f"{key}={value}")]
    environment = _plain_environment() | variables
    stack.environments.append(environment)
    stack.computes[name] = service = Service(command, environment, stack.root / f"{name}.log")
    service.start()
    return service


def is_connected(stack: Stack, name: str) -> bool:
    listed = json.loads(operated(stack, "node", "list", "--output", "json"))
    return any(each["Info"]["NodeID"] == name and each["Connection"] == "CONNECTED" for each in listed)


def ready(stack: Stack) -> None:
    assert stack.orchestrator is not None
    orchestrator = stack.orchestrator
    wait_until(lambda: "Serving the API on" in orchestrator.text(), within=40, what="the orchestrator is ready")


def start_encrypted(stack: Stack) -> None:
    stack.start_orchestrator(publisher={}, ready=False, API_TLS_SelfSigned="true", Orchestrator_TLS_PlainText="never")
    ready(stack)


def test_one_pasted_line_and_a_key_are_all_that_a_node_and_a_person_need(stack: Stack) -> None:
    start_encrypted(stack)
    created = operated(stack, "node", "token", "create", "--expires", "10m")
    started_by(created, stack, "node-a")
    wait_until(lambda: is_connected(stack, "node-a"), within=40, what="the node is connected")

    address = f"https://{HOST}:{stack.api_port}"
    made = json.loads(operated(stack, "user", "create", "ann", "--address", address, "--output", "json"))
    assert "node-a" in asked_elsewhere(stack, "node", "list", variables={"TARPON_API_KEY": made["Key"]})


def test_a_person_without_the_authority_is_told_what_to_name(stack: Stack) -> None:
    start_encrypted(stack)
    where = {"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(stack.api_port)}
    told = asked_elsewhere(stack, "job", "list", check=False, variables=where)
    assert "[OneSideEncrypts]" in told
    told = asked_elsewhere(stack, "job", "list", "-c", "API.TLS.UseTLS=true", check=False, variables=where)
    assert "[OrchestratorNotTrusted]" in told
    assert "API.TLS.CAFile" in told
    assert "Traceback" not in told
    asked_elsewhere(stack, "agent", "alive", "-c", f"API.TLS.CAFile={stack.authority_file}", variables=where)


def test_off_loopback_all_is_encrypted_without_a_word_said(stack: Stack) -> None:
    """As the tutorial has it, with the default of Orchestrator.Host and both roles in one process."""
    stack.start_orchestrator(
        publisher={},
        ready=False,
        role=("--orchestrator", "--compute"),
        Orchestrator_Host=EVERYWHERE,
        API_Host=EVERYWHERE,
        API_Auth_Anonymous="false",
        NameProvider="here",
    )
    ready(stack)
    wait_until(lambda: is_connected(stack, "here"), within=40, what="the node of the same process is connected")
    assert stack.orchestrator is not None
    assert "Serving the API on https://" in stack.orchestrator.text()
    config = (data_dir(stack) / "orchestrator" / "nats" / "nats-server.conf").read_text()
    assert "handshake_first: true" in config
    assert "allow_non_tls" not in config
    text = json.loads(operated(stack, "node", "token", "create", "--output", "json"))["Text"]
    token = pasted.read(text, JoinToken)
    assert token.authority
    assert all(each.startswith("tls://") for each in token.addresses)


def test_where_certificates_are_asked_for_all_who_show_one_are_let_in_and_nobody_else(stack: Stack) -> None:
    """The node of the orchestrator's own process needs none of its operator's."""
    operators = ClientAuthority(stack.root)
    asked: dict[str, Any] = {"Orchestrator_TLS_ClientCA": str(operators.file), "API_TLS_ClientCA": str(operators.file)}
    roles = ("--orchestrator", "--compute")
    stack.start_orchestrator(publisher={}, ready=False, role=roles, NameProvider="here", **asked)
    ready(stack)
    wait_until(lambda: is_connected(stack, "here"), within=40, what="the node of the same process is connected")

    line = operated(stack, "node", "token", "create")
    shown = operators.sign("node")
    service = started_by(line, stack, "bare")
    wait_until(lambda: "it lets nobody in without a certificate" in service.text(), within=40, what="it is told")
    service.stop()
    assert "Traceback" not in service.text()
    started_by(f"{line} -c Compute.TLS.ClientCert={shown} -c Compute.TLS.ClientKey={shown}", stack, "node-a")
    wait_until(lambda: is_connected(stack, "node-a"), within=40, what="the node is connected")

    where = {"TARPON_API_HOST": f"https://{HOST}:{stack.api_port}", "TARPON_API_TLS_CAFILE": str(stack.authority_file)}
    told = asked_elsewhere(stack, "node", "list", check=False, variables=where)
    assert "[ClientCertificateRefused]" in told
    assert "Traceback" not in told
    mine = {"TARPON_API_TLS_CLIENTCERT": shown, "TARPON_API_TLS_CLIENTKEY": shown}
    assert "node-a" in asked_elsewhere(stack, "node", "list", variables=where | mine)


def test_nodes_of_an_earlier_version_go_on_until_its_operator_has_taken_the_step(stack: Stack) -> None:
    """Without TLS then: what such a version left has no folder of certificates, and a node's address no tls://."""
    stack.start_orchestrator(publisher={}, Orchestrator_Host=EVERYWHERE, Orchestrator_TLS_PlainText="only")
    assert stack.orchestrator is not None
    assert "NATS has no TLS on 0.0.0.0" in stack.orchestrator.log.read_text()
    secrets, tls = (data_dir(stack) / "orchestrator" / each for each in ("secrets", "tls"))
    stack.start_compute("node-a")
    job = stack.submit(process_job("sleep 8; echo done", Publisher={"Type": "noop"}))
    stack.wait_state(job, "Running")
    stack.orchestrator.stop()
    for left in tls.iterdir():
        left.unlink()
    tls.rmdir()
    (secrets / "authority.secret").unlink()

    stack.start_orchestrator(publisher={}, Orchestrator_Host=EVERYWHERE)
    stack.wait_connected("node-a")
    log = stack.orchestrator.log.read_text()
    assert "Nodes and programs may still join NATS without TLS" in log
    assert "Orchestrator.TLS.PlainText=never" in log
    assert stack.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"

    stack.orchestrator.stop()
    stack.start_orchestrator(publisher={}, Orchestrator_Host=EVERYWHERE, Orchestrator_TLS_PlainText="never")
    node = stack.computes["node-a"]
    wait_until(lambda: "it speaks TLS" in node.text(), within=40, what="it is told")
    node.stop()
    stack.start_compute(
        "node-a",
        Compute_Orchestrators=f"tls://{HOST}:{stack.nats_port}",
        Compute_TLS_CACert=str(stack.authority_file),
    )


def test_a_certificate_that_cannot_be_served_stops_the_start_with_a_sentence(stack: Stack) -> None:
    service = stack.start_orchestrator(
        publisher={}, ready=False, API_TLS_CertFile=str(stack.root / "absent.pem"), API_TLS_KeyFile="/dev/null"
    )
    assert service.process.wait(60) == 2
    assert "[CertificateInvalid]" in service.text()
    assert re.search(r"API\.TLS\.CertFile: .*absent\.pem cannot be read", service.text())
    assert "Traceback" not in service.text()


def test_keys_of_certificates_are_in_files_of_one_user_alone(stack: Stack) -> None:
    start_encrypted(stack)
    key = (data_dir(stack) / "orchestrator" / "tls" / "server.pem").read_text().split("-----")[-3].split()[1]
    found = [path for path in stack.root.rglob("*") if path.is_file() and key in path.read_text(errors="replace")]
    assert [path.name for path in found] == ["server.pem"]
    assert found[0].stat().st_mode & 0o777 == 0o600


def test_nothing_of_a_key_is_sent_to_a_stranger_at_the_port(stack: Stack) -> None:
    start_encrypted(stack)
    address = f"https://{HOST}:{stack.api_port}"
    made = json.loads(operated(stack, "user", "create", "ann", "--address", address, "--output", "json"))
    assert stack.orchestrator is not None
    stack.orchestrator.stop()
    with a_stranger_at(stack.api_port) as heard:
        asked_elsewhere(stack, "job", "list", check=False, variables={"TARPON_API_KEY": made["Key"]})
    assert heard
    assert all(each[:2] in {b"", b"\x16\x03"} for each in heard), "nothing but the beginning of TLS"
