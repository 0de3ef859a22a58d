"""A result that a life-cycle rule of the bucket deletes under Tarpon, on a server whose days can be made short."""

import json
from typing import Any

from tests import bucket_rule_files as rules
from tests.e2e.stack import Stack, process_job, wait_until
from tests.e2e.test_backups import admin
from tests.matrix.cells import Ignored

UPLOAD = "inputs/default/unfinished"
DAYS = 40.0
"""How many of the server's days are waited; one rule may be carried out some days after another."""


def one_day() -> dict[str, Any]:
    """The rules that delete old results, with a day for each time."""
    text = json.dumps(rules.rule("lifecycle-expiry.json"))
    for name, days in (("DaysAfterInitiation", 3), ("NoncurrentDays", 7), ("Days", 30)):
        text = text.replace(f'"{name}": {days}', f'"{name}": 1')
    found: dict[str, Any] = json.loads(text)
    return found


def result_expires(stack: Stack, day_seconds: float) -> str:
    """What is told of it then, and what stays: sent data and the probe; unfinished uploads go."""
    client, place = stack.s3.client(), {"Bucket": stack.bucket}
    tree = stack.root / "tree"
    tree.mkdir()
    tree.joinpath("numbers").write_text("1 2 3\n")
    stack.cli("data", "put", str(tree), "--name", "numbers")
    client.create_multipart_upload(**place, Key=f"{stack.prefix}/{UPLOAD}")
    job = stack.submit(process_job("echo kept"))
    assert stack.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"
    client.put_bucket_lifecycle_configuration(**place, LifecycleConfiguration=one_day())

    def uploads() -> list[Any]:
        return list(client.list_multipart_uploads(**place).get("Uploads", []))

    try:
        is_gone = f"/{job}/"
        wait_until(
            lambda: not any(is_gone in key for key in stack.objects()) and not uploads(),
            within=DAYS * day_seconds,
            what="the rule has deleted the result",
        )
    except AssertionError:
        raise Ignored(f"after {DAYS:.0f} days the result or the unfinished upload is there") from None
    got = stack.cli("job", "get", job, "--output-dir", str(stack.root / "got"), check=False)
    assert got.returncode != 0, "there is no result any more"
    assert "is no longer in the bucket" in got.stderr, got.stderr
    assert stack.orchestrator is not None
    checked = json.loads(admin(stack.orchestrator, "check", "--output", "json", check=False).stdout)
    assert checked["Counts"] == {"ResultMissing": 1}, checked["Counts"]
    keys = [item["Key"] for item in client.list_objects_v2(**place)["Contents"]]
    left = {key.removeprefix(f"{stack.prefix}/").split("/")[0] for key in keys}
    assert left == {"inputs", ".tarpon-probe"}, left
    return "`job get` says that the result is gone, `admin check` lists it; inputs and the probe stay"
