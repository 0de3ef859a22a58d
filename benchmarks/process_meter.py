"""What running processes cost: their processor time, that of the children that they have waited for, their memory."""

import os
from pathlib import Path

import msgspec

TICKS = os.sysconf("SC_CLK_TCK")


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one process (proc(5), stat): `own` of all its threads, `children` of those that it has reaped."""

    own: float
    children: float

    def since(self, earlier: "Spent") -> "Spent":
        return Spent(own=self.own - earlier.own, children=self.children - earlier.children)


def spent(pid: int) -> Spent:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, children_user, children_system = (int(field) / TICKS for field in fields[11:15])
    return Spent(own=user + system, children=children_user + children_system)


def rss_mib(pid: int) -> float:
    """What is resident now (proc(5), status)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def living_children(pid: int) -> list[int]:
    """Of any of its threads (proc(5), children)."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for each in found for child in each.read_text().split()]


class ProcessMeter:
    """Named processes, several of which may share a name; what they spend counts from the last `begin()`."""

    def __init__(self, pids: dict[str, list[int]]) -> None:
        self._pids = pids
        self._before = self._now()

    def __repr__(self) -> str:
        return f"<ProcessMeter of {', '.join(self._pids)}>"

    def begin(self) -> None:
        self._before = self._now()

    def seconds(self) -> dict[str, float]:
        """By name; `children` is what all of them have reaped meanwhile."""
        found = {"children": 0.0}
        for name, pids in self._now().items():
            found[name] = 0.0
            for pid, now in pids.items():
                cost = now.since(self._before[name][pid])
                found[name] += cost.own
                found["children"] += cost.children
        return found

    def memory_mib(self) -> dict[str, float]:
        return {name: round(sum(map(rss_mib, pids)), 1) for name, pids in self._pids.items()}

    def _now(self) -> dict[str, dict[int, Spent]]:
        return {name: {pid: spent(pid) for pid in pids} for name, pids in self._pids.items()}
