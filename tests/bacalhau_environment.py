"""A Python environment with the client that was generated from Bacalhau's API description, and nothing of ours."""

from functools import cache
from pathlib import Path

from tests.environments import CONSTRAINTS, Environment

UNDECLARED = ("certifi", "python-dateutil", "six", "urllib3")
"""What the client imports and its package does not ask for."""


@cache
def bacalhau_python() -> Path:
    """The environment's interpreter; made once in the checkout."""
    bacalhau, versions = Environment("bacalhau"), CONSTRAINTS.read_text(encoding="utf-8")
    with bacalhau.locked():
        if bacalhau.made_of != versions:
            bacalhau.make()
            bacalhau.pip("install", "--quiet", "--constraint", str(CONSTRAINTS), "bacalhau-apiclient", *UNDECLARED)
            bacalhau.is_made(versions)
    return bacalhau.python
