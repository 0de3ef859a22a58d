"""What each S3 server does with the rules of deploy/bucket, and what Tarpon does under them."""

import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from orchestrator.s3.credentials.chain import Snapshot
from orchestrator.s3.presigning import presigned
from orchestrator.s3.problems import ProblemCode
from tarpon.devstack.signed_requests import Keys
from tests import bucket_rule_files as rules
from tests.documents import ROOT
from tests.e2e.conftest import ended
from tests.e2e.stack import Stack, process_job, wait_until
from tests.matrix.bucket_checks import OUTPUTS, PARTS_MB
from tests.matrix.bucket_servers import SERVERS, Server
from tests.matrix.cells import Check, Ignored, NotApplicable, Peer, RuleRefused
from tests.matrix.expired_results import result_expires
from tests.matrix.plain_requests import Told, told
from tests.servers import REGION, S3Server, aws_environment, s3_client

KEY = "results/object"
BODY = b"0123456789"
AGE_MS, OLD_SECONDS = 3000, 30
TAKES_EFFECT_SECONDS = 5.0
"""How long it is looked whether a rule is kept: some servers read policies again once in a while."""
PAGE, OTHER_PAGE = "https://tarpon.example.org", "https://other.example.org"
EXPOSED = frozenset({"etag", "content-range", "content-length", "accept-ranges"})
SECONDS = 90.0


class RuleBench:
    """The server, and buckets of which each is for one rule."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self._stacks: list[Stack] = []

    @property
    def client(self) -> Any:
        return self.server.client()

    def bucket(self) -> str:
        """With one object."""
        name = self.server.create_bucket()
        self.client.put_object(Bucket=name, Key=KEY, Body=BODY)
        return name

    def locked_bucket(self) -> str:
        name = f"locked-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        if isinstance(self.server, S3Server):
            self.server.create_bucket(name)
        lock = rules.rule("object-lock.json")
        self.client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=lock)
        return name

    def get(self, keys: Keys, bucket: str, *, signed_before: float = 0, **headers: str) -> Told:
        signed_at = datetime.now(UTC) - timedelta(seconds=signed_before)
        url = presigned(
            "GET",
            f"{self.server.endpoint}/{bucket}/{KEY}",
            keys=_snapshot(keys),
            region=REGION,
            lifetime_seconds=3600,
            now=signed_at,
            headers={},
            query={},
        )
        return told("GET", url, headers)

    def stack(self, bucket: str, keys: Keys | None = None) -> Stack:
        """With `keys`, or with those that may do everything."""
        folder = self.folder / f"work-{len(self._stacks)}"
        folder.mkdir()
        made = Stack(folder, self.server)
        self._stacks.append(made)
        made.bucket = bucket
        self.start(made, keys)
        made.start_compute("node-a")
        return made

    def start(self, stack: Stack, keys: Keys | None = None, *, ready: bool = True) -> None:
        aws = aws_environment(keys or self.server.admin)
        stack.start_orchestrator(aws=aws, ready=ready, Publishers_Types_S3Managed_ProbeInterval="1s")

    def end(self) -> None:
        for stack in self._stacks:
            ended(stack)


def _snapshot(keys: Keys) -> Snapshot:
    now = datetime.now(UTC)
    return Snapshot(
        access_key=keys.access, secret_key=keys.secret, token=None, expires_at=None, loaded_at=now, source="matrix"
    )


def _put(act: Callable[[], object]) -> None:
    """Raises RuleRefused with the server's own code."""
    try:
        act()
    except ClientError as error:
        raise RuleRefused(_answer(error)) from None


def _answer(error: ClientError) -> str:
    return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error'].get('Code', '')}"


def _denied(bench: RuleBench, file: str, *, good: Callable[[Keys, str], int], bad: Callable[[Keys, str], int]) -> None:
    """With this policy the `bad` request is refused and the `good` one is not. Raises RuleRefused, Ignored."""
    bucket = bench.bucket()
    try:
        keys = bench.server.restrict(bucket, rules.statements(bucket, file, age_ms=AGE_MS))
    except ClientError as error:
        raise RuleRefused(_answer(error)) from None
    deadline = time.monotonic() + TAKES_EFFECT_SECONDS
    while (status := bad(keys, bucket)) != 403:
        if time.monotonic() > deadline:
            raise Ignored(f"{file} is taken, and the request answered with {status}")
        time.sleep(0.2)
    if (status := good(keys, bucket)) != 200:
        raise Ignored(f"with {file} every request is refused ({status}), those that it allows too")


