"""Results of jobs: fetched whole, listed, or read file by file."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.extraction.placement_rules import PlacementRules
    from tarpon.results.fetch_job import Fetched, get_results
    from tarpon.results.files import ResultEntry, list_files, read_file

__all__ = ["Fetched", "PlacementRules", "ResultEntry", "get_results", "list_files", "read_file"]

_MODULES = {
    "Fetched": "tarpon.results.fetch_job",
    "PlacementRules": "shared.extraction.placement_rules",
    "ResultEntry": "tarpon.results.files",
    "get_results": "tarpon.results.fetch_job",
    "list_files": "tarpon.results.files",
    "read_file": "tarpon.results.files",
}


def __getattr__(name: str) -> object:
    # What only shows a job must not pay for what fetches results.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'tarpon.results' has no attribute {name!r}")
