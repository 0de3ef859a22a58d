"""What is asked of a container engine has secrets in the environment and in mounted files, and nowhere else."""

import json
from pathlib import Path

import pytest

from compute.disk.secret_files import FOR_OWNER, SecretFiles, WrittenSecret
from compute.disk.workspace import Workspace
from compute.engines.docker.facts import EngineFacts
from compute.engines.docker.spec import Confinement, container_spec, has_the_node_s_user
from compute.engines.engine import Run
from shared.ids import ExecutionId, NodeId
from shared.jobs.engine_params import DockerParams
from tests.builders import new_task

EXECUTION = ExecutionId("e-1")
VALUE = "correct-horse"
FACTS = EngineFacts.unknown()


def test_a_file_is_mounted_so_that_it_can_be_read_alone_and_a_variable_is_in_the_environment_alone(
    tmp_path: Path,
) -> None:
    files = SecretFiles(tmp_path / "secrets")
    files.write(EXECUTION, [WrittenSecret("/run/key", b"value")])
    run = Run(
        execution_id=EXECUTION,
        task=new_task(engine="docker", env={"DB": "secret:db"}),
        workspace=Workspace(tmp_path / "e-1"),
        environment={"DB": VALUE},
        secrets=files.places(EXECUTION, ["/run/key"]),
        on_started=lambda _: None,
    )
    confinement = Confinement(node_id=NodeId("n-1"), pids_limit=1, bridge_network="bridge")
    spec = container_spec(run, DockerParams(image="busybox"), confinement, FACTS)
    (mount,) = [each for each in spec["HostConfig"]["Mounts"] if each["Target"] == "/run/key"]
    assert mount["ReadOnly"] is True
    assert Path(mount["Source"]).read_bytes() == b"value"
    assert spec.pop("Env") == [f"DB={VALUE}"]
    assert VALUE not in json.dumps(spec)
    assert VALUE not in repr(run)


def test_the_files_of_an_execution_are_its_node_s_alone_until_they_are_removed(tmp_path: Path) -> None:
    files = SecretFiles(tmp_path / "secrets")
    for name in ("e-1", "e-2"):
        files.write(ExecutionId(name), [WrittenSecret("/a", b"1"), WrittenSecret("/b", b"2")])
    (place, _) = files.places(EXECUTION, ["/a", "/b"])
    assert place.file.stat().st_mode & 0o777 == FOR_OWNER
    assert {each.stat().st_mode & 0o777 for each in (place.file.parent, tmp_path / "secrets")} == {0o700}
    files.sweep([ExecutionId("e-2")])
    assert [each.name for each in (tmp_path / "secrets").iterdir()] == ["e-2"]
    files.remove(ExecutionId("e-2"))
    files.remove(ExecutionId("e-2"))
    assert list((tmp_path / "secrets").iterdir()) == []


@pytest.mark.parametrize(
    ("user", "rootless", "expected"), [(0, False, False), (1000, False, True), (1000, True, False)]
)
def test_the_node_knows_the_user_of_a_container_where_it_chooses_that(
    monkeypatch: pytest.MonkeyPatch, *, user: int, rootless: bool, expected: bool
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    facts = EngineFacts(version="1", rootless=rootless, is_outlived=False, log_driver="local", cpus=1)
    assert has_the_node_s_user(facts) is expected
