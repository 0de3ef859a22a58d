"""What it costs to publish a result: `python -m benchmarks.publish [--corpus C] [--sink S] [--tool T] [--json]`.

Tarpon, and tar with a compressor and curl or rclone, publish the same folders to a server that discards and to
SeaweedFS, in turn, several times each. Prints a table of the medians, or one JSON object for each tool and line.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.corpora import BUILDERS, corpus, default_cache
from benchmarks.figures import TARPON, Figures, Series, as_json, table, turns, write_readme
from benchmarks.rivals import PUBLISHERS, hints
from benchmarks.running import ToolFailed, end_on_sigterm, tell, warn_of_load
from benchmarks.sinks import SINKS, Sink, key_of, linked_sink
from benchmarks.tools import Tool, tools
from shared.ids import ExecutionId

RUNS = 3
LINKED = (TARPON, f"{TARPON}-fixed", "gzip+stream")
"""What publishes over a link, unless something else is wanted."""

MakeSink = Callable[[Path], AbstractContextManager[Sink]]


def main() -> None:
    present = tools()
    arguments = _arguments(present)
    end_on_sigterm()
    warn_of_load()
    for hint in hints(PUBLISHERS):
        tell(hint)
    sinks = {f"link {arguments.link}": _linked(arguments.link)} if arguments.link else SINKS
    usual = LINKED if arguments.link else [name for name in present if name not in LINKED[1:]]
    chosen = [present[name] for name in arguments.tool or usual]
    rows: list[Figures] = []
    for name in arguments.corpus or BUILDERS:
        tell(f"Corpus {name} ...")
        folder = corpus(name, arguments.cache)
        for sink in sinks if arguments.link else arguments.sink or SINKS:
            for row in measure(folder, name, sink, sinks[sink], chosen=chosen, runs=arguments.runs):
                rows.append(row)
                if arguments.json:
                    print(as_json(row), flush=True)
    shown = table(rows)
    if not arguments.json:
        print(shown)
    if arguments.write_readme:
        write_readme("publish", shown, runs=arguments.runs)


def _linked(text: str) -> MakeSink:
    mbit, _, delay_ms = text.partition(",")
    return lambda _folder: linked_sink(float(mbit), float(delay_ms or 0))


def measure(
    folder: Path, corpus_name: str, sink_name: str, make_sink: MakeSink, *, chosen: Iterable[Tool], runs: int
) -> Iterator[Figures]:
    """Let the tools publish in turn, each round to a fresh sink. One that has failed is tried no more."""
    series = {tool: Series(tool.name, corpus_name, sink_name) for tool in chosen}
    for run in range(1, runs + 1):
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, make_sink(Path(scratch)) as sink:
            for number, tool in enumerate(turns(series, run)):
                key = key_of(ExecutionId(f"e-{number}"))
                os.sync()  # so that nobody waits for what another has written
                try:
                    cost = tool.publish(folder, sink, key, Path(scratch))
                except ToolFailed as error:
                    tell(f"{tool.name} failed on {corpus_name} and {sink_name}: {error}")
                    del series[tool]
                else:
                    tell(f"{corpus_name} {sink_name} {run}: {tool.name} took {cost.wall_s:.2f} s")
                    series[tool].add(cost, sink.received_bytes(key))
    yield from (each.medians() for each in series.values())


def _arguments(present: dict[str, Tool]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", choices=list(BUILDERS), help="may be repeated; otherwise all")
    parser.add_argument("--sink", action="append", choices=list(SINKS), help="may be repeated; otherwise all")
    parser.add_argument("--link", metavar="MBIT[,MS]", help="publish to the discarding one over such a link instead")
    parser.add_argument("--tool", action="append", choices=list(present), help="may be repeated; otherwise all")
    parser.add_argument("--runs", type=int, default=RUNS, help="how often each publishes; %(default)s otherwise")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write-readme", action="store_true", help="put the table into benchmarks/README.md")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="keeps the corpora; otherwise %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    main()
