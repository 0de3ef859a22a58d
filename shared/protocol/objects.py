"""Keys of objects in the bucket: the one place that spells them.

Results of the namespace `default` are where the reference has those of all. Each other namespace has a folder of its
own, which no job's id can be the name of, so that a policy can open one and nothing of another.
"""

from collections.abc import Iterator
from enum import StrEnum

from shared.ids import ExecutionId, JobId
from shared.jobs.namespaces import DEFAULT_NAMESPACE

_NAMESPACES = "namespaces"
_ARCHIVE, _INDEX = ".tar.gz", ".index.json.gz"
_INPUTS, _MANIFESTS = "inputs", "manifests"


def _prefix(key: str) -> str:
    stripped = key.removesuffix("/")
    return f"{stripped}/" if stripped else ""


def archive_key(prefix: str, namespace: str, job: JobId, execution: ExecutionId) -> str:
    """`[<prefix>/][namespaces/<namespace>/]<jobID>/<executionID>.tar.gz`.

    A trailing slash of the prefix does not count, and the namespace `default` has no folder.
    """
    folder = "" if namespace == DEFAULT_NAMESPACE else f"{_NAMESPACES}/{namespace}/"
    return f"{_prefix(prefix)}{folder}{job}/{execution}{_ARCHIVE}"


_MANIFEST = ".manifest.json.gz"


def plain_key(prefix: str, namespace: str, job: JobId, execution: ExecutionId) -> str:
    """`<executionID>.manifest.json.gz`: the manifest of a result of plain objects, where its archive would be."""
    return f"{archive_key(prefix, namespace, job, execution).removesuffix(_ARCHIVE)}{_MANIFEST}"


def is_plain(key: str) -> bool:
    """Whether the key of a result is that of a manifest, and the result is the objects in the folder beside it."""
    return key.endswith(_MANIFEST)


def plain_folder(plain_key: str) -> str:
    """`<executionID>/`, beside the manifest of this key: what the keys of all its objects begin with."""
    return f"{plain_key.removesuffix(_MANIFEST)}/"


def manifests_above(key: str) -> Iterator[str]:
    """The keys of the manifests that an object of this key could belong to."""
    at = key.find("/")
    while at >= 0:
        yield f"{key[:at]}{_MANIFEST}"
        at = key.find("/", at + 1)


def prefix_of(archive_key: str) -> str:
    """The prefix with which `archive_key` was made, or that of a manifest; empty of a key without folders."""
    if "/" not in archive_key:
        return ""
    *above, last_folder, _ = archive_key.split("/")
    is_deeper = above[-2:-1] == [_NAMESPACES] or (last_folder == _MANIFESTS and above[-2:-1] == [_INPUTS])
    return "/".join(above[:-2] if is_deeper else above)


def index_key(archive_key: str) -> str:
    """`<executionID>.index.json.gz`, beside the archive of this key."""
    return f"{archive_key.removesuffix(_ARCHIVE)}{_INDEX}"


_CONTENT = ".content.json.gz"


class Beside(StrEnum):
    """What a node sends beside an archive by a right of its own."""

    MANIFEST = "manifest"
    PROVENANCE = "provenance"


def beside_key(result_key: str, beside: Beside) -> str:
    match beside:
        case Beside.MANIFEST:
            return content_manifest_key(result_key)
        case Beside.PROVENANCE:
            return provenance_key(result_key)


def content_manifest_key(result_key: str) -> str:
    """`<executionID>.content.json.gz`, beside the archive of this key: the manifest of its content.

    A plain result is known by its manifest, so that the key is the same.
    """
    return result_key if is_plain(result_key) else f"{result_key.removesuffix(_ARCHIVE)}{_CONTENT}"


_PROVENANCE = ".provenance.json"
_PLAIN_PROVENANCE = ".manifest.provenance.json"


