"""Writing of YAML: as people would, and without what could steer their terminals."""

from typing import Any

import yaml

from shared.data.plain_text import printable_yaml


class _Dumper(yaml.SafeDumper):
    """In double quotes, and only there, a character can be written by its number."""


class _BlockDumper(_Dumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_plain = text.replace("\n", "").isprintable()
    block = "|" if "\n" in text and isinstance(dumper, _BlockDumper) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=block if is_plain else '"')


_Dumper.add_representer(str, _text)
_BlockDumper.add_representer(str, _text)


def written(data: Any, *, blocks: bool = False, width: int | None = None) -> str:
    """With `blocks`, texts of several lines stand as blocks."""
    kind = _BlockDumper if blocks else _Dumper
    return printable_yaml(yaml.dump(data, Dumper=kind, sort_keys=False, allow_unicode=True, width=width))
