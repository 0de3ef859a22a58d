"""What the docker engine decides without an engine: frames, names, credentials, words."""

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.engines.docker.api import ContainerState, EngineRefusal
from compute.engines.docker.credentials import config_file, find_credentials, full_name, registry_of
from compute.engines.docker.ends import refused, started_before_boot
from compute.engines.docker.images import is_missing_image, why_not
from compute.engines.docker.output import Frames, Outputs
from shared.jobs.states import FailureReason

HUB_AUTH = {"auth": base64.b64encode(b"me:pass:word").decode()}
DECODED = {"username": "me", "password": "pass:word"}
AGAIN, MISSING = FailureReason.IMAGE_NOT_PULLED, FailureReason.IMAGE_NOT_FOUND
PINGING = "initializing source docker://r/i:1: pinging container registry r:"
OCI = "OCI runtime create failed: runc create failed: unable to start container process:"
DENIED, DISK_FULL = FailureReason.IMAGE_ACCESS_DENIED, FailureReason.DISK_FULL


def frame(stream: int, content: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(content).to_bytes(4, "big") + content


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=20),
    st.lists(st.integers(min_value=1, max_value=30), min_size=1, max_size=20),
)
def test_frames_are_taken_apart_however_they_are_cut(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(*each) for each in sent)
    frames, got, position, turn = Frames(), {1: b"", 2: b""}, 0, 0
    while position < len(data):
        size = cuts[turn % len(cuts)]
        for stream, piece in frames.feed(data[position : position + size]):
            got[stream] += bytes(piece)
        position, turn = position + size, turn + 1
    assert got == {number: b"".join(content for stream, content in sent if stream == number) for number in (1, 2)}


def test_output_is_cut_at_the_limit_and_nothing_is_written_after_that(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path, 10)
    outputs.open()
    outputs.feed(frame(1, b"12345") + frame(2, b"1234567890"))
    assert outputs.over == ""
    outputs.feed(frame(1, b"6789012"))
    outputs.feed(frame(1, b"more") + frame(2, b"more"))
    outputs.close()
    assert outputs.over == "stdout"
    assert (tmp_path / "stdout").read_bytes() == b"1234567890"
    assert (tmp_path / "stderr").read_bytes() == b"1234567890"


def test_output_can_be_read_again_from_its_beginning_after_it_broke_off_within_a_frame(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path, 10)
    for data in (frame(1, b"123456")[:-2], frame(1, b"1234567")):
        outputs.open()
        outputs.feed(data)
        outputs.close()
    assert outputs.over == ""
    assert (tmp_path / "stdout").read_bytes() == b"1234567"


def test_what_is_read_again_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_bytes(b"longer than before")
    outputs = Outputs(tmp_path, 100)
    outputs.open()
    outputs.feed(frame(1, b"short"))
    outputs.close()
    assert (tmp_path / "stdout").read_bytes() == b"short"


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("busybox", "docker.io/library/busybox"),
        ("busybox:1.37.0", "docker.io/library/busybox:1.37.0"),
        ("me/tool", "docker.io/me/tool"),
        ("ghcr.io/me/tool:1", "ghcr.io/me/tool:1"),
        ("localhost/tool", "localhost/tool"),
        ("registry:5000/tool", "registry:5000/tool"),
    ],
)
def test_an_image_is_pulled_by_its_full_name(image: str, full: str) -> None:
    assert full_name(image) == full
    assert registry_of(image) == full.split("/", maxsplit=1)[0]


@pytest.mark.parametrize(
    ("config", "registry", "found"),
    [
        (
            {"auths": {"https://index.docker.io/v1/": HUB_AUTH}},
            "docker.io",
            {"username": "me", "password": "pass:word"},
        ),
        ({"auths": {"ghcr.io": {"username": "u", "password": "p"}}}, "ghcr.io", {"username": "u", "password": "p"}),
        ({"auths": {"https://ghcr.io": {"identitytoken": "t"}}}, "ghcr.io", {"identitytoken": "t"}),
        ({"auths": {"ghcr.io": HUB_AUTH}}, "quay.io", None),
        ({"auths": {"ghcr.io": {}}}, "ghcr.io", None),
        ({"auths": {"ghcr.io": {"auth": "not base64!"}}}, "ghcr.io", None),
        ([], "ghcr.io", None),
        ({}, "ghcr.io", None),
    ],
)
def test_credentials_are_those_of_the_registry(
    tmp_path: Path, config: Any, registry: str, found: dict[str, str] | None
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    assert find_credentials(registry, file) == (found and {**found, "serveraddress": registry})


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        '{"auths": 5}',
        '{"auths": {"ghcr.io": 5}}',
        '{"auths": {"ghcr.io": {"auth": 5}}}',
        '{"auths": {"ghcr.io": {"identitytoken": 5}}}',
        '{"auths": {"ghcr.io": {"username": ["me"]}}}',
        '{"credsStore": 5}',
        '{"credHelpers": ["x"]}',
    ],
)
def test_no_credentials_are_no_error(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "config.json"
    if content is not None:
        file.write_text(content)
    assert find_credentials("ghcr.io", file) is None


def test_credentials_can_come_from_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker-credential-test"
    program.write_text(
        "#!/bin/sh\nread registry; [ $registry = ghcr.io ] || exit 1\n"
        'echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"t\\"}"\n'
    )
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"credsStore": "test"}))
    assert find_credentials("ghcr.io", file) == {"identitytoken": "t", "serveraddress": "ghcr.io"}
    assert find_credentials("quay.io", file) is None


