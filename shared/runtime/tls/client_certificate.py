"""The client certificate: what a client shows to servers that let nobody in without one of their operator's authority.

It is a second lock beside the key or token that says who comes, and names nobody. Its files are its owner's, who
renews them: a new one is shown from the next connection on.
"""

import asyncio
import logging
import os
import shlex
import ssl
import stat
from pathlib import Path
from typing import NoReturn

import msgspec

from shared.errors import InvalidInput

_log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
_HINT = "Give a certificate and its key as PEM, both of the same pair, the key without a password."


class ClientCertificateInvalid(InvalidInput):
    """What is to be shown as a client's certificate cannot be: it is none, or its key is absent, or open to others."""


class ClientCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """Two files, which may be one, and the names of the settings that say so."""

    certificate: str
    key: str
    settings: tuple[str, str]

    def show_by(self, context: ssl.SSLContext) -> None:
        """Have the context show it from now on. Raises ClientCertificateInvalid, and the context is as it was. Blocks.

        Whether it has expired is for the server to say, by whose clock it goes.
        """
        for path, setting in zip((self.certificate, self.key), self.settings, strict=True):
            _check_readable(path, setting, closed=setting == self.settings[1])
        for each in (ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), context):  # what does not fit would spoil what is shown
            try:
                each.load_cert_chain(self.certificate, self.key, password=_no_password)
            except (ssl.SSLError, ValueError, OSError) as error:
                raise ClientCertificateInvalid(
                    f"{self.settings[0]}: {self.certificate} cannot be shown with the key in {self.key}.", hint=_HINT
                ) from error

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Another one whenever the files have been exchanged. Raises OSError. Blocks."""
        return tuple((found.st_ino, found.st_mtime_ns) for found in map(os.stat, (self.certificate, self.key)))


async def keep_shown(shown: ClientCertificate, context: ssl.SSLContext, *, every_seconds: float = LOOK_SECONDS) -> None:
    """Have the context show what is in the files, for ever. What cannot be shown is told once; the old one stays."""
    stamp: object = None
    told = ""
    while True:
        await asyncio.sleep(every_seconds)
        try:
            found = await asyncio.to_thread(shown.stamp)
            if found != stamp:
                await asyncio.to_thread(shown.show_by, context)
                if stamp is not None:
                    _log.info("A new certificate is shown to servers: %s.", shown.certificate)
        except (ClientCertificateInvalid, OSError) as error:
            if told != str(error):
                told = str(error)
                _log.error("The certificate that is shown to servers stays as it is: %s", error)
            continue
        stamp, told = found, ""


def _check_readable(path: str, setting: str, *, closed: bool) -> None:
    try:
        with Path(path).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise ClientCertificateInvalid(
            f"{setting}: {path} cannot be read: {error.strerror}.", hint="Give a file that this user can read."
        ) from error
    if closed and mode & 0o077:
        raise ClientCertificateInvalid(
            f"{setting}: the key in {path} is open to other users (mode {mode:04o}).",
            hint=f"chmod 600 {shlex.quote(path)}",
        )


def _no_password() -> NoReturn:
    """Instead of OpenSSL's question at the terminal."""
    raise ValueError("a key with a password")
