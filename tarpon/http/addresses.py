"""The addresses of the HTTP API, as users write them: hosts, hosts with their ports, or URLs; several with commas."""

import re
from collections.abc import Mapping, Sequence

from shared.errors import InvalidInput

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 1234
HOST_VARIABLE, PORT_VARIABLE = "TARPON_API_HOST", "TARPON_API_PORT"
FOREIGN = {"BACALHAU_API_HOST": HOST_VARIABLE, "BACALHAU_API_PORT": PORT_VARIABLE}
"""Names that the environment may have instead, where it has not ours."""

_HOST_AND_PORT = re.compile(r"[^:\[\]]+:\d{1,5}")
_LAST_PORT = 65535


def addresses(
    host: str | Sequence[str] | None, port: int | None, env: Mapping[str, str], *, scheme: str = "http"
) -> tuple[str, ...]:
    """The URLs of one orchestrator or several. What is None is as the environment has it, or a default.

    Those that have no scheme get this one.

    Raises InvalidInput.
    """
    hosts = (_set(HOST_VARIABLE, env) or DEFAULT_HOST) if host is None else host
    number = _port(_set(PORT_VARIABLE, env)) if port is None else port
    texts = [hosts] if isinstance(hosts, str) else hosts
    found = tuple(dict.fromkeys(url for text in texts for url in base_urls(text, number, scheme=scheme)))
    if not found:
        raise InvalidInput("No orchestrator is named.", hint=f"Give its host, or set {HOST_VARIABLE}.")
    return found


def is_named(env: Mapping[str, str]) -> bool:
    """Whether the environment tells where an orchestrator is."""
    return bool(_set(HOST_VARIABLE, env) or _set(PORT_VARIABLE, env))


def base_urls(hosts: str, port: int, *, scheme: str = "http") -> tuple[str, ...]:
    return tuple(base_url(host.strip(), port, scheme=scheme) for host in hosts.split(",") if host.strip())


def base_url(host: str, port: int, *, scheme: str = "http") -> str:
    """Of a host, of a host with its port, or of a URL as it is."""
    if "://" in host:
        return host.rstrip("/")
    if _HOST_AND_PORT.fullmatch(host):
        return f"{scheme}://{host}"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _set(name: str, env: Mapping[str, str]) -> str:
    foreign = next(theirs for theirs, ours in FOREIGN.items() if ours == name)
    return env.get(name) or env.get(foreign) or ""


def _port(text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if text.isascii() and text.isdecimal() and 0 < int(text) <= _LAST_PORT:
        return int(text)
    raise InvalidInput(f"{PORT_VARIABLE} is {text[:80]!r}, which is no port.")
