"""Which container engine a node uses where no setting says so: the one of `docker`, if it is on this machine."""

import hashlib
import json
from pathlib import Path

import pytest

from compute.engines.docker.endpoint import EndpointRefused, find_socket
from shared.settings.config import DockerSettings

USUAL = "/var/run/docker.sock"


def found(setting: str = "auto", **environment: str) -> str:
    return find_socket(DockerSettings(socket=setting), environment)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Of Docker's command line: the context `near` is current, `far` is another machine's, `odd` is no context."""
    for name, text in {
        "near": json.dumps({"Name": "near", "Endpoints": {"docker": {"Host": "unix:///run/near.sock"}}}),
        "far": json.dumps({"Name": "far", "Endpoints": {"docker": {"Host": "tcp://far:2376", "SkipTLSVerify": False}}}),
        "odd": "[]",
    }.items():
        place = tmp_path / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
        place.mkdir(parents=True)
        (place / "meta.json").write_text(text)
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "near"}))
    return str(tmp_path)


def test_a_setting_comes_before_all_else(folder: str) -> None:
    assert found("unix:///run/x.sock", DOCKER_HOST="unix:///run/y.sock", DOCKER_CONFIG=folder) == "/run/x.sock"
    assert found("/run/x.sock") == "/run/x.sock"
    assert found("", DOCKER_HOST="unix:///run/y.sock", DOCKER_CONFIG=folder) == ""


def test_the_environment_comes_before_the_current_context(folder: str) -> None:
    assert found(DOCKER_HOST="unix:///run/y.sock", DOCKER_CONTEXT="far", DOCKER_CONFIG=folder) == "/run/y.sock"
    assert found(DOCKER_CONFIG=folder) == "/run/near.sock"
    assert found(DOCKER_CONFIG=folder, DOCKER_CONTEXT="default") == USUAL


@pytest.mark.parametrize("text", [None, "{}", '{"currentContext": ""}', '{"currentContext": "default"}'])
def test_without_any_it_is_the_usual_socket(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert found(DOCKER_CONFIG=str(tmp_path)) == USUAL


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DOCKER_HOST": "tcp://127.0.0.1:2376"}, "DOCKER_HOST names one by 'tcp'"),
        ({"DOCKER_HOST": "ssh://me:s3cret@far"}, "DOCKER_HOST names one by 'ssh'"),
        ({"DOCKER_HOST": "far:2375"}, "DOCKER_HOST names one by 'something else'"),
        ({"DOCKER_HOST": "unix://relative"}, "DOCKER_HOST names one by 'unix'"),
        ({"DOCKER_CONTEXT": "far"}, "the docker context 'far' names one by 'tcp'"),
        ({"DOCKER_CONTEXT": "odd"}, "the docker context 'odd' cannot be read"),
        ({"DOCKER_CONTEXT": "gone"}, "the docker context 'gone' cannot be read"),
    ],
)
def test_an_engine_that_a_node_cannot_use_is_refused_with_what_to_do(
    folder: str, environment: dict[str, str], said: str
) -> None:
    with pytest.raises(EndpointRefused) as refused:
        found(DOCKER_CONFIG=folder, **environment)
    assert str(refused.value).startswith(f"This node uses no container engine: {said}")
    assert "Engines.Types.Docker.Socket" in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("text", ["no json", "[]", "\udcff"])
def test_a_configuration_that_cannot_be_read_is_told_and_left_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (tmp_path / "config.json").write_text(text, errors="surrogateescape")
    assert found(DOCKER_CONFIG=str(tmp_path)) == USUAL
    assert f"cannot be read from {tmp_path}/config.json" in caplog.text
