"""Seals: a text that only orchestrators of this set can make, read or change, for one purpose each.

Sessions, links and the like are kept by whoever uses them, and not here: any orchestrator opens what another one has
sealed. They are encrypted and authenticated (XChaCha20-Poly1305) under a key that follows from one that all have.
"""

import base64
import hashlib
import re

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError
from nacl.utils import random

from shared.settings.secret import Secret

_NONCE_BYTES = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_TEXT = re.compile(r"[A-Za-z0-9_-]+\Z")


def derived(key: Secret, purpose: str) -> bytes:
    """A key of 32 bytes for this purpose alone."""
    whole = hashlib.sha256(key.reveal().encode()).digest()
    return hashlib.blake2b(purpose.encode(), key=whole, digest_size=32).digest()


class Seal:
    def __init__(self, key: Secret, purpose: str) -> None:
        self._key = derived(key, purpose)
        self._purpose = purpose

    def close(self, content: bytes) -> str:
        """In letters that URLs and cookies take."""
        nonce = random(_NONCE_BYTES)
        sealed = nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(content, b"", nonce, self._key)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, text: str) -> bytes | None:
        """None for what was sealed by nobody who has the key, or for another purpose, or was changed."""
        if not _TEXT.match(text) or len(text) % 4 == 1:
            return None
        sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(
                sealed[_NONCE_BYTES:], b"", sealed[:_NONCE_BYTES], self._key
            )
        except (CryptoError, ValueError, TypeError):
            return None

    def __repr__(self) -> str:
        return f"<Seal of {self._purpose}>"
