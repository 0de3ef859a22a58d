"""Users with keys, as tests make them (no tests in here)."""

import base64
from typing import NamedTuple

from orchestrator.rules.records import UserRecord
from orchestrator.state.model import Model
from shared.protocol.pasted import ApiKey, new_secret
from shared.protocol.request_signature import verify_key_of


class Keyed(NamedTuple):
    """A user, the key by which it is known, and how the key is shown."""

    record: UserRecord
    key: ApiKey

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key.text()}"}

    @property
    def basic(self) -> dict[str, str]:
        return basic(self.record.name, self.key.text())


def keyed(
    name: str,
    *capabilities: str,
    namespaces: tuple[str, ...] = ("*",),
    expires: int = 0,
    revoked: int = 0,
    addresses: tuple[str, ...] = (),
) -> Keyed:
    key_id, secret = new_secret()
    key = ApiKey(id=key_id, secret=secret, addresses=addresses)
    record = UserRecord(
        name=name,
        key_id=key_id,
        digest=key.digest,
        verify_key=verify_key_of(secret),
        capabilities=capabilities,
        namespaces=namespaces,
        create_time=1,
        expires=expires,
        revoked=revoked,
    )
    return Keyed(record, key)


def feed(model: Model, user: UserRecord, revision: int) -> None:
    model.apply(user.key, user, revision)


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}
