"""An address of a NATS server: what one may look like, and which of them promise that everything is encrypted."""

import ipaddress
import re
from typing import NamedTuple

from shared.errors import InvalidInput

PLAIN, ENCRYPTED = "nats", "tls"
PORT = 4222

_WEB = frozenset({"ws", "wss"})
_HIGHEST_PORT = 65535
_FORM = re.compile(
    r"(?:(?P<scheme>[a-z]+)://)?(?:\[(?P<six>[^\]]+)\]|(?P<name>[^\s/:@?#,\[\]]+))(?::(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE,
)


class NatsAddress(NamedTuple):
    """`host` is without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def encrypted(self) -> "NatsAddress":
        return self._replace(scheme=ENCRYPTED)


def parse_nats_address(text: str) -> NatsAddress:
    """Raises InvalidInput, which does not show what may be a password.

    Libraries read addresses more loosely: nats-py takes `TLS://host` for an unencrypted connection to a host `TLS`.
    """
    if "@" in text:
        raise InvalidInput("an address holds a token or password; set Auth.Token or Auth.TokenFile instead")
    scheme = text.partition("://")[0].lower()
    if scheme in _WEB:
        raise InvalidInput(f"{text[:80]!r} is NATS over WebSocket, which Tarpon does not use; write nats:// or tls://")
    found = _FORM.fullmatch(text)
    if found is None or not _can_be_host(found["six"], found["name"]):
        raise InvalidInput(f"{text[:80]!r} is not an address such as nats://host:4222 or tls://host:4222")
    port = int(found["port"] or PORT)
    if not 0 < port <= _HIGHEST_PORT:
        raise InvalidInput(f"{text[:80]!r} has a port that is not between 1 and {_HIGHEST_PORT}")
    scheme = (found["scheme"] or PLAIN).lower()
    if scheme not in {PLAIN, ENCRYPTED}:
        raise InvalidInput(f"{text[:80]!r} is not an address such as nats://host:4222 or tls://host:4222")
    return NatsAddress(scheme, found["six"] or found["name"], port)


def _can_be_host(six: str | None, name: str | None) -> bool:
    try:
        if six is None:
            (name or "").encode("idna")
        else:
            ipaddress.IPv6Address(six)
    except ValueError:
        return False
    return True
