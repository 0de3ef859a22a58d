"""Differences between two versions of a job, one line for each value."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from shared.jobs.spec import Job


def difference(before: Job | None, after: Job) -> str:
    """Lines such as `~ Tasks[0].Resources.CPU: "1" -> "2"`, `+ Labels.team: "a"` and `- Priority: 3`; maybe none."""
    old = {} if before is None else dict(_leaves(msgspec.to_builtins(before), ""))
    new = dict(_leaves(msgspec.to_builtins(after), ""))
    return "\n".join(_lines(old, new))


def _lines(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for path in (*old, *(path for path in new if path not in old)):
        if path not in new:
            yield f"- {path}: {_text(old[path])}"
        elif path not in old:
            yield f"+ {path}: {_text(new[path])}"
        elif old[path] != new[path]:
            yield f"~ {path}: {_text(old[path])} -> {_text(new[path])}"


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}[{number}]")
    else:
        yield path, value


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
