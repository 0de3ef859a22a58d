"""Replicas on real nodes of different owners: what a quorum agrees about counts, whoever lies and in whatever way."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from shared.protocol.execution_lines import ANSWERED
from tests.e2e.stack import NO_SANDBOX, Stack, process_job, wait_until
from tests.node_environment import node_python

ANSWER = "case $(pwd) in *liar*) echo wrong;; *) echo right;; esac"
"""A task without a sandbox runs below the data folder of its node, whose name tells what it writes."""


def held_up(go: Path) -> str:
    """Where it tells the truth it waits until it may, so that the lie is there first."""
    return f"case $(pwd) in *liar*) ;; *) while ! [ -e {go} ]; do sleep 0.05; done;; esac; {ANSWER}"


PROGRAM = Path(__file__).parent / "lying_node.py"


def verified_job(script: str = ANSWER, *, count: int = 1, liar: str = "", **verification: Any) -> dict[str, Any]:
    """On the honest nodes and on this liar alone, if one is named."""
    lies = [{"Key": "lie", "Operator": "in", "Values": ["none", liar]}] if liar else []
    agree = {"Replicas": 3, **verification}
    return process_job(script) | {"Count": count, "Verification": agree, "Constraints": lies}


def start(stack: Stack, *names: str, lie: str = "") -> None:
    """Each of an owner of its own."""
    for name in names:
        made = stack.cli("node", "token", "create", "--owner", f"of-{name}", "--output", "json")
        stack.start_compute(
            name,
            token=str(json.loads(made.stdout)["Text"]),
            connected=False,
            become=(str(node_python()), str(PROGRAM), lie) if lie else (),
            Compute_Orchestrators="",
            Labels=f"lie={lie.partition('=')[0] or 'none'}",
            Engines_Types_Process_Sandbox=NO_SANDBOX,
        )
    for name in names:
        stack.wait_connected(name)


def completed(stack: Stack, job: str, go: Path) -> None:
    """Once the lying replicas have answered, have the others do so."""
    parts = stack.api(f"/orchestrator/jobs/{job}")["Job"]["Count"]

    def answers() -> int:
        told = stack.describe(job)["History"]["Items"]
        return sum(each["Event"]["Message"].startswith(ANSWERED) for each in told)

    wait_until(lambda: answers() == parts, within=20, what="there are as many answers as lies")
    go.touch()
    assert stack.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"
    go.unlink()


def ends(described: dict[str, Any]) -> dict[str, str]:
    """How the replicas of a part ended, by their nodes."""
    return {each["NodeID"]: each["ComputeState"]["Message"] for each in described["Executions"]["Items"]}


def got(stack: Stack, job: str) -> set[str]:
    """What a user is given of the parts."""
    folder = stack.root / f"got-{job}"
    stack.cli("job", "get", job, "--output-dir", str(folder))
    return {each.read_text() for each in folder.rglob("stdout")}


def differed(stack: Stack, name: str) -> int:
    return int(stack.api(f"/orchestrator/nodes/{name}")["Node"]["Differed"])


def test_what_two_of_three_owners_agree_about_counts_and_who_differs_rests(stack: Stack, tmp_path: Path) -> None:
    stack.start_orchestrator(Orchestrator_NodeManager_RestAfterDifferences="2")
    start(stack, "node-a", "node-b")
    job = stack.submit(verified_job(count=2, Quorum=3))
    wait_until(
        lambda: "belong to 2 owners" in stack.api(f"/orchestrator/jobs/{job}")["Job"]["State"]["Message"],
        within=20,
        what="it says that there are too few owners",
    )
    start(stack, "liar")
    failed = stack.wait_ended(job)["Job"]["State"]
    assert failed["StateType"] == "Failed"
    assert "3 of 3 replicas have to agree, and cannot any more: node " in failed["Message"]
    assert failed["Message"].endswith(". They differ first at stdout.")
    assert differed(stack, "liar") == 0  # nobody can tell who it was

    job = stack.submit(verified_job(held_up(tmp_path / "go"), count=2))
    completed(stack, job, tmp_path / "go")
    assert got(stack, job) == {"right\n"}
    wait_until(lambda: differed(stack, "liar") == 2, within=20, what="it is known who differed")
    told = stack.cli("node", "describe", "liar").stdout
    assert f"2 times from what others agree about, last in job {job}" in told
    assert "[NodeDiffers]" in told

    job = stack.submit(verified_job())
    done = stack.wait_ended(job)
    assert done["Job"]["State"]["StateType"] == "Completed", "two can agree without the third"
    assert set(ends(done)) == {"node-a", "node-b"}
    stack.cli("node", "approve", "liar")
    assert differed(stack, "liar") == 0


def test_a_node_that_lies_about_its_digest_changes_no_result(stack: Stack, tmp_path: Path) -> None:
    stack.start_orchestrator()
    start(stack, "node-a", "node-b")
    start(stack, "liar-digest", lie="digest")
    job = stack.submit(verified_job("echo right", liar="digest"))
    done = stack.wait_ended(job)
    assert got(stack, job) == {"right\n"}
    results = (each["PublishedResult"] for each in done["Executions"]["Items"])
    digest = next(each["Params"]["ContentDigest"] for each in results if each is not None)

    start(stack, "liar-other", lie=f"other={digest}")
    for liar in ("digest", "other"):
        job = stack.submit(verified_job(held_up(tmp_path / "go"), liar=liar))
        completed(stack, job, tmp_path / "go")
        assert got(stack, job) == {"right\n"}, liar
        wait_until(partial(differed, stack, f"liar-{liar}"), within=20, what="it is known who differed")
    assert differed(stack, "node-a") == differed(stack, "node-b") == 0


def test_a_result_that_is_too_large_to_be_compared_is_not_held_against_its_node(stack: Stack) -> None:
    stack.start_orchestrator()
    start(stack, "node-a", "node-b")
    start(stack, "large", lie="entries=500001")
    failed = stack.wait_ended(stack.submit(verified_job("echo right", Quorum=3)))
    assert failed["Job"]["State"]["StateType"] == "Failed"
    assert "too large to be compared" in ends(failed)["large"]
    assert "it has 500,001 files, folders and links" in failed["Job"]["State"]["Message"]
    assert differed(stack, "large") == 0


def test_a_right_manifest_with_a_wrong_archive_beside_it_is_found_and_another_archive_taken(stack: Stack) -> None:
    stack.start_orchestrator()
    start(stack, "node-a", "node-b")
    start(stack, "liar", lie="bytes")  # the last one, whose result would be taken
    run = stack.cli("job", "run", "--follow", "-", stdin=json.dumps(verified_job(Quorum=3) | {"Name": "a-job"}))
    assert {line.split()[0] for line in run.stdout.splitlines()} == {"node-a", "node-b", "liar"}
    job = "a-job"
    done = stack.describe(job)
    lie = next(each["ID"] for each in done["Executions"]["Items"] if each["NodeID"] == "liar")
    told = stack.cli("job", "get", job, "--output-dir", str(stack.root / "all"))
    assert f"The archive of execution {lie} is not, or not any more, what its replicas agreed about" in told.stderr
    assert (stack.root / "all" / "stdout").read_text() == "right\n"
    told = stack.cli("job", "get", job, "--execution", lie, "--output-dir", str(stack.root / "one"), check=False)
    assert "[DigestMismatch]" in told.stderr
    assert not (stack.root / "one" / "stdout").exists()


def test_an_answer_that_comes_after_the_decision_changes_nothing(stack: Stack, tmp_path: Path) -> None:
    stack.start_orchestrator()
    start(stack, "node-a", "node-b")
    start(stack, "liar", lie=f"late={tmp_path / 'go'}")
    job = stack.submit(verified_job())
    assert stack.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"
    (tmp_path / "go").touch()
    wait_until(
        lambda: not stack.api("/orchestrator/nodes/liar")["Node"]["LiveExecutions"], within=20, what="it is over"
    )
    assert got(stack, job) == {"right\n"}
    assert differed(stack, "liar") == 0