def test_the_configuration_is_where_the_command_line_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_file({}) == tmp_path / ".docker" / "config.json"
    assert config_file({"DOCKER_CONFIG": "/elsewhere"}) == Path("/elsewhere/config.json")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("manifest for busybox:9 not found: manifest unknown: manifest unknown", MISSING),
        ("pull access denied for x, repository does not exist or may require", DENIED),
        ("Head https://r/v2/x: unauthorized: authentication required", DENIED),
        ("dial tcp 127.0.0.1:5000: connect: connection refused", AGAIN),
        ("toomanyrequests: You have reached your pull rate limit", AGAIN),
        ("dial tcp: lookup nowhere.invalid: no such host", AGAIN),
        ("failed to register layer: write /x: no space left on device", DISK_FULL),
        # Docker with its own store.
        ("received unexpected HTTP status: 503 Service Unavailable", AGAIN),
        ("toomanyrequests: You have reached your unauthenticated pull rate limit.", AGAIN),
        ("error parsing HTTP 403 response body: invalid character '<' looking for beginning of value", DENIED),
        ("pull access denied for some/image, repository does not exist or may require 'docker login'", DENIED),
        ("manifest for r:5000/some/image:1 not found: manifest unknown: manifest unknown", MISSING),
        ("unknown blob", AGAIN),
        ("failed to register layer: Error processing tar file: write /x: no space left on device", DISK_FULL),
        # Docker with containerd's.
        ('failed to resolve reference "r:5000/some/image:1": r:5000/some/image:1: not found', MISSING),
        (
            "failed to copy: httpReadSeeker: content at http://r/v2/i/blobs/sha256:0a not found: not found",
            AGAIN,
        ),
        ("unexpected status from HEAD request to http://r/v2/i/manifests/1: 403 Forbidden", DENIED),
        ("unexpected status from GET request to http://r/v2/i/manifests/1: 503 Service Unavailable", AGAIN),
        ("429 Too Many Requests - Server message: toomanyrequests: authentication required for more", AGAIN),
        (
            "pull access denied, repository does not exist or may require authorization: no basic auth credentials",
            DENIED,
        ),
        # Podman.
        ("initializing source docker://r/i:1: reading manifest 1 in r/i: manifest unknown", MISSING),
        (f"{PINGING} invalid status code from registry 503 (Service Unavailable)", AGAIN),
        (f"{PINGING} invalid status code from registry 404 (Not Found)", AGAIN),
        (f"{PINGING} invalid status code from registry 403 (Forbidden)", DENIED),
        ("reading blob sha256:0a: Error fetching blob: invalid status code from registry 404 (Not Found)", AGAIN),
        ("reading manifest 1 in r/i: unauthorized: authentication required", DENIED),
        ('choosing image instance: no image found in manifest list for architecture "arm64"', MISSING),
        ("pinging container registry r: Get http://r/v2/: dial tcp: lookup r: no such host", AGAIN),
    ],
)
def test_the_words_of_a_registry_are_told_apart(words: str, reason: FailureReason) -> None:
    missing = why_not("busybox:9", "docker.io", words)
    assert missing.reason is reason
    assert "busybox:9" in missing.detail


