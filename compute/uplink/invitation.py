"""The invitation of a node: where it finds its orchestrators, and what it shows them to be let in at first."""

from pathlib import Path

import msgspec

from shared.errors import ConfigurationInvalid
from shared.protocol import pasted
from shared.protocol.pasted import ApiKey, JoinToken
from shared.settings.config import Config

LOCAL = ("nats://127.0.0.1:4222",)


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """`shown` is the join secret, or of a join token what its secret is known by; `token` is the id of one."""

    servers: tuple[str, ...]
    shown: str = ""
    token: str = ""
    authority: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"<Invitation to {', '.join(self.servers)}{f' by {self.token}' if self.token else ''}>"


def invitation(config: Config) -> Invitation:
    """By the settings, and where these name no address by the join token. Blocks, where the token is in a file.

    Raises ConfigurationInvalid, PastedTextInvalid.
    """
    text, servers = _given(config), config.compute.orchestrators
    if not (pasted.is_meant(text, JoinToken) or pasted.is_meant(text, ApiKey)):
        return Invitation(servers=servers or LOCAL, shown=text)
    token = pasted.read(text, JoinToken)
    return Invitation(
        servers=servers or token.addresses or LOCAL,
        shown=token.credential,
        token=token.id,
        authority=token.authority,
    )


def _given(config: Config) -> str:
    auth = config.compute.auth
    if auth.token or not auth.token_file:
        return auth.token.reveal()
    try:
        return Path(auth.token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid([f"Compute.Auth.TokenFile: {auth.token_file} cannot be read: {error}"]) from None
