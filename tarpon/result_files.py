"""The name by which programs import what reads single files of results; it is in tarpon.results."""

from tarpon.results.files import ResultEntry, list_files, read_file

__all__ = ["ResultEntry", "list_files", "read_file"]
