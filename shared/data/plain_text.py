"""Text of others, as it is shown: nothing in it steers a terminal, turns its direction or makes lines of its own.

Nodes, tasks and the authors of jobs write it, and none of them is trusted. What is not printable by Unicode is shown by
its number.
"""

from collections.abc import Callable

_LINES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """In lines, as it was."""
    return text if text.isprintable() else "".join(_shown(char) if char not in "\n\t" else char for char in text)


def indented(text: str, by: int = 2) -> str:
    """The first line as it is, and the others so far from the margin that none looks as if it were somebody else's."""
    first, *others = printable(text).split("\n")
    return "\n".join([first, *(line if line.startswith(" " * by) else " " * by + line for line in others)])


def one_line(text: str) -> str:
    return text if text.isprintable() else "".join(_LINES.get(char) or _shown(char) for char in text)


def printable_json(document: str) -> str:
    """The same JSON, which may have been laid out in lines."""
    return _by_lines(document, _json_escape)


def printable_yaml(document: str) -> str:
    """The same YAML, whose writer put whatever is not printable in double quotes."""
    return _by_lines(document, _shown)


def _by_lines(document: str, escape: Callable[[str], str]) -> str:
    lines = document.split("\n")
    return "\n".join(line if line.isprintable() else "".join(map(escape, line)) for line in lines)


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _json_escape(char: str) -> str:
    if char.isprintable():
        return char
    number = ord(char)
    if number < 0x10000:
        return f"\\u{number:04x}"
    high, low = divmod(number - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
