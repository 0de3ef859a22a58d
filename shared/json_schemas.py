"""JSON Schemas of the types that are spoken, the same whatever Python makes them."""

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
    return [_dedented(each) for each in schemas], {name: _dedented(each) for name, each in components.items()}


def _dedented(schema: Schema) -> Schema:
    description = schema.get("description")
    return schema | {"description": inspect.cleandoc(description)} if isinstance(description, str) else schema
