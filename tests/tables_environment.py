"""A Python environment with what the documents read results with, and nothing of ours."""

from functools import cache
from pathlib import Path

from tests.environments import CONSTRAINTS, Environment

PACKAGES = ("pandas", "pyarrow", "duckdb", "fsspec", "aiohttp")


@cache
def tables_python() -> Path:
    """The environment's interpreter; made once in the checkout."""
    tables, versions = Environment("tables"), " ".join(PACKAGES) + CONSTRAINTS.read_text(encoding="utf-8")
    with tables.locked():
        if tables.made_of != versions:
            tables.make()
            tables.pip("install", "--quiet", "--constraint", str(CONSTRAINTS), *PACKAGES)
            tables.is_made(versions)
    return tables.python
