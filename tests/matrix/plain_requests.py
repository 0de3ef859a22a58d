"""One request by a signed URL, as a browser or a node makes it, and what came back."""

import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import NamedTuple

SECONDS = 10.0


class Told(NamedTuple):
    """Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]


def told(method: str, url: str, headers: Mapping[str, str]) -> Told:
    asked = urllib.request.Request(url, method=method, headers=dict(headers))
    try:
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
            answer.read()
            return Told(answer.status, _lowered(answer.headers.items()))
    except urllib.error.HTTPError as error:
        with error:
            return Told(error.code, _lowered(error.headers.items()))


def _lowered(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}
