"""Keys of objects in the bucket: the one place that spells them."""

from shared.ids import ExecutionId, JobId


def _prefix(key: str) -> str:
    stripped = key.removesuffix("/")
    return f"{stripped}/" if stripped else ""


def archive_key(prefix: str, job: JobId, execution: ExecutionId) -> str:
    """`[<prefix>/]<jobID>/<executionID>.tar.gz`, where a trailing slash of the prefix does not count."""
    return f"{_prefix(prefix)}{job}/{execution}.tar.gz"


def prefix_of(archive_key: str) -> str:
    """The prefix with which `archive_key` was made."""
    return "/".join(archive_key.split("/")[:-2])


def index_key(archive_key: str) -> str:
    """`<executionID>.index.json.gz`, beside the archive of this key."""
    return f"{archive_key.removesuffix('.tar.gz')}.index.json.gz"


def deletion_probe_key(prefix: str) -> str:
    """What is never there, and deleted to learn whether that is allowed."""
    return f"{_prefix(prefix)}.tarpon-deletion-probe"


def probe_key(prefix: str) -> str:
    """The small object by which the orchestrator learns at its start whether the bucket can be used."""
    return f"{_prefix(prefix)}.tarpon-probe"
