"""Inputs on the command line: how `-i URI:PATH`, `-i src=URI,dst=PATH,opt=KEY=VALUE` and local paths are written.

URIs are those of the reference: s3://BUCKET/KEY, http:// and https://, file:///PATH of the node. Further ones are
job:JOB/PATH for what a job published and upload:DATA for what was sent. A path of this machine is sent first.
"""

import csv
import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote

import click

from shared.jobs.spec import InputSource, SpecConfig
from tarpon.cli.console import completed_names

DEFAULT_TARGET = "/inputs"
_S3_OPTIONS = {
    "endpoint": "Endpoint",
    "region": "Region",
    "versionid": "VersionID",
    "checksum256": "ChecksumSHA256",
    "filter": "Filter",
}
_READ_WRITE = frozenset({"rw", "readwrite"})
_TRUE = frozenset({"1", "t", "true"})
_TARGETED = re.compile(r"(.+):(/.*)", re.DOTALL)
_WITH_KEY = re.compile(r"(src|source|dst|destination|target|opt|option)=", re.IGNORECASE)


class LocalInput(NamedTuple):
    """A file or folder of this machine, which is sent before the job is submitted."""

    path: str
    target: str


class _Written(NamedTuple):
    uri: str
    target: str
    options: dict[str, str]


def read_inputs(texts: Iterable[str]) -> tuple[tuple[InputSource, ...], tuple[LocalInput, ...]]:
    """What reads them, and what has to be sent. Raises ValueError, which says what is wrong."""
    sources, local = list[InputSource](), list[LocalInput]()
    for text in texts:
        written = _written(text)
        source = _source(written)
        if source is None:
            if written.options:
                raise ValueError(f"{text[:80]!r} is a path of this machine, which takes no options.")
            local.append(LocalInput(written.uri, written.target))
        else:
            sources.append(InputSource(source=source, target=written.target))
    return tuple(sources), tuple(local)


def _written(text: str) -> _Written:
    """Commas part the fields, but for those between quotes."""
    uri, target, options = "", DEFAULT_TARGET, dict[str, str]()
    for number, field in enumerate(next(csv.reader([text]), [])):
        key, equals, value = field.partition("=")
        if not number and not _WITH_KEY.match(field):
            found = _TARGETED.fullmatch(field)
            is_scheme = found is not None and (found[1].lower() == "file" or found[2].startswith("//"))
            uri, target = (field, target) if found is None or is_scheme else (found[1], found[2])
            continue
        if not equals:
            raise ValueError(f"{field[:80]!r} is not KEY=VALUE, such as dst=/data.")
        match key.lower():
            case "src" | "source":
                uri = value
            case "dst" | "destination" | "target":
                target = value
            case "opt" | "option":
                name, _, setting = value.partition("=")
                options[re.sub(r"[-_]", "", name.lower())] = setting
            case _:
                raise ValueError(f"{key[:40]!r} is not known; there are src, dst and opt.")
    if not uri.strip(" '\""):
        raise ValueError(f"{text[:80]!r} names nothing to read.")
    return _Written(uri.strip(" '\""), target.strip(" '\""), options)


def _source(written: _Written) -> SpecConfig | None:
    """None for a path of this machine."""
    scheme, colon, rest = written.uri.partition(":")
    kind, below = scheme.lower(), rest.removeprefix("//")
    if not colon or (kind in {"job", "upload"} and rest.startswith("/")):
        return None
    readers: dict[str, Callable[[], SpecConfig]] = {
        "s3": lambda: _s3(below, written.options),
        "http": lambda: SpecConfig(type="urlDownload", params={"URL": written.uri} | _none(written.options)),
        "https": lambda: SpecConfig(type="urlDownload", params={"URL": written.uri} | _none(written.options)),
        "file": lambda: _of_node(below, written.options),
        "job": lambda: _result(rest, written.options),
        "upload": lambda: SpecConfig(type="upload", params={"Data": rest} | _none(written.options)),
        "ipfs": lambda: SpecConfig(type="ipfs", params={"CID": below}),
    }
    reader = readers.get(kind)
    if reader is None or (kind in {"s3", "http", "https", "ipfs"} and not rest.startswith("//")):
        if rest.startswith("//"):
            known = ", ".join(each for each in readers if each != "ipfs")
            raise ValueError(f"{scheme[:40]}:// is not a source of inputs; there are {known}.")
        return None
    return reader()


def _s3(below: str, options: dict[str, str]) -> SpecConfig:
    bucket, _, key = below.partition("/")
    params = {"Bucket": bucket, "Key": unquote(key)}
    for name, value in options.items():
        if name not in _S3_OPTIONS:
            raise _unknown(name, _S3_OPTIONS)
        params[_S3_OPTIONS[name]] = value
    return SpecConfig(type="s3", params={name: value for name, value in params.items() if value})


def _of_node(below: str, options: dict[str, str]) -> SpecConfig:
    params: dict[str, object] = {"SourcePath": posixpath.normpath(unquote(below)) if below else ""}
    for name, value in options.items():
        if name not in _READ_WRITE:
            raise _unknown(name, ())
        if value.lower() in _TRUE:
            params["ReadWrite"] = True
    return SpecConfig(type="localDirectory", params=params)


def _result(rest: str, options: dict[str, str]) -> SpecConfig:
    job, _, path = rest.partition("/")
    paths = {"Paths": [path]} if path else {}
    return SpecConfig(type="result", params={"Job": job} | paths | _none(options))


def _none(options: dict[str, str]) -> dict[str, str]:
    for name in options:
        raise _unknown(name, ())
    return {}


def _unknown(name: str, known: Iterable[str]) -> ValueError:
    listed = ", ".join(known)
    return ValueError(f"opt={name[:40]} is not known" + (f"; there are {listed}." if listed else " here."))


def input_option(*names: str) -> Callable[[Any], Any]:
    return click.option(
        *names,
        "input",
        multiple=True,
        metavar="URI:PATH",
        shell_complete=completed_names.files,
        help="What the task reads at PATH: s3://BUCKET/KEY, https://..., file:///PATH of the node, job:JOB/PATH,"
        " upload:DATA, or a path of this machine, which is sent. Else src=URI,dst=PATH,opt=KEY=VALUE.",
    )
