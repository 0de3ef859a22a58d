"""The socket of the container engine, if no setting names it: where Docker's command line would look for it.

That is `DOCKER_HOST`, then the context that `DOCKER_CONTEXT` or `docker context use` names, then Docker's usual socket.
Tasks write to files of the node, so its engine has to be on the same machine, behind a socket there: an address on a
network, with TLS or without, is refused.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compute.engines.docker.credentials import config_file
from shared.settings.config import AUTO, DockerSettings

_log = logging.getLogger(__name__)

USUAL_SOCKET = "unix:///var/run/docker.sock"
MAX_FILE_BYTES = 1 << 20
_UNIX = "unix://"
_DEFAULT = "default"
_HOW = "set Engines.Types.Docker.Socket to a socket of this machine, or to nothing where no engine is to be used"


class EndpointRefused(Exception):
    """The operator's environment names an engine that a node cannot use. The text is a sentence for them."""


def find_socket(settings: DockerSettings, environment: Mapping[str, str]) -> str:
    """The socket's path; empty if no engine is to be used. Raises EndpointRefused. Blocks."""
    if settings.socket != AUTO:
        return settings.socket_path
    host = environment.get("DOCKER_HOST", "")
    if host:
        return _path(host, "DOCKER_HOST")
    file = config_file(environment)
    name = environment.get("DOCKER_CONTEXT") or _current(file)
    if name in {"", _DEFAULT}:
        return _path(USUAL_SOCKET, "")
    return _path(_host_of(name, file.parent), f"the docker context {name[:80]!r}")


def _path(host: str, named_by: str) -> str:
    path = host.removeprefix(_UNIX)
    if not host.startswith(_UNIX) or not path.startswith("/"):  # the rest of it may hold a password
        kind = host.partition("://")[0][:20] if "://" in host else "something else"
        raise EndpointRefused(
            f"This node uses no container engine: {named_by} names one by {kind!r}, and a node needs one on its own"
            f" machine, by unix:// and a path; {_HOW}."
        )
    return path


def _current(file: Path) -> str:
    try:
        return str(_read(file).get("currentContext") or "")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, RecursionError) as error:  # `docker` goes on without it too
        _log.warning("Which docker context is current cannot be read from %s: %s", file, type(error).__name__)
        return ""


def _host_of(name: str, folder: Path) -> str:
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    try:
        return str(_read(meta)["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise EndpointRefused(
            f"This node uses no container engine: the docker context {name[:80]!r} cannot be read from {meta}"
            f" ({type(error).__name__}); choose another with `docker context use`, or {_HOW}."
        ) from None


def _read(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        found = json.loads(opened.read(MAX_FILE_BYTES))
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004  # as for what is no JSON
    return found