@pytest.mark.parametrize(
    ("image", "registry", "words", "reason"),
    [
        (
            "ghcr.io/acme/access-denied:1",
            "ghcr.io",
            'Get "https://ghcr.io/v2/acme/access-denied/manifests/1": dial tcp: connection refused',
            AGAIN,
        ),
        ("r:5000/denied:1", "r:5000", "manifest for r:5000/denied:1 not found: manifest unknown", MISSING),
        ("http.503/x", "http.503", 'Get "https://http.503/v2/": unauthorized', DENIED),
        ("denied.example/x", "denied.example", "dial tcp: lookup denied.example: no such host", AGAIN),
        ("a/b@sha256:0a", "docker.io", "pull access denied for a/b, repository does not exist", DENIED),
    ],
)
def test_the_name_of_an_image_says_nothing_about_its_registry(
    image: str, registry: str, words: str, reason: FailureReason
) -> None:
    assert why_not(image, registry, words).reason is reason


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (400, "OCI runtime create failed: ... : unknown", FailureReason.TASK_NOT_STARTED),
        (500, "OCI runtime create failed: mount: unknown", FailureReason.TASK_NOT_STARTED),
        (404, "network for-tasks not found", FailureReason.TASK_NOT_STARTED),
        (404, "No such container: tarpon-e-1", FailureReason.CONTAINER_LOST),
        (404, "No such image: busybox:9", FailureReason.IMAGE_NOT_PULLED),
        (409, 'Conflict. The container name "/x" is already in use by container "y"', FailureReason.NODE_ERROR),
        (400, "invalid mount config: bind source path does not exist: /x", FailureReason.DATA_DIR_NOT_SEEN),
        (500, "mkdir /x: no space left on device", FailureReason.DISK_FULL),
        (500, "something else", FailureReason.NODE_ERROR),
        # What the node does to each task.
        (
            400,
            f"{OCI} error running hook #0: error running hook: exit status 1, stderr: oops",
            FailureReason.NODE_ERROR,
        ),
        (500, f"{OCI} error running createRuntime hook #0: exit status 3", FailureReason.NODE_ERROR),
        (400, f"{OCI} hook: nvidia-container-cli: nvml error: driver/library mismatch", FailureReason.GPU_NOT_GIVEN),
        (400, "OCI runtime create failed: unable to retrieve OCI runtime error (open /x)", FailureReason.NODE_ERROR),
        (400, f"{OCI} unable to apply cgroup configuration: mkdir /x: read-only", FailureReason.NODE_ERROR),
        (400, f"{OCI} fork/exec /proc/self/exe: cannot allocate memory", FailureReason.NODE_ERROR),
        # The same words where the job or its image has chosen them.
        (
            400,
            f'{OCI} chdir to cwd ("/no space left on device \\" error running hook")',
            FailureReason.TASK_NOT_STARTED,
        ),
        (
            400,
            f"{OCI} error mounting to rootfs: open /m/too many open files/x: not a directory: unknown",
            FailureReason.TASK_NOT_STARTED,
        ),
        (
            500,
            "OCI runtime error: runc: open /r/a: no space left on device/x: not a directory",
            FailureReason.TASK_NOT_STARTED,
        ),
        (500, "crun: executable file `no such container` not found: OCI runtime error", FailureReason.TASK_NOT_STARTED),
        (500, "OCI runtime error: crun: open `/r`: Too many open files", FailureReason.NODE_ERROR),
        (400, f"{OCI} unable to find user too many open files: no matching entries", FailureReason.TASK_NOT_STARTED),
    ],
)
def test_the_words_of_an_engine_are_told_apart(status: int, message: str, reason: FailureReason) -> None:
    assert refused(EngineRefusal(status, message)).reason is reason


def test_what_an_engine_lacks_of_an_image_is_pulled() -> None:
    for message in ("No such image: busybox:9", "content digest sha256:0a: not found"):
        assert is_missing_image(EngineRefusal(404, message))
    assert not is_missing_image(EngineRefusal(404, "network for-tasks not found"))
    assert refused(EngineRefusal(404, "content digest sha256:0a: not found")).reason is AGAIN


def test_of_many_words_of_an_engine_the_first_and_the_last_are_told() -> None:
    detail = refused(
        EngineRefusal(400, "OCI runtime create failed: " + "x" * 5000 + ": not a directory: unknown")
    ).detail
    assert detail.startswith("The container could not be started: OCI runtime create failed: xxx")
    assert detail.endswith("xxx: not a directory")
    assert len(detail) < 350


@pytest.mark.parametrize(
    ("started_at", "is_before"),
    [("2001-02-03T04:05:06.123456789Z", True), ("2999-01-01T00:00:00Z", False), ("", False)],
)
def test_a_container_from_before_the_boot_is_recognised(started_at: str, *, is_before: bool) -> None:
    state = ContainerState(status="exited", exit_code=0, oom_killed=False, started_at=started_at)
    assert started_before_boot(state) is is_before
