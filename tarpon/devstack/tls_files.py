"""TLS of a devstack: the files by which its NATS server, its API and its S3 server are encrypted.

S3 has an authority of its own, as it would have elsewhere: what serves results is no orchestrator.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shared.runtime import durable
from shared.runtime.tls.trust import authorities_as_pem
from shared.settings.secret import Secret

if TYPE_CHECKING:
    from orchestrator.admission.tls.authority import Authority


class TlsFiles(msgspec.Struct, frozen=True):
    """`store` is the certificate of the S3 server with its key; the others are for those who trust."""

    authority_secret: Path
    authority: Path
    store: Path
    store_authority: Path


def made_in(folder: Path, host: str) -> TlsFiles:
    """The same again where they have been made before, with a new certificate for the S3 server. Blocks."""
    from orchestrator.admission.tls.authority import (
        SECRET_BYTES,
        CertificateUse,
        new_secret,
        read_secret,
        signing,
        told,
    )
    from orchestrator.admission.tls.certificates import issue

    durable.make_folder(folder)
    files = TlsFiles(
        authority_secret=folder / "authority.secret",
        authority=folder / "authority.pem",
        store=folder / "store.pem",
        store_authority=folder / "store-authority.pem",
    )
    now = time.time()

    def authority_of(secret: Path, public: Path) -> "Authority":
        if not secret.exists():
            durable.write(secret, f"{new_secret(os.urandom(SECRET_BYTES), now=now)}\n".encode())
        found = read_secret(Secret(secret.read_text().strip()))
        durable.write(public, authorities_as_pem(told(found, CertificateUse.SERVERS, now=now)).encode())
        return found

    authority_of(files.authority_secret, files.authority)
    of_store = authority_of(folder / "store-authority.secret", files.store_authority)
    pair = issue(signing(of_store, CertificateUse.SERVERS, now=now), (host,), now=now)
    durable.write(files.store, pair.certificate + pair.key)
    return files
