"""Problems of the AWS chain: which source was asked, what is wrong with it, and what to do.

Errors of botocore may quote an answer, a program's output or a canonical request. What is told here is made of names of
variables, files, profiles, hosts and codes alone.
"""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from botocore.exceptions import (
    ClientError,
    ConfigParseError,
    CredentialRetrievalError,
    InfiniteLoopConfigError,
    InvalidConfigError,
    MetadataRetrievalError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NotConnected
from botocore.exceptions import HTTPClientError as NotAnswered

from orchestrator.s3.credentials.program import ProgramFailed
from shared.data.plain_text import one_line
from shared.errors import CredentialsMissing
from shared.runtime.network_problems import why_unreachable

_NOT_A_CODE = re.compile(r"[^A-Za-z0-9.]")
_LONGEST = 300
_NO_KEYS = frozenset({"InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "ExpiredToken"})
_ASSUMED = "The keys behind the role need sts:AssumeRole on it, and the role's trust policy has to name them."
_BEHIND = "The keys with which the role is assumed are wrong or have expired."
_WANTS_A_CODE = "asks for a code (mfa_serial), and a service has nobody who could give one"
_READ_AGAIN = "It is read again by itself."
_START_AGAIN = "Then start the orchestrator again."
_BY_HAND = "Run it by hand, as the orchestrator's user; what it prints is not shown here."
_UNREADABLE = {
    "": (
        "one of AWS's settings for the instance metadata service is wrong",
        "Look at AWS_EC2_METADATA_SERVICE_ENDPOINT and _MODE, AWS_METADATA_SERVICE_TIMEOUT and _NUM_ATTEMPTS.",
    ),
    "env": ("AWS_CREDENTIAL_EXPIRATION is not a time with its zone", f"Correct it. {_START_AGAIN}"),
    "custom-process": (
        "the command in credential_process, or the Expiration in its answer, cannot be read",
        f"Look at its quotation marks; a time has a zone, as in 2030-01-31T12:00:00Z. {_BY_HAND}",
    ),
    "container-role": (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI, or the container's token, is none that may be used",
        f"The address is one on loopback or of https, and the token has one line. {_START_AGAIN}",
    ),
    "assume-role-with-web-identity": (
        "AWS_ROLE_ARN, or the token in AWS_WEB_IDENTITY_TOKEN_FILE, cannot be one",
        f"Correct it, or role_arn and web_identity_token_file in AWS's config file. {_START_AGAIN}",
    ),
}
"""By the source that is asked; nothing is what they have in common."""


class CodeAsked(Exception):
    """A profile wants a code that a person reads off a device."""


class AskedSource:
    """What is being asked at present, and where it is written down."""

    def __init__(self) -> None:
        self.source = ""
        """botocore's name of it."""
        self.profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or "default"
        self.credentials = _path("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
        self.config = _path("AWS_CONFIG_FILE", "~/.aws/config")

    def __repr__(self) -> str:
        return f"<AskedSource {self.source!r} for the profile {self.profile!r}>"

    def words(self, source: str = "") -> str:
        return {
            "env": "the environment",
            "shared-credentials-file": f"the profile {self.profile!r} in {self.credentials}",
            "config-file": f"the profile {self.profile!r} in {self.config}",
            "custom-process": "the program of credential_process",
            "assume-role": f"the role of the profile {self.profile!r}",
            "assume-role-with-web-identity": "the role by web identity (AWS_WEB_IDENTITY_TOKEN_FILE)",
            "sso": f"the SSO session of the profile {self.profile!r}",
            "container-role": "the container's role (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, or _FULL_URI)",
            "EcsContainer": "the container's role",
            "iam-role": "the machine's role (instance metadata service)",
            "Ec2InstanceMetadata": "the machine's role",
            "Environment": "the environment",
        }.get(source or self.source, "their source")


def _path(variable: str, default: str) -> Path:
    """Where nobody knows where `~` is, it stays."""
    return Path(os.path.expanduser(os.environ.get(variable) or default))  # noqa: PTH111  # Path's own raises there


def nothing_found(asked: AskedSource, machine: str) -> CredentialsMissing:
    """All sources were asked. `machine` is what is to be said of the instance metadata service."""
    has_secret = bool(os.environ.get("AWS_SECRET_ACCESS_KEY"))
    found = [
        f"AWS_ACCESS_KEY_ID is not set{', although AWS_SECRET_ACCESS_KEY is' if has_secret else ''}",
        *(_of_file(path, asked.profile) for path in (asked.credentials, asked.config)),
        "no container gives a role",
        machine,
    ]
    return CredentialsMissing(f"{'; '.join(found)}.")


def _of_file(path: Path, profile: str) -> str:
    if not path.exists():
        return f"{path} does not exist"
    return f"{path} has no keys for the profile {profile!r}" if os.access(path, os.R_OK) else f"{path} cannot be read"


def explained(error: Exception, asked: AskedSource) -> CredentialsMissing:
    why, hint = _of_profile(error, asked) or _of_service(error, asked) or _of_source(error, asked)
    return CredentialsMissing(f"{why}.", hint=hint)


def _of_profile(error: Exception, asked: AskedSource) -> tuple[str, str] | None:
    """What is written wrongly, or asks for what nobody here can give."""
    match error:
        case CodeAsked():
            return (
                f"the profile {asked.profile!r}, or its source, {_WANTS_A_CODE}",
                "Use a profile without mfa_serial, the role of a machine or container, or keys for the orchestrator.",
            )
        case ProfileNotFound():
            name = one_line(str(error.kwargs.get("profile", asked.profile)))
            return (
                f"the profile {name!r} is neither in {asked.credentials} nor in {asked.config}",
                f"Correct AWS_PROFILE, or add the profile. {_READ_AGAIN}",
            )
        case ConfigParseError():
            path = one_line(str(error.kwargs.get("path", asked.config)))
            return (
                f"{path} is not written as AWS's files are",
                f"A section begins with its name in brackets, and each line in it is KEY = VALUE. {_READ_AGAIN}",
            )
        case PartialCredentialsError():
            source, lacking = str(error.kwargs.get("provider", "")), str(error.kwargs.get("cred_var", ""))
            after = _START_AGAIN if source == "env" else _READ_AGAIN
            return f"{asked.words(source)} lacks {lacking}", f"Complete it, or remove what is there. {after}"
        case InfiniteLoopConfigError():
            name = one_line(str(error.kwargs.get("source_profile", "")))
            return (
                f"the profile {asked.profile!r} leads in a circle: source_profile comes back to {name!r}",
                f"One of these profiles in {asked.config} has to have keys of its own.",
            )
        case InvalidConfigError():
            told = one_line(str(error.kwargs.get("error_msg", "")))[:_LONGEST].rstrip(".")
            return told, f"Correct {asked.config}. {_READ_AGAIN}"
        case MetadataRetrievalError():
            return (
                f"{asked.words()} gives none by the second version of its protocol",
                "The first version is turned off (AWS_EC2_METADATA_V1_DISABLED).",
            )
        case NoRegionError():
            return f"{asked.words()} needs a region", "Set AWS_REGION."
        case _:
            return None


def _of_service(error: Exception, asked: AskedSource) -> tuple[str, str] | None:
    """What AWS's services, or those of the machine, say or do not say."""
    match error:
        case SSOError() | TokenRetrievalError():
            return (
                f"{asked.words('sso')} has expired, or was never begun",
                f"`aws sso login --profile {asked.profile}` begins one, as the orchestrator's user.",
            )
        case ClientError():
            code = _NOT_A_CODE.sub("", str(error.response.get("Error", {}).get("Code", "")))[:60]
            hint = _BEHIND if code in _NO_KEYS else _ASSUMED
            return f"AWS refuses {asked.words()} ({error.operation_name}: {code})", hint
        case NotConnected() | NotAnswered():
            host = urlsplit(str(error.kwargs.get("endpoint_url", ""))).hostname or "its service"
            why = why_unreachable(error)
            return f"{asked.words()} cannot be had: {host} cannot be reached: {why}", "It is tried again."
        case _:
            return None


def _of_source(error: Exception, asked: AskedSource) -> tuple[str, str]:
    match error:
        case ProgramFailed():
            return (
                f"the program of credential_process {error}",
                f"{_BY_HAND} It is in {asked.config}.",
            )
        case CredentialRetrievalError():
            source, why = str(error.kwargs.get("provider", "")), why_unreachable(error)
            told = "" if why == type(error).__name__ else f": {why}"
            by = "the variable names it" if source == "container-role" else "credential_source of the profile names it"
            return f"{asked.words(source)} gives none{told}", f"It is asked because {by}, and is tried again."
        case OSError() if error.filename:
            return f"{asked.words()}: {error.filename} cannot be read ({error.strerror})", _READ_AGAIN
        case RuntimeError():  # of botocore's own, about keys that it has just got
            return f"{asked.words()} gives keys that have expired", "Whatever issues them has to renew them."
        case _ if asked.source in _UNREADABLE:
            return _UNREADABLE[asked.source]
        case _:
            return f"{asked.words()} fails ({type(error).__name__})", ""
