"""Parameters of publishers: what a job may say in `Publisher.Params`, of which s3managed knows these two.

Command line and orchestrator look at a job by this before a node hears of it, and the node reads it by the same. Keys
and values may be in any case, and null is the same as leaving a key out.
"""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from shared.data.decoding import canonical, close_match, wrong_parts
from shared.errors import InvalidDocument
from shared.jobs.engine_params import MAX_UNKNOWN, Looked, without_nulls
from shared.jobs.spec import SpecConfig

MANAGED = "s3managed"

HardLinks = Literal["keep", "copy"]
"""What becomes of the further names of a file that has several: links to the first, or files with the same content."""
COPY: HardLinks = "copy"
_HARD_LINKS = ("keep", COPY)

Encoding = Literal["gzip", "plain"]
"""What a result is in the bucket: one .tar.gz, or an object for each file beside a manifest."""
GZIP: Encoding = "gzip"
PLAIN: Encoding = "plain"
_ENCODINGS = (GZIP, PLAIN)

_PATH = "Publisher.Params"


class ManagedParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`hard_links` empty is as the orchestrator's setting has it, and `keep` where that is gone; `encoding` is gzip."""

    hard_links: str = ""
    encoding: str = ""


_NAMES = {field.encode_name.lower(): field.encode_name for field in msgspec.structs.fields(ManagedParams)}
_HARD_LINKS_KEY, _ENCODING_KEY = _NAMES["hardlinks"], _NAMES["encoding"]


def is_managed(publisher: SpecConfig) -> bool:
    return publisher.type.strip().lower() == MANAGED


def look(publisher: SpecConfig) -> Looked:
    """The parameters in their normal form, and what is wrong. Of another publisher nothing is looked at but nulls."""
    params = without_nulls(publisher.params)
    if not params or not is_managed(publisher):
        return Looked(params)
    unknown = {key: value for key, value in params.items() if key.lower() not in _NAMES}
    try:
        known, _ = canonical({key: value for key, value in params.items() if key not in unknown}, ManagedParams)
    except InvalidDocument as error:  # two keys that differ in case alone
        return Looked(params, (f"{_PATH}: {error.message}",))
    if problems := wrong_parts(known, ManagedParams, _PATH, strict=False):
        return Looked(params, tuple(problems))
    return _judged(msgspec.convert(known, ManagedParams, strict=False), unknown)


def _judged(given: ManagedParams, unknown: dict[str, Any]) -> Looked:
    hard_links = given.hard_links.strip().lower()
    encoding = given.encoding.strip().lower()
    said = {_HARD_LINKS_KEY: hard_links, _ENCODING_KEY: encoding}
    problems = list[str]()
    if hard_links and hard_links not in _HARD_LINKS:
        problems.append(f"{_PATH}.{_HARD_LINKS_KEY} {given.hard_links[:80]!r} is neither keep nor copy.")
    if encoding and encoding not in _ENCODINGS:
        problems.append(f"{_PATH}.{_ENCODING_KEY} {given.encoding[:80]!r} is neither gzip nor plain.")
    return Looked(unknown | {key: value for key, value in said.items() if value}, tuple(problems))


def unknown_told(publisher: SpecConfig) -> Iterator[str]:
    """A sentence for each parameter that the publisher does not know, with the one that was probably meant."""
    if not is_managed(publisher):
        return
    unknown = [key for key, value in publisher.params.items() if value is not None and key.lower() not in _NAMES]
    for key in unknown[:MAX_UNKNOWN]:
        meant = close_match(key[:80], _NAMES.values())
        advice = f"; did you mean {meant}?" if meant else ""
        yield f"{_PATH}.{key[:80]} is not known and was ignored{advice}"
    if len(unknown) > MAX_UNKNOWN:
        yield f"{_PATH} has {len(unknown) - MAX_UNKNOWN:,} more parameters that are not known."


def with_hard_links(publisher: SpecConfig, default: HardLinks) -> SpecConfig:
    """The same with what holds where it does not say; `keep` is what holds without a word."""
    if default != COPY or not is_managed(publisher) or _HARD_LINKS_KEY in publisher.params:
        return publisher
    return msgspec.structs.replace(publisher, params=publisher.params | {_HARD_LINKS_KEY: default})


def copies_hard_links(publisher: SpecConfig) -> bool:
    """Of a publisher as it was taken in, also by an orchestrator that looks at no parameters."""
    return bool(publisher.params) and is_managed(publisher) and look(publisher).params.get(_HARD_LINKS_KEY) == COPY


def is_plain(publisher: SpecConfig) -> bool:
    """Whether results become an object for each file; of a publisher as in copies_hard_links."""
    return bool(publisher.params) and is_managed(publisher) and look(publisher).params.get(_ENCODING_KEY) == PLAIN
