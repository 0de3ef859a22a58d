"""What nodes sign of results is verified by the command line and without Tarpon; what was tampered with is found."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.documents import blocks
from tests.e2e.stack import Stack, process_job

PATHS = [{"Name": "outputs", "Path": "/outputs"}]
PLAIN = {"Type": "s3managed", "Params": {"Encoding": "plain"}}
SCRIPT = "seq 300000 > outputs/numbers; echo {word}"
WRONG = 8
ENDINGS = {
    "archive": ".tar.gz",
    "index": ".index.json.gz",
    "manifest": ".content.json.gz",
    "provenance": ".provenance.json",
}


def ended(running: Stack, word: str, **task: Any) -> str:
    job = running.submit(process_job(SCRIPT.format(word=word), ResultPaths=PATHS, **task))
    assert running.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"
    return job


@pytest.fixture(scope="module")
def one(running: Stack) -> str:
    return ended(running, "one")


@pytest.fixture(scope="module")
def other(running: Stack) -> str:
    return ended(running, "other")


def key_of(running: Stack, job: str, what: str) -> str:
    (found,) = [key for key in running.all_keys() if f"/{job}/" in key and key.endswith(ENDINGS[what])]
    return found


def content(running: Stack, key: str) -> bytes:
    body: bytes = running.s3.client().get_object(Bucket=running.bucket, Key=key)["Body"].read()
    return body


def signer(running: Stack, job: str) -> tuple[str, str]:
    (found,) = json.loads(running.cli("job", "verify", job, "--output", "json").stdout)["Results"]
    return found["NodeID"], found["Key"]


def codes(running: Stack, job: str) -> set[str]:
    done = running.cli("job", "verify", job, "--output", "json", check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["Verified"]) in {(0, True), (WRONG, False)}, done.stderr
    return {problem["Code"] for each in found["Results"] for problem in each["Problems"]}


def test_results_are_what_their_node_signed(running: Stack, one: str) -> None:
    plain = ended(running, "plain", Publisher=PLAIN)
    for job in (one, plain):
        node, key = signer(running, job)
        assert f" is what node {node} signed with {key}." in running.cli("job", "verify", job).stdout
        (known,) = json.loads(running.cli("node", "keys", node, "--output", "json").stdout)[node]
        assert (known["Key"], known["State"]) == (key, "Current")


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("archive", "ResultReplaced"),
        ("index", "IndexReplaced"),
        ("manifest", "ManifestReplaced"),
        ("provenance", "ProvenanceReplaced"),
    ],
)
def test_an_object_of_another_job_in_its_place_is_found(
    running: Stack, one: str, other: str, what: str, expected: str
) -> None:
    key, client = key_of(running, one, what), running.s3.client()
    before = content(running, key)
    another = content(running, key_of(running, other, what))
    client.put_object(Bucket=running.bucket, Key=key, Body=another.ljust(len(before), b" ")[: len(before)])
    try:
        assert expected in codes(running, one)
        client.delete_object(Bucket=running.bucket, Key=key)
        assert codes(running, one) == {"ObjectUnreadable"}
    finally:
        client.put_object(Bucket=running.bucket, Key=key, Body=before)
    if what != "archive":  # whose ETag tells that it was written again
        assert codes(running, one) == set()


def test_the_documented_recipe_verifies_it_without_tarpon(running: Stack, one: str, tmp_path: Path) -> None:
    (recipe,) = [each for each in blocks("python") if "securesystemslib" in each]
    script, envelope = tmp_path / "verify.py", tmp_path / "envelope.json"
    script.write_text(recipe)
    envelope.write_bytes(content(running, key_of(running, one, "provenance")))
    node, key = signer(running, one)

    def run(nkey: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(script), str(envelope), nkey]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    done = run(key)
    assert done.returncode == 0, done.stderr
    statement = json.loads(done.stdout)
    archive = content(running, key_of(running, one, "archive"))
    assert statement["subject"][0]["digest"]["sha256"] == hashlib.sha256(archive).hexdigest()
    assert statement["predicate"]["runDetails"]["builder"]["id"] == f"urn:tarpon:node:{node}"
    envelope.write_bytes(
        content(running, key_of(running, one, "provenance")).replace(b'"payload":"ey', b'"payload":"eX')
    )
    assert "VerificationError" in run(key).stderr
