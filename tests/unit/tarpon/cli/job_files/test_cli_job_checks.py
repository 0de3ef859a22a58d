"""What people are told about a job file before anybody runs it."""

import pytest

from orchestrator.rules.job_defaults import completed
from shared.data.decoding import decode, load_yaml
from shared.errors import InvalidDocument, InvalidJob
from shared.jobs.rules import normalised
from shared.jobs.spec import Job
from shared.settings.config import BatchDefaults
from tarpon.cli.job_files.checks import check_document

ENGINE = "Engine: {Type: noop}"
LOTS = "'lots' is not an amount of CPU. Write cores, such as 2 or 0.5, or thousandths of a core, such as 500m."


def refusal(text: str) -> str:
    with pytest.raises(InvalidDocument) as caught:
        check_document(load_yaml(text, what="The job"), what="The job")
    return caught.value.message


def of_engine(text: str) -> str:
    return refusal(f"Type: batch\nTasks: [{{Name: main, Engine: {text}}}]")


def test_a_job_that_is_right_comes_back_as_it_was_written() -> None:
    job = check_document({"TYPE": "batch", "tasks": [{"name": "main", "engine": {"type": "Noop"}}]}, what="The job")
    assert job.task.engine.type == "Noop"


def test_unknown_keys_and_broken_rules_are_told_together() -> None:
    message = refusal(f"Typ: batch\nCount: 0\nTasks: [{{{ENGINE}}}]")
    for told in ("Typ is not known; did you mean Type?", "Count is 0", "Tasks[0].Name is missing"):
        assert told in message


def test_wrong_types_and_unknown_keys_are_told_together() -> None:
    message = refusal("Typ: batch\nCount: many")
    assert "Typ is not known" in message
    assert "Count: expected a whole number" in message


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ("{Type: dcoker}", "did you mean docker?"),
        ("{Type: Docker, Params: {}}", "Tasks[0].Engine.Params.Image is missing"),
        ("{Type: docker, Params: {image: a, entrypont: [b]}}", "Tasks[0].Engine.Params.entrypont is not known"),
        ("{Type: docker, Params: {Image: a, Entrypoint: sh}}", "Tasks[0].Engine.Params.Entrypoint: expected a list"),
        ("{Type: docker, Params: {Image: a, IMAGE: b}}", "Image is given twice"),
        ("{Type: process}", "names no command"),
        ("{Type: wasm, Params: {EntryModul: a}}", "did you mean EntryModule?"),
        ("{Type: wasm}", "Tasks[0].Engine.Params.EntryModule is missing"),
        ("{Type: wasm, Params: {EntryModule: /a}}", "'/a' is neither the Target nor the Alias of one of InputSources"),
    ],
)
def test_what_an_engine_cannot_do_is_told(engine: str, told: str) -> None:
    assert told in of_engine(engine)


def test_a_publisher_that_does_not_exist_is_told() -> None:
    task = f"Tasks: [{{Name: main, {ENGINE}, Publisher: {{Type: ftp}}}}]"
    assert "'ftp' is not a publisher; there are s3managed and noop" in refusal(f"Type: batch\n{task}")


@pytest.mark.parametrize("target", ["/app", "/app/", "app//"])
def test_a_module_is_below_an_input_however_its_target_ends(target: str) -> None:
    engine = "Engine: {Type: wasm, Params: {EntryModule: /app/main.wasm}}"
    source = f"{{Source: {{Type: upload, Params: {{Data: a}}}}, Target: {target}}}"
    text = f"Type: batch\nTasks: [{{Name: main, {engine}, InputSources: [{source}]}}]"
    check_document(load_yaml(text, what="it"), what="it")


UNSUPPORTED = """\
Type: daemon
Tasks:
  - Name: main
    Engine: {Type: noop}
    Publisher: {Type: local}
    InputSources: [{Source: {Type: ipfs, Params: {CID: x}}, Target: /in}]
    Network: {Type: HTTP, Domains: [example.com], Ports: [{Name: http, Target: 80}]}
"""


