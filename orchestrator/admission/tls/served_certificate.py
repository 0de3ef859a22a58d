"""The certificate that an orchestrator shows to those who connect: one of its operator's own, or one that it makes.

One of the latter kind it also shows itself, as a client of its own NATS server, where that asks for one.

One that is made is in one file with its key, so that it is replaced whole or not at all, by one at a time. All methods
block.
"""

import fcntl
import logging
import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from orchestrator.admission.tls.authority import Authority, CertificateSigner, CertificateUse, signing
from orchestrator.admission.tls.certificates import CertificateInvalid, Pair, check_pair, is_due, issue
from shared.runtime import durable

_log = logging.getLogger(__name__)

MAX_PEM_BYTES = 1 << 20
_FILES = {CertificateUse.SERVERS: "server.pem", CertificateUse.CLIENTS: "client.pem"}


class ServedCertificate(Protocol):
    """Where it is, and what it is at present. `key` is the file of `certificate` where both are in one."""

    certificate: Path
    key: Path

    def load(self, *, now: float) -> Pair:
        """Raises CertificateInvalid, which never shows a key."""
        ...


class Served(msgspec.Struct):
    """A certificate and what is shown of it at present, which changes when it is renewed."""

    certificate: ServedCertificate
    shown: Pair


class GivenCertificate:
    """One of the operator's own, who renews it. `settings` name the two settings, for errors."""

    def __init__(self, certificate: Path, key: Path, *, settings: tuple[str, str]) -> None:
        self.certificate = certificate
        self.key = key
        self._settings = settings

    def load(self, *, now: float) -> Pair:
        certificate, key = self._settings
        pair = Pair(_read(self.certificate, certificate), _read(self.key, key, closed=True))
        check_pair(pair, f"in {self.certificate} ({certificate})", now=now)
        return pair

    def __repr__(self) -> str:
        return f"<GivenCertificate {self.certificate}>"


class MadeCertificate:
    """One of Tarpon's own authority for this use, made anew whenever it is due."""

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        hosts: Sequence[str],
        *,
        use: CertificateUse = CertificateUse.SERVERS,
    ) -> None:
        self.certificate = self.key = self.file(folder, use)
        self._authority = authority
        self._hosts = tuple(hosts)
        self._use = use

    @staticmethod
    def file(folder: Path, use: CertificateUse) -> Path:
        """Where it is, with its key."""
        return folder / _FILES[use]

    def load(self, *, now: float) -> Pair:
        """Raises AuthorityInvalid."""
        signer = signing(self._authority, self._use, now=now)
        pair = self._current(signer, now)
        if pair is None:
            with self._alone():  # NATS and the API, which both show it, look whether it is due at the same moment
                pair = self._current(signer, now) or self._made(signer, now)
        return pair

    @contextmanager
    def _alone(self) -> Iterator[None]:
        folder = self.certificate.parent
        durable.make_folder(folder)
        with (folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _made(self, signer: CertificateSigner, now: float) -> Pair:
        pair = issue(signer, self._hosts, now=now, use=self._use)
        durable.write(self.certificate, pair.certificate + pair.key)
        _log.info("Made a new certificate of this orchestrator: %s.", self.certificate)
        return pair

    def _current(self, signer: CertificateSigner, now: float) -> Pair | None:
        pair = self._kept(now)
        return None if pair is None or is_due(pair, signer, self._hosts, now=now) else pair

    def _kept(self, now: float) -> Pair | None:
        """Nothing where it is absent or cannot be used any more: it is ours to make again."""
        try:
            content = self.certificate.read_bytes()
            pair = Pair(*_parted(content))
            check_pair(pair, f"in {self.certificate}", now=now)
        except (OSError, CertificateInvalid):
            return None
        return pair

    def __repr__(self) -> str:
        return f"<MadeCertificate {self.certificate}>"


def _parted(content: bytes) -> tuple[bytes, bytes]:
    certificate, mark, key = content.partition(b"-----BEGIN PRIVATE KEY-----")
    return certificate, mark + key


def _read(path: Path, setting: str, *, closed: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_PEM_BYTES)
    except OSError as error:
        raise CertificateInvalid(
            f"{setting}: {path} cannot be read: {error.strerror}.", hint="Give a file that this user can read."
        ) from error
    if closed and mode & 0o077:
        raise CertificateInvalid(
            f"{setting}: the key in {path} is open to other users (mode {mode:04o}).",
            hint=f"chmod 600 {shlex.quote(str(path))}",
        )
    return content
