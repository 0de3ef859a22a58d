"""The command `tarpon devstack`: everything on this machine, until Ctrl-C or while a command runs."""

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shared.errors import ExtraMissing, InvalidInput
from tarpon.cli.console.commands import Command, given
from tarpon.cli.console.outcomes import Exit

if TYPE_CHECKING:
    from tarpon.devstack.processes import WantedProcesses
    from tarpon.devstack.stack import Devstack

COMMAND_STOP_SECONDS = 30.0
COMMAND_KILL_SECONDS = 5.0
_EXAMPLE = "deploy/examples/hello-process.yaml"


@click.command(cls=Command, context_settings={"allow_interspersed_args": False})
@click.option("--computes", default=3, show_default=True, type=click.IntRange(0, 64), help="How many compute nodes.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Keep data and logs there; otherwise they go.")
@click.option("--random-ports", is_flag=True, help="Use any free ports instead of API.Port and Orchestrator.Port.")
@click.option("--tls", is_flag=True, help="Encrypt NATS, the API and S3, each by an authority of the stack's own.")
@click.argument("command", nargs=-1, metavar="[-- COMMAND...]")
def devstack(*, computes: int, data_dir: Path | None, random_ports: bool, tls: bool, command: tuple[str, ...]) -> int:
    """Run an S3 server, an orchestrator and compute nodes, to try Tarpon out.

    With COMMAND, run it with TARPON_API_HOST and TARPON_API_PORT set, and exit with its code when it ends.
    """
    if find_spec("aioboto3") is None:
        raise ExtraMissing("A devstack", "devstack")

    from tarpon.devstack.processes import WantedProcesses
    from tarpon.devstack.stack import random_ports as choose_ports

    config = given().config()
    api_port, nats_port = choose_ports() if random_ports else (config.api.port, config.orchestrator.port)
    files, settings = _split(given().sets)
    wanted = WantedProcesses(
        computes=computes,
        api_port=api_port,
        nats_port=nats_port,
        data_dir=data_dir,
        files=files,
        settings=settings,
        engine=config.engines.types.docker,
        tls=tls,
        is_sandboxed=config.engines.types.process.is_sandboxed,
    )
    return asyncio.run(_run(wanted, command))


def _split(sets: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Files, and settings by key: those go into environments, since a command line is there for all to read."""
    files = tuple(str(Path(text).absolute()) for text in sets if "=" not in text and text.endswith((".yaml", ".yml")))
    pairs = [text.partition("=") for text in sets if not text.endswith((".yaml", ".yml")) or "=" in text]
    return files, {key.strip(): value if equals else "true" for key, equals, value in pairs}


async def _run(wanted: "WantedProcesses", command: Sequence[str]) -> int:
    """The command's exit code; without a command, a signal is the normal end."""
    from shared.runtime.aio import first_leaf
    from tarpon.devstack.ending_signals import ending_signals

    try:
        with ending_signals() as asked:
            async with asyncio.TaskGroup() as group:
                work = group.create_task(_work(wanted, command, asked.at_once), name="devstack")
                stopping = group.create_task(_cancel_when(asked.stop, work), name="stop")
                await asyncio.wait([work])
                stopping.cancel()
    except BaseExceptionGroup as errors:
        raise first_leaf(errors) from errors
    if work.cancelled():
        return Exit.INTERRUPTED if command else Exit.OK
    return work.result()


async def _cancel_when(stop: asyncio.Event, work: asyncio.Task[int]) -> None:
    await stop.wait()
    work.cancel()


async def _work(wanted: "WantedProcesses", command: Sequence[str], at_once: asyncio.Event) -> int:
    from tarpon.devstack.stack import devstack as run_devstack

    async with run_devstack(wanted, _say, at_once) as stack:
        if command:
            return await _while_running(stack, command, at_once)
        click.echo(_instructions(stack))
        if sys.stdout.isatty():  # a secret is not for whoever reads a log
            click.echo(f"# The page, signed in once, within two minutes:\n#   {await _page(stack)}")
        await stack.ended()
    return Exit.OK


async def _while_running(stack: "Devstack", command: Sequence[str], at_once: asyncio.Event) -> int:
    """Run the command in our own session, so that it has the terminal."""
    from shared.runtime.aio import background, finish, process_ended

    _say(f"Ready. Running {command[0]} ...")
    process = _started(command, _environment(stack))
    try:
        async with background(children=stack.ended()):
            await process_ended(process.pid)
    finally:
        if process.poll() is None:
            await finish(_end(process, at_once), within=COMMAND_STOP_SECONDS + COMMAND_KILL_SECONDS)
    code = process.wait()
    return code if code >= 0 else 128 - code


def _started(command: Sequence[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """It is told when this process is killed, as a terminal would tell it."""
    from tarpon.devstack.dies_with_parent import tied_command

    if shutil.which(command[0], path=environment["PATH"]) is None:
        is_there = "/" in command[0] and Path(command[0]).exists()
        raise InvalidInput(f"{command[0]!r} cannot be run: {os.strerror(errno.EACCES if is_there else errno.ENOENT)}.")
    return subprocess.Popen(tied_command(command, signal.SIGHUP), env=environment)


async def _end(process: "subprocess.Popen[bytes]", at_once: asyncio.Event) -> None:
    from shared.runtime.aio import first_of, process_ended

    process.terminate()
    with suppress(TimeoutError):
        async with asyncio.timeout(COMMAND_STOP_SECONDS):
            await first_of(process_ended(process.pid), _set(at_once))
    process.kill()
    await process_ended(process.pid)


async def _set(event: asyncio.Event) -> None:
    await event.wait()


def _environment(stack: "Devstack") -> dict[str, str]:
    """With this installation's `tarpon` first on the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, **stack.environment(), "PATH": path}


def _instructions(stack: "Devstack") -> str:
    settings = [f"export {name}={value}" for name, value in stack.environment().items()]
    program = "tarpon" if shutil.which("tarpon") else Path(sys.executable).with_name("tarpon")
    advice = [
        "# Ready. In another terminal, with these settings:",
        f"#   {program} job run {_EXAMPLE}",
        f"#   {program} job open    # the page at {stack.url}/ in a browser",
        "# Ctrl-C ends it.",
    ]
    return "\n".join([*settings, *advice])


async def _page(stack: "Devstack") -> str:
    from tarpon.cli.job.open import page_link
    from tarpon.client import Client

    shown = stack.environment()
    async with Client(shown["TARPON_API_HOST"], stack.api_port, api_key=shown["TARPON_API_KEY"]) as client:
        return (await page_link(client)).address


def _say(text: str) -> None:
    """Nobody may be there to read it any more, and all has to be stopped all the same."""
    with suppress(OSError):
        click.echo(text, err=True)
