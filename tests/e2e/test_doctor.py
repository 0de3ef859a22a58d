"""`tarpon admin doctor` on an orchestrator, a node and a client: it finds what is wrong, and says what to mend."""

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from compute.uplink.identity import load_identity
from tarpon.cli.console.outcomes import Exit
from tests.chaos.clocks import Clock
from tests.e2e.conftest import ended
from tests.e2e.stack import Stack, _plain_environment
from tests.node_environment import node_python
from tests.programs import require_program
from tests.servers import HOST, S3Server, aws_environment, free_ports

Finding = dict[str, str]


def doctor(*flags: str, python: str = sys.executable, **environment: str) -> tuple[int, list[Finding]]:
    """Its exit code, and what it found."""
    done = subprocess.run(
        [python, "-m", "tarpon", "admin", "doctor", "--output", "json", *flags],
        env=_plain_environment() | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd="/",
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def codes(found: list[Finding], grade: str = "problem") -> set[str]:
    return {each["Code"] for each in found if each["Grade"] == grade}


def areas(found: list[Finding]) -> set[str]:
    return {each["Area"] for each in found}


def sets(values: Mapping[str, Any]) -> list[str]:
    return [part for key, value in values.items() for part in ("-c", f"{key}={value}")]


def of_orchestrator(stack: Stack, **changes: str) -> list[str]:
    """The settings with which it was started."""
    values = {
        "DataDir": stack.root / "orchestrator",
        "API.Port": stack.api_port,
        "Orchestrator.Port": stack.nats_port,
        "Orchestrator.Host": HOST,
        "Orchestrator.Enabled": "true",
        **stack.publisher_settings(),
        **{key.replace("_", "."): value for key, value in changes.items()},
    }
    return sets(values)


def of_node(stack: Stack, name: str = "node-a", **changes: str) -> list[str]:
    values = {
        "DataDir": stack.root / name,
        "NameProvider": name,
        "Compute.Enabled": "true",
        "Compute.Orchestrators": stack.nats_url,
        "Engines.Types.Docker.Socket": "",
        **{key.replace("_", "."): value for key, value in changes.items()},
    }
    return sets(values)


@pytest.fixture(scope="module")
def keys(s3_server: S3Server) -> dict[str, str]:
    return dict(s3_server.environment())


def test_on_the_machine_of_an_orchestrator_that_is_well_nothing_is_wrong(running: Stack, keys: dict[str, str]) -> None:
    code, found = doctor(*of_orchestrator(running), **keys)
    assert (code, codes(found)) == (Exit.OK, set()), found
    expected = {"settings", "clock", "names", "disk", "secrets", "ports", "NATS", "bucket", "certificates", "API"}
    assert areas(found) >= expected


def test_on_the_machine_of_a_node_that_is_well_nothing_is_wrong(running: Stack) -> None:
    code, found = doctor(*of_node(running), python=str(node_python()))
    assert (code, codes(found)) == (Exit.OK, set()), found
    assert areas(found) >= {"settings", "clock", "names", "disk", "NATS", "node key"}
    assert "API" not in areas(found), "a node need not reach it"
    assert any("knows this node, node-a, by its key" in each["Message"] for each in found)
    assert any(f"{running.s3.endpoint} answers" in each["Message"] for each in found)


def test_the_node_goes_on_while_it_is_looked_at(running: Stack) -> None:
    doctor(*of_node(running), python=str(node_python()))
    assert {node["Connection"] for node in running.nodes()} == {"CONNECTED"}


def test_a_client_hears_how_the_orchestrator_and_its_nodes_are(running: Stack, tmp_path: Path) -> None:
    code, found = doctor("--role", "client", "-c", f"API.Port={running.api_port}", "-c", f"DataDir={tmp_path}")
    assert code == Exit.OK, found
    assert any(each["Message"] == "2 of 2 nodes are connected." for each in found)
    assert areas(found) == {"settings", "clock", "names", "disk", "API", "nodes"}


def test_nothing_that_lets_somebody_in_is_shown(running: Stack, keys: dict[str, str]) -> None:
    told = json.dumps([doctor(*of_orchestrator(running), **keys), doctor(*of_node(running))])
    assert not [secret for secret in running.secrets() if secret in told]


def test_keys_that_s3_refuses_are_told_with_its_code(running: Stack, keys: dict[str, str]) -> None:
    code, found = doctor(*of_orchestrator(running), **keys | {"AWS_SECRET_ACCESS_KEY": "wrong-secret-of-nobody"})
    assert (code, codes(found)) == (Exit.UNHEALTHY, {"SecretKeyWrong"})
    (finding,) = [each for each in found if each.get("Code") == "SecretKeyWrong"]
    assert finding["Hint"]
    assert "wrong-secret" not in json.dumps(found)


def test_rules_that_the_bucket_lacks_are_told_with_the_command_that_sets_them(running: Stack) -> None:
    """With keys that may look at them; the documented policy does not let the orchestrator's."""
    of_operator = aws_environment(running.s3.admin)
    code, found = doctor(*of_orchestrator(running), **of_operator)
    assert code == Exit.OK
    (warned,) = [each for each in found if (each["Area"], each["Grade"]) == ("bucket", "warning")]
    assert warned["Code"] == "UnfinishedUploadsStay"
    assert f"--bucket {running.bucket} --endpoint-url {running.s3.endpoint}" in warned["Hint"]


def test_rules_that_may_not_be_looked_at_are_no_warning(running: Stack, keys: dict[str, str]) -> None:
    _, found = doctor(*of_orchestrator(running), **keys)
    assert not [each for each in found if (each["Area"], each["Grade"]) == ("bucket", "warning")]
    assert any("may not look at the bucket's rules" in each["Message"] for each in found)


def test_a_bucket_that_is_not_there_is_told(running: Stack, keys: dict[str, str]) -> None:
    flags = of_orchestrator(running, Publishers_Types_S3Managed_Bucket="bucket-of-nobody")
    assert codes(doctor(*flags, **keys)[1]) <= {"BucketMissing", "AccessDenied"} != set()


def test_an_endpoint_of_which_nobody_knows_the_name_is_told_by_each_that_needs_it(
    running: Stack, keys: dict[str, str]
) -> None:
    flags = of_orchestrator(running, Publishers_Types_S3Managed_Endpoint="https://s3.nowhere.invalid")
    assert codes(doctor(*flags, **keys)[1]) == {"HostNotResolved", "EndpointUnreachable"}


def test_a_port_that_another_program_has_is_told_before_the_start(tmp_path: Path) -> None:
    api, nats = free_ports(2)
    with socket.create_server((HOST, api)):
        flags = sets({"DataDir": tmp_path, "API.Port": api, "Orchestrator.Port": nats, "Orchestrator.Host": HOST})
        _, found = doctor("--role", "orchestrator", *flags)
    assert codes(found) == {"PortTaken"}
    assert sum(each["Area"] == "ports" for each in found) == 2


def test_a_node_whose_servers_are_away_is_told(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    flags = sets({"DataDir": tmp_path, "Compute.Orchestrators": f"nats://{HOST}:{port}"})
    code, found = doctor("--role", "node", *flags, "-c", "Engines.Types.Docker.Socket=")
    assert (code, codes(found)) == (Exit.UNHEALTHY, {"NatsNotReached"})


def test_a_node_whose_nats_speaks_tls_alone_reaches_it(
    s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stack = Stack(tmp_path_factory.mktemp("encrypted"), s3_server, encrypted=True)
    try:
        stack.start_asking_orchestrator()
        stack.start_compute("node-a")
        trusts = {"Compute_TLS_CACert": str(stack.authority_file)}
        code, found = doctor(*of_node(stack, **trusts), python=str(node_python()))
        assert (code, codes(found)) == (Exit.OK, set()), found
    finally:
        ended(stack)


def test_a_node_that_cannot_reach_the_bucket_is_told_so_without_any_key(stack: Stack) -> None:
    (port,) = free_ports(1)
    away = f"http://{HOST}:{port}"
    stack.start_orchestrator(publisher=stack.publisher_settings(PublicEndpoint=away))
    stack.start_compute("node-a")
    code, found = doctor(*of_node(stack), python=str(node_python()))
    assert (code, codes(found)) == (Exit.UNHEALTHY, {"EndpointUnreachable"})
    assert away in next(each["Message"] for each in found if each.get("Code") == "EndpointUnreachable")


def test_a_node_that_was_rejected_or_is_not_known_is_told(stack: Stack) -> None:
    stack.start_orchestrator()
    stack.start_compute("node-a")
    stack.computes["node-a"].stop()
    stack.cli("node", "reject", "node-a")
    code, found = doctor(*of_node(stack))
    assert (code, codes(found)) == (Exit.UNHEALTHY, {"NodeRejected"})
    (stack.root / "node-a" / "compute" / "node.nkey").rename(stack.root / "kept.nkey")
    load_identity(stack.root / "node-a" / "compute", "node-a")  # with another key
    code, found = doctor(*of_node(stack))
    assert (code, codes(found)) == (Exit.UNHEALTHY, {"NodeNotLetIn"})


def test_a_clock_that_is_off_is_told_against_the_orchestrator_and_s3(
    running: Stack, keys: dict[str, str], tmp_path: Path
) -> None:
    require_program("faketime")
    clock = Clock(tmp_path / "clock")
    clock.set_hours(0.5)
    _, found = doctor(*of_orchestrator(running), **keys | clock.variables)
    told = " ".join(each["Message"] for each in found if each.get("Code") == "ClockOff")
    _, of_the_node = doctor(*of_node(running), **clock.variables)
    assert any("S3's clock is " in each["Message"] for each in of_the_node if each.get("Code") == "ClockOff")
    assert "The orchestrator's clock is " in told
    assert "S3's clock is " in told


def test_a_node_that_has_never_joined_uses_up_no_token_and_makes_no_key(running: Stack, tmp_path: Path) -> None:
    made = json.loads(running.cli("node", "token", "create", "--output", "json").stdout)
    flags = sets({"DataDir": tmp_path, "Compute.Orchestrators": running.nats_url, "Engines.Types.Docker.Socket": ""})
    code, found = doctor("--role", "node", *flags, TARPON_COMPUTE_AUTH_TOKEN=made["Text"])
    assert (code, codes(found)) == (Exit.OK, set()), found
    assert not (tmp_path / "compute").exists()
    listed = json.loads(running.cli("node", "token", "list", "--output", "json").stdout)
    assert [each["Used"] for each in listed if each["ID"] == made["Token"]["ID"]] == [0]


def test_an_engine_that_is_asked_for_and_away_is_told(running: Stack, tmp_path: Path) -> None:
    _, found = doctor(*of_node(running, Engines_Types_Docker_Socket=str(tmp_path / "docker.sock")))
    assert codes(found) == {"EngineUnavailable"}


def test_settings_that_cannot_be_read_are_the_only_finding(tmp_path: Path) -> None:
    code, found = doctor("-c", f"DataDir={tmp_path}", "-c", "API.Prot=1")
    assert (code, codes(found)) == (Exit.UNHEALTHY, {"ConfigurationInvalid"})


def test_an_orchestrator_that_is_away_is_told_to_a_client(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    _, found = doctor("--role", "client", "-c", f"DataDir={tmp_path}", "-c", f"API.Port={port}")
    assert codes(found) == {"OrchestratorUnreachable"}


def test_for_people_each_line_says_how_it_is_and_the_last_how_many(running: Stack, tmp_path: Path) -> None:
    done = running.cli("admin", "doctor", "--role", "client", "-c", f"DataDir={tmp_path}")
    lines = done.stdout.splitlines()
    assert lines[0] == "ok       settings: The settings can be read."
    assert "docs/runbook.md" in lines[-1] or lines[-1] == "Nothing is wrong."
