"""Copies of an orchestrator's secrets in a backup, for who asks for them, and their way back into the folder."""

from pathlib import Path

from orchestrator.admission.secret_files import (
    Secrets,
    SecretSources,
    create_secret,
    left_join_secret,
    read_secret_file,
)
from orchestrator.service import secret_sources
from shared.errors import Conflict
from shared.runtime import durable
from shared.settings.config import Config


class SecretsDiffer(Conflict):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} has another secret than the backup, so that those who joined would not be known any more.",
            hint="Name an empty DataDir, or move the folder of secrets away. Nothing was changed.",
        )


def copied_secrets(config: Config, secrets: Secrets) -> dict[str, str]:
    """By the names of their files. Of a join secret only one that an earlier version has left: others are settings."""
    is_left = left_join_secret(secret_sources(config)) is not None
    found = {
        "issuer.nkey": secrets.issuer_seed,
        "orchestrator.nkey": secrets.orchestrator_seed,
        "integration.secret": secrets.integration_secret,
        "task-secrets.key": secrets.task_secrets_key,
        "authority.secret": secrets.authority_secret,
        **({"join.secret": secrets.join_secret} if is_left else {}),
    }
    return {name: secret.reveal() for name, secret in found.items()}


def put_secrets_back(config: Config, copies: dict[str, str]) -> tuple[str, ...]:
    """Write those that are not there; the names of those that were written. Raises SecretsDiffer, SecretInvalid."""
    sources = secret_sources(config)
    places = {name: path for name, path in _places(sources).items() if name in copies}
    for name, path in places.items():
        if path.exists() and read_secret_file(path) != copies[name]:
            raise SecretsDiffer(path)
    missing = {name: path for name, path in places.items() if not path.exists()}
    for name, path in missing.items():
        durable.make_folder(path.parent)
        create_secret(path, copies[name])
    return tuple(missing)


def _places(sources: SecretSources) -> dict[str, Path]:
    given = {
        "issuer.nkey": sources.issuer_seed_file,
        "orchestrator.nkey": sources.orchestrator_seed_file,
        "integration.secret": sources.integration_secret_file,
        "task-secrets.key": sources.task_secrets_key_file,
        "authority.secret": sources.authority_file,
    }
    if not (sources.join_secret or sources.join_secret_file):
        given["join.secret"] = None
    return {name: path or sources.directory / name for name, path in given.items()}