def provenance_key(result_key: str) -> str:
    """`<executionID>.provenance.json`, beside the archive of this key: what its node has signed of it.

    Beside a manifest it is `<executionID>.manifest.provenance.json`.
    """
    if is_plain(result_key):
        return f"{result_key.removesuffix(_MANIFEST)}{_PLAIN_PROVENANCE}"
    return f"{result_key.removesuffix(_ARCHIVE)}{_PROVENANCE}"


_RECORD = ".result.json"
_PLAIN_RECORD = ".manifest.result.json"


def record_key(archive_key: str) -> str:
    """`<executionID>.result.json`, beside the archive of this key: what is told of it, signed by the orchestrator.

    Beside a manifest it is `<executionID>.manifest.result.json`.
    """
    if is_plain(archive_key):
        return f"{archive_key.removesuffix(_MANIFEST)}{_PLAIN_RECORD}"
    return f"{archive_key.removesuffix(_ARCHIVE)}{_RECORD}"


def is_record_key(key: str, root: str) -> bool:
    """Whether it is in the folder of a job, below this root. A file of a plain result may be called as a record is."""
    folders = key.removeprefix(root).split("/")[:-1]
    return key.endswith(_RECORD) and (len(folders) == 1 or (len(folders) == 3 and folders[0] == _NAMESPACES))


_BESIDE = (
    (_INDEX, _ARCHIVE),
    (_CONTENT, _ARCHIVE),
    (_PLAIN_RECORD, _MANIFEST),
    (_PLAIN_PROVENANCE, _MANIFEST),
    (_RECORD, _ARCHIVE),
    (_PROVENANCE, _ARCHIVE),
)
"""How the key of what lies beside a result ends, and the result's."""


def archive_of(key: str) -> str:
    """The key of the archive or manifest beside which an object is, or that it is; any other key as it is."""
    for ending, of in _BESIDE:
        if key.endswith(ending):
            return f"{key.removesuffix(ending)}{of}"
    return key


def is_of_results(key: str) -> bool:
    """Whether an object is an archive or lies beside one, and is nothing of inputs, by the end of its key."""
    return archive_of(key).endswith((_ARCHIVE, _MANIFEST))


def manifest_key(prefix: str, namespace: str, sha256: str) -> str:
    """`[<prefix>/]inputs/<namespace>/manifests/<sha256>`: which files sent data has, by the manifest's digest."""
    return f"{_prefix(prefix)}{_INPUTS}/{namespace}/{_MANIFESTS}/{sha256}"


def content_key(manifest_key: str, sha256: str) -> str:
    """`[<prefix>/]inputs/<namespace>/<sha256>`: bytes of that digest, which the manifest of this key may name."""
    return f"{manifest_key.rsplit('/', 2)[0]}/{sha256}"


def deletion_probe_key(prefix: str) -> str:
    """What is never there, and deleted to learn whether that is allowed."""
    return f"{_prefix(prefix)}.tarpon-deletion-probe"


def probe_key(prefix: str) -> str:
    """The small object by which the orchestrator learns at its start whether the bucket can be used."""
    return f"{_prefix(prefix)}.tarpon-probe"


def root_of(prefix: str) -> str:
    """What the keys of all that is Tarpon's begin with; empty where the bucket is its own."""
    return _prefix(prefix)


def inputs_root(prefix: str) -> str:
    """Under which the data of all namespaces is: `[<prefix>/]inputs/`."""
    return f"{_prefix(prefix)}{_INPUTS}/"


def inputs_folder(prefix: str, namespace: str) -> str:
    """Under which everything is that jobs of this namespace are sent: `[<prefix>/]inputs/<namespace>/`."""
    return f"{inputs_root(prefix)}{namespace}/"


def listing_key(prefix: str, namespace: str, sha256: str, salt: str) -> str:
    """A frozen list of many objects, by the digest of its text before it is compressed.

    By its `salt` it belongs to one job alone, so that it can go with that, whoever freezes the same list meanwhile.
    """
    return f"{inputs_folder(prefix, namespace)}listings/{sha256}-{salt}"


def listing_digest(key: str) -> str:
    """The digest with which `key` was made."""
    return key.rpartition("/")[2].partition("-")[0]
