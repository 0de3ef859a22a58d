"""What users copy out of the documents works: commands exist, files can be read, numbers are those of the code."""

import importlib.util
import json
import re
import shlex
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import pytest

from compute.archive.tar_stream import MAX_DEPTH
from compute.engines.docker import spec as docker_spec
from compute.engines.process.engine import OUTPUT_LIMIT_BYTES
from compute.upload.shared_limits import SMALL_AT_ONCE, UPLOADS_AT_ONCE
from orchestrator.api.paging import MAX_PAGE
from orchestrator.nats_api.requests import MAX_LIST
from orchestrator.s3.probe import BODY
from shared.ids import ExecutionId, new_job_id
from shared.jobs import rules as job_rules
from shared.protocol.messages import MAX_RUN_OUTPUT_BYTES
from shared.protocol.objects import archive_key
from shared.settings.config import DockerSettings
from shared.settings.keys import settings, unsupported_keys
from shared.settings.loading import load
from tarpon.cli.console.outcomes import Exit
from tarpon.cli.job_files.checks import check_file
from tarpon.cli.job_files.file import read_job_file
from tarpon.cli.program import tarpon
from tarpon.devstack import seaweedfs
from tests import settings_page
from tests.documents import DOCUMENTS, PAGES, ROOT, all_text, anchors, blocks, codes, command_lines, text_of

EXAMPLES = ROOT / "deploy" / "examples"


def commands() -> list[str]:
    """Every command line of ours."""
    lines = {part for line in command_lines() for part in (line, *re.findall(r"\$\(([^()]+)\)", line))}
    return sorted(line for line in lines if line.startswith("tarpon "))


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
    found = commands()
    assert len(found) > 20
    assert [(each, wrong) for each in found if (wrong := wrong_parts(shlex.split(each)[1:]))] == []


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert wrong_parts(["job", "runn", "x"])
    assert wrong_parts(["job", "run", "--nothing-of-this-name", "x"])


def test_everything_that_the_documents_make_is_in_the_makefile() -> None:
    known = set(re.findall(r"^(\w+):", text_of("Makefile"), re.MULTILINE))
    made = {words[1] for line in command_lines() if len(words := line.split()) > 1 and words[0] == "make"}
    assert {"demo", "test", "docs"} <= made
    assert {each for each in made if each.islower()} - known == set()


def test_every_program_of_the_checkout_that_the_documents_run_exists() -> None:
    modules = {name for line in command_lines() for name in re.findall(r"python -m ((?:tests|benchmarks)[\w.]*)", line)}
    assert len(modules) > 5
    assert [name for name in sorted(modules) if importlib.util.find_spec(name) is None] == []


def test_every_file_for_deployment_that_the_documents_name_exists() -> None:
    named = {name for text in (*codes(), *blocks("bash", "console")) for name in re.findall(r"\bdeploy/[\w./-]+", text)}
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_setting_that_the_documents_name_exists() -> None:
    keys = {setting.key for setting in settings()} | set(unsupported_keys())
    sections = {key.rpartition(".")[0] for key in keys}
    roots = {key.partition(".")[0] for key in keys}
    named = set(re.findall(r"(?:`|-c )((?:[A-Z]\w*\.)+[A-Z]\w*)(?=[`=])", all_text()))
    assert len(named) > 20
    assert {key for key in named if key.partition(".")[0] in roots} <= keys | sections


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings_that_exist(document: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text_of(document)):
        link = urlsplit(target)
        if link.scheme:
            continue
        path = (ROOT / document).parent / unquote(link.path) if link.path else ROOT / document
        assert path.exists(), f"{document} links to {target}"
        if link.fragment:
            assert link.fragment in set(anchors(str(path))), f"{document} links to {target}"


def test_every_page_is_in_the_index() -> None:
    index = text_of("docs/index.md") + text_of("docs/nats-api.md")
    names = [page.removeprefix("docs/").removesuffix(".md") for page in PAGES if page != "docs/index.md"]
    assert [name for name in names if f"\n{name}\n" not in index] == []


@pytest.mark.parametrize(
    ("document", "most"), [("README.md", 250), ("ARCHITECTURE.md", 250), *((page, 400) for page in PAGES)]
)
def test_a_document_is_short_enough_to_be_read(document: str, most: int) -> None:
    assert len(text_of(document).splitlines()) <= most


def test_the_settings_page_is_that_of_the_code() -> None:
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), "`make docs` writes it anew"


