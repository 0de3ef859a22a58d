"""The images of deploy/images: built without a network on a base without a registry, they run the documented job."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import wait_until
from tests.engine import CannotStart, TestEngine, is_required, start_engine
from tests.environments import ROOT
from tests.programs import require_program
from tests.servers import HOST, REGION, S3Server, free_ports
from tests.wheelhouse import image_base, wheelhouse

IMAGES = ROOT / "deploy" / "images"
MOST_BYTES = 120_000_000
"""Of a node, as it travels."""
HARDENED = (
    *("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--init"),
    *("--network=host", "--health-interval=1s"),
)

pytestmark = pytest.mark.timeout(580)


class Images:
    def __init__(self, engine: TestEngine, tag: str) -> None:
        self._engine = engine
        self.tag = tag

    def docker(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        variables = {**os.environ, **(environment or {}), "DOCKER_HOST": self._engine.url}
        command = ["docker", *arguments]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"docker {arguments[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def inside(self, image: str, program: str) -> str:
        command = ("run", "--rm", "--network=none", "--read-only", "--entrypoint=python3")
        return self.docker(*command, f"tarpon-{image}:{self.tag}", "-c", program)

    def start(self, image: str, variables: Mapping[str, str], *more: str, settings: Mapping[str, str]) -> None:
        """As deploy/README.md shows it; the values of variables are not in the command line."""
        names = [part for name in variables for part in ("--env", name)]
        flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        what = (f"tarpon-{image}:{self.tag}", *flags)
        self.docker("run", "--detach", f"--name={image}", *HARDENED, *names, *more, *what, environment=variables)
        wait_until(lambda: self.health(image) == "healthy", within=60, what=f"{image} is healthy")

    def health(self, name: str) -> str:
        state = json.loads(self.docker("inspect", name))[0]["State"]
        assert state["Running"], self.docker("logs", name)
        return str(state["Health"]["Status"])


@pytest.fixture(scope="module")
def engine() -> Iterator[TestEngine]:
    """One of its own, so that these minutes are beside those of all other tests of the engine."""
    try:
        made = start_engine()
    except CannotStart as error:
        (pytest.fail if is_required() else pytest.skip)(f"no container engine: {error}")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def images(engine: TestEngine) -> Iterator[Images]:
    for name in ("docker", "mmdebstrap"):
        require_program(name)
    wheels = wheelhouse()
    (wheel,) = wheels.glob("tarpon_jobs-*.whl")
    made = Images(engine, wheel.name.split("-")[1])
    made.docker("import", str(image_base()), "tarpon-base")
    command = [str(IMAGES / "build.sh"), str(wheels), "tarpon-base"]
    environment = {**os.environ, "DOCKER_HOST": engine.url, "DOCKER_BUILDKIT": "0"}  # its plugin may be missing
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    yield made
    for name in ("orchestrator", "node"):
        made.docker("rm", "--force", "--volumes", name)


def test_the_documented_job_runs_between_containers(
    images: Images, engine: TestEngine, s3_server: S3Server, tmp_path: Path
) -> None:
    api, nats, metrics = map(str, free_ports(3))
    bucket = {"Bucket": s3_server.create_bucket(), "Key": "results", "Region": REGION, "Endpoint": s3_server.endpoint}
    settings = {f"Publishers.Types.S3Managed.{key}": value for key, value in bucket.items()}
    ports = {"API.Port": api, "Orchestrator.Port": nats, "Orchestrator.Advertise": f"{HOST}:{nats}"}
    images.start("orchestrator", s3_server.environment(), settings=settings | ports)
    within = ("exec", "orchestrator", "tarpon")
    (token,) = re.findall(r"tj1_\S+", images.docker(*within, "node", "token", "create"))
    key = json.loads(images.docker(*within, "user", "bootstrap", "--output=json"))["Key"]
    data, work = folder_of_the_images_user(tmp_path / "data"), folder_of_the_images_user(tmp_path / "work")
    images.start(
        "node",
        {
            "TARPON_COMPUTE_AUTH_TOKEN": token,
            "TARPON_COMPUTE_METRICS_ADDRESS": f"{HOST}:{metrics}",
            "TARPON_DIR": str(data),
        },
        *(f"--volume={data}:{data}", f"--volume={engine.socket}:/var/run/docker.sock"),
        f"--group-add={engine.socket.stat().st_gid}",
        settings={"NameProvider": "node-a"},
    )
    job = ("job", "run", "/examples/hello-docker.yaml", "--get")
    volumes = (f"--volume={ROOT / 'deploy' / 'examples'}:/examples:ro", f"--volume={work}:/work")
    variables = {"TARPON_API_KEY": key, "TARPON_API_HOST": HOST, "TARPON_API_PORT": api}
    names = [part for name in variables for part in ("--env", name)]
    cli = ("run", "--rm", *HARDENED, *volumes, *names, f"tarpon-cli:{images.tag}")
    images.docker(*cli, *job, environment=variables)
    result = work / "job-hello-docker"
    assert (result / "stdout").read_text() == "Hello, I was stored by the managed publisher!\n"
    assert (result / "outputs" / "now.txt").exists()
    for name in ("node", "orchestrator"):
        images.docker("stop", "--time=60", name)
        assert json.loads(images.docker("inspect", name))[0]["State"]["ExitCode"] == 0, images.docker("logs", name)


def test_a_node_runs_modules_where_nothing_may_be_written(images: Images) -> None:
    program = "from compute.engines.wasm.trial import runtime_works; print(runtime_works())"
    assert images.inside("node", program) == "True\n"


@pytest.mark.parametrize("name", ["orchestrator", "node", "cli"])
def test_an_image_says_what_it_is_and_runs_as_nobody_in_particular(images: Images, name: str) -> None:
    config: dict[str, Any] = json.loads(images.docker("inspect", f"tarpon-{name}:{images.tag}"))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.title"] == f"tarpon-{name}"
    assert config["Labels"]["org.opencontainers.image.version"] == images.tag
    assert name == "cli" or config["Healthcheck"]["Test"][0] == "CMD"
    bill = json.loads(images.inside(name, f"print(open('{config['Labels']['com.tarpon.sbom']}').read())"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {each["name"].lower(): each["version"] for each in bill["components"]}
    program = "import importlib.metadata as m; print(*{d.name.lower() + '==' + d.version for d in m.distributions()})"
    assert {f"{each}=={version}" for each, version in listed.items()} == set(images.inside(name, program).split())
    assert ("botocore" in listed) is (name == "orchestrator")


def test_the_image_of_a_node_is_small(images: Images, engine: TestEngine) -> None:
    saved = f"docker save tarpon-node:{images.tag} | gzip -c | wc -c"
    environment = {**os.environ, "DOCKER_HOST": engine.url}
    assert int(subprocess.check_output(["sh", "-c", saved], env=environment, timeout=120)) <= MOST_BYTES


def folder_of_the_images_user(folder: Path) -> Path:
    folder.mkdir()
    shutil.chown(folder, 10001, 10001)
    return folder
