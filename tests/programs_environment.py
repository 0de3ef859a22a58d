"""A Python environment with what programs of the documents need beside Tarpon: notebooks, and a framework for HTTP."""

from functools import cache
from pathlib import Path

from tests.environments import Environment

PACKAGES = ("fastapi", "ipykernel", "nbclient", "uvicorn")


@cache
def programs_python() -> Path:
    """The environment's interpreter; made once in the checkout."""
    return Environment("programs").made_beside_ours(*PACKAGES)
