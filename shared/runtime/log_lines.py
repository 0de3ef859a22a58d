"""Log lines, none of which holds a credential, or anything that steers a terminal or makes another line."""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from shared.data.plain_text import one_line, printable, printable_json

_LEVELS = {"trace": logging.DEBUG, "debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING}
_LEVELS["error"] = logging.ERROR

_ABOUT = ("job_id", "execution_id", "node_id")

_TELLTALE = "x-amz-"
_SIGNED = re.compile(r"(?:\?|%3F)[^\s\"'<>?]{0,500}X-Amz-[^\s\"'<>]*", re.IGNORECASE)
_PARAMETER = re.compile(
    r"(X-Amz-(?:Signature|Security-Token)[\"']?(?:=|%3D|\s*[:,]\s*[\"']?))[\w%/+=.~-]+", re.IGNORECASE
)


def without_signature(text: str) -> str:
    """The text with the query string of every signed URL cut off, and with the signatures that stand elsewhere."""
    if _TELLTALE not in text.lower():  # what both expressions need, found in a tenth of their time
        return text
    return _PARAMETER.sub(r"\1...", _SIGNED.sub("?...", text))


def about(*, job: str = "", execution: str = "", node: str = "") -> dict[str, str]:
    """What a log line is about, as its `extra`: fields of their own where lines are written for machines."""
    return {name: text for name, text in zip(_ABOUT, (job, execution, node), strict=True) if text}


class _Lines(logging.Formatter):
    """Text for people: one line for what is said, and below it, indented, where an error arose.

    Our own code never logs a URL that is signed; a library's error might, and is cut here. What nodes and the authors
    of jobs write may be in a line, and can neither end it nor steer a terminal.
    """

    _second = -1
    _time = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  # the name is that of logging
        """Found out once a second, because it is a good part of what a line costs."""
        second = int(record.created)
        if second != self._second:
            self._second, self._time = second, super().formatTime(record, datefmt)
        return self._time

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name is that of logging
        return one_line(without_signature(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the name is that of logging
        lines = without_signature(super().formatException(ei)).splitlines()
        return "\n".join(f"    {printable(line)}" for line in lines)


class _Json(logging.Formatter):
    """One object a line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: text for name in _ABOUT if isinstance(text := getattr(record, name, None), str)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # A file name that is no UTF-8 has halves of surrogate pairs, with which the line would be lost.
        told = {key: without_signature(text).encode(errors="backslashreplace").decode() for key, text in line.items()}
        return printable_json(msgspec.json.encode(told).decode())


def set_up(level: str, mode: str) -> None:
    """Log to stderr. `level` and `mode` are the settings Logging.Level and Logging.Mode."""
    logging.raiseExceptions = False  # a log call that is wrong in itself would show its arguments uncut
    # No line shows these, and finding them out is half of what a line costs (Optimization in Python's Logging HOWTO).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001  # as the HOWTO has it
    handler = logging.StreamHandler(sys.stderr)
    text = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    handler.setFormatter(_Json() if mode == "json" else _Lines(text, datefmt="%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    for library in ("asyncio", "nats", "botocore", "aiobotocore", "boto3", "aioboto3", "aiohttp.access", "urllib3"):
        logging.getLogger(library).setLevel(logging.WARNING)
