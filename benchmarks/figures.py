"""What was measured, as lines of JSON and as tables, also those in README.md."""

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.running import Cost

TARPON = "tarpon"
T = TypeVar("T")
README = Path(__file__).with_name("README.md")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Medians of all runs of one tool. `bytes` is what the sink got."""

    tool: str
    corpus: str
    sink: str
    wall_s: float
    cpu_s: float
    rss_mib: float
    disk_mib: float
    bytes: int


class Series:
    """The runs of one tool on one corpus and sink."""

    def __init__(self, tool: str, corpus: str, sink: str) -> None:
        self._tool = tool
        self._corpus = corpus
        self._sink = sink
        self._costs: list[Cost] = []
        self._sizes: list[int] = []

    def __repr__(self) -> str:
        return f"<Series of {self._tool} on {self._corpus} and {self._sink}, {len(self._costs)} runs>"

    def add(self, cost: Cost, size_bytes: int) -> None:
        self._costs.append(cost)
        self._sizes.append(size_bytes)

    def medians(self) -> Figures:
        return Figures(
            tool=self._tool,
            corpus=self._corpus,
            sink=self._sink,
            wall_s=round(statistics.median(cost.wall_s for cost in self._costs), 3),
            cpu_s=round(statistics.median(cost.cpu_s for cost in self._costs), 3),
            rss_mib=round(statistics.median(cost.rss_mib for cost in self._costs), 1),
            disk_mib=round(statistics.median(cost.disk_mib for cost in self._costs), 1),
            bytes=statistics.median_low(self._sizes),
        )


def turns(tools: Iterable[T], run: int) -> list[T]:
    """The tools in the order of this run. Each run begins with another, since the first may find a colder server."""
    order = list(tools)
    first = run % max(1, len(order))
    return order[first:] + order[:first]


def as_json(figures: Figures) -> str:
    return msgspec.json.encode(figures).decode()


def table(rows: Sequence[Figures]) -> str:
    """Markdown. `speed` is how many times as fast a tool is as the first rival, on the same corpus and sink."""
    rival = next((row.tool for row in rows if row.tool != TARPON), TARPON)
    base = {(row.corpus, row.sink): row.wall_s for row in rows if row.tool == rival}
    lines = [
        "| corpus | sink | tool | wall s | speed | CPU s | peak MiB | disk MiB | sink MiB |",
        "|--------|------|------|-------:|------:|------:|---------:|---------:|---------:|",
    ]
    for row in rows:
        compared = base.get((row.corpus, row.sink))
        speed = f"{compared / row.wall_s:.1f}" if compared else ""
        lines.append(
            f"| {row.corpus} | {row.sink} | {row.tool} | {row.wall_s:.2f} | {speed} | {row.cpu_s:.2f} "
            f"| {row.rss_mib:.0f} | {row.disk_mib:.0f} | {row.bytes / 2**20:.1f} |"
        )
    return "\n".join(lines)


def write_readme(name: str, shown: str, *, runs: int) -> None:
    """Replace what stands between the markers of this name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = README.read_text(encoding="utf-8").partition(begin)
    _, found_too, after = rest.partition(end)
    assert found, begin
    assert found_too, end
    where = f"{os.cpu_count()} cores of {_processor()}, Linux {platform.release()}, Python {platform.python_version()}"
    text = f"{shown}\n\nMedians of {runs} runs each, made in turn, on {where}."
    README.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "an unknown make")
