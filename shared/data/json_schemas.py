"""JSON Schemas of the types that are spoken, the same whatever Python and msgspec make them."""

import inspect
from collections.abc import Iterable
from typing import Any

import msgspec

Schema = dict[str, Any]


def schemas_of(types: Iterable[Any], *, ref_template: str) -> tuple[list[Schema], dict[str, Schema]]:
    """A schema for each type, and those that they refer to, by name.

    Up to Python 3.12 the later lines of a docstring are indented as in the source, and msgspec leaves them so.
    """
    schemas, components = msgspec.json.schema_components(types, ref_template=ref_template)
    return [_tidy(each) for each in schemas], {name: _tidy(each) for name, each in components.items()}


def _tidy(schema: Schema) -> Schema:
    ordered: Schema = _null_last(schema)
    return _dedented(ordered)


def _null_last(part: Any) -> Any:
    """Releases of msgspec differ in where they put it."""
    if isinstance(part, dict):
        return {name: _null_last(each) for name, each in part.items()}
    if isinstance(part, list):
        return sorted(map(_null_last, part), key=lambda each: each == {"type": "null"})
    return part


def _dedented(schema: Schema) -> Schema:
    description = schema.get("description")
    return schema | {"description": inspect.cleandoc(description)} if isinstance(description, str) else schema