def plain_text(bench: RuleBench) -> str:
    """All requests here are plain text, so none is left to be allowed."""
    unusable: Exception
    for file in ("policy-tls.json", "policy-tls-ceph.json"):
        try:
            _denied(bench, file, good=lambda keys, bucket: 200, bad=lambda keys, bucket: bench.get(keys, bucket).status)
        except (RuleRefused, Ignored) as reason:
            unusable = reason
            if isinstance(reason, RuleRefused):
                break
        else:
            return f"with {file}"
    raise unusable


def old_signatures(bench: RuleBench) -> None:
    _denied(
        bench,
        "policy-signature-age.json",
        good=lambda keys, bucket: bench.get(keys, bucket).status,
        bad=lambda keys, bucket: bench.get(keys, bucket, signed_before=OLD_SECONDS).status,
    )


def other_signatures(bench: RuleBench) -> str | None:
    if _by_version_2(bench, bench.server.admin, bench.bucket()) != 200:
        raise NotApplicable("it takes no signatures but those of version 4")
    _denied(
        bench,
        "policy-signature-version.json",
        good=lambda keys, bucket: bench.get(keys, bucket).status,
        bad=partial(_by_version_2, bench),
    )
    return None


def _by_version_2(bench: RuleBench, keys: Keys, bucket: str) -> int:
    made = botocore.session.Session().create_client(
        "s3",
        endpoint_url=bench.server.endpoint,
        region_name=REGION,
        aws_access_key_id=keys.access,
        aws_secret_access_key=keys.secret,
        config=Config(signature_version="s3", s3={"addressing_style": "path"}),
    )
    return told("GET", made.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": KEY}), {}).status


def sharing(bench: RuleBench) -> str | None:
    bucket, note = bench.bucket(), None
    try:
        bench.client.put_bucket_cors(Bucket=bucket, CORSConfiguration=rules.rule("cors.json"))
    except ClientError as error:
        note = f"the rule is refused with {_answer(error)}"
    keys = bench.server.admin
    found = bench.get(keys, bucket, Origin=PAGE, Range="bytes=2-4")
    exposed = {each.strip().lower() for each in found.headers.get("access-control-expose-headers", "").split(",")}
    if found.status != 206 or found.headers.get("access-control-allow-origin") not in {PAGE, "*"}:
        raise RuleRefused(f"no page may read. {note}" if note else "no page may read")
    if not exposed >= EXPOSED and "*" not in exposed:
        raise Ignored(f"hidden from the page: {', '.join(sorted(EXPOSED - exposed))}")
    if "access-control-allow-origin" in bench.get(keys, bucket, Origin=OTHER_PAGE).headers:
        raise Ignored(f"every page may read{f'; {note}' if note else ''}")
    return note


def _lifecycle(bench: RuleBench, file: str, name: str) -> None:
    """Whether the one rule is taken, and shown as it was given."""
    (wanted,) = [each for each in rules.rule(file)["Rules"] if each["ID"].startswith(name)]
    bucket = bench.bucket()
    _put(
        lambda: bench.client.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": [wanted]}
        )
    )
    (shown,) = bench.client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    lost = wanted.keys() - shown.keys()
    if lost:
        raise Ignored(f"it forgets {', '.join(sorted(lost))}")


def carried_out(bench: RuleBench) -> str:
    if not bench.server.day_seconds:
        raise NotApplicable("its days cannot be shortened")
    return result_expires(bench.stack(bench.server.create_bucket()), bench.server.day_seconds)


def versions(bench: RuleBench) -> None:
    bucket = bench.bucket()
    _put(lambda: bench.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}))
    bench.client.put_object(Bucket=bucket, Key=KEY, Body=BODY)
    bench.client.delete_object(Bucket=bucket, Key=KEY)
    found = bench.client.list_object_versions(Bucket=bucket, Prefix=KEY)
    kept = len(found.get("Versions", [])), len(found.get("DeleteMarkers", []))
    if kept != (2, 1):
        raise Ignored(f"there are {kept[0]} versions and {kept[1]} markers")


def jobs_with_versions(bench: RuleBench) -> str:
    bucket = bench.bucket()
    _put(lambda: bench.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}))
    stack = bench.stack(bucket)
    job = _kept_job(stack)
    stack.cli("job", "delete", "--results", job)
    wait_until(lambda: not [key for key in stack.objects() if job in key], within=30, what="the result is deleted")
    found = bench.client.list_object_versions(Bucket=bucket, Prefix=f"{stack.prefix}/{job}/")
    return f"after `job delete --results` {len(found.get('Versions', []))} earlier versions are there"


