"""What the command line does without an orchestrator: whole processes, nothing running."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures" / "managed_publisher"
SECTION = "Publishers.Types.S3Managed."


def tarpon(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tarpon", *arguments]
    return run(command, stdin=stdin, **variables)


def run(command: list[str], *, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TARPON_", "BACALHAU_"))}
    return subprocess.run(
        command, env=environment | variables, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def test_output_that_finds_no_space_is_an_error_of_its_own() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "tarpon", "config", "list", "--output", "json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Error: There is no space left for the output: No space left on device. [NoSpaceLeft]\nHint:"
    )
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("file", "data_dir"), [("data", "data"), ("data", "data/below"), ("data/orchestrator", "data")], ids=str
)
def test_what_is_in_the_way_of_a_folder_is_named_and_no_defect(tmp_path: Path, file: str, data_dir: str) -> None:
    in_the_way = tmp_path / file
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.touch()
    done = run([sys.executable, "-m", "tarpon", "serve", "-c", f"DataDir={tmp_path / data_dir}"])
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: '{in_the_way}")
    assert "[PathUnusable]" in done.stderr


# ---- the documented examples of the managed publisher ------------------------------------------------------------


def settings_of(text: str) -> dict[str, object]:
    return {each["Key"]: each["Value"] for each in json.loads(text) if each["Key"].startswith(SECTION)}


def test_the_documented_file_and_the_documented_flags_are_the_same_configuration(tmp_path: Path) -> None:
    listed = f"{sys.executable} -m tarpon config list --output json"
    as_written = (FIXTURES / "serve.sh").read_text()
    assert as_written.startswith("tarpon serve ")
    by_flags = run(["sh", "-c", as_written.replace("tarpon serve", listed, 1)], TARPON_DIR=str(tmp_path))
    by_file = tarpon("config", "list", "--output", "json", "-c", str(FIXTURES / "config.yaml"))
    assert settings_of(by_flags.stdout) == settings_of(by_file.stdout)
    found = {key.removeprefix(SECTION): value for key, value in settings_of(by_file.stdout).items()}
    assert {key: found[key] for key in ("Bucket", "Key", "Region", "Endpoint", "PreSignedURLExpiration")} == {
        "Bucket": "my-result-bucket",
        "Key": "bacalhau-managed-publisher",
        "Region": "us-east-1",
        "Endpoint": "https://custom-s3.example.com",
        "PreSignedURLExpiration": "1h0m0s",
    }
    assert by_file.stderr == by_flags.stderr == ""


def test_the_documented_job_is_valid() -> None:
    done = tarpon("job", "validate", str(FIXTURES / "job.yaml"))
    assert (done.returncode, done.stdout) == (0, "OK\n")
    assert done.stderr.startswith("Warning: The container has no network"), "it is Bacalhau's, where it has the bridge"


def test_the_documented_publisher_with_capital_keys_is_that_of_the_documented_job() -> None:
    lines = (FIXTURES / "job.yaml").read_text().splitlines(keepends=True)
    small = lines.index("    publisher:\n")
    capital = "".join(f"    {line}" for line in (FIXTURES / "publisher.yaml").read_text().splitlines(keepends=True))
    job = "".join(lines[:small]) + capital
    assert tarpon("job", "validate", "-", stdin=job).stdout == "OK\n"
    by_capital = tarpon("job", "run", "--dry-run", "-", stdin=job)
    assert by_capital.stdout == tarpon("job", "run", "--dry-run", str(FIXTURES / "job.yaml")).stdout
    assert "Type: s3managed" in by_capital.stdout


# ---- jobs ---------------------------------------------------------------------------------------------------------


def test_validate_tells_every_problem_and_ends_with_2() -> None:
    job = "Type: Batch\nCout: 2\nTasks: [{Name: main, Engine: {Type: dokcer}, Publisher: {Type: s3}}]"
    done = tarpon("job", "validate", "-", stdin=job)
    assert done.returncode == 2
    assert done.stdout == ""
    for told in (
        "Cout is not known; did you mean Count?",
        "'Batch'",
        "did you mean docker?",
        "Tasks[0].Publisher.Type s3 is not supported yet",
    ):
        assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("run",), ("run", "--dry-run"), ("validate",)])
def test_what_runs_a_job_and_what_validates_it_tell_the_same_problems_at_once(command: tuple[str, ...]) -> None:
    job = "Name: a\nName: b\nCount: many\nTyp: batch\nTasks: [{Engine: {Type: proces}, Resources: {CPU: lots}}]"
    done = tarpon("job", *command, "-", stdin=job)
    assert (done.returncode, done.stdout) == (2, "")
    told = [line for line in done.stderr.splitlines() if line.startswith("  ")]
    assert told[0] == "  - The key 'Name' is given twice in one mapping at line 2, column 1"
    assert [line.split()[1].rstrip(":") for line in told[1:]] == [
        "Typ",
        "Count",
        "Tasks[0].Name",
        "Tasks[0].Engine.Params",
        "Tasks[0].Engine.Type",
        "Tasks[0].Resources.CPU",
    ]


def test_validate_warns_of_an_engine_that_only_a_node_may_know() -> None:
    done = tarpon("job", "validate", "-", stdin="Tasks: [{Name: main, Engine: {Type: spaceship}}]")
    assert (done.returncode, done.stdout) == (0, "OK\n")
    assert "Tasks[0].Engine.Type 'spaceship' is none of Tarpon's own engines (docker, process," in done.stderr


@pytest.mark.parametrize("name", ["j-12345678", "j-12345678/outputs", "e-00000000-0000-0000-0000-000000000000"])
def test_validate_warns_of_a_name_that_could_be_taken_for_an_id(name: str) -> None:
    done = tarpon(
        "job", "validate", "-", stdin=f"Name: {name}\nType: batch\nTasks: [{{Name: a, Engine: {{Type: noop}}}}]"
    )
    assert (done.returncode, done.stdout) == (0, "OK\n")
    assert f"Warning: Name '{name}' could be taken for the id of a job" in done.stderr


@pytest.mark.parametrize("name", [".", ".."])
def test_a_job_that_no_url_can_name_is_asked_for_by_its_id(name: str) -> None:
    done = tarpon("job", "describe", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Error: No URL can name the job '{name}'. [InvalidInput]" in done.stderr


@pytest.mark.parametrize("command", [("run",), ("run", "--dry-run"), ("validate",)])
def test_a_misspelt_parameter_of_an_engine_keeps_a_job_from_running(command: tuple[str, ...]) -> None:
    engine = "Engine: {Type: process, Params: {Entrypoint: [echo], Paramters: [hello]}}"
    done = tarpon("job", *command, "-", stdin=f"Type: batch\nTasks: [{{Name: main, {engine}}}]")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Tasks[0].Engine.Params.Paramters is not known; did you mean Parameters?" in done.stderr


@pytest.mark.parametrize(
    "path", sorted((FIXTURES.parents[2] / "deploy" / "examples").glob("*.yaml")), ids=lambda p: p.name
)
def test_the_examples_are_valid(path: Path) -> None:
    done = tarpon("job", "validate", "-V", "Greeting=Hello", str(path))
    assert done.stdout == "OK\n"
    assert all(line.startswith("The next runs are due at ") for line in done.stderr.splitlines())


def test_a_container_needs_no_job_file() -> None:
    flags = ("-p", "s3managed", "-o", "outputs:/outputs", "--timeout", "1m30s", "--constraints", "zone in (a,b),gpu")
    done = tarpon("docker", "run", "--dry-run", *flags, "busybox:1.37.0", "--", "sh", "-c", "echo --wait=false")
    assert tarpon("job", "validate", "-", stdin=done.stdout).stdout == "OK\n"
    assert "TotalTimeout: 90" in done.stdout
    assert "- echo --wait=false" in done.stdout
    assert "Parameters:\n      - sh\n" in done.stdout, "what parts the image from the command is no part of it"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("-i", "ipfs://x:/in"), "-i: inputs (ipfs"),
        (("-i", "git://x:/in"), "git:// is not a source of inputs; there are s3, http"),
        (("-i", "s3://x,dst=/in,opt=a=b"), "opt=a is not known; there are endpoint"),
        (("--target", "all", "--count", "3"), "With --target all the job runs once on each node"),
        (("--target", "some"), "there are `any` and `all`"),
        (
            ("-p", "s3://bucket/key"),
            "s3 is not supported yet; write -p s3managed in its place. The bucket is",
        ),
        (("-p", "s3://my-data/key"), "'Publishers.Types.S3Managed.Bucket=my-data'"),
        (("-p", "local"), "local is not supported yet; write -p s3managed in its place."),
        (("-p", "ftp"), "there is s3managed"),
        (("--network", "HTTP"), "is not supported yet; leave Domains out"),
        (("--domain", "example.com"), "is not supported yet; leave Domains out"),
        (("-e", "HOME"), '-e HOME="$HOME"'),
        (("-o", "outputs"), "outputs:/outputs"),
        (("--constraints", "zone in ()"), "env in (x,y)"),
        (("--timeout", "soon"), "90s, 15m or 1h30m"),
        (("--memry", "1Gb"), "Did you mean '--memory'?"),
        (("-w", "relative"), "not an absolute path"),
    ],
)
def test_a_flag_that_cannot_be_is_refused_with_what_can(flags: tuple[str, ...], told: str) -> None:
    done = tarpon("docker", "run", "--dry-run", *flags, "busybox")
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""


def test_an_input_that_is_not_here_is_told_before_anything_is_asked() -> None:
    done = tarpon("docker", "run", "--dry-run", "-i", "no-such-folder:/in", "busybox")
    assert done.returncode == 1
    assert "'no-such-folder' cannot be sent: No such file or directory." in done.stderr
    assert done.stdout == ""


def test_braces_that_cannot_be_filled_in_are_refused_with_the_way_out() -> None:
    job = "Name: a\nType: batch\nTasks: [{Name: '{{.Who}}', Engine: {Type: noop}}]  # {{json .}}"
    done = tarpon("job", "validate", "-", stdin=job)
    assert done.returncode == 2
    for told in ("-V Who=...", "line 3: {{json .}}: there is no function json", "--no-template"):
        assert told in done.stderr
    assert tarpon("job", "validate", "-", "--no-template", stdin=job).stdout == "OK\n"


def test_a_template_of_bacalhau_is_filled_in_with_values_of_names_with_a_dash() -> None:
    job = """Type: batch
