"""Interactive shells in a terminal, to press keys in (no tests in here)."""

import contextlib
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

import pytest

BEGIN_OF_LINE = "\x01"
KILL_LINE = "\x15"
TAB = "\t"
PROMPT = "> "
ANSWER_SECONDS = 60.0

_START = {
    "bash": "bind 'set enable-bracketed-paste off'; bind 'set bell-style none'",
    "zsh": "unsetopt beep zle_bracketed_paste; bindkey -e; autoload -Uz compinit; compinit -u",
}
_MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\b]")
_COMMANDS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}


class Shell:
    """One session, in which `tarpon` is this checkout's and its completion is on."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self.seen = ""

    def __repr__(self) -> str:
        return f"<Shell that shows {self.seen[-80:]!r}>"

    def press(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def until(self, text: str) -> str:
        """What was shown up to `text`, which has to come."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.seen[-2000:]!r}"
            if select.select([self._terminal], [], [], 1.0)[0]:
                with contextlib.suppress(BlockingIOError):
                    self.seen += os.read(self._terminal, 1 << 16).decode(errors="replace")
        shown, _, self.seen = self.seen.partition(text)
        return shown

    def run(self, line: str) -> str:
        """What a command shows; its end is told by words that the line itself does not have."""
        self.press(f"{line}; echo DO''NE\r")
        return self.until("DONE")

    def words(self, typed: str) -> list[str]:
        """The words that the shell takes from what was typed, and completed by TAB."""
        self.press(f"{typed}{TAB}{BEGIN_OF_LINE}printf '[[%s]]\\n' \r")
        shown = self.run(":")
        return re.findall(r"^\[\[(.*)\]\]\r?$", shown, re.MULTILINE)

    def at_tab(self, typed: str) -> str:
        """What TAB adds to what was typed, or shows below it."""
        self.run(":")
        self.until(PROMPT)  # from here on keys are read by the shell and not by the terminal
        self.press(f"{typed}{TAB}@")
        _, found, added = self.until("@").partition(typed)
        assert found, f"{typed!r} was not shown"
        self.press(KILL_LINE)
        return _MOVES.sub("", added)


@contextmanager
def shell(kind: str, home: Path, variables: Mapping[str, str]) -> Iterator[Shell]:
    if shutil.which(kind) is None and "TESTS_REQUIRE_SHELLS" not in os.environ:
        pytest.skip(f"{kind} is not here")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(home), "TERM": "xterm", "LANG": "C.UTF-8", "PS1": PROMPT, **variables}
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 400, 0, 0))
    try:
        with subprocess.Popen(
            _COMMANDS[kind],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            cwd=home,
            start_new_session=True,
        ) as process:
            try:
                made = Shell(ours)
                made.run(f'{_START[kind]}; eval "$(tarpon completion {kind})"')
                yield made
            finally:
                process.kill()
    finally:
        os.close(ours)
        os.close(theirs)
