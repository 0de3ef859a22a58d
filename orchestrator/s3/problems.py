"""Problems of the bucket, in words that tell a person what to change."""

from enum import StrEnum
from urllib.parse import urlsplit

import aiohttp
import msgspec

from orchestrator.rules.location import Location
from shared.errors import CredentialsExpiring, StorageUnavailable
from shared.protocol.s3_errors import S3Failure, UploadAction, action_for, may_be_of_keys
from shared.protocol.url_life import MOST_SKEW_SECONDS
from shared.runtime.network_problems import why_unreachable


class ProblemCode(StrEnum):
    """Stable names, for scripts and alerts."""

    NOT_PROBED = "NotProbed"
    CREDENTIALS_MISSING = "CredentialsMissing"
    CREDENTIALS_EXPIRED = "CredentialsExpired"
    ACCESS_KEY_UNKNOWN = "AccessKeyUnknown"
    SECRET_KEY_WRONG = "SecretKeyWrong"  # noqa: S105  # a name, not a secret
    ACCESS_DENIED = "AccessDenied"
    BUCKET_MISSING = "BucketMissing"
    REGION_WRONG = "RegionWrong"
    CLOCK_SKEWED = "ClockSkewed"
    ENDPOINT_UNREACHABLE = "EndpointUnreachable"
    ENDPOINT_TIMEOUT = "EndpointTimeout"
    TLS_FAILED = "TlsFailed"
    NOT_S3 = "NotS3"
    KEY_OCCUPIED = "KeyOccupied"
    SERVICE_FAILING = "ServiceFailing"
    REQUEST_REFUSED = "RequestRefused"


_BY_CODE = {
    "NoSuchBucket": ProblemCode.BUCKET_MISSING,
    "AccessDenied": ProblemCode.ACCESS_DENIED,
    "AllAccessDisabled": ProblemCode.ACCESS_DENIED,
    "AccountProblem": ProblemCode.ACCESS_DENIED,
    "InvalidAccessKeyId": ProblemCode.ACCESS_KEY_UNKNOWN,
    "SignatureDoesNotMatch": ProblemCode.SECRET_KEY_WRONG,
    "ExpiredToken": ProblemCode.CREDENTIALS_EXPIRED,
    "InvalidToken": ProblemCode.CREDENTIALS_EXPIRED,
    "TokenRefreshRequired": ProblemCode.CREDENTIALS_EXPIRED,
    "RequestTimeTooSkewed": ProblemCode.CLOCK_SKEWED,
    "RequestExpired": ProblemCode.CLOCK_SKEWED,
    "PermanentRedirect": ProblemCode.REGION_WRONG,
    "TemporaryRedirect": ProblemCode.REGION_WRONG,
    "AuthorizationHeaderMalformed": ProblemCode.REGION_WRONG,
    "IllegalLocationConstraintException": ProblemCode.REGION_WRONG,
}


class BucketProblem(msgspec.Struct, frozen=True, kw_only=True):
    code: ProblemCode
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


def is_of_lock(failure: S3Failure) -> bool:
    """Whether an object is neither replaced nor deleted because Object Lock protects it; no code says so everywhere."""
    words = failure.message.lower()
    return failure.code == "ObjectLocked" or "object lock" in words or "worm protected" in words


def classify(failure: S3Failure, region: str, clock_ahead_seconds: float | None) -> ProblemCode:
    """The kind of problem behind an S3 answer to one of our freshly signed requests, signed for `region`.

    A wrong clock comes before S3's words, which are of what follows from it: no access, another region, no bucket.
    """
    is_skewed = abs(clock_ahead_seconds or 0) > MOST_SKEW_SECONDS
    if failure.expired or (is_skewed and may_be_of_keys(failure)):
        return ProblemCode.CLOCK_SKEWED
    found = _BY_CODE.get(failure.code)
    if found is None and failure.region and failure.status in {301, 307, 400}:
        found = ProblemCode.REGION_WRONG
    if found is not None and not (found is ProblemCode.REGION_WRONG and failure.region == region):
        return found
    if failure.status >= 500 and failure.status != 501:
        return ProblemCode.SERVICE_FAILING
    if action_for(failure) not in {UploadAction.ASK, UploadAction.FAIL}:
        return ProblemCode.SERVICE_FAILING
    return ProblemCode.REQUEST_REFUSED if failure.code else ProblemCode.NOT_S3


def explain_failure(failure: S3Failure, location: Location, clock_ahead_seconds: float | None) -> BucketProblem:
    """The problem behind an S3 answer. S3's own words and its request id follow in brackets."""
    code = classify(failure, location.region, clock_ahead_seconds)
    message, hint = _words(code, failure, location, clock_ahead_seconds)
    return BucketProblem(code=code, message=f"{message} [S3: {failure}]", hint=hint)


