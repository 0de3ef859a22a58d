"""Which servers and clients a test can ask for, and which tests run in one process when several share the work."""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests import podman
from tests.canary import LOG_LEVEL, Canary, listening
from tests.engine import REQUIRED, CannotStart, NewRegistry, Registry, TestEngine, is_required, start_engine
from tests.servers import S3Server, aws_environment, start_weed

pytest_plugins = ["tarpon.pytest_plugin"]
GROUPS_FOLDER = pytest.StashKey[Path]()
TIERS = ("chaos", "e2e", "integration", "contract", "unit")
"""The folders by how long their tests take: what begins last should end soon."""
SMALL = ("contract", "unit")
"""Folders of files that take seconds each: handed out as files, for their tests are thousands."""


class SharedServers(LoadScopeScheduling):  # type: ignore[misc]  # xdist publishes no types
    """Hands out together what shares a server: there is one container engine, and a file's own stack is started once.

    xdist's own groups are part of a test's name, which pytest 9.2 does not let it change: without a word there are
    none. So the first worker writes them down before the controller hears of its tests.
    """

    def __init__(self, config: pytest.Config, log: Any, folder: Path) -> None:
        super().__init__(config, log)
        self.file = folder / "groups.json"
        self._groups: dict[str, str] = {}

    def schedule(self) -> None:
        self._groups = self._groups or json.loads(self.file.read_text(encoding="utf-8"))
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return self._groups.get(nodeid, nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedServers | None:
    return SharedServers(config, log, _groups_folder(config)) if config.getoption("dist") == "loadgroup" else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["groups_folder"] = str(_groups_folder(node.config))


def pytest_configure() -> None:
    """How long an example takes depends on what else the machine does; pytest bounds each test.

    Examples are the same at each run, unless TESTS_RANDOM asks for others: nobody lands or fails by luck.
    """
    settings.register_profile("tarpon", deadline=None, derandomize="TESTS_RANDOM" not in os.environ)
    settings.load_profile("tarpon")


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(GROUPS_FOLDER, None):
        shutil.rmtree(folder, ignore_errors=True)


def _groups_folder(config: pytest.Config) -> Path:
    if GROUPS_FOLDER not in config.stash:
        config.stash[GROUPS_FOLDER] = Path(tempfile.mkdtemp(prefix="tarpon-tests-"))
    return config.stash[GROUPS_FOLDER]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """When several processes share the tests (`make test`): the longest first, all that needs Docker among these."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return
    places = {item: item.path.relative_to(config.rootpath / "tests").with_suffix("") for item in items}
    groups = {item.nodeid: shared for item in items if (shared := _shared(item, places[item]))}
    items.sort(
        key=lambda item: (
            places[item].parts[0] != TIERS[0],
            groups.get(item.nodeid) != docker_engine.__name__,
            TIERS.index(places[item].parts[0]),
        )
    )
    if worker["workerid"] == "gw0":
        Path(worker["groups_folder"], "groups.json").write_text(json.dumps(groups), encoding="utf-8")


def _shared(item: pytest.Item, place: Path) -> str:
    fixtures = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    chosen = item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    for engine in (docker_engine.__name__, podman_engine.__name__):
        if engine in fixtures or engine in chosen:
            return engine
    is_shared = any(each.scope == "module" for found in fixtures.values() for each in found)
    return str(place) if is_shared or place.parts[0] in SMALL else ""


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
def canary() -> Iterator[Canary]:
    with listening() as canary, pytest.MonkeyPatch.context() as patch:
        patch.setenv(LOG_LEVEL, "debug")
        yield canary


@pytest.fixture(autouse=True)
def nothing_is_logged_that_lets_in(canary: Canary) -> Iterator[None]:
    yield
    heard, canary.heard = canary.heard, []
    assert not heard


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
