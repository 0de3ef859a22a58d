"""Where S3 credentials come from: the default AWS chain, and the true moment at which they expire."""

import asyncio
import logging
import math
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiobotocore.credentials import AioInstanceMetadataProvider, AioRefreshableCredentials
from aiobotocore.session import AioSession
from aiobotocore.utils import AioInstanceMetadataFetcher
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.utils import resolve_imds_endpoint_mode

from shared.errors import CredentialsMissing, StorageUnavailable

# At debug level botocore writes canonical requests, signatures and the answers of token services to the log.
for _name in ("botocore", "aiobotocore"):
    logging.getLogger(_name).setLevel(logging.INFO)

LOAD_SECONDS = 15.0
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

    Blocks for at most LOAD_SECONDS, with an event loop of its own, because botocore reads files and service models
    synchronously: call it in a thread. Raises CredentialsMissing or StorageUnavailable.
    """
    try:
        return asyncio.run(_load())
    except _SAFE_ERRORS as error:
        raise CredentialsMissing(str(error)) from error
    except TimeoutError:
        raise StorageUnavailable(f"The source of S3 credentials did not answer within {LOAD_SECONDS:.0f} s.") from None
    except (BotoCoreError, ClientError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise CredentialsMissing(f"their source failed ({type(error).__name__}).") from None


class _TrueExpiryFetcher(AioInstanceMetadataFetcher):  # type: ignore[misc]  # botocore is untyped
    def _evaluate_expiration(self, credentials: dict[str, Any]) -> None:
        """Leave the expiry as the service told it. botocore's own moves it into the future near its end."""


def _session() -> AioSession:
    session = AioSession()
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
    resolver.remove(AioInstanceMetadataProvider.METHOD)
    resolver.insert_after("container-role", AioInstanceMetadataProvider(iam_role_fetcher=fetcher))
    return session


async def _load() -> Snapshot:
    async with asyncio.timeout(LOAD_SECONDS):
        found = await _session().get_credentials()
        if found is None:
            raise CredentialsMissing("the environment, the shared files and the roles of this machine give none.")
        if isinstance(found, AioRefreshableCredentials):
            # The chain has just been asked. Without this, botocore would ask again for keys that live under 15 minutes.
            found._advisory_refresh_timeout = found._mandatory_refresh_timeout = 0  # noqa: SLF001
        keys = await found.get_frozen_credentials()
    return Snapshot(
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        token=keys.token or None,
        expires_at=getattr(found, "_expiry_time", None),
        loaded_at=datetime.now(UTC),
        source=found.method,
    )
