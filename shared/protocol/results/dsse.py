"""Envelopes of DSSE (github.com/secure-systems-lab/dsse): a text of some type, and who has signed it.

The text and the signatures are in standard base64 with padding. A key is named by its public nkey.
"""

import msgspec

from shared.data.nkey import raw_public_key


class SignatureWrong(Exception):
    """What was signed is not this, or not by this key."""


class Signature(msgspec.Struct, frozen=True):
    keyid: str
    sig: bytes


class Envelope(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def signed(self) -> bytes:
        """The pre-authentication encoding, version 1."""
        return pre_authentication_encoding(self.payload_type, self.payload)


decode_envelope = msgspec.json.Decoder(Envelope).decode
"""Raises msgspec.DecodeError, UnicodeDecodeError, RecursionError."""
encode_envelope = msgspec.json.Encoder().encode


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def check_signature(envelope: Envelope, public_key: str) -> None:
    """Raises SignatureWrong unless this key, and no other, has signed it."""
    from nacl.exceptions import BadSignatureError  # a command that checks nothing starts sooner without
    from nacl.signing import VerifyKey

    if len(envelope.signatures) != 1:
        raise SignatureWrong(f"It has {len(envelope.signatures)} signatures, and some readers take one alone.")
    (signature,) = envelope.signatures
    if signature.keyid != public_key:
        raise SignatureWrong(f"It is not signed by {public_key}.")
    try:
        VerifyKey(raw_public_key(public_key)).verify(envelope.signed, signature.sig)
    except (BadSignatureError, ValueError):
        raise SignatureWrong(f"What {public_key} has signed is something else.") from None
