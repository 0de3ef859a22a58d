"""Paths of inputs: where a task sees an object below an input's target, and which objects cannot be seen anywhere."""

from collections.abc import Iterable

MAX_NAME_BYTES = 255
"""Of one part of a path, in every file system that nodes have."""


def prefix_path(prefix: str, key: str) -> str:
    """What follows the last slash of the prefix: `s3://b/dir/file-*` gives `file-1.csv` for `dir/file-1.csv`."""
    return key[prefix.rfind("/") + 1 :]


def is_folder_marker(key: str) -> bool:
    """Consoles make such an object, which has no bytes, to show a folder that is empty."""
    return key.endswith("/")


def path_refusal(path: str) -> str:
    """Why no file can have this path below a folder, to go on after its key; empty where one can."""
    if "\0" in path:
        return "has a character that no path can have"
    for part in path.split("/"):
        if not part:
            return "has two slashes that follow each other, or begins with one" if path else "names no file"
        if part in {".", ".."}:
            return f"has a part that is `{part}`"
        if len(part.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
            return f"has a part of more than {MAX_NAME_BYTES} bytes between its slashes"
    return ""


def clash(paths: Iterable[str]) -> tuple[str, str] | None:
    """Two of them that cannot both be: the same one twice, or a file where another one needs a folder."""
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            return path, path
        seen.add(path)
    for path in seen:
        end = path.rfind("/")
        while end > 0:
            if path[:end] in seen:
                return path[:end], path
            end = path.rfind("/", 0, end)
    return None
