"""Engines from outside that are broken or misbehave: told to the operator, and the end of one execution at most."""

import asyncio
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compute.disk.workspace import Workspace
from compute.engines.engine import Broken, Engine, Exited, Run, RunEnd, Unfit
from compute.engines.outside import guarded, loading
from compute.engines.outside.guarded import GuardedEngine
from compute.engines.outside.loading import looked_at, opened_engines
from compute.engines.outside.problems import EngineMisbehaved
from shared.errors import InvalidJob
from shared.ids import ExecutionId
from shared.jobs.engine_params import EngineParams, read_params
from shared.jobs.spec import SpecConfig, Task
from shared.jobs.states import FailureReason
from tests.outside_engines import NOTHING, write_package

_names = itertools.count()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def provide(folder: Path, code: str, *engines: str) -> None:
    """In a package of its own name, because modules of earlier tests stay imported."""
    write_package(folder, f"outside_{next(_names)}", code, *engines)


async def test_what_is_installed_is_opened_with_its_settings_and_closed_at_the_end(
    packages: Path, tmp_path: Path
) -> None:
    provide(packages, NOTHING, "Good", "other")
    settings = {"good.A": "1", "GOOD.b": "2", "goodness.c": "3", "other.d": "4"}
    async with opened_engines(tmp_path, settings=settings, disabled={"other"}) as found:
        (problem,) = found.problems
        assert problem == "Engines.Plugins has settings of 'goodness', and no engine from outside has this name."
        assert list(found.engines) == ["good"]
        assert found.runtimes["good"].endswith(" 1.0")
        engine: Any = found.engines["good"]
        assert engine._engine.settings == {"a": "1", "b": "2"}
        module = __import__(found.runtimes["good"].partition(" ")[0])
        assert module.closed == []
    assert module.closed == ["good"]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import no_such_module_of_anybody", "[EngineNotLoaded]"),
        ("raise SystemExit(3)", "SystemExit(3)"),
        ("PLUGIN = 5", "leads to int, and not to an EnginePlugin"),
        (NOTHING.replace("protocol=1", "protocol=2"), "[EngineProtocolUnknown]"),
        (NOTHING.replace("NoopEngine()", "1 / 0"), "ZeroDivisionError: division by zero"),
        (NOTHING.replace("NoopEngine()", "type('Odd', (), {})()"), "[EngineNotLoaded]"),
        (NOTHING.replace("    engine = ", "    import time; time.sleep(600); engine = "), "it took too long"),
    ],
    ids=["import", "exit", "no plugin", "protocol", "open", "no engine", "hangs"],
)
async def test_one_that_cannot_be_used_is_told_and_harms_no_other(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, why: str
) -> None:
    monkeypatch.setattr(loading, "OPEN_SECONDS", 1.0 if why == "it took too long" else 30.0)
    provide(packages, code, "odd")
    provide(packages, NOTHING, "good")
    async with opened_engines(tmp_path, settings={}, disabled=()) as found:
        assert list(found.engines) == ["good"]
        (problem,) = found.problems
        assert why in problem
        assert problem.startswith("The engine 'odd' from outside")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["docker"], "Tarpon's own engine has this name"),
        (["proces"], "would be taken for one that means Tarpon's own engine process"),
        (["twice", "TWICE"], "2 packages provide it"),
        (["a b"], "its name may have"),
    ],
)
async def test_a_name_that_is_taken_keeps_its_code_from_being_imported(
    packages: Path, tmp_path: Path, names: list[str], why: str
) -> None:
    for name in names:
        provide(packages, "raise AssertionError('this is not imported')", name)
    async with opened_engines(tmp_path, settings={}, disabled=()) as found:
        assert not found.engines
        (problem,) = found.problems
        assert why in problem


async def test_a_checkup_tells_of_each_without_opening_it(packages: Path) -> None:
    provide(packages, NOTHING.replace("assert host", "assert not host"), "good")
    provide(packages, "raise RuntimeError('no driver')", "broken")
    found = {name.partition(" ")[0]: error and error.code for name, error in (await looked_at(())).items()}
    assert found == {"good": None, "broken": "EngineNotLoaded"}


async def test_one_that_is_no_engine_is_closed_again(packages: Path, tmp_path: Path) -> None:
    provide(packages, NOTHING.replace("NoopEngine()", "type('Odd', (), {})()"), "odd")
    async with opened_engines(tmp_path, settings={}, disabled=()) as found:
        assert not found.engines
    (name,) = [each.stem for each in packages.glob("*.py")]
    assert __import__(name).closed == ["odd"]


