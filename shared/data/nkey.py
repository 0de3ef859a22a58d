"""Public nkeys as text: base32 of a type byte, a public Ed25519 key and a CRC (github.com/nats-io/nkeys)."""

import base64
import binascii

USER = 20 << 3
"""The type of the keys of nodes and of other users of NATS."""
_LENGTH = 56


def raw_public_key(text: str, kind: int = USER) -> bytes:
    """The 32 bytes of the Ed25519 key. Raises ValueError."""
    try:
        raw = base64.b32decode(text[: _LENGTH + 1])
    except ValueError:
        raw = b""
    if len(raw) != 35 or raw[0] != kind or binascii.crc_hqx(raw[:-2], 0) != int.from_bytes(raw[-2:], "little"):
        raise ValueError("It is no nkey of the kind that is expected here.")
    return raw[1:-2]