def _words(
    code: ProblemCode, failure: S3Failure, location: Location, clock_ahead_seconds: float | None
) -> tuple[str, str]:
    bucket, host = repr(location.bucket), host_of(location)
    right_region = repr(failure.region) if failure.region else "the one where the bucket is"
    message, hint = f"{host} refuses the request.", "Its own words tell why."
    match code:
        case ProblemCode.BUCKET_MISSING:
            message = f"The bucket {bucket} does not exist, or these credentials may not use it."
            hint = "Create it, or correct Bucket, Region or Endpoint. Tarpon never creates a bucket."
        case ProblemCode.ACCESS_DENIED:
            message, hint = _words_of_denial(failure, location)
        case ProblemCode.ACCESS_KEY_UNKNOWN:
            message = f"{host} does not know the access key id."
            hint = "Check the credentials, and that they belong to this service."
        case ProblemCode.SECRET_KEY_WRONG:
            message = f"{host} does not accept the signature: the secret access key is wrong."
            hint = "Check it. If it is right, a proxy in front of S3 may change requests, or Region may be wrong."
        case ProblemCode.CREDENTIALS_EXPIRED:
            message = "The S3 credentials have expired."
            hint = "Renew the session token, or whatever issues these credentials."
        case ProblemCode.CLOCK_SKEWED:
            message = f"The clock of this machine is wrong: {clock_words(clock_ahead_seconds)}."
            hint = "Set the clock, best by NTP."
        case ProblemCode.REGION_WRONG:
            message = f"The bucket {bucket} is not in the region {location.region!r}."
            hint = f"Set Region to {right_region}."
        case ProblemCode.SERVICE_FAILING if failure.status == 507:
            message = f"{host} has no room."
            hint = "Make room there; it is tried again."
        case ProblemCode.SERVICE_FAILING:
            message = f"{host} is failing at present."
            hint = "It is tried again; nothing has to be changed here."
        case ProblemCode.NOT_S3:
            message = f"What answers at {host} is not an S3 service."
            hint = "Correct Endpoint: the port or the path may be another."
        case (
            ProblemCode.REQUEST_REFUSED
            | ProblemCode.KEY_OCCUPIED
            | ProblemCode.NOT_PROBED
            | ProblemCode.CREDENTIALS_MISSING
            | ProblemCode.ENDPOINT_UNREACHABLE
            | ProblemCode.ENDPOINT_TIMEOUT
            | ProblemCode.TLS_FAILED
        ):
            pass  # the words above; the others are never found from an answer
    return message, hint


def _words_of_denial(failure: S3Failure, location: Location) -> tuple[str, str]:
    bucket = repr(location.bucket)
    if is_of_lock(failure):
        message = f"The bucket {bucket} locks its objects and has no versions, so nothing can be written twice."
        return message, "Give it versions, or no retention by default."
    message = f"S3 refuses access: the bucket {bucket} does not exist, or these credentials may not use it."
    hint = f"They need s3:PutObject and s3:GetObject on {location.resource}, and the bucket has to exist."
    if location.endpoint.startswith("http://"):
        hint += " Endpoint is plain text: where the bucket's policy asks for TLS, it has to be https://."
    return message, hint


def explain_exception(error: Exception, location: Location) -> BucketProblem:
    """The problem behind a request that got no answer. Tells the error's kind and never its text, which holds URLs."""
    host = host_of(location)
    if isinstance(error, StorageUnavailable):  # there is nothing to sign with
        expired = isinstance(error, CredentialsExpiring)
        code = ProblemCode.CREDENTIALS_EXPIRED if expired else ProblemCode.CREDENTIALS_MISSING
        return BucketProblem(code=code, message=error.message, hint=error.hint)
    if isinstance(error, TimeoutError):
        return BucketProblem(
            code=ProblemCode.ENDPOINT_TIMEOUT,
            message=f"{host} did not answer in time.",
            hint="Check Endpoint, the network, and a firewall that drops packets.",
        )
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
        return BucketProblem(
            code=ProblemCode.TLS_FAILED,
            message=f"No trusted connection to {host}: {why_unreachable(error)}.",
            hint="Name the authority of its certificate in Publishers.Types.S3Managed.CAFile, or use a certificate that"
            " this machine trusts.",
        )
    return BucketProblem(
        code=ProblemCode.ENDPOINT_UNREACHABLE,
        message=f"{host} cannot be reached: {why_unreachable(error)}.",
        hint="Check Endpoint and Region, that the service runs, and the network.",
    )


def host_of(location: Location) -> str:
    return urlsplit(location.endpoint).netloc if location.endpoint else f"S3 in {location.region}"


def clock_words(clock_ahead_seconds: float | None) -> str:
    if clock_ahead_seconds is None:
        return "S3 finds the time of our request too far from its own"
    direction = "behind" if clock_ahead_seconds > 0 else "ahead of"
    return f"it is {abs(clock_ahead_seconds):.0f} s {direction} that of S3"
