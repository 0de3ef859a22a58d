"""What the commands share that work with the state as a whole: they run it, and show how far they are."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

import click

from shared.errors import ExtraMissing
from tarpon.cli.console.progress import LiveLine
from tarpon.import_names import shadowed

T = TypeVar("T")
FILE = click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))


class ProgressLine:
    """How many records are done, on a terminal."""

    def __init__(self, what: str = "of {:,} records") -> None:
        self._line = LiveLine()
        self._what = what

    def __enter__(self) -> Self:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self._line.is_due():
            self._line.draw(f"{done:,} {self._what.format(total)}")

    def __exit__(self, *_: object) -> None:
        self._line.clear()


def run(coro: Coroutine[Any, Any, T]) -> T:
    from shared.runtime.aio import first_leaf

    try:
        return asyncio.run(coro)
    except BaseExceptionGroup as errors:
        raise first_leaf(errors) from errors


def check_installed() -> None:
    try:
        import orchestrator.service  # noqa: F401  # only whether it is there
    except ModuleNotFoundError as error:
        if shadowed("orchestrator"):
            raise
        raise ExtraMissing("The orchestrator", "orchestrator") from error
