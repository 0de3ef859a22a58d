"""The rules of deploy/bucket, as they are put on a bucket of a test or of the matrix (no tests in here)."""

import json
from collections.abc import Sequence
from typing import Any

from tarpon.devstack import seaweedfs
from tests.documents import ROOT

FOLDER = ROOT / "deploy" / "bucket"
AGE_MS = 4_500_000
"""The limit in policy-signature-age.json."""


def rule(file: str, *, prefix: str = "results") -> Any:
    """What the file holds, for the keys below `prefix/`."""
    return json.loads(FOLDER.joinpath(file).read_text(encoding="utf-8").replace("tarpon/", f"{prefix}/"))


def statements(bucket: str, *files: str, age_ms: int = AGE_MS) -> list[dict[str, Any]]:
    """Those of policies, for this bucket."""
    texts = [FOLDER.joinpath(file).read_text(encoding="utf-8") for file in files]
    changed = [text.replace("my-result-bucket", bucket).replace(str(AGE_MS), str(age_ms)) for text in texts]
    return [statement for text in changed for statement in json.loads(text)["Statement"]]


def policy(bucket: str, *files: str, allowed: Sequence[dict[str, Any]] = (), age_ms: int = AGE_MS) -> str:
    """`allowed` are statements that grant what these files leave."""
    return json.dumps({"Version": "2012-10-17", "Statement": [*allowed, *statements(bucket, *files, age_ms=age_ms)]})


def least_rights(bucket: str, prefix: str = "results") -> list[dict[str, Any]]:
    """Those of the orchestrator in a SeaweedFS of the tests, which every policy of its bucket has to hold."""
    found: list[dict[str, Any]] = seaweedfs._documented_policy(bucket, prefix)["Statement"]
    return found
