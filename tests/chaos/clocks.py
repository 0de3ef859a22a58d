"""How the clock on the wall of one process is made wrong while it runs: Debian's libfaketime, told by a file.

Its monotonic clocks stay right, as they do on a machine whose clock somebody sets.
"""

from pathlib import Path

_LIBRARIES = (
    *Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"),
    *Path("/usr/lib").glob("faketime/libfaketimeMT.so.1"),
)


def have_clocks() -> bool:
    return bool(_LIBRARIES)


class Clock:
    """Use `variables` in the environment of the process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set_hours(0.0)

    def __repr__(self) -> str:
        return f"<Clock {self._file.name}, {self._file.read_text().strip()} s>"

    @property
    def variables(self) -> dict[str, str]:
        if not _LIBRARIES:
            return {}
        return {
            "LD_PRELOAD": str(_LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Else each wait for a condition ends at once, and threads take the interpreter's lock from each other.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": str(Path(__file__).with_name("fake_clock")),
        }

    def set_hours(self, hours: float) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{hours * 3600:+.0f}\n")
        new.rename(self._file)
