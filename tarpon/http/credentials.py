"""Credentials: the key by which the user's side is known to an orchestrator, and how it is shown.

Over https:// it is sent. Over http:// it never is: each request is signed with it, and the answer has to prove that its
sender knows the key (shared/protocol/request_signature.py), so that whoever happens to listen there gains nothing. What
has a body, such as a job or a secret of tasks, is sent only to who has proven it before.
"""

import base64
import time
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from shared.errors import InvalidInput, Refused
from shared.protocol import pasted
from shared.protocol.pasted import ApiKey, JoinToken
from shared.protocol.request_signature import PROOF, Signed, Signer, digest_of, key_id_of, proof_of, same
from shared.runtime.local_socket import SCHEME as LOCAL
from shared.settings.secret import Secret

KEY_VARIABLES = ("TARPON_API_KEY", "BACALHAU_API_KEY")
USER_VARIABLES = ("TARPON_API_USERNAME", "BACALHAU_API_USERNAME")
PASSWORD_VARIABLES = ("TARPON_API_PASSWORD", "BACALHAU_API_PASSWORD")
PLAIN_TEXT_VARIABLE = "TARPON_API_TLS_PLAINTEXT"
_TRUE = frozenset({"1", "true", "yes", "on"})


class KeyNotSent(Refused):
    """Nothing was asked: the address is another machine's, and the way there is not encrypted."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"Nothing was sent to {url}: it is not on this machine, and nobody knows who is on the way.",
            hint=f"Use https://, or an SSH tunnel. {PLAIN_TEXT_VARIABLE}=true shows a key there all the same; others on"
            " the way can then read all but the key.",
        )


class KeyNotKnownThere(Refused):
    """What answers has not proven that it knows the key, so nothing that it says is believed."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"What answers at {url} does not know the key: it is not the orchestrator that the key was made for, or the"
            " key is not right.",
            hint="The key was not sent to it. Check API.Host and API.Port (TARPON_API_HOST and TARPON_API_PORT), and"
            " TARPON_API_KEY.",
        )


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """`digest` is that of the secret, with which `signer` signs; `header` is `Authorization` where that is encrypted.

    `authority` are the certificates by which the orchestrator is known, and `addresses` the URLs at which it was when
    the key was made; both may be empty.
    """

    key_id: str
    digest: str
    signer: Signer
    header: Secret
    authority: tuple[bytes, ...] = ()
    addresses: tuple[str, ...] = ()
    plain_text: bool = False

    def shown(
        self, url: str, *, method: str, target: str, body: bytes = b"", is_known: bool = True
    ) -> tuple[dict[str, str], Signed | None]:
        """The headers of a request to this address, and the signature that is among them. Raises KeyNotSent.

        `is_known` is whether a server's certificate is looked at: who shows any may be a stranger, and gets no key.
        """
        if url.startswith(LOCAL):
            return {}, None
        if url.lower().startswith("https://") and is_known:
            return {"Authorization": self.header.reveal()}, None
        if not self.plain_text and not is_here(url):
            raise KeyNotSent(url)
        signed = self.signer.sign(self.key_id, method=method, target=target, body=body, now=time.time())
        return {"Authorization": signed.header}, signed

    def is_proven(self, signed: Signed, headers: Mapping[str, str]) -> bool:
        """Whether the answer to a signed request comes from who knows the key."""
        return same(headers.get(PROOF, ""), proof_of(self.digest, signed))

    def __repr__(self) -> str:
        return f"<Credentials {self.key_id}>"


def credentials_from(api_key: str | None, env: Mapping[str, str]) -> Credentials | None:
    """Of this key, or else as the environment has it: a key, or a user's name and password. None where there are none.

    Raises PastedTextInvalid, InvalidInput.
    """
    plain_text = plain_text_in(env)
    key = api_key if api_key is not None else _first(KEY_VARIABLES, env)
    name, password = _first(USER_VARIABLES, env), _first(PASSWORD_VARIABLES, env)
    if key.strip():
        return _of_key(key.strip(), plain_text=plain_text)
    if api_key is not None or not (name and password):
        return None
    if pasted.is_meant(password, ApiKey):
        return _of_key(password.strip(), plain_text=plain_text)
    encoded = base64.b64encode(f"{name}:{password}".encode()).decode()
    return _of_secret(f"{name.lower()}:{password}", f"Basic {encoded}", plain_text=plain_text)


def plain_text_in(env: Mapping[str, str]) -> bool:
    """Whether somebody has said that plain text may go to other machines."""
    return env.get(PLAIN_TEXT_VARIABLE, "").strip().lower() in _TRUE


def _of_key(text: str, *, plain_text: bool) -> Credentials:
    if pasted.is_meant(text, ApiKey) or pasted.is_meant(text, JoinToken):
        key = pasted.read(text, ApiKey)
        return Credentials(
            key_id=key.id,
            digest=key.digest,
            signer=Signer(key.secret),
            header=Secret(f"Bearer {key.credential}"),
            authority=key.authority,
            addresses=key.addresses,
            plain_text=plain_text,
        )
    shown = pasted.read_secret(text)
    if shown is not None:
        return Credentials(
            key_id=shown.id,
            digest=pasted.digest(shown.secret),
            signer=Signer(shown.secret),
            header=Secret(f"Bearer {text}"),
            plain_text=plain_text,
        )
    if not text.isascii() or not text.isprintable():
        raise InvalidInput("The API key has characters that no key has.", hint="Copy it again, in one line.")
    return _of_secret(text, f"Bearer {text}", plain_text=plain_text)


def _of_secret(secret: str, header: str, *, plain_text: bool) -> Credentials:
    return Credentials(
        key_id=key_id_of(secret),
        digest=digest_of(secret),
        signer=Signer(secret.encode()),
        header=Secret(header),
        plain_text=plain_text,
    )


def _first(names: tuple[str, ...], env: Mapping[str, str]) -> str:
    return next((env[name] for name in names if env.get(name)), "")


def is_here(url: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
