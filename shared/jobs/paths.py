"""Paths that a job names inside of its task: what makes one impossible, whatever it is for."""

MAX_PATH_BYTES = 1024
MAX_PART_BYTES = 255
"""What usual file systems take for the name of one folder."""

_KERNEL_FOLDERS = frozenset({"proc", "sys"})


def parts_of(path: str) -> tuple[str, ...]:
    """The names on the way to it; two paths of the same names are the same place."""
    return tuple(part for part in path.split("/") if part not in {"", "."})


def path_problem(path: str) -> str:
    """To go on with after the path; empty where nothing is wrong."""
    parts = parts_of(path)
    if not path.startswith("/") or ".." in parts or "\0" in path:
        return "must be absolute and without `..`."
    if not parts:
        return "is the whole file system; name a folder."
    if parts[0] in _KERNEL_FOLDERS or parts == ("dev",):
        return "is the kernel's; name a folder of the task's own."
    if _is_too_long(path, parts):
        return f"is too long; {MAX_PATH_BYTES:,} bytes are possible, and {MAX_PART_BYTES} for each folder in it."
    return ""


def overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether they are the same place, or one is inside of the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _is_too_long(path: str, parts: tuple[str, ...]) -> bool:
    sizes = [len(text.encode(errors="surrogatepass")) for text in (path, *parts)]
    return sizes[0] > MAX_PATH_BYTES or max(sizes[1:]) > MAX_PART_BYTES
