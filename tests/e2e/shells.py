"""Interactive shells in a terminal, to press keys in (no tests in here)."""

import contextlib
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

from tests.programs import require_program

BEGIN_OF_LINE = "\x01"
KILL_LINE = "\x15"
TAB = "\t"
PROMPT = "> "
ANSWER_SECONDS = 60.0
WORDS_SECONDS = 10.0

_START = {
    "bash": "bind 'set enable-bracketed-paste off'; bind 'set bell-style none'",
    "zsh": "unsetopt beep zle_bracketed_paste; bindkey -e; autoload -Uz compinit; compinit -u",
}
_MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\b]")
_GIVE_UP = {"bash": "\x03", "zsh": "\x07"}
"""What makes it throw away a line of which it waits for more."""
_COMMANDS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}


class NotShown(AssertionError):
    """What has to come did not."""


class Shell:
    """One session, in which `tarpon` is this checkout's and its completion is on."""

    def __init__(self, kind: str, terminal: int) -> None:
        self._kind = kind
        self._terminal = terminal
        self.seen = ""

    def __repr__(self) -> str:
        return f"<Shell that shows {self.seen[-80:]!r}>"

    def press(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def until(self, text: str, *, within: float = ANSWER_SECONDS) -> str:
        """What was shown up to `text`, which has to come."""
        deadline = time.monotonic() + within
        while text not in self.seen:
            if time.monotonic() > deadline:
                raise NotShown(f"{text!r} did not come: {self.seen[-2000:]!r}")
            if select.select([self._terminal], [], [], 1.0)[0]:
                with contextlib.suppress(BlockingIOError):
                    self.seen += os.read(self._terminal, 1 << 16).decode(errors="replace")
        shown, _, self.seen = self.seen.partition(text)
        return shown

    def run(self, line: str, *, within: float = ANSWER_SECONDS) -> str:
        """What a command shows; its end is told by words that the line itself does not have."""
        self.press(f"{line}; echo DO''NE\r")
        return self.until("DONE", within=within)

    def words(self, typed: str) -> list[str]:
        """The words that the shell takes from what was typed, and completed by TAB.

        None where a quote is left open because nothing was offered: then the shell waits for more of it.
        """
        self.press(f"{typed}{TAB}{BEGIN_OF_LINE}printf '[[%s]]\\n' \r")
        try:
            shown = self.run(":", within=WORDS_SECONDS)
        except NotShown:
            self.seen = ""
            self.press(_GIVE_UP[self._kind])
            self.until(PROMPT)  # what is typed before would be thrown away with the line
            return []
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
    require_program(kind)
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
                made = Shell(kind, ours)
                made.run(f'{_START[kind]}; eval "$(tarpon completion {kind})"')
                yield made
            finally:
                process.kill()
    finally:
        os.close(ours)
        os.close(theirs)
