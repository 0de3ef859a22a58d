"""Keys of settings: ours, and those of Bacalhau's configuration that Tarpon does not have."""

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec

from shared.settings.api_users import ApiUsers
from shared.settings.config import Config
from shared.settings.secret import Secret
from shared.settings.sign_in_rules import SignInRules

ENVIRONMENT_PREFIX = "TARPON_"


class Setting(NamedTuple):
    """One setting; `type` is the declared one with its constraints, `default` is what holds where nobody set it."""

    key: str
    type: Any
    default: object
    description: str
    is_secret: bool


def settings() -> Iterator[Setting]:
    """All settings, in the order in which shared/settings/config.py declares them."""
    for path, declared, value in _leaves(Config(), ""):
        yield Setting(path, declared, value, _description(declared), plain_type(declared) in {Secret, ApiUsers})


def values(config: Config) -> dict[str, object]:
    """Every setting's value by key, as plain data to show or to write; secrets stay hidden."""
    return {key: msgspec.to_builtins(value, enc_hook=_shown) for key, _, value in _leaves(config, "")}


def _shown(value: object) -> object:
    return value.shown() if isinstance(value, ApiUsers | SignInRules) else str(value)


@cache
def fields_of(section: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Kept, because msgspec finds them out anew from the texts of all annotations whenever it is asked."""
    return msgspec.structs.fields(section)


def plain_type(declared: Any) -> Any:
    """The type without what `Annotated` adds to it."""
    return get_args(declared)[0] if get_origin(declared) is Annotated else declared


def environment_name(key: str) -> str:
    """`API.Port` is TARPON_API_PORT."""
    return ENVIRONMENT_PREFIX + key.upper().replace(".", "_")


def _leaves(section: msgspec.Struct, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    for declared in fields_of(type(section)):
        key, value = prefix + declared.encode_name, getattr(section, declared.name)
        if isinstance(value, msgspec.Struct):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, declared.type, value


def _description(declared: Any) -> str:
    metas = get_args(declared)[1:]
    return next((meta.description for meta in metas if isinstance(meta, msgspec.Meta) and meta.description), "")


def _spread(section: str, names: str) -> tuple[str, ...]:
    return tuple(f"{section}.{name}" for name in names.split())


_RESOURCES = "Task.Resources.CPU Task.Resources.Memory Task.Resources.Disk Task.Resources.GPU"
_PUBLISHER = "Task.Publisher.Type Task.Publisher.Params"
_TIMEOUTS = "Task.Timeouts.TotalTimeout Task.Timeouts.ExecutionTimeout"

WITHOUT_EFFECT: frozenset[str] = frozenset(
    {
        "StrictVersionMatch",
        "DisableAnalytics",
        "UpdateConfig.Interval",
        "FeatureFlags",
        "Orchestrator.SupportReverseProxy",
        *_spread("Orchestrator.Cluster", "Name Host Port Advertise Peers"),
        *_spread("Orchestrator.Scheduler", "WorkerCount QueueBackoff HousekeepingInterval HousekeepingTimeout"),
        *_spread("Orchestrator.EvaluationBroker", "VisibilityTimeout MaxRetryCount"),
        *_spread("Compute.Heartbeat", "InfoUpdateInterval ResourceUpdateInterval"),
        *_spread("Compute.Network", "AdvertisedAddress PortRangeStart PortRangeEnd"),
        *_spread("Engines.Types.Docker.ManifestCache", "Size TTL Refresh"),
        *_spread("InputSources", "Disabled ReadTimeout MaxRetryCount Types.IPFS.Endpoint"),
        *_spread("Publishers.Types", "IPFS.Endpoint Local.Address Local.Port"),
        *_spread("Publishers.Types.S3", "PreSignedURLDisabled PreSignedURLExpiration"),
        *_spread("ResultDownloaders", "Disabled Timeout Types.IPFS.Endpoint"),
        "JobDefaults.Batch.Task.Publisher.Params",
        *_spread("JobDefaults.Ops", f"Priority {_RESOURCES} {_PUBLISHER} {_TIMEOUTS}"),
        *_spread("JobDefaults.Daemon", f"Priority {_RESOURCES}"),
        *_spread("JobDefaults.Service", f"Priority {_RESOURCES}"),
        *_spread("JobAdmissionControl", "Locality ProbeHTTP ProbeExec"),
        "Logging.LogDebugInfoInterval",
        *_spread("WebUI", "Enabled Listen Backend"),
    }
)
"""Bacalhau's keys that change nothing here: accepted with a warning. What lies below one of them belongs to it."""

_NOTHING: tuple[object, ...] = (None, False, 0, "", "0", "false", [])

PROTECTIVE: dict[str, tuple[object, ...]] = dict.fromkeys(
    (
        *_spread("API.TLS", "AutoCert AutoCertCachePath"),
        *_spread("API.Auth", "AccessPolicyPath Methods"),
        "Orchestrator.NodeManager.ManualApproval",
        *_spread("JobAdmissionControl", "RejectStatelessJobs RejectNetworkedJobs"),
    ),
    _NOTHING,
)
"""Bacalhau's keys that promise protection, with the values at which they promise none."""

_METHODS_BY_DEFAULT = {"ClientKey": {"Type": "challenge"}}

_UNSUPPORTED = {key.lower(): key for key in (*sorted(WITHOUT_EFFECT), *PROTECTIVE)}


def unsupported_keys() -> tuple[str, ...]:
    """The keys of Bacalhau's configuration that Tarpon does not have."""
    return tuple(_UNSUPPORTED.values())


def unsupported(key: str) -> str | None:
    """The key of Bacalhau's that `key`, in any case, is or lies below."""
    parts = key.lower().split(".")
    candidates = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((_UNSUPPORTED[candidate] for candidate in candidates if candidate in _UNSUPPORTED), None)


def asks_for_protection(key: str, value: object) -> bool:
    """Whether this value of a key that `unsupported` returned promises what Tarpon does not do."""
    if key not in PROTECTIVE:
        return False
    if isinstance(value, dict):
        is_default = repr(value).lower() == repr(_METHODS_BY_DEFAULT).lower()
        return not is_default and any(asks_for_protection(key, item) for item in value.values())
    return (value.lower() if isinstance(value, str) else value) not in PROTECTIVE[key]
