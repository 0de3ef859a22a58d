"""Where S3 credentials come from: the default AWS chain, and the true moment at which they expire."""

import logging
import math
from datetime import UTC, datetime
from typing import Any

import msgspec
from botocore.config import Config
from botocore.credentials import InstanceMetadataProvider, RefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.session import Session
from botocore.utils import InstanceMetadataFetcher, resolve_imds_endpoint_mode

from shared.errors import CredentialsMissing

# At debug level these write canonical requests, signatures and the answers of token services to the log.
for _library in ("botocore", "aiobotocore", "boto3", "aioboto3"):
    logging.getLogger(_library).setLevel(logging.WARNING)

# For sources that are services, such as STS. botocore's own limits are 60 s and 5 attempts.
_LIMITS = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 2})
# Their text names a variable, a file or a profile and never a value. Others may quote an answer or a program's output.
_SAFE_ERRORS = (PartialCredentialsError, ProfileNotFound, ConfigParseError, ConfigNotFound)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One set of keys. The first three names are those that botocore's signers read."""

    access_key: str
    secret_key: str
    token: str | None
    expires_at: datetime | None
    loaded_at: datetime
    source: str

    def remaining_seconds(self, now: datetime) -> float:
        return math.inf if self.expires_at is None else (self.expires_at - now).total_seconds()

    def __repr__(self) -> str:
        until = "for good" if self.expires_at is None else f"until {self.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        return f"<S3 credentials from {self.source}, {until}>"

    __str__ = __repr__


def load_snapshot() -> Snapshot:
    """Ask the whole default chain: environment, shared files, container, instance role.

    botocore reads files and service models and asks services synchronously: call it in a thread, where it blocks for
    some 20 s at worst. Raises CredentialsMissing.
    """
    try:
        return _load()
    except _SAFE_ERRORS as error:
        raise CredentialsMissing(str(error)) from error
    except (BotoCoreError, ClientError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise CredentialsMissing(f"their source failed ({type(error).__name__}).") from None


def _load() -> Snapshot:
    found = _session().get_credentials()
    if found is None:
        raise CredentialsMissing("the environment, the shared files and the roles of this machine give none.")
    if isinstance(found, RefreshableCredentials):
        # The chain has just been asked. Without this, botocore would ask again for keys that live under 15 minutes.
        found._advisory_refresh_timeout = found._mandatory_refresh_timeout = 0  # noqa: SLF001
    keys = found.get_frozen_credentials()
    return Snapshot(
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        token=keys.token or None,
        expires_at=getattr(found, "_expiry_time", None),
        loaded_at=datetime.now(UTC),
        source=found.method,
    )


class _TrueExpiryFetcher(InstanceMetadataFetcher):  # type: ignore[misc]  # botocore is untyped
    def _evaluate_expiration(self, credentials: dict[str, Any]) -> None:
        """Leave the expiry as the service told it. botocore's own moves it into the future near its end."""


def _session() -> Session:
    session = Session()
    session.set_default_client_config(_LIMITS)
    config = {
        "ec2_metadata_service_endpoint": session.get_config_variable("ec2_metadata_service_endpoint"),
        "ec2_metadata_service_endpoint_mode": resolve_imds_endpoint_mode(session),
        "ec2_metadata_v1_disabled": session.get_config_variable("ec2_metadata_v1_disabled"),
    }
    fetcher = _TrueExpiryFetcher(
        timeout=session.get_config_variable("metadata_service_timeout"),
        num_attempts=session.get_config_variable("metadata_service_num_attempts"),
        user_agent=session.user_agent(),
        config=config,
    )
    resolver = session.get_component("credential_provider")
    resolver.remove(InstanceMetadataProvider.METHOD)
    resolver.insert_after("container-role", InstanceMetadataProvider(iam_role_fetcher=fetcher))
    return session
