"""Credentials for pulls of images: those that `docker login` left on this machine.

The file is that of Docker's command line: `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, with `auths` in it
or the names of credential programs (`credHelpers`, `credsStore`). It is read for each pull, so that it may change.
"""

import base64
import binascii
import json
import logging
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

HUB = "docker.io"
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
HELPER_SECONDS = 30.0
TOKEN_USER = "<token>"  # noqa: S105  # how a credential program says that its secret is an identity token


def full_name(image: str) -> str:
    """The image with its registry: `busybox` is docker.io/library/busybox. An image's id stays what it is."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"{HUB}/{image}" if slash else f"{HUB}/library/{image}"


def registry_of(image: str) -> str:
    return full_name(image).partition("/")[0]


_UNREADABLE = (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""What a file or an answer raises that is not what it should be, of whatever kind its parts are."""


def config_file(environment: Mapping[str, str]) -> Path:
    folder = environment.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def find_credentials(registry: str, file: Path) -> dict[str, str] | None:
    """What the engine wants to know for a pull; None where the operator has not logged in. Blocks.

    A file that cannot be read is as none, with a warning: most images need no credentials.
    """
    try:
        config = json.loads(file.read_bytes())
        found = _find(registry, config)
        if not all(isinstance(value, str) for value in (found or {}).values()):
            raise TypeError("a part of them is no text")
    except FileNotFoundError:
        return None
    except (*_UNREADABLE, subprocess.SubprocessError) as error:
        _log.warning("Credentials for %s cannot be read from %s: %s", registry, file, type(error).__name__)
        return None
    return found and {**found, "serveraddress": registry}


def _find(registry: str, config: Any) -> dict[str, str] | None:
    keys = _HUB_KEYS if registry == HUB else (registry, f"https://{registry}", f"http://{registry}")
    helpers = config.get("credHelpers") or {}
    for key in keys:
        program = helpers.get(key) or config.get("credsStore")
        found = _ask(program, key) if program else None
        if found:
            return found
    auths = config.get("auths") or {}
    return next((_decoded(auths[key]) for key in keys if auths.get(key)), None)


def _decoded(entry: Mapping[str, str]) -> dict[str, str] | None:
    if entry.get("identitytoken"):
        return {"identitytoken": entry["identitytoken"]}
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        except binascii.Error as error:
            raise ValueError("an entry is not base64") from error
        return {"username": user, "password": password.strip("\0")}
    if entry.get("username"):
        return {"username": entry["username"], "password": entry.get("password", "")}
    return None


def _ask(program: str, key: str) -> dict[str, str] | None:
    done = subprocess.run(
        [f"docker-credential-{os.path.basename(program)}", "get"],  # noqa: PTH119  # a name, not a path
        input=key,
        capture_output=True,
        text=True,
        timeout=HELPER_SECONDS,
        check=False,
    )
    if done.returncode:  # it knows none
        return None
    answer = json.loads(done.stdout)
    if answer.get("Username") == TOKEN_USER:
        return {"identitytoken": answer["Secret"]}
    return {"username": answer["Username"], "password": answer["Secret"]}