def jobs_with_object_lock(bench: RuleBench) -> str:
    made: list[str] = []
    _put(lambda: made.append(bench.locked_bucket()))
    stack = bench.stack(made[0])
    job = _kept_job(stack)
    deleted = stack.cli("job", "delete", "--results", job, check=False)
    is_there = any(job in key for key in stack.objects())
    assert is_there is ("Object Lock protects them" in deleted.stderr), deleted.stderr
    seen = f"`job delete --results` {'says that it is kept' if is_there else 'hides the result by a marker'}"
    assert stack.orchestrator is not None
    stack.orchestrator.stop()
    bench.start(stack, ready=False)
    found = wait_until(lambda: _publisher_of(stack), within=60, what="the bucket has been tried")
    if problem := found.get("Problem"):
        assert "locks its objects and has no versions" in problem["Message"], problem
        raise RuleRefused(f"{seen}, and after a restart the probe cannot be written again, which is told")
    stack.wait_ready()
    _kept_job(stack)
    return seen


def _publisher_of(stack: Stack) -> dict[str, Any] | None:
    """What the orchestrator tells of its bucket once it has tried it."""
    try:
        found: dict[str, Any] = stack.api("/agent/node")["Publishers"]["S3Managed"]
    except OSError:
        return None
    return None if (found.get("Problem") or {}).get("Code") == ProblemCode.NOT_PROBED else found


def _kept_job(stack: Stack) -> str:
    job = stack.submit(process_job("echo kept"))
    assert stack.wait_ended(job, within=SECONDS)["Job"]["State"]["StateType"] == "Completed"
    assert stack.cli("job", "cat", job, "stdout").stdout == "kept\n"
    return job


def jobs_with_least_rights(bench: RuleBench) -> None:
    """A small result, one in parts, and neither a list nor a deletion."""
    bucket = bench.server.create_bucket()
    text = (ROOT / "deploy" / "iam-policy.json").read_text(encoding="utf-8")
    rights = json.loads(text.replace("my-result-bucket", bucket).replace("tarpon/", "results/"))["Statement"]
    keys = bench.server.user_with(bucket, rights)
    stack = bench.stack(bucket, keys)
    _kept_job(stack)
    large = stack.submit(process_job(f"head -c {PARTS_MB << 20} /dev/urandom > outputs/large", ResultPaths=OUTPUTS))
    assert stack.wait_ended(large, within=SECONDS)["Job"]["State"]["StateType"] == "Completed"
    client = s3_client(bench.server.endpoint, keys)
    for call in ("list_objects_v2", "get_bucket_lifecycle_configuration"):
        try:
            getattr(client, call)(Bucket=bucket)
        except ClientError:
            continue
        raise AssertionError(f"{call} is allowed, so these are not the documented rights")


def jobs_with_limited_age(bench: RuleBench) -> None:
    bucket = bench.server.create_bucket()
    try:
        keys = bench.server.restrict(bucket, rules.statements(bucket, "policy-signature-age.json"))
    except ClientError as error:
        raise RuleRefused(_answer(error)) from None
    _kept_job(bench.stack(bucket, keys))


def encryption(bench: RuleBench) -> None:
    bucket = bench.bucket()
    by_default = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    _put(lambda: bench.client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=by_default))
    if bench.client.put_object(Bucket=bucket, Key=KEY, Body=BODY).get("ServerSideEncryption") != "AES256":
        raise Ignored("objects are not shown as encrypted")
    stack = bench.stack(bucket)
    _kept_job(stack)


CHECKS: Sequence[Check[RuleBench]] = (
    Check("plain text is denied", plain_text),
    Check("old signatures are denied", old_signatures),
    Check("signatures of version 2 are denied", other_signatures),
    Check("a page may read ranges, others not (CORS)", sharing),
    Check("unfinished uploads end", lambda bench: _lifecycle(bench, "lifecycle.json", "abort")),
    Check("earlier versions end", lambda bench: _lifecycle(bench, "lifecycle.json", "expire-earlier")),
    Check("old results end", lambda bench: _lifecycle(bench, "lifecycle-expiry.json", "expire-tarpon-results-of")),
    Check("a result that a rule has deleted", carried_out),
    Check("jobs with the documented rights alone", jobs_with_least_rights),
    Check("jobs with a limit of the age of signatures", jobs_with_limited_age),
    Check("versions", versions),
    Check("jobs in a bucket with versions", jobs_with_versions),
    Check("jobs in a bucket with Object Lock", jobs_with_object_lock),
    Check("jobs in a bucket that encrypts (AES256)", encryption),
)


@contextmanager
def _bench(kind: type[Server]) -> Iterator[RuleBench]:
    folder = Path(tempfile.mkdtemp(prefix="tarpon-matrix-"))
    (folder / "server").mkdir()
    server = kind(folder / "server")
    bench = RuleBench(folder, server)
    try:
        server.start()
        yield bench
    finally:
        try:
            bench.end()
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)


PEERS: Sequence[Peer[RuleBench]] = tuple(Peer(name, kind.version, partial(_bench, kind)) for name, kind in SERVERS)
