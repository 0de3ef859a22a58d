"""The secret of webhooks, by which a receiver knows that an event is ours."""

import base64
import binascii
from pathlib import Path

from orchestrator.admission.secret_files import read_secret_file
from shared.errors import InvalidInput
from shared.settings.secret import Secret
from shared.settings.webhooks import WebhookSettings

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64


class WebhookSecretInvalid(InvalidInput):
    def __init__(self) -> None:
        super().__init__(
            "The secret of webhooks (Orchestrator.Webhooks.SecretFile) is not one.",
            hint="Make one with: echo whsec_$(openssl rand -base64 32), and give it to the receivers too.",
        )


def secret_of(settings: WebhookSettings) -> Secret:
    """Empty where nobody is told anything. Blocks. Raises SecretInvalid, WebhookSecretInvalid, which do not show it."""
    if not settings.urls:
        return Secret()
    secret = Secret(read_secret_file(Path(settings.secret_file)))
    secret_bytes(secret)
    return secret


def secret_bytes(secret: Secret) -> bytes:
    """What is signed with. Raises WebhookSecretInvalid."""
    text = secret.reveal().strip()
    try:
        found = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise WebhookSecretInvalid from None
    if not text.startswith(PREFIX) or not LEAST_BYTES <= len(found) <= MOST_BYTES:
        raise WebhookSecretInvalid
    return found
