"""A certificate for 127.0.0.1 that is its own authority, made anew for each test (no tests in here).

It is written as RFC 5280 and RFC 8410 say, so that neither a program nor a package is needed for it.
"""

import base64
import ipaddress
import time
from hashlib import sha1
from pathlib import Path
from typing import NamedTuple

from nacl.signing import SigningKey

from tests.servers import HOST

ED25519 = bytes.fromhex("06032b6570")
NAME, KEY_USAGE, SAN, BASIC, KEY_ID = (
    bytes.fromhex(f"0603{each}") for each in ("550403", "551d0f", "551d11", "551d13", "551d0e")
)
INTEGER, BITS, OCTETS, TEXT, TIME, SEQUENCE, SET, TRUE = 0x02, 0x03, 0x04, 0x0C, 0x18, 0x30, 0x31, b"\x01\x01\xff"


class Certificate(NamedTuple):
    certificate: Path
    key: Path

    @property
    def tls_block(self) -> str:
        """Of a nats-server's configuration."""
        return f'tls {{ cert_file: "{self.certificate}", key_file: "{self.key}" }}\n'


def make_certificate(folder: Path) -> Certificate:
    key = SigningKey.generate()
    algorithm, name = (
        _der(SEQUENCE, ED25519),
        _der(SEQUENCE, _der(SET, _der(SEQUENCE, NAME, _der(TEXT, b"tarpon test")))),
    )
    public = bytes(key.verify_key)
    body = _der(
        SEQUENCE,
        _der(0xA0, _der(INTEGER, b"\x02")),
        _der(INTEGER, b"\x01"),
        algorithm,
        name,
        _der(SEQUENCE, _instant(-3600), _instant(3600)),
        name,
        _der(SEQUENCE, algorithm, _der(BITS, b"\x00" + public)),
        _der(0xA3, _der(SEQUENCE, *_extensions(public))),
    )
    signature = _der(BITS, b"\x00" + key.sign(body).signature)
    private = _der(SEQUENCE, _der(INTEGER, b"\x00"), algorithm, _der(OCTETS, _der(OCTETS, bytes(key))))
    made = Certificate(folder / "server.pem", folder / "server.key")
    made.certificate.write_text(_pem("CERTIFICATE", _der(SEQUENCE, body, algorithm, signature)))
    made.key.write_text(_pem("PRIVATE KEY", private))
    return made


def _extensions(public: bytes) -> list[bytes]:
    address = ipaddress.ip_address(HOST).packed
    return [
        _der(SEQUENCE, BASIC, TRUE, _der(OCTETS, _der(SEQUENCE, TRUE))),
        _der(SEQUENCE, KEY_USAGE, TRUE, _der(OCTETS, _der(BITS, b"\x02\x84"))),  # digitalSignature, keyCertSign
        _der(SEQUENCE, KEY_ID, _der(OCTETS, _der(OCTETS, sha1(public, usedforsecurity=False).digest()))),
        _der(SEQUENCE, SAN, _der(OCTETS, _der(SEQUENCE, _der(0x87, address)))),
    ]


def _instant(seconds_from_now: float) -> bytes:
    return _der(TIME, time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds_from_now)).encode())


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    digits = size.to_bytes((size.bit_length() + 7) // 8 or 1, "big")
    length = bytes([size]) if size < 0x80 else bytes([0x80 | len(digits)]) + digits
    return bytes([tag]) + length + content


def _pem(kind: str, content: bytes) -> str:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(content).decode()}-----END {kind}-----\n"