async def test_one_that_is_opened_too_late_is_closed_again(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "OPEN_SECONDS", 0.5)
    go_on = "    import threading; global go_on; go_on = threading.Event(); go_on.wait(600); engine = "
    provide(packages, NOTHING.replace("    engine = ", go_on), "late")
    async with opened_engines(tmp_path, settings={}, disabled=()) as found:
        assert not found.engines
        (name,) = [each.stem for each in packages.glob("*.py")]
        module = __import__(name)
        (thread,) = [each for each in threading.enumerate() if each.name == "open late"]
        module.go_on.set()
        await asyncio.to_thread(thread.join, 10)
        assert module.closed == ["late"]


class Odd:
    """Does what the test says."""

    name = "odd"
    isolation = ""
    shows_inputs = True
    parameters: Any = EngineParams

    def __init__(self, act: Callable[..., Any]) -> None:
        self.act = act

    def unfit(self, task: Task) -> Unfit | None:
        return self.act()  # type: ignore[no-any-return]

    def end_left_over(self, process: Any, execution_id: ExecutionId) -> int:
        return self.act()  # type: ignore[no-any-return]

    async def run(self, run: Run) -> RunEnd:
        found: Any = self.act()
        end: RunEnd = await found if asyncio.iscoroutine(found) else found
        return end


def some_run(folder: Path) -> Run:
    task = Task(name="main", engine=SpecConfig(type="odd"))
    workspace = Workspace(folder, has_paths=False)
    return Run(
        execution_id=ExecutionId("e-1"), task=task, workspace=workspace, environment={}, on_started=lambda _: None
    )


def raising(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


@pytest.mark.parametrize("end", [Exited(3), Broken(FailureReason.OUT_OF_MEMORY, "too much")])
async def test_what_an_engine_may_answer_is_passed_on(tmp_path: Path, end: RunEnd) -> None:
    assert await GuardedEngine("odd", Odd(lambda: end)).run(some_run(tmp_path)) == end


@pytest.mark.parametrize(
    "act",
    [
        lambda: None,
        lambda: Exited("0"),  # type: ignore[arg-type]
        lambda: Exited(1 << 70),
        raising(SystemExit(1)),
        raising(KeyboardInterrupt()),
        raising(ValueError("odd")),
        raising(asyncio.CancelledError()),
    ],
    ids=["none", "no number", "large number", "exit", "interrupt", "error", "cancelled"],
)
async def test_what_it_may_not_do_is_an_error_of_the_one_execution(tmp_path: Path, act: Callable[[], Any]) -> None:
    with pytest.raises(EngineMisbehaved):
        await GuardedEngine("odd", Odd(act)).run(some_run(tmp_path))


async def test_what_it_tells_of_a_failure_has_bounds(tmp_path: Path) -> None:
    end = await GuardedEngine("odd", Odd(lambda: Broken(FailureReason.NODE_ERROR, "x" * 10_000_000))).run(
        some_run(tmp_path)
    )
    assert end == Broken(FailureReason.NODE_ERROR, "x" * guarded.MAX_DETAIL)


async def test_one_that_does_not_stop_is_left_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "STOP_SECONDS", 0.1)
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def stubborn() -> RunEnd:
        begun.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return Exited(0)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(GuardedEngine("odd", Odd(stubborn)).run(some_run(tmp_path)), name="run")
        await begun.wait()
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()
        let_go.set()


def test_what_it_cannot_tell_of_a_task_or_of_what_is_left_is_its_own_affair() -> None:
    odd = GuardedEngine("odd", Odd(raising(ValueError("odd"))))
    task = Task(name="main", engine=SpecConfig(type="odd"))
    assert "cannot say whether it runs this: ValueError: odd" in str(odd.unfit(task))
    assert odd.end_left_over(None, ExecutionId("e-1")) == 0


def test_a_check_of_its_parameters_that_fails_is_a_problem_of_the_job() -> None:
    class Params(EngineParams, frozen=True, kw_only=True, rename="pascal"):
        image: str = ""

        def problems(self) -> Any:
            raise ValueError(self.image)

    engine: Engine = Odd(lambda: "")
    engine.parameters = Params  # type: ignore[misc]
    with pytest.raises(InvalidJob) as caught:
        read_params({"Image": "x"}, GuardedEngine("odd", engine).parameters)
    assert caught.value.problems == ("Engine.Params cannot be checked by the engine: ValueError: x",)


@pytest.mark.parametrize("name", ["a" * 65, "a\x9bb", "b\u202ea"])
def test_a_parameter_that_cannot_be_told_is_told_when_the_engine_is_opened(name: str) -> None:
    class Params(EngineParams, frozen=True, kw_only=True, rename={"image": name}):
        image: str = ""

    engine: Engine = Odd(lambda: "")
    engine.parameters = Params  # type: ignore[misc]
    with pytest.raises(EngineMisbehaved, match="has a name that cannot be told"):
        GuardedEngine("odd", engine)