def test_each_yaml_block_is_a_job_or_a_configuration() -> None:
    kinds = {_kind(block) for block in blocks("yaml")}
    assert kinds == {"job", "configuration", "comment"}


def _kind(block: str) -> str:
    if "\nTasks:" in block:
        return "job"
    keys = {line.partition(":")[0] for line in block.splitlines() if line and line[0] not in " #"}
    assert keys <= {setting.key.partition(".")[0] for setting in settings()}, block
    return "configuration" if keys else "comment"


@pytest.mark.parametrize("number", range(len([block for block in blocks("yaml") if _kind(block) == "configuration"])))
def test_a_configuration_can_be_read(number: int, tmp_path: Any) -> None:
    text = [block for block in blocks("yaml") if _kind(block) == "configuration"][number]
    file = tmp_path / "config.yaml"
    file.write_text(text)
    loaded = load(sets=[str(file)], env={"HOME": str(tmp_path)})
    assert loaded.warnings == ()


def test_the_job_files_of_the_documents_and_of_the_examples_are_valid(tmp_path: Any) -> None:
    files = [*EXAMPLES.glob("*.yaml")]
    for number, text in enumerate(_jobs()):
        files.append(tmp_path / f"job-{number}.yaml")
        files[-1].write_text(text)
    assert len(files) > 4
    for path in files:
        for job in check_file(read_job_file(str(path), lambda text, _: text)):
            job_rules.check(job_rules.normalised(job))


def test_the_docker_job_of_the_documents_is_that_of_the_examples() -> None:
    (shown,) = [job for job in _jobs() if "Type: docker" in job]
    example = (EXAMPLES / "hello-docker.yaml").read_text(encoding="utf-8")
    assert example.endswith(f"\n{shown}")


def _jobs() -> list[str]:
    return [block for block in blocks("yaml") if _kind(block) == "job"]


@pytest.mark.parametrize(("name", "key"), [("iam-policy.json", "Statement"), ("bucket/lifecycle.json", "Rules")])
def test_the_documents_show_what_is_in_the_file(name: str, key: str) -> None:
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


def test_the_policy_of_a_namespace_opens_its_results_and_no_others() -> None:
    policy = json.loads((ROOT / "deploy" / "iam-policy-namespace.json").read_text())
    read, listed = policy["Statement"]
    (prefix,) = listed["Condition"]["StringLike"]["s3:prefix"]
    for namespace in ("team-a", "team-a-b", "team", "default", "namespaces"):
        key = archive_key("tarpon", namespace, new_job_id(), ExecutionId("e-1"))
        is_open = fnmatchcase(f"{listed['Resource']}/{key}", read["Resource"]) and fnmatchcase(key, prefix)
        assert is_open is (namespace == "team-a")


@pytest.mark.parametrize(
    "number",
    [
        f"| {job_rules.MAX_JOB_BYTES >> 10} KiB |",
        f"| {job_rules.MAX_COUNT:,} |",
        f"| {job_rules.MAX_NAME} printable characters |",
        f"| {job_rules.MAX_LABELS} each |",
        f"| {job_rules.MAX_SECONDS // 86400} days |",
        f"| {OUTPUT_LIMIT_BYTES >> 30} GiB each;",
        f"about {docker_spec.LOG_FILE_BYTES >> 20} MiB in all;",
        f"| pulling an image | {DockerSettings().pull_timeout / 3600:g} h,",
        f"of it {DockerSettings().pull_stall_timeout / 60:g} min standing still (`Engines.Types.Docker.PullTimeout`",
        f"| {DockerSettings().pids_limit:,} (`Engines.Types.Docker.PidsLimit`) |",
        f"{MAX_PAGE:,} over HTTP, {MAX_LIST} over NATS;",
        f"the first {MAX_RUN_OUTPUT_BYTES:,} bytes each",
        f", {UPLOADS_AT_ONCE} at once on a node, and {SMALL_AT_ONCE} small ones |",
        f"| depth of folders in a result | {MAX_DEPTH} |",
    ],
)
def test_the_limits_of_the_documents_are_those_of_the_code(number: str) -> None:
    assert number in text_of("docs/limits.md")


def test_the_probe_of_the_bucket_is_as_large_as_documented() -> None:
    assert f".tarpon-probe`, {len(BODY)} bytes" in text_of("docs/publisher.md")


def test_every_exit_code_is_documented() -> None:
    for code in Exit:
        assert f"\n| {code.value} | " in text_of("docs/commands.md")
