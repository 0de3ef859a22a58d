"""Engines from outside that are installed beside this node: each is found by its entry point and opened.

One that cannot be is told, and the node goes without it; the others do not suffer.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import NamedTuple

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
from shared.protocol.nodes.engine_parameters import MAX_ENGINES, MAX_NAME, MAX_PARAMETERS, told_of
from shared.runtime.aio import finish

FOLDER = "engines"
OPEN_SECONDS = 30.0
CLOSE_SECONDS = 10.0

_log = logging.getLogger(__name__)


class OutsideEngines(NamedTuple):
    """The engines, what runs their tasks, and what is wrong with others, in sentences for the node's operator."""

    engines: dict[str, Engine]
    runtimes: dict[str, str]
    problems: tuple[str, ...]


@asynccontextmanager
async def opened_engines(
    folder: Path, *, settings: Mapping[str, str], disabled: Collection[str]
) -> AsyncIterator[OutsideEngines]:
    """Those that are installed and not `disabled`. `folder` is the node's own."""
    engines: dict[str, Engine] = {}
    runtimes: dict[str, str] = {}
    problems: list[str] = []
    found = await asyncio.to_thread(_installed, disabled)
    names = Counter(each.name.lower() for each in found)
    async with AsyncExitStack() as opened:
        for point, package in found.items():
            name = point.name.lower()
            try:
                _check_name(name, names[name], len(engines))
                host = EngineHost(folder=folder / FOLDER / name, settings=_of(name, settings))
                engines[name] = await _opened(point, host, opened)
                runtimes[name] = package
                _log.info("The engine %s from outside is here: %s.", name, runtimes[name])
            except TarponError as error:
                _log.warning("%s %s [%s]", error.message, error.hint, error.code, exc_info=error.__cause__)
                problems.append(told(error))
        yield OutsideEngines(engines, runtimes, tuple(dict.fromkeys(problems)))


def _installed(disabled: Collection[str]) -> dict[EntryPoint, str]:
    """With the name and version of the package of each. Blocks."""
    found = [each for each in entry_points(group=GROUP) if each.name.lower() not in disabled]
    return {each: f"{each.dist.name} {each.dist.version}" if each.dist else "unknown package" for each in found}


def _check_name(name: str, count: int, others: int) -> None:
    """Before anything of it is imported. Raises EngineNameTaken, EngineNotLoaded."""
    if name in ENGINE_NAMES:
        raise EngineNameTaken(name, "Tarpon's own engine has this name")
    if near := close_match(name, ENGINE_NAMES):
        raise EngineNameTaken(name, f"a job that names it would be taken for one that means Tarpon's own engine {near}")
    if count > 1:
        raise EngineNameTaken(name, f"{count} packages provide it")
    if not is_safe_id(name) or len(name) > MAX_NAME:
        raise EngineNotLoaded(name, f"its name may have 1 to {MAX_NAME} characters out of a-z 0-9 _ and -")
    if others >= MAX_ENGINES:
        raise EngineNotLoaded(name, f"a node has {MAX_ENGINES} engines from outside at most")


async def _opened(point: EntryPoint, host: EngineHost, opened: AsyncExitStack) -> Engine:
    """Raises EngineNotLoaded, EngineProtocolUnknown."""
    name = point.name.lower()
    try:
        plugin = await apart(point.load, name=f"load {name}", within=OPEN_SECONDS)
        _check_plugin(name, plugin)
        context, engine = await apart(partial(_open, name, plugin, host), name=f"open {name}", within=OPEN_SECONDS)
    except EngineProtocolUnknown:
        raise
    except EngineMisbehaved as error:
        raise EngineNotLoaded(name, error.message) from error
    except Exception as error:
        raise EngineNotLoaded(name, in_words(error)) from error
    opened.push_async_callback(_close, name, context)
    return engine


def _check_plugin(name: str, plugin: object) -> None:
    if not isinstance(plugin, EnginePlugin):
        raise EngineMisbehaved(f"its entry point leads to {type(plugin).__name__}, and not to an EnginePlugin")
    if plugin.protocol != PROTOCOL:
        raise EngineProtocolUnknown(name, plugin.protocol, PROTOCOL)


def _open(name: str, plugin: EnginePlugin, host: EngineHost) -> tuple[AbstractContextManager[Engine], Engine]:
    for folder in (host.folder.parent, host.folder):
        private_file.make_folder(folder)
    context = plugin.open(host)
    engine = GuardedEngine(name, context.__enter__())
    if (count := len(told_of(engine.parameters))) > MAX_PARAMETERS:
        raise EngineMisbehaved(f"it has {count} parameters, and {MAX_PARAMETERS} are possible")
    return context, engine


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