def test_a_job_file_is_told_what_the_orchestrator_would_say() -> None:
    message = refusal(UNSUPPORTED)
    job = decode(load_yaml(UNSUPPORTED, what="it"), Job, what="it", unknown="refuse")[0]
    with pytest.raises(InvalidJob) as refused:
        completed(normalised(job), BatchDefaults())
    assert len(refused.value.problems) == message.count("not supported yet") == 5
    assert all(problem in message for problem in refused.value.problems)


def test_a_job_that_is_too_large_is_told() -> None:
    assert "bytes; at most" in refusal(f"Type: batch\nMeta: {{a: {'x' * 300_000}}}\nTasks: [{{Name: main, {ENGINE}}}]")


EVERYTHING_WRONG = """\
Typ: batch
Name: [a]
Count: many
MaxParallel: -1
Constraints: [{Key: zone, Operator: inn, Values: [a]}, nothing, {Key: size, Operator: gt, Values: [[1]]}]
Tasks:
  - Engine: {Type: proces, Params: {Entrypont: [echo]}}
    Publisher: {Type: [s3managed]}
    Resources: {CPU: lots, Memory: [1]}
    Env: {1A: x, B: [y]}
    ResultPaths: [out, {Name: a b, Path: /out}]
    FailOnExitCode: perhaps
    Retries: {Max: 1000, OnExitCodes: [a]}
    Timeout: {TotalTimeout: 5}
"""


def test_every_problem_of_a_file_is_told_at_once_with_its_place() -> None:
    assert refusal(EVERYTHING_WRONG).splitlines() == [
        "The job is not valid:",
        "  - Typ is not known; did you mean Type?",
        "  - Tasks[0].Timeout is not known; did you mean Timeouts?",
        "  - Name: expected a text, found a list",
        "  - Count: expected a whole number, found a text",
        "  - Constraints[1]: expected a mapping, found a text",
        "  - Constraints[2].Values[0]: expected a text, found a list",
        "  - Tasks[0].Publisher.Type: expected a text, found a list",
        "  - Tasks[0].Env.B: expected a text, found a list",
        "  - Tasks[0].ResultPaths[0]: expected a mapping, found a text",
        "  - Tasks[0].Resources.Memory: expected a text, found a list",
        "  - Tasks[0].FailOnExitCode: expected true or false, found a text",
        "  - Tasks[0].Retries.OnExitCodes[0]: expected a whole number, found a text",
        "  - MaxParallel is -1; it must be between 1 and 10,000, or 0 for no limit.",
        "  - Constraints[0] on 'zone': 'inn' is not an operator; did you mean in?",
        "  - Tasks[0].Name is missing.",
        "  - Tasks[0].Engine.Params names no command; give Entrypoint or Parameters.",
        "  - Tasks[0].Engine.Type 'proces' is not an engine; did you mean process?",
        "  - Tasks[0].Env: '1A' is not the name of an environment variable.",
        "  - Tasks[0].Retries.Max is 1000; it must be between 1 and 100.",
        f"  - Tasks[0].Resources.CPU: {LOTS}",
        "  - Tasks[0].ResultPaths[1].Name 'a b' may have letters, digits, _ - and inner dots alone.",
        "  - Tasks[0].Engine.Params.Entrypont is not known; did you mean Entrypoint?",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Tsks: []", "Tsks is not known; did you mean Tasks?"),
        ("Tasks: nothing", "Tasks: expected a list, found a text"),
        ("Tasks: [{Name: main, Enginee: {Type: noop}}]", "Tasks[0].Enginee is not known; did you mean Engine?"),
        (
            "Tasks: [{Name: main, Engine: noop}]",
            "Tasks[0].Engine: expected a mapping, found a text; write {Type: noop}",
        ),
    ],
)
def test_what_follows_from_another_problem_is_not_told_beside_it(text: str, told: str) -> None:
    assert refusal(text) == f"The job is not valid: {told}"
