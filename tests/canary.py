"""The canary: all that Tarpon logs in any test, at any level, is searched for what lets in (no tests in here).

It hears what is logged in the process of the tests. What processes of their own log is searched when their stack ends
(tests/e2e/stack.py).
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from shared.runtime.log_lines import without_signature

LOG_LEVEL = "TESTS_LOG_LEVEL"
"""The variable with the level at which processes of tests log. Benchmarks and chaos have none."""
PACKAGES = ("orchestrator", "compute", "shared", "tarpon")
LETS_IN = re.compile(
    r"X-Amz-(?:Signature|Credential|Security-Token)="  # a signed URL
    r"|\bS[ACNOUX][A-Z2-7]{56}\b"  # the seed of an nkey
    r"|\bt[jk]1_[A-Za-z0-9_-]{60,}"  # a join token, an API key
    r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}"  # a token of an issuer
)

_formatter = logging.Formatter()


class Canary(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:  # a library's error may have a signed URL, which is cut before it is written
            text += without_signature(_formatter.formatException(record.exc_info))
        if found := LETS_IN.search(text):
            self.heard.append(f"{record.name}, line {record.lineno}, logs {found[0][:24]}...")


@contextmanager
def listening() -> Iterator[Canary]:
    """To all packages, at debug level."""
    canary = Canary()
    loggers = [logging.getLogger(each) for each in PACKAGES]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.DEBUG)
        each.addHandler(canary)
    try:
        yield canary
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.removeHandler(canary)
            each.setLevel(level)
