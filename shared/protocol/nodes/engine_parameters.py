"""Parameters of engines from outside, as a node tells them: by these a job is looked at when it is submitted.

An orchestrator has none of the code of such an engine. Its nodes tell the name and kind of each parameter; whatever
else may be wrong with them the node finds, which has the code. What is told is untrusted, and within bounds.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Annotated, Any, get_args, get_origin

import msgspec

from shared.jobs.engine_params import EngineParams, look, unknown_told
from shared.jobs.spec import SpecConfig

MAX_PARAMETERS = 64
MAX_ENGINES = 16
"""From outside, on one node."""
MAX_NAME = 64
MOST_TOLD = 16
"""Different lists of parameters that are looked at of one engine; releases of its package are fewer."""

_NEVER_IN_NAMES = '"\\'
"""Of what is printable, msgspec takes these in no name of a field."""

ANYTHING = "anything"
_KINDS: dict[str, Any] = {
    "text": str,
    "texts": tuple[str, ...],
    "whole number": int,
    "number": float,
    "truth": bool,
    "texts by name": dict[str, str],
    ANYTHING: Any,
}

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]


class ToldParameter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`kind` is one of a few words; one that a later version has is taken for anything."""

    name: _Name
    kind: Annotated[str, msgspec.Meta(max_length=MAX_NAME)] = "text"
    required: bool = False


ToldParameters = Annotated[tuple[ToldParameter, ...], msgspec.Meta(max_length=MAX_PARAMETERS)]
ToldEngines = Annotated[dict[_Name, ToldParameters], msgspec.Meta(max_length=MAX_ENGINES)]
"""By the name of an engine, in small letters."""


def told_of(kind: type[EngineParams]) -> tuple[ToldParameter, ...]:
    """What a node tells of parameters that an engine of its own has declared."""
    return tuple(
        ToldParameter(name=field.encode_name, kind=_word_for(field.type), required=field.required)
        for field in msgspec.structs.fields(kind)
    )


def is_name(name: str) -> bool:
    """Whether a parameter can be called so; a node may tell any name."""
    return 0 < len(name) <= MAX_NAME and name.isprintable() and not {*name} & {*_NEVER_IN_NAMES}


def _word_for(declared: Any) -> str:
    plain = get_args(declared)[0] if get_origin(declared) is Annotated else declared
    return next((word for word, kind in _KINDS.items() if kind == plain), ANYTHING)


def told_problems(engine: SpecConfig, told: Iterable[tuple[ToldParameter, ...]]) -> tuple[str, ...]:
    """What is wrong with the parameters by what nodes tell; nothing where one of them would take them as they are.

    Each sentence begins with the path below the task. Where nodes tell more than MOST_TOLD different things, none is
    believed.
    """
    found: tuple[str, ...] = ()
    different = dict.fromkeys(told)
    if len(different) > MOST_TOLD:
        return ()
    for parameters in different:
        problems = tuple(_problems(engine, _kind(parameters)))
        if not problems:
            return ()
        found = found or problems
    return found


def _problems(engine: SpecConfig, kind: type[EngineParams]) -> Iterator[str]:
    yield from unknown_told(engine, f"is not known to the engine {engine.type[:80]}", kind)
    yield from look(engine, kind).problems


@lru_cache(maxsize=64)
def _kind(told: tuple[ToldParameter, ...]) -> type[EngineParams]:
    """Of two with the same name the first one counts. One by whose name no parameter can be called is left out."""
    names = {each.name.lower(): each for each in reversed(told) if is_name(each.name)}
    fields: list[Any] = []
    renamed: dict[str, str] = {}
    for number, each in enumerate(names.values()):
        field, declared = f"parameter_{number}", _KINDS.get(each.kind, Any)
        renamed[field] = each.name
        fields.append((field, declared) if each.required else (field, declared, msgspec.UNSET))
    kind: Any = msgspec.defstruct(
        "ToldParams",
        fields,
        bases=(EngineParams,),
        rename=renamed,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    found: type[EngineParams] = kind
    return found
