"""The chain of S3 credentials: the default one of AWS, and the true moment at which they expire."""

import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleProvider,
    Credentials,
    InstanceMetadataProvider,
    ProcessProvider,
    ProfileProviderBuilder,
    RefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from botocore.utils import InstanceMetadataFetcher, resolve_imds_endpoint_mode

from orchestrator.s3.credentials.problems import AskedSource, CodeAsked, explained, nothing_found
from orchestrator.s3.credentials.program import CredentialProgram, ProgramFailed

# At debug level these write canonical requests, signatures and the answers of token services to the log.
for _library in ("botocore", "aiobotocore", "boto3", "aioboto3"):
    logging.getLogger(_library).setLevel(logging.WARNING)
# These log the traceback of what they then raise, which is told in a sentence.
for _module in ("credentials", "tokens"):
    logging.getLogger(f"botocore.{_module}").setLevel(logging.CRITICAL)

# For sources that are services, such as STS. botocore's own limits are 60 s and 5 attempts.
_LIMITS = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 2})
# botocore raises these itself, or lets them out where a file, an answer or a variable is not what it expects.
_FAILURES = (
    *(CodeAsked, ProgramFailed, BotoCoreError, ClientError, OSError),
    *(ValueError, TypeError, AttributeError, LookupError, RuntimeError, OverflowError),
)


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
    asked = AskedSource()
    try:
        return _load(asked)
    except _FAILURES as error:
        raise explained(error, asked) from None


def _load(asked: AskedSource) -> Snapshot:
    session, machine = _session()
    found = _first_found(session, asked)
    if found is None:
        raise nothing_found(asked, machine.told)
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


def _first_found(session: Session, asked: AskedSource) -> Credentials | None:
    """As botocore does, but it is known which source is asked."""
    for provider in session.get_component("credential_provider").providers:
        asked.source = provider.METHOD
        found = provider.load()
        if found is not None:
            return found
    return None


class _MachineRole(InstanceMetadataFetcher):  # type: ignore[misc]  # botocore is untyped
    """What the metadata service of a cloud's machine gives; `told` says why it gives nothing."""

    told = "this machine gives no role: its instance metadata service does not answer"

    def _evaluate_expiration(self, credentials: dict[str, Any]) -> None:
        """Leave the expiry as the service told it. botocore's own moves it into the future near its end."""

    def _assert_enabled(self) -> None:
        if self._disabled:
            self.told = "the role of this machine is not asked for (AWS_EC2_METADATA_DISABLED)"
        super()._assert_enabled()

    def _get_request(self, url_path: str, retry_func: Callable[[Any], bool] | None, token: str | None = None) -> Any:
        def judged(response: Any) -> bool:
            status = int(response.status_code)
            if status == _NOT_FOUND:
                self.told = "this machine has no role"
            else:
                self.told = f"this machine gives no role: its instance metadata service answers with status {status}"
            return bool((retry_func or self._default_retry)(response))

        return super()._get_request(url_path, judged, token=token)


_NOT_FOUND = 404


def _session() -> tuple[Session, _MachineRole]:
    session = Session()
    session.set_default_client_config(_LIMITS)
    config = {
        "ec2_metadata_service_endpoint": session.get_config_variable("ec2_metadata_service_endpoint"),
        "ec2_metadata_service_endpoint_mode": resolve_imds_endpoint_mode(session),
        "ec2_metadata_v1_disabled": session.get_config_variable("ec2_metadata_v1_disabled"),
    }
    machine = _MachineRole(
        timeout=session.get_config_variable("metadata_service_timeout"),
        num_attempts=session.get_config_variable("metadata_service_num_attempts"),
        user_agent=session.user_agent(),
        config=config,
    )
    for provider in session.get_component("credential_provider").providers:
        _bind(provider, machine)
    return session, machine


def _bind(provider: Any, machine: _MachineRole) -> None:
    """What botocore's providers do for somebody at a terminal they do here for a service. A profile leads to others."""
    match provider:
        case InstanceMetadataProvider():
            provider._role_fetcher = machine  # noqa: SLF001
        case ProcessProvider():
            provider._popen = CredentialProgram  # noqa: SLF001
        case AssumeRoleProvider():
            provider._prompter = _refuse  # noqa: SLF001
            provider._profile_provider_builder = _Builder(provider._profile_provider_builder, machine)  # noqa: SLF001
        case _:
            pass


class _Builder:
    """Makes the providers of a profile that another one names as its source."""

    def __init__(self, builder: ProfileProviderBuilder, machine: _MachineRole) -> None:
        self._builder = builder
        self._machine = machine

    def __repr__(self) -> str:
        return "<_Builder>"

    def providers(self, profile_name: str, **options: Any) -> list[Any]:
        made: list[Any] = self._builder.providers(profile_name=profile_name, **options)
        for provider in made:
            _bind(provider, self._machine)
        return made


def _refuse(_: str) -> NoReturn:
    raise CodeAsked
