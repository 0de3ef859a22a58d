"""The box in which secrets of tasks are stored, and the one in which they travel to the node that is given them.

At rest a value is encrypted and authenticated (XChaCha20-Poly1305) under a key that follows from a file which the
orchestrators share, together with its namespace and name: what is stored under another name does not open. On its way
it is sealed to the key that its node proved to have when it joined, so that neither NATS nor another node can open it.
"""

import hashlib

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError
from nacl.public import SealedBox
from nacl.signing import VerifyKey
from nacl.utils import random

from orchestrator.admission.nats_jwt import USER, BadSignature, raw_key
from shared.errors import Conflict
from shared.settings.secret import Secret

_NONCE_BYTES = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_KEY_BYTES = 32

UNREADABLE_HINT = (
    "Give all orchestrators one key (Orchestrator.TaskSecrets.KeyFile), or restore task-secrets.key from the backup. If"
    " it is lost, put each secret again: `tarpon secret put`."
)


class SecretUnreadable(Conflict):
    """A secret is stored, and this orchestrator has another key than the one that it was stored under."""

    def __init__(self, namespace: str, name: str) -> None:
        super().__init__(
            f"The secret {name!r} of namespace {namespace} cannot be opened: it was stored under another key than this"
            " orchestrator has.",
            hint=UNREADABLE_HINT,
        )


class SecretBox:
    def __init__(self, key: Secret) -> None:
        made = hashlib.blake2b(key.reveal().encode(), digest_size=_KEY_BYTES, person=b"tarpon secrets 1").digest()
        self._key = made
        #: Tells this key from another one, and nothing of it.
        self.key_id = hashlib.blake2b(made, digest_size=8, person=b"tarpon key id 1").hexdigest()

    def close(self, namespace: str, name: str, value: bytes) -> bytes:
        """What may be stored, and nobody without the key can read or change."""
        nonce = random(_NONCE_BYTES)
        return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(value, _place(namespace, name), nonce, self._key)

    def open(self, namespace: str, name: str, closed: bytes) -> bytes:
        """Raises SecretUnreadable."""
        nonce, text = closed[:_NONCE_BYTES], closed[_NONCE_BYTES:]
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(text, _place(namespace, name), nonce, self._key)
        except (CryptoError, ValueError):
            raise SecretUnreadable(namespace, name) from None

    def __repr__(self) -> str:
        return f"<SecretBox {self.key_id}>"


def _place(namespace: str, name: str) -> bytes:
    """Neither can have a slash."""
    return f"{namespace}/{name}".encode()


def sealed_to(public_key: str, content: bytes) -> bytes:
    """What only the owner of this nkey can open. Raises BadSignature where it is no nkey of a user, or no good one."""
    try:
        key = VerifyKey(raw_key(public_key, USER)).to_curve25519_public_key()
    except (CryptoError, ValueError):
        raise BadSignature("A key is none to which anything can be sealed.") from None
    return SealedBox(key).encrypt(content)
