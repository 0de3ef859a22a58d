"""Addresses of the NATS of an orchestrator: by its settings, and as the one that runs keeps them for commands.

Commands print secrets beside these addresses. So they ask nobody over the network, where anybody may have taken the
port of an orchestrator that is down; they read a file that only its user can write.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from orchestrator.admission.own_hosts import own_hosts
from orchestrator.admission.tls.encryption import has_tls
from shared.protocol.nats_address import ENCRYPTED, PLAIN, NatsAddress
from shared.settings.config import Orchestrator

_log = logging.getLogger(__name__)


def addresses(settings: Orchestrator) -> tuple[str, ...]:
    """Where others reach NATS by these settings, as far as this machine can know: the cluster's servers, or our own."""
    if settings.nats.servers:
        return settings.nats.servers
    given = urlsplit(f"//{settings.advertise}")
    everywhere = settings.host in {"0.0.0.0", "::"}  # noqa: S104  # only compared
    scheme, port = ENCRYPTED if has_tls(settings) else PLAIN, given.port or settings.port
    if given.hostname or not everywhere:
        return (NatsAddress(scheme, given.hostname or settings.host, port).url,)
    is_known_by_authority = scheme == ENCRYPTED and not settings.tls.server_cert
    return tuple(NatsAddress(scheme, host, port).url for host in own_hosts(with_addresses=is_known_by_authority))


def own_address(settings: Orchestrator) -> str:
    """Where a node of the same process reaches our own server; by its name where the certificate is one's own."""
    if settings.tls.server_cert:
        return addresses(settings)[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)  # noqa: S104
    return NatsAddress(ENCRYPTED if has_tls(settings) else PLAIN, host, settings.port).url


@contextmanager
def kept_addresses(settings: Orchestrator, data_dir: Path) -> Iterator[None]:
    """Keep them where commands find them. A lock says that they hold; it ends with this process, however that ends."""
    path = _path(data_dir)
    try:
        file = _written(path, addresses(settings))
    except OSError as error:
        _log.warning("Commands take the address of NATS from their own settings: %s: %s.", path, error.strerror)
        yield
        return
    with file:
        yield


def running_addresses(data_dir: Path) -> tuple[str, ...]:
    """Those of the orchestrator that runs with this DataDir; none where none runs."""
    try:
        with _path(data_dir).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return tuple(file.read().splitlines())
    except OSError:
        pass  # it has never run here
    return ()


def _written(path: Path, lines: tuple[str, ...]) -> BinaryIO:
    """Locked only when all is in it."""
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0)
    try:
        file.write("\n".join(lines).encode())
        fcntl.flock(file, fcntl.LOCK_EX)  # a command has it for a moment at most
    except OSError:
        file.close()
        raise
    return file


def _path(data_dir: Path) -> Path:
    return data_dir / "orchestrator" / "nats-addresses"
