"""What users copy out of the documents works: commands exist, files can be read, numbers are those of the code."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest

from compute.archive.tar_stream import MAX_DEPTH
from compute.engines.docker import spec
from compute.engines.process.engine import OUTPUT_LIMIT_BYTES
from compute.upload.shared_limits import SMALL_AT_ONCE, UPLOADS_AT_ONCE
from orchestrator.api.paging import MAX_PAGE
from orchestrator.nats_api.requests import MAX_LIST
from orchestrator.s3.probe import BODY
from shared.jobs import rules
from shared.protocol.messages import MAX_RUN_OUTPUT_BYTES
from shared.settings.config import DockerEngine
from shared.settings.keys import settings, unsupported_keys
from shared.settings.loading import load
from tarpon.cli.console.outcomes import Exit
from tarpon.cli.job_files.file import read_job
from tarpon.cli.program import tarpon
from tarpon.devstack import seaweedfs
from tests.settings_page import PAGE, page

ROOT = PAGE.parent
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SETTINGS.md",
    "NATS-API.md",
    "COMPATIBILITY.md",
    "SECURITY.md",
    "deploy/README.md",
    "benchmarks/README.md",
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
ASSIGNMENTS = re.compile(r"(?:[A-Z_]+=\S+\s+)*")


def blocks(*languages: str) -> list[str]:
    """The fenced blocks of the README in one of these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def commands() -> Iterator[str]:
    """Every command line of ours, from blocks and from `code` within the text."""
    for block in blocks("bash", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            command = ASSIGNMENTS.sub("", line.removeprefix("$ "), count=1)
            if command.startswith("tarpon "):
                yield command
    for document in DOCUMENTS:
        for code in re.findall(r"`([^`\n]+)`", (ROOT / document).read_text(encoding="utf-8")):
            if code.startswith("tarpon "):
                yield code


def wrong_parts(words: Sequence[str]) -> list[str]:
    """What of a command line the program does not know."""
    command: click.Command = tarpon
    context = click.Context(command)
    for position, word in enumerate(words):
        if word == "--":
            break
        if word.startswith("-"):
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            if word.partition("=")[0] not in {*known, "--help"}:
                return [f"{word} of {' '.join(words[:position])}"]
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            if found is None:
                return [word]
            command = found
    return []


def test_every_command_in_the_documents_exists_with_its_options() -> None:
    found = sorted(set(commands()))
    assert len(found) > 20
    assert [(each, wrong) for each in found if (wrong := wrong_parts(shlex.split(each)[1:]))] == []


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert wrong_parts(["job", "runn", "x"])
    assert wrong_parts(["job", "run", "--nothing-of-this-name", "x"])


def test_every_setting_that_the_documents_name_exists() -> None:
    keys = {setting.key for setting in settings()} | set(unsupported_keys())
    sections = {key.rpartition(".")[0] for key in keys}
    roots = {key.partition(".")[0] for key in keys}
    text = "\n".join((ROOT / document).read_text(encoding="utf-8") for document in DOCUMENTS)
    named = set(re.findall(r"(?:`|-c )((?:[A-Z]\w*\.)+[A-Z]\w*)(?=[`=])", text))
    assert len(named) > 20
    assert {key for key in named if key.partition(".")[0] in roots} <= keys | sections


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings_that_exist(document: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / document).read_text(encoding="utf-8")):
        link = urlsplit(target)
        if link.scheme:
            continue
        path = (ROOT / document).parent / link.path if link.path else ROOT / document
        assert path.exists(), f"{document} links to {target}"
        if link.fragment:
            assert link.fragment in set(_anchors(path)), f"{document} links to {target}"


def _anchors(path: Path) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_settings_page_is_that_of_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "`make docs` writes it anew"


def test_the_configuration_of_the_readme_can_be_read(tmp_path: Path) -> None:
    (text,) = [block for block in blocks("yaml") if block.startswith("Publishers:")]
    file = tmp_path / "config.yaml"
    file.write_text(text)
    loaded = load(sets=[str(file)], env={"HOME": str(tmp_path)})
    assert loaded.config.publishers.types.s3managed.bucket == "my-result-bucket"
    assert loaded.warnings == ()


def test_the_job_files_of_the_readme_and_of_the_examples_are_valid(tmp_path: Path) -> None:
    files = [*(ROOT / "deploy" / "examples").glob("*.yaml")]
    for number, text in enumerate(_jobs()):
        files.append(tmp_path / f"job-{number}.yaml")
        files[-1].write_text(text)
    assert len(files) > 3
    for path in files:
        rules.check(rules.normalised(read_job(str(path))))


def test_the_docker_job_of_the_readme_is_that_of_the_examples() -> None:
    (shown,) = [job for job in _jobs() if "Type: docker" in job]
    example = (ROOT / "deploy" / "examples" / "hello-docker.yaml").read_text(encoding="utf-8")
    assert example.endswith(f"\n{shown}")


def _jobs() -> list[str]:
    return [block for block in blocks("yaml") if "\nTasks:" in block]


@pytest.mark.parametrize(("name", "key"), [("iam-policy.json", "Statement"), ("lifecycle.json", "Rules")])
def test_the_readme_shows_what_is_in_the_file(name: str, key: str) -> None:
    (shown,) = [found for block in blocks("json") if key in (found := json.loads(block))]
    assert shown == json.loads((ROOT / "deploy" / name).read_text())


def test_the_s3_server_of_the_tests_allows_what_the_documented_policy_allows_and_no_more() -> None:
    documented: dict[str, Any] = json.loads((ROOT / "deploy" / "iam-policy.json").read_text())
    (allowed,) = [
        statement
        for statement in seaweedfs._documented_policy("my-result-bucket", "tarpon")["Statement"]
        if statement["Effect"] == "Allow"
    ]
    (statement,) = documented["Statement"]
    assert statement["Action"] == allowed["Action"]
    assert [statement["Resource"]] == allowed["Resource"]


@pytest.mark.parametrize(
    "number",
    [
        f"| {rules.MAX_JOB_BYTES >> 10} KiB |",
        f"| {rules.MAX_COUNT:,} |",
        f"| {rules.MAX_NAME} printable characters |",
        f"| {rules.MAX_LABELS} each |",
        f"| {rules.MAX_SECONDS // 86400} days |",
        f"| {OUTPUT_LIMIT_BYTES >> 30} GiB each;",
        f"about {spec.LOG_FILE_BYTES >> 20} MiB in all;",
        f"| pulling an image | {DockerEngine().pull_timeout / 3600:g} h,",
        f"of it {DockerEngine().pull_stall_timeout / 60:g} min standing still (`Engines.Types.Docker.PullTimeout`",
        f"| {DockerEngine().pids_limit:,} (`Engines.Types.Docker.PidsLimit`) |",
        f"{MAX_PAGE:,} over HTTP, {MAX_LIST} over NATS;",
        f"the first {MAX_RUN_OUTPUT_BYTES:,} bytes each",
        f", {UPLOADS_AT_ONCE} at once on a node, and {SMALL_AT_ONCE} small ones |",
        f"| depth of folders in a result | {MAX_DEPTH} |",
        f".tarpon-probe`, {len(BODY)} bytes",
    ],
)
def test_the_limits_of_the_readme_are_those_of_the_code(number: str) -> None:
    assert number in README


def test_every_exit_code_is_in_the_readme() -> None:
    for code in Exit:
        assert f"\n| {code.value} | " in README
