"""The documented configurations and job, word for word but for the command, the endpoint and the bucket."""

import re
import shlex
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, wait_until
from tests.engine import TestEngine
from tests.servers import REGION

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "managed_publisher"
TEXT = "Hello, I was stored by Managed Publisher!\n"


def _replaced(text: str, stack: Stack) -> str:
    """For the bucket and the endpoint of this machine."""
    text = text.replace("my-result-bucket", stack.bucket).replace("https://custom-s3.example.com", stack.s3.endpoint)
    assert REGION in text
    return text


def _by_yaml(stack: Stack) -> list[str]:
    (file,) = FIXTURES.glob("*config*.y*ml")
    path = stack.root / "documented.yaml"
    path.write_text(_replaced(file.read_text(), stack))
    return ["-c", str(path)]


def _by_flags(stack: Stack) -> list[str]:
    (file,) = FIXTURES.glob("*.sh")
    words = shlex.split(_replaced(re.sub(r"\\\n", " ", file.read_text()), stack))
    assert words[:2] == ["tarpon", "serve"]
    return words[2:]


@pytest.mark.parametrize("documented", [_by_yaml, _by_flags])
def test_the_documented_docker_job_is_stored_on_an_orchestrator_configured_as_documented(
    stack: Stack, docker_engine: TestEngine, documented: object
) -> None:
    assert callable(documented)
    stack.prefix = "bacalhau-managed-publisher"
    stack.bucket = stack.s3.create_bucket(prefix=stack.prefix)
    stack.start_orchestrator(publisher={}, flags=documented(stack), role=())
    for name in ("node-a", "node-b"):
        stack.start_compute(name, Engines_Types_Docker_Socket=f"unix://{docker_engine.socket}")
    (job_file,) = FIXTURES.glob("*job*.y*ml")
    job = stack.cli("job", "run", "--id-only", str(job_file)).stdout.strip()
    stack.cli("job", "get", job)
    written = stack.root / f"job-{job}" / "stdout"
    wait_until(written.exists, within=5, what="the result is there")
    assert written.read_text() == TEXT