Name: {{or (index . "job-name") "nameless"}}
Count: {{if eq (index . "size") "large"}}8{{else}}1{{end}}
Tasks: [{Name: main, Engine: {Type: process, Params: {Entrypoint: [echo, {{printf "%q" .query}}]}}}]
"""
    flags = ("-V", "job-name=mine", "-V", "size=large", "-V", 'query=say "hi": a, b')
    done = tarpon("job", "run", "--dry-run", "-", *flags, stdin=job)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Name: mine\n" in done.stdout
    assert "Count: 8\n" in done.stdout
    assert """- 'say "hi": a, b'\n""" in done.stdout


# ---- settings -----------------------------------------------------------------------------------------------------


def test_a_setting_is_written_as_it_is_spelled_and_all_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("# mine\napi:\n  Host: 10.0.0.1  # inside\n")
    assert tarpon("config", "set", "-c", str(path), "API.port=", "4322").returncode == 0
    done = tarpon("config", "set", "-c", str(path), "API.port=4321")
    assert f"Writing config to {path}" in done.stderr
    assert path.read_text() == "# mine\napi:\n  Host: 10.0.0.1  # inside\n  Port: 4321\n"
    assert "4321" in tarpon("config", "list", "-c", str(path)).stdout


def test_the_default_file_is_made_and_read_by_every_command(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert tarpon("config", "set", "Orchestrator.Auth.Token", "hush-hush", TARPON_DIR=str(data)).returncode == 0
    assert stat.S_IMODE((data / "config.yaml").stat().st_mode) == 0o600
    listed = tarpon("config", "list", TARPON_DIR=str(data)).stdout
    assert f"********  file {data}/config.yaml" in " ".join(listed.split()).replace(" file", "  file")
    assert "hush-hush" not in listed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("API.Prot=1",), "did you mean API.Port?"),
        (("API.Port=many",), "expected a whole number"),
        (("API.Port",), "tarpon config set API.Port=VALUE"),
        (("WebUI.Enabled=true",), "not supported by Tarpon"),
        (("API.Port=1", "-c", "API.Host=x"), "-c names a .yaml file"),
    ],
)
def test_a_setting_that_cannot_be_is_not_written(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    done = tarpon("config", "set", *arguments, TARPON_DIR=str(tmp_path))
    assert done.returncode == 2
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_names_of_bacalhau_are_read_and_those_of_tarpon_win() -> None:
    theirs = {"BACALHAU_API_HOST": "http://theirs:1", "BACALHAU_API_PORT": "7"}
    lines = tarpon("config", "list", **theirs, TARPON_API_PORT="8").stdout.splitlines()
    found = {line.split()[0]: line.split()[1:] for line in lines}
    assert found["API.Host"] == ["http://theirs:1", "environment", "BACALHAU_API_HOST"]
    assert found["API.Port"] == ["8", "environment", "TARPON_API_PORT"]
    wrong = tarpon("config", "list", BACALHAU_API_PORT="x")
    assert "(environment BACALHAU_API_PORT)" in wrong.stderr


# ---- shells -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    done = tarpon("completion", shell)
    assert done.returncode == 0
    assert "_TARPON_COMPLETE" in done.stdout


def test_commands_and_options_are_completed() -> None:
    words = {"_TARPON_COMPLETE": "bash_complete", "COMP_WORDS": "tarpon job ver", "COMP_CWORD": "2"}
    assert tarpon(**words).stdout == "plain,versions\nplain,verify\n"
    words = {"_TARPON_COMPLETE": "bash_complete", "COMP_WORDS": "tarpon job logs --ta", "COMP_CWORD": "3"}
    assert tarpon(**words).stdout == "plain,--tail\n"
    words = {"_TARPON_COMPLETE": "fish_complete", "COMP_WORDS": "tarpon config set api.po", "COMP_CWORD": "api.po"}
    assert tarpon(**words).stdout == "plain,API.Port=\n"


def test_a_command_of_a_group_that_was_mistyped_comes_with_a_suggestion() -> None:
    done = tarpon("job", "lgos")
    assert done.returncode == 2
    assert "Did you mean 'logs'?" in done.stderr
    assert "Did you mean '--namespace'?" in tarpon("job", "list", "--namspace", "x").stderr


def test_a_listing_imports_nothing_that_it_does_not_need() -> None:
    program = (
        "import sys\n"
        "from tarpon.cli.program import run\n"
        "assert run(['job', 'list', '--api-port', '9']) == 3\n"
        "heavy = {'rich', 'nats', 'nkeys', 'yaml', 'uvloop', 'isal', 'orchestrator', 'compute', 'tarpon.results'}\n"
        "heavy |= {'prometheus_client', 'opentelemetry'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    assert "heavy: []" in run([sys.executable, "-c", program]).stdout


def test_who_gives_an_input_to_several_jobs_is_told_how_one_of_them_reads_it(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.yaml"
    one = "Name: {}\nType: batch\nTasks: [{{Name: main, Engine: {{Type: noop}}}}]\n"
    jobs.write_text("---\n".join(one.format(name) for name in ("one", "two")))
    done = tarpon("job", "run", str(jobs), "--input", f"{tmp_path}:/data")
    assert done.returncode == 2
    told = " ".join(done.stderr.split())
    assert "`tarpon data put PATH --name NAME`" in told
    assert "{Source: {Type: upload, Params: {Data: NAME}}, Target: /inputs}" in told
