"""The setting Compute.AllowListedLocalPaths: which files and folders of a node its tasks may read, or write to."""

from collections.abc import Iterable, Iterator

from shared.data.path_patterns import PathPattern

KEY = "Compute.AllowListedLocalPaths"
_WRITABLE = ":rw"
_ENDINGS = (":ro", _WRITABLE)


def local_patterns(entries: Iterable[str]) -> Iterator[PathPattern]:
    """Each may end with `:ro`, as if it ended so, or `:rw`. Raises ValueError."""
    for entry in entries:
        plain = next((entry.removesuffix(each) for each in _ENDINGS if entry.endswith(each)), entry)
        yield PathPattern(plain.strip())


def writable(entries: Iterable[str]) -> Iterator[str]:
    """The entries that allow to write to what they name."""
    return (entry for entry in entries if entry.endswith(_WRITABLE))


def local_path_problems(entries: Iterable[str]) -> Iterator[str]:
    for entry in entries:
        try:
            tuple(local_patterns((entry,)))
        except ValueError as error:
            yield f"{KEY}: {entry[:80]!r} {error}; write the whole path of a folder, or a pattern such as /data/**"
