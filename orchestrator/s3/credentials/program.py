"""The program that a profile names as its `credential_process`: it has no terminal, and not for ever.

botocore would wait for it without an end, let it ask its questions on the orchestrator's terminal, and take in whatever
it prints.
"""

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

PROGRAM_SECONDS = 20.0
MAX_ANSWER_BYTES = 64 << 10
_KEYS = ("AccessKeyId", "SecretAccessKey")
_PIECE_BYTES = 16 << 10


class ProgramFailed(Exception):
    """Goes on from "the program of credential_process ", and never quotes what it has printed."""


class CredentialProgram(subprocess.Popen[bytes]):
    """In the place of `subprocess.Popen` for botocore's provider, which calls `communicate` and reads the answer."""

    def __init__(self, command: Sequence[str], **_: Any) -> None:
        try:
            super().__init__(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise ProgramFailed(f"cannot be started ({error.strerror})") from None

    def communicate(self, *_: Any, **__: Any) -> tuple[bytes, bytes]:
        """Its answer, which is as AWS asks for it. Raises ProgramFailed; then nothing of it runs any more."""
        assert self.stdout is not None
        try:
            with self.stdout as stdout:
                answer = self._answer(stdout.fileno(), time.monotonic() + PROGRAM_SECONDS)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()
            raise
        _judge(self.returncode, answer)
        return answer, b""

    def _answer(self, stdout: int, until: float) -> bytes:
        answer = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while True:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise _endless()
                piece = os.read(stdout, _PIECE_BYTES)
                if not piece:
                    break
                answer += piece
                if len(answer) > MAX_ANSWER_BYTES:
                    raise ProgramFailed(f"printed more than {MAX_ANSWER_BYTES:,} bytes")
        try:
            self.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise _endless() from None
        return bytes(answer)


def _endless() -> ProgramFailed:
    return ProgramFailed(f"did not end within {PROGRAM_SECONDS:g} s and was killed")


def _judge(code: int, answer: bytes) -> None:
    if code < 0:
        raise ProgramFailed(f"was ended by signal {-code}")
    if code:
        raise ProgramFailed(f"ended with exit code {code}")
    try:
        told = json.loads(answer)
    except (ValueError, RecursionError):
        raise ProgramFailed("printed what is no JSON") from None
    if not isinstance(told, dict) or told.get("Version") != 1 or not all(_is_text(told.get(key)) for key in _KEYS):
        raise ProgramFailed(f"printed JSON without what AWS asks for: Version 1, {' and '.join(_KEYS)}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""
