"""An operator's own authority for clients, and what it signs (no tests in here)."""

import os
import time
from pathlib import Path

from orchestrator.admission.tls.authority import CertificateUse, new_secret, read_secret, signing, told
from orchestrator.admission.tls.certificates import issue
from shared.runtime.tls.trust import authorities_as_pem
from shared.settings.secret import Secret

YEAR = 365 * 86400.0


class ClientAuthority:
    """`file` has its certificate; `sign` writes a certificate with its key into a file."""

    def __init__(self, folder: Path, name: str = "clients") -> None:
        self._folder = folder
        self._name = name
        self._authority = read_secret(Secret(new_secret(os.urandom(32), now=time.time())))
        self.file = folder / f"{name}-ca.pem"
        self.file.write_text(authorities_as_pem(told(self._authority, CertificateUse.CLIENTS, now=time.time())))

    def sign(self, name: str, *, age: float = 0.0, use: CertificateUse = CertificateUse.CLIENTS) -> str:
        """`age` is for how many seconds it has been there."""
        now = time.time()
        pair = issue(signing(self._authority, CertificateUse.CLIENTS, now=now), (), now=now - age, use=use)
        path, draft = self._folder / f"{self._name}-{name}.pem", self._folder / f"{self._name}-{name}.draft"
        draft.touch(mode=0o600)
        draft.write_bytes(pair.certificate + pair.key)
        draft.replace(path)
        return str(path)

    def __repr__(self) -> str:
        return f"<ClientAuthority {self.file}>"
