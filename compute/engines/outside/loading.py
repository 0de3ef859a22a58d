"""Engines from outside that are installed beside this node: each is found by its entry point and opened.

One that cannot be is told, and the node goes without it; the others do not suffer.
"""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import NamedTuple, TypeVar

from compute.disk import private_file
from compute.engines.engine import Engine
from compute.engines.outside.apart import apart
from compute.engines.outside.guarded import GuardedEngine
from compute.engines.outside.problems import (
    EngineMisbehaved,
    EngineNameTaken,
    EngineNotLoaded,
    EngineProtocolUnknown,
    in_words,
    told,
)
from compute.engines.plugin import GROUP, PROTOCOL, EngineHost, EnginePlugin
from shared.data.decoding import close_match
from shared.errors import TarponError
from shared.ids import is_safe_id
from shared.jobs.engine_params import ENGINE_NAMES
from shared.protocol.nodes.engine_parameters import MAX_ENGINES, MAX_NAME
from shared.runtime.aio import finish

FOLDER = "engines"
OPEN_SECONDS = 30.0
CLOSE_SECONDS = 10.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


class OutsideEngines(NamedTuple):
    """The engines, what runs their tasks, and what is wrong with others, in sentences for the node's operator."""

    engines: dict[str, Engine]
    runtimes: dict[str, str]
    problems: tuple[str, ...]
    opened: AsyncExitStack
    """Closes them."""


@asynccontextmanager
async def opened_engines(
    folder: Path, *, settings: Mapping[str, str], disabled: Collection[str]
) -> AsyncIterator[OutsideEngines]:
    """Those that are installed and not `disabled`, all opened at once. `folder` is the node's own."""
    found = await asyncio.to_thread(_installed, disabled)
    names = Counter(each.name.lower() for each in found)
    made = OutsideEngines({}, {}, (), AsyncExitStack())
    problems = [*_settings_of_none(settings, {*names, *disabled})]

    async def tried(number: int, point: EntryPoint) -> None:
        name = point.name.lower()
        try:
            _check_name(name, names[name], number)
            host = EngineHost(folder=folder / FOLDER / name, settings=_of(name, settings))
            made.engines[name] = await _opened(point, host, made.opened)
            made.runtimes[name] = found[point]
            _log.info("The engine %s from outside is here: %s.", name, found[point])
        except TarponError as error:
            _log.warning("%s %s [%s]", error.message, error.hint, error.code, exc_info=error.__cause__)
            problems.append(told(error))

    async with made.opened:
        async with asyncio.TaskGroup() as group:
            for number, point in enumerate(found):
                group.create_task(tried(number, point), name=f"open {point.name}")
        yield made._replace(problems=tuple(dict.fromkeys(problems)))


async def looked_at(disabled: Collection[str]) -> dict[str, TarponError | None]:
    """What is wrong with each that is installed, by its name and package, as far as is seen without opening it."""
    found = await asyncio.to_thread(_installed, disabled)
    names = Counter(each.name.lower() for each in found)
    wrong: dict[str, TarponError | None] = {}
    for number, (point, package) in enumerate(found.items()):
        name = point.name.lower()
        told_name = f"{name} ({package})"
        try:
            _check_name(name, names[name], number)
            await _plugin(point)
            wrong[told_name] = None
        except TarponError as error:
            wrong[told_name] = error
    return wrong


def _settings_of_none(settings: Mapping[str, str], names: Collection[str]) -> Iterator[str]:
    for name in sorted({key.partition(".")[0].lower() for key in settings} - {*names}):
        told_name = f"Engines.Plugins has settings of {name[:80]!r}, and no engine from outside has this name."
        _log.warning("%s", told_name)
        yield told_name


def _installed(disabled: Collection[str]) -> dict[EntryPoint, str]:
    """With the name and version of the package of each. Blocks."""
    found = [each for each in entry_points(group=GROUP) if each.name.lower() not in disabled]
    return {each: f"{each.dist.name} {each.dist.version}" if each.dist else "unknown package" for each in found}


def _check_name(name: str, count: int, number: int) -> None:
    """Before anything of it is imported. Raises EngineNameTaken, EngineNotLoaded."""
    if name in ENGINE_NAMES:
        raise EngineNameTaken(name, "Tarpon's own engine has this name")
    if near := close_match(name, ENGINE_NAMES):
        raise EngineNameTaken(name, f"a job that names it would be taken for one that means Tarpon's own engine {near}")
    if count > 1:
        raise EngineNameTaken(name, f"{count} packages provide it")
    if not is_safe_id(name) or len(name) > MAX_NAME:
        raise EngineNotLoaded(name, f"its name may have 1 to {MAX_NAME} characters out of a-z 0-9 _ and -")
    if number >= MAX_ENGINES:
        raise EngineNotLoaded(name, f"a node has {MAX_ENGINES} engines from outside at most")


async def _opened(point: EntryPoint, host: EngineHost, opened: AsyncExitStack) -> Engine:
    """Raises EngineNotLoaded, EngineProtocolUnknown. One that is opened too late is closed at once."""
    name, plugin, given_up = point.name.lower(), await _plugin(point), threading.Event()
    try:
        context, engine = await _asked(name, partial(_open, name, plugin, host, given_up))
    except BaseException:
        given_up.set()
        raise
    opened.push_async_callback(_close, name, context)
    return engine


async def _plugin(point: EntryPoint) -> EnginePlugin:
    """Raises EngineNotLoaded, EngineProtocolUnknown."""
    name = point.name.lower()
    plugin = await _asked(name, point.load)
    if not isinstance(plugin, EnginePlugin):
        raise EngineNotLoaded(name, f"its entry point leads to {type(plugin).__name__}, and not to an EnginePlugin")
    if plugin.protocol != PROTOCOL:
        raise EngineProtocolUnknown(name, plugin.protocol, PROTOCOL)
    return plugin


async def _asked(name: str, call: Callable[[], T]) -> T:
    """Raises EngineNotLoaded, whatever the call raises."""
    try:
        return await apart(call, name=f"open {name}", within=OPEN_SECONDS)
    except EngineMisbehaved as error:
        raise EngineNotLoaded(name, error.message) from error
    except Exception as error:
        raise EngineNotLoaded(name, in_words(error)) from error


def _open(
    name: str, plugin: EnginePlugin, host: EngineHost, given_up: threading.Event
) -> tuple[AbstractContextManager[Engine], Engine]:
    for folder in (host.folder.parent, host.folder):
        private_file.make_folder(folder)
    context = plugin.open(host)
    opened = context.__enter__()
    try:
        engine = GuardedEngine(name, opened)
        _check_wanted(given_up)
    except BaseException:
        context.__exit__(None, None, None)
        raise
    return context, engine


def _check_wanted(given_up: threading.Event) -> None:
    if given_up.is_set():
        raise TimeoutError


async def _close(name: str, context: AbstractContextManager[Engine]) -> None:
    def close() -> None:
        context.__exit__(None, None, None)

    try:
        await finish(apart(close, name=f"close {name}", within=CLOSE_SECONDS), within=2 * CLOSE_SECONDS)
    except Exception as error:  # noqa: BLE001  # foreign code may raise anything
        _log.warning("The engine %s from outside was not closed: %s", name, in_words(error))


def _of(name: str, settings: Mapping[str, str]) -> dict[str, str]:
    prefix = f"{name}."
    small = {key.lower(): value for key, value in settings.items()}
    return {key.removeprefix(prefix): value for key, value in small.items() if key.startswith(prefix)}
