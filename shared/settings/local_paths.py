"""The setting Compute.AllowListedLocalPaths: which files and folders of a node its tasks may read."""

from collections.abc import Iterable, Iterator

from shared.data.path_patterns import PathPattern

KEY = "Compute.AllowListedLocalPaths"
_ENDINGS = (":ro", ":rw")


def local_patterns(entries: Iterable[str]) -> Iterator[PathPattern]:
    """Each ends with `:ro` or `:rw` in the reference, or with neither; here all are read only. Raises ValueError."""
    for entry in entries:
        plain = next((entry.removesuffix(each) for each in _ENDINGS if entry.endswith(each)), entry)
        yield PathPattern(plain.strip())


def local_path_problems(entries: Iterable[str]) -> Iterator[str]:
    for entry in entries:
        try:
            tuple(local_patterns((entry,)))
        except ValueError as error:
            yield f"{KEY}: {entry[:80]!r} {error}; write the whole path of a folder, or a pattern such as /data/**"
