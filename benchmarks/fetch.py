"""What it costs to fetch a result: `python -m benchmarks.fetch [--corpus small|logs] [--link MBIT,MS] [--runs N]`.

A job publishes the corpus to SeaweedFS. Then what is behind `tarpon job get`, and curl with tar, get the whole of it
into a folder in memory, in turn, several times each, perhaps over a link. Prints a table of the medians, or one JSON
object for each tool and line.
"""

import argparse
import asyncio
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from yarl import URL

from benchmarks.corpora import BUILDERS, corpus, default_cache
from benchmarks.figures import TARPON, Figures, Series, as_json, table, turns, write_readme
from benchmarks.link import link
from benchmarks.rivals import FETCHERS, Rival, environment, hints
from benchmarks.running import Cost, end_on_sigterm, run_command, run_module, run_to_the_end, tell, warn_of_load
from tarpon.client import Client
from tarpon.devstack.seaweedfs import HOST
from tests.e2e.stack import Stack, process_job
from tests.servers import start_weed

CORPORA = ("small", "logs")
"""Those that are fetched unless another is named."""
RUNS = 5
PUBLISH_SECONDS = 120.0
MEMORY = Path("/dev/shm")
OUTPUTS = "outputs"

Fetch = Callable[[Path], Cost]


def main() -> None:
    arguments = _arguments()
    end_on_sigterm()
    warn_of_load()
    for hint in hints(FETCHERS):
        tell(hint)
    rows: list[Figures] = []
    for name in arguments.corpus or CORPORA:
        tell(f"Corpus {name} ...")
        folder = corpus(name, arguments.cache)
        sink = f"link {arguments.link}" if arguments.link else "memory"
        with published(folder, arguments.link) as (port, job):
            for row in measure(name, sink, tools(port, job), arguments.runs, size_bytes=tree_bytes(folder)):
                rows.append(row)
                if arguments.json:
                    print(as_json(row), flush=True)
    shown = table(rows)
    if not arguments.json:
        print(shown)
    if arguments.write_readme:
        write_readme("fetch", shown, runs=arguments.runs)


@contextmanager
def published(folder: Path, through: str = "") -> Iterator[tuple[int, str]]:
    """The port of an orchestrator, and a job of its that has published a copy of the folder.

    S3 is behind a link, unless that is empty: million bits a second, a comma, and milliseconds.
    """
    task = process_job(f"cp -a {shlex.quote(str(folder))} {OUTPUTS}")
    task["Tasks"][0]["ResultPaths"] = [{"Name": OUTPUTS, "Path": f"/{OUTPUTS}"}]
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, ExitStack() as links:
        s3 = start_weed(Path(scratch) / "s3")
        root = Path(scratch) / "stack"
        root.mkdir()
        stack = Stack(root, s3)
        try:
            publisher = stack.publisher_settings()
            if through:
                mbit, _, delay_ms = through.partition(",")
                target = URL(s3.endpoint).port
                assert target is not None
                port = links.enter_context(link(target, mbit=float(mbit), delay_ms=float(delay_ms or 0)))
                publisher["Publishers.Types.S3Managed.PublicEndpoint"] = f"http://{HOST}:{port}"
            stack.start_orchestrator(publisher=publisher)
            # The task copies what no sandbox shows it.
            stack.start_compute("node-a", Engines_Types_Process_Sandbox="off")
            job = stack.submit(task)
            ended = stack.wait_ended(job, within=PUBLISH_SECONDS)
            assert ended["Job"]["State"]["StateType"] == "Completed", ended["Job"]["State"]
            yield stack.api_port, job
        finally:
            stack.stop()
            s3.stop()


def tools(port: int, job: str) -> dict[str, Fetch]:
    fetches: dict[str, Fetch] = {TARPON: partial(_by_tarpon, port, job)}
    for rival in FETCHERS:
        if not rival.absent:
            fetches[rival.name] = partial(_by_rival, rival, port, job)
    return fetches


def measure(
    corpus_name: str, sink_name: str, fetches: dict[str, Fetch], runs: int, *, size_bytes: int
) -> Iterator[Figures]:
    """Let the tools fetch in turn, and check that each got everything."""
    series = {name: Series(name, corpus_name, sink_name) for name in fetches}
    for run in range(1, runs + 1):
        for name in turns(fetches, run):
            os.sync()  # so that nobody waits for what another has written
            with tempfile.TemporaryDirectory(dir=MEMORY) as target:
                cost = fetches[name](Path(target))
                fetched_bytes = tree_bytes(Path(target, OUTPUTS))
            assert fetched_bytes == size_bytes, f"{name} fetched {fetched_bytes} of {size_bytes} bytes"
            tell(f"{corpus_name} {run}: {name} took {cost.wall_s:.2f} s")
            series[name].add(cost, fetched_bytes)
    yield from (each.medians() for each in series.values())


def tree_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _by_tarpon(port: int, job: str, target: Path) -> Cost:
    return run_to_the_end(run_module("benchmarks.fetching", HOST, str(port), job, str(target)))


def _by_rival(rival: Rival, port: int, job: str, target: Path) -> Cost:
    async def url() -> str:
        async with Client(HOST, port) as client:
            (result,) = await client.results(job)
            return result.params.pre_signed_url

    return run_command(rival.command, environment(target, target) | {"URL": asyncio.run(url())})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", choices=list(BUILDERS), help="may be repeated; otherwise two")
    parser.add_argument("--link", metavar="MBIT,MS", default="", help="S3 is behind such a link")
    parser.add_argument("--runs", type=int, default=RUNS, help="how often each fetches; %(default)s otherwise")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write-readme", action="store_true", help="put the table into benchmarks/README.md")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="keeps the corpora; otherwise %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    main()
