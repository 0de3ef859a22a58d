"""The policies of deploy/, given to the orchestrator of a test for its own bucket (no tests in here)."""

import json
from typing import Any

from botocore.exceptions import ClientError

from tests.documents import ROOT
from tests.e2e.stack import wait_until
from tests.servers import S3Service

ORCHESTRATOR = {"AWS": "arn:aws:iam::000000000000:user/orchestrator"}
IN_FORCE_SECONDS = 20.0


def give_rights(server: S3Service, bucket: str, *files: str, prefix: str = "results") -> None:
    """Those of these files, and no others; returns when they are in force."""
    text, statements = "", list[dict[str, Any]]()
    for file in files:
        of_file = (ROOT / "deploy" / file).read_text(encoding="utf-8")
        text += of_file
        written = of_file.replace("my-result-bucket", bucket).replace("tarpon/*", f"{prefix}/*")
        statements += json.loads(written)["Statement"]
    policy = {"Version": "2012-10-17", "Statement": [each | {"Principal": ORCHESTRATOR} for each in statements]}
    server.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    client, is_of_listing = server.client(server.orchestrator), "ListBucket" in text

    def in_force() -> bool:
        try:
            _ask(client, bucket, prefix, lists=is_of_listing)
        except ClientError:
            return False
        return True

    wait_until(in_force, within=IN_FORCE_SECONDS, what=f"{files} are in force")


def _ask(client: Any, bucket: str, prefix: str, *, lists: bool) -> None:
    if lists:
        client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")
    else:
        client.delete_object(Bucket=bucket, Key=f"{prefix}/.nothing")
