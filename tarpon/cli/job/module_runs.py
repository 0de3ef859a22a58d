"""The command `tarpon wasm run`, which makes a job out of a module and flags."""

import base64
import posixpath
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from shared.jobs.engine_params import START, WASM
from shared.jobs.inputs.kinds import MAX_INLINE_BYTES
from shared.jobs.spec import InputSource, SpecConfig
from tarpon.cli.console.commands import Group, given
from tarpon.cli.console.outcomes import EXIT_CODES_HELP
from tarpon.cli.job.flags import JobFlags, inputs_of, job_flags, job_of, with_inputs
from tarpon.cli.job.input_flags import DEFAULT_TARGET, LocalInput
from tarpon.cli.job.run_options import RunOptions, run_options

MODULE_TARGET = "/main.wasm"


class _Module(NamedTuple):
    """How the job names it, and the input that it is, where it is none that was given already."""

    name: str
    source: InputSource | None = None
    sent: LocalInput | None = None


@click.group(cls=Group)
def wasm() -> None:
    """Run a WebAssembly module as a job, without a job file."""


@wasm.command("run", context_settings={"allow_interspersed_args": False}, epilog=EXIT_CODES_HELP)
@click.argument("module", metavar="MODULE")
@click.argument("arguments", nargs=-1, metavar="[ARG...]")
@job_flags
@click.option(
    "-I",
    "--import-modules",
    multiple=True,
    metavar="MODULE",
    help="A module that MODULE imports, as MODULE is given; repeat it, or part several by commas.",
)
@click.option("--entry-point", default=START, show_default=True, metavar="NAME", help="The function to call.")
@partial(run_options, output=False)
def run(
    *,
    module: str,
    arguments: tuple[str, ...],
    flags: JobFlags,
    import_modules: tuple[str, ...],
    entry_point: str,
    options: RunOptions,
) -> int:
    """Run MODULE with these arguments, and watch the job. Options come before MODULE.

    MODULE is a file of this machine, or s3://BUCKET/KEY, https://..., job:JOB/PATH, upload:DATA; or the path of an
    input that -i gives. Where the module is put may be named after a colon, as in main.wasm:/app/main.wasm.

    \b
    tarpon wasm run -i data:/inputs -p s3managed -o outputs:/outputs main.wasm --verbose
    """  # noqa: D301  # click wants the character
    main = _module("MODULE", module, MODULE_TARGET)
    imported = [_module("-I", text, "") for texts in import_modules for text in texts.split(",")]
    params = {
        "EntryModule": main.name,
        "Entrypoint": entry_point,
        "Parameters": list(arguments[1:] if arguments[:1] == ("--",) else arguments),
        "ImportModules": [each.name for each in imported],
    }
    engine = SpecConfig(type=WASM, params={name: value for name, value in params.items() if value})
    modules = (main, *imported)
    job = with_inputs(job_of(flags, engine), tuple(each.source for each in modules if each.source is not None))
    config = given().config()

    from tarpon.cli.job.run import run_job

    _, sends = inputs_of("-i", flags.input)
    sent = _sent(modules)
    return run_job(job, options._replace(output=flags.form), config, (*sends, *sent))


def _sent(modules: Iterable[_Module]) -> tuple[LocalInput, ...]:
    return tuple(each.sent for each in modules if each.sent is not None)


def _module(flag: str, text: str, target: str) -> _Module:
    """`target` is where it goes if the text does not say. Raises click.UsageError, which names the flag."""
    sources, local = inputs_of(flag, [text])
    wanted = (sources or local)[0].target
    if wanted == DEFAULT_TARGET and not text.endswith(f":{DEFAULT_TARGET}"):
        wanted = target or f"/{posixpath.basename(text.partition(':')[2] or text)}"
    if sources:
        return _Module(wanted, InputSource(source=sources[0].source, target=wanted))
    path = Path(local[0].path)
    if not path.exists():
        if text.startswith("/") or flag == "-I":
            return _Module(text)  # that of an input, which the rules of jobs look for
        raise click.BadParameter(f"There is no file {text[:200]!r}.", param_hint=flag)
    if not path.is_file():
        raise click.BadParameter(f"{local[0].path[:200]!r} is not a file.", param_hint=flag)
    if path.stat().st_size > MAX_INLINE_BYTES:
        return _Module(wanted, sent=LocalInput(local[0].path, wanted))
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    inline = SpecConfig(type="inline", params={"URL": f"data:application/wasm;base64,{content}"})
    return _Module(wanted, InputSource(source=inline, target=wanted))
