"""Checkups: what is looked at all at once, each thing within a time of its own, and what was found."""

import asyncio
import contextlib
import enum
import errno
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, TypeVar

import msgspec

from shared.errors import PortTaken, TarponError, code_of

_log = logging.getLogger(__name__)

CHECK_SECONDS = 15.0

T = TypeVar("T")


class Grade(enum.StrEnum):
    """How a finding is to be taken. A note is about what may be wanted so."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal"):
    """One thing that was looked at in an `area`. Warnings and problems have a stable `code` and mostly a `hint`."""

    area: str
    grade: Grade
    message: str
    code: str = ""
    hint: str = ""


class Check(NamedTuple):
    """`look` is what waits for the answer, for `within` seconds at most."""

    area: str
    look: Callable[[], Awaitable[Iterable[Finding]]]
    within: float = CHECK_SECONDS


def ok(area: str, message: str) -> Finding:
    return Finding(area=area, grade=Grade.OK, message=message)


def note(area: str, message: str, hint: str = "") -> Finding:
    return Finding(area=area, grade=Grade.NOTE, message=message, hint=hint)


def warning(area: str, code: str, message: str, hint: str) -> Finding:
    return Finding(area=area, grade=Grade.WARNING, code=code, message=message, hint=hint)


def problem(area: str, code: str, message: str, hint: str) -> Finding:
    return Finding(area=area, grade=Grade.PROBLEM, code=code, message=message, hint=hint)


def of_error(area: str, error: TarponError) -> Finding:
    return problem(area, code_of(error), error.message, error.hint)


async def findings_of(checks: Iterable[Check]) -> list[Finding]:
    """Of all checks, in their order. None is held up by another one, and none ends the others."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_found(check), name=f"check of {check.area}") for check in checks]
    return [finding for task in tasks for finding in task.result()]


async def _found(check: Check) -> tuple[Finding, ...]:
    try:
        async with asyncio.timeout(check.within):
            return tuple(await check.look())
    except TimeoutError:
        hint = "Look whether what it asks hangs: a name server, a disk, a server that accepts and does not answer."
        told = f"There was no answer within {check.within:g} s."
        return (problem(check.area, "CheckTimedOut", told, hint),)
    except TarponError as error:
        return (of_error(check.area, error),)
    except Exception as error:  # noqa: BLE001  # one check that fails by a defect must not hide what the others find
        _log.debug("The check of %s failed.", check.area, exc_info=True)
        told = f"It could not be looked at: {type(error).__name__}."
        return (problem(check.area, "InternalError", told, "Repeat the command with --debug, and report it."),)


async def aside(act: Callable[[], T]) -> T:
    """Run what blocks in a thread that nobody waits for any more once this is cancelled, also not at the exit.

    A look at a disk or a name may hang for minutes, and cannot be cancelled.
    """
    loop, answer = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if not answer.done():
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

    def work() -> None:
        result, raised = None, None
        try:
            result = act()
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            raised = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            loop.call_soon_threadsafe(tell, result, raised)

    threading.Thread(target=work, name="checkup", daemon=True).start()
    found: T = await answer
    return found


def port_finding(area: str, what: str, host: str, port: int, setting: str) -> Finding:
    """Whether something could listen there. Blocks for a moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return of_error(area, PortTaken(what, host, port, setting))
            told = f"{what} cannot listen on {host}:{port}: {error.strerror}."
            return problem(area, "PortNotUsable", told, f"Give {setting} and its host an address of this machine.")
    return ok(area, f"{what} can listen on {host}:{port}.")
