"""Which servers and clients a test can ask for, and which tests run in one process when several share the work."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import podman
from tests.engine import REQUIRED, CannotStart, NewRegistry, Registry, TestEngine, is_required, start_engine
from tests.servers import S3Server, aws_environment, start_weed

TIERS = ("chaos", "e2e", "integration", "contract", "unit")
"""The folders by how long their tests take: what begins last should end soon."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """When several processes share the tests (`make test`): the longest first, and what shares a server in one of them.

    There is one container engine, and a stack that a file's tests share is started once.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    items.sort(key=lambda item: TIERS.index(item.path.relative_to(config.rootpath / "tests").parts[0]))
    for item in items:
        if shared := _shared(item):
            item.add_marker(pytest.mark.xdist_group(shared))


def _shared(item: pytest.Item) -> str:
    fixtures = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    if docker_engine.__name__ in fixtures:
        return "engine"
    is_shared = any(each.scope == "module" for found in fixtures.values() for each in found)
    return item.path.stem if is_shared else ""


@pytest.fixture(scope="session", autouse=True)
def no_aws_of_this_machine() -> Iterator[None]:
    """The developer's own keys, profiles and roles never matter, here and in the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in aws_environment().items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def signals_end_what_tests_start() -> None:
    """A script's background commands ignore Ctrl-C, and those of nohup its SIGHUP, and so would all that they start."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


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


@pytest.fixture(scope="session")
def podman_engine() -> Iterator[podman.PodmanEngine]:
    """A private Podman, under the same rule."""
    try:
        engine = podman.start_podman()
    except CannotStart as error:
        if podman.is_required():
            pytest.fail(f"{podman.REQUIRED} is set, but there is no Podman: {error}")
        pytest.skip(f"no Podman: {error}")
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
