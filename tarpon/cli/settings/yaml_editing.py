"""Editing of one value in a YAML text, while all else, comments included, stays as a person wrote it.

The text is spliced at the places that the parser tells. That is simple for what people write, and for whatever is not
simple (anchors, merges, odd layouts) the outcome is compared with what was meant: an edit that would change anything
else is refused.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from shared.data.decoding import load_yaml
from shared.errors import Conflict, InvalidDocument

Plain = str | int | float | bool | list[str] | dict[str, str]

_STEP = "  "
_NEEDS_NO_QUOTES = re.compile(r"[A-Za-z0-9/~][A-Za-z0-9_./~-]*")
_MEANS_NO_TEXT = re.compile(r"(?i:true|false|null|yes|no|on|off|y|n|~|[0-9_.xobe+-]+)")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def with_value(text: str, path: Sequence[str], value: Plain, *, what: str) -> str:
    """`text` in which `value` stands at `path`; keys that are there already are found in any case and kept as they are.

    Raises InvalidDocument where `text` is not YAML, Conflict where it cannot be edited safely. `what` names it.
    """
    before = load_yaml(text, what=what) if _has_content(text) else {}
    try:
        edited = _edited(text, path, value)
        after = load_yaml(edited, what=what)
    except (yaml.YAMLError, InvalidDocument, _Intricate) as error:
        raise _refusal(path, value, what) from error
    if after != _replaced(before, path, value):
        raise _refusal(path, value, what)
    return edited


class _Intricate(Exception):
    """Such text is left to people."""


def _refusal(path: Sequence[str], value: Plain, what: str) -> Conflict:
    line = f"{'.'.join(path)}: {_written(value)}"
    return Conflict(f"{what} is too intricate to be edited by a program.", hint=f"Put it in by hand: {line}")


def _edited(text: str, path: Sequence[str], value: Plain) -> str:
    root = yaml.compose(text, Loader=_LOADER)
    if root is None or not isinstance(root, yaml.MappingNode):
        ended = text if not text or text.endswith("\n") else f"{text}\n"
        return ended + _block(path, value, 0)
    node: yaml.MappingNode = root
    for depth, name in enumerate(path):
        found = _child(node, name)
        if found is None:
            return _inserted(text, node, path[depth:], value)
        if depth == len(path) - 1:
            return _spliced(text, found, f" {_written(value)}" if _is_empty(found) else _written(value))
        if isinstance(found, yaml.MappingNode):
            node = found
        elif _is_empty(found):
            indent = _indent_of(node) + len(_STEP)
            return _spliced(text, found, "\n" + _block(path[depth + 1 :], value, indent).rstrip("\n"))
        else:
            raise _Intricate
    raise _Intricate


def _child(node: yaml.MappingNode, name: str) -> yaml.Node | None:
    return next((value for key, value in node.value if str(key.value).lower() == name.lower()), None)


def _is_empty(node: yaml.Node) -> bool:
    """A key with nothing behind its colon."""
    return isinstance(node, yaml.ScalarNode) and node.start_mark.index == node.end_mark.index


def _inserted(text: str, node: yaml.MappingNode, path: Sequence[str], value: Plain) -> str:
    """With the new key as the last one of a block, or as the first one in braces."""
    if node.flow_style:
        at = node.start_mark.index + 1
        rest = ", " if node.value else ""
        return text[:at] + _flow(path, value) + rest + text[at:]
    at = _end_of_line(text, _end(node))
    before = text[:at] if text[:at].endswith("\n") else f"{text[:at]}\n"
    return before + _block(path, value, _indent_of(node)) + text[at:]


def _spliced(text: str, node: yaml.Node, replacement: str) -> str:
    return text[: node.start_mark.index] + replacement + text[_end(node) :]


def _indent_of(node: yaml.MappingNode) -> int:
    column: int = node.start_mark.column
    return column


def _end(node: yaml.Node) -> int:
    """Behind the last character that belongs to the node; a block ends with the last thing in it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1])
    index: int = node.end_mark.index
    return index


def _end_of_line(text: str, at: int) -> int:
    if at and text[at - 1] == "\n":
        return at
    newline = text.find("\n", at)
    return len(text) if newline < 0 else newline + 1


def _block(path: Sequence[str], value: Plain, indent: int) -> str:
    lines = [f"{' ' * indent}{_STEP * depth}{name}:" for depth, name in enumerate(path)]
    return "\n".join(lines) + f" {_written(value)}\n"


def _flow(path: Sequence[str], value: Plain) -> str:
    first, *rest = path
    return f"{first}: {{{_flow(rest, value)}}}" if rest else f"{first}: {_written(value)}"


def _written(value: Plain) -> str:
    """On one line; JSON is YAML, and a plain text needs no quotes."""
    match value:
        case str() if _NEEDS_NO_QUOTES.fullmatch(value) and not _MEANS_NO_TEXT.fullmatch(value):
            return value
        case list():
            return f"[{', '.join(map(_written, value))}]"
        case dict():
            return f"{{{', '.join(f'{_written(key)}: {_written(item)}' for key, item in value.items())}}}"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _replaced(data: Mapping[str, Any], path: Sequence[str], value: Plain) -> dict[str, Any]:
    """What the text should mean afterwards."""
    name = next((key for key in data if key.lower() == path[0].lower()), path[0])
    inner = data.get(name)
    new = _replaced(inner if isinstance(inner, Mapping) else {}, path[1:], value) if path[1:] else value
    return {**data, name: new}


def _has_content(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())
