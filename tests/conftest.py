"""Which servers and clients a test can ask for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import REQUIRED, CannotStart, NewRegistry, Registry, TestEngine, is_required, start_engine
from tests.servers import S3Server, aws_environment, start_weed


@pytest.fixture(scope="session", autouse=True)
def no_aws_of_this_machine() -> Iterator[None]:
    """The developer's own keys, profiles and roles never matter, here and in the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in aws_environment().items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = start_weed(tmp_path_factory.mktemp("weed"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[TestEngine]:
    """A private dockerd. Where there can be none, tests are skipped, unless the environment says that they must run."""
    try:
        engine = start_engine()
    except CannotStart as error:
        if is_required():
            pytest.fail(f"{REQUIRED} is set, but there is no container engine: {error}")
        pytest.skip(f"no container engine: {error}")
    yield engine
    engine.stop()


@pytest.fixture
def new_registry(docker_engine: TestEngine, tmp_path: Path) -> Iterator[NewRegistry]:
    """Makes a running registry, which is stopped at the end."""
    made: list[Registry] = []

    def make(*, password: bool = False) -> Registry:
        try:
            registry = Registry(tmp_path / f"registry-{len(made)}", password=password)
        except CannotStart as error:
            (pytest.fail if is_required() else pytest.skip)(f"no image registry: {error}")
        made.append(registry)
        registry.start()
        return registry

    yield make
    for each in made:
        each.stop()
