"""How the words of a command line become options, selectors and jobs."""

import click
import pytest

from shared.errors import InvalidInput
from shared.jobs.spec import Job, SpecConfig
from tarpon.cli.console.commands import plain_flags
from tarpon.cli.console.environment import load_settings
from tarpon.cli.job.flags import JobFlags, job_of
from tarpon.cli.job.run_options import RunOptions
from tarpon.cli.job_files.file import parse_job
from tarpon.cli.job_files.written import job_yaml
from tarpon.http.addresses import addresses, base_url

ENGINE = SpecConfig(type="docker", params={"Image": "busybox"})
OPTIONS = [click.Option(["--wait/--no-wait"]), click.Option(["-e", "--env"]), click.Option(["--force"], is_flag=True)]


def plain(*args: str, stop: bool = False) -> list[str]:
    return list(plain_flags(list(args), OPTIONS, stop_at_argument=stop))


def test_flags_may_be_written_as_go_programs_take_them() -> None:
    assert plain("--wait=false", "--wait=TRUE", "--force=true", "--force=false") == ["--no-wait", "--wait", "--force"]


def test_the_value_of_an_option_is_never_taken_for_a_flag() -> None:
    assert plain("-e", "--wait=false", "x") == ["-e", "--wait=false", "x"]
    assert plain("--env=A=true", "--wait=false") == ["--env=A=true", "--no-wait"]


def test_what_belongs_to_a_task_is_left_alone() -> None:
    assert plain("--", "--wait=false") == ["--", "--wait=false"]
    assert plain("--wait=false", "busybox", "--wait=false", stop=True) == ["--no-wait", "busybox", "--wait=false"]
    assert plain("-e", "A=1", "busybox", "--force=true", stop=True) == ["-e", "A=1", "busybox", "--force=true"]


def job(**flags: object) -> Job:
    return job_of(JobFlags(**flags), ENGINE)  # type: ignore[arg-type]  # the test's own flags


def test_a_job_of_no_flags_is_a_batch_job_with_one_part() -> None:
    made = job()
    assert (made.type, made.count, made.task.name) == ("batch", 1, "main")


def test_each_constraints_flag_is_a_selector_of_its_own() -> None:
    assert [each.key for each in job(constraints=("a in (x,y),b", "!c")).constraints] == ["a", "b", "c"]


def test_a_constraint_that_no_node_can_meet_is_refused() -> None:
    with pytest.raises(InvalidInput, match="memory> takes a number, and '8GB' is none"):
        job(constraints=("memory>8GB",))


def test_a_time_is_seconds_or_has_its_unit() -> None:
    assert job(timeout="90").task.timeouts.total_timeout == 90
    assert job(timeout="1h30m").task.timeouts.total_timeout == 5400
    assert job(queue_timeout="100ms").task.timeouts.queue_timeout == 1, "0 would be none at all"


@pytest.mark.parametrize(
    "flags",
    [
        {"name": "a", "labels": ("team=a", "b=")},
        {"env": ("SCRIPT=one\ntwo\n", "NUMBER=012", "WORD=yes", "EMPTY=", "MERGE=<<", "TAIL=a\n\n", "BLANK= x ")},
        {"publisher": "s3managed", "output": ("o:/o",), "constraints": ("a in (x,y)", "b"), "network": "None"},
        {"reproducible": True},
        {"cpu": "0.5", "memory": "1e3", "gpu": "1", "timeout": "5", "namespace": "n", "priority": -1, "count": 3},
    ],
)
def test_a_job_reads_back_as_it_was_written(flags: dict[str, object]) -> None:
    assert parse_job(job_yaml(job(**flags))) == job(**flags)


def test_arguments_that_are_empty_or_look_like_numbers_survive_a_job_file() -> None:
    words = ["", "1.10", "true", "~", "- x", "a: b", "#", "\u00e9\x1b", "x" * 300]
    made = job_of(JobFlags(), SpecConfig(type="process", params={"Entrypoint": words}))
    assert parse_job(job_yaml(made)).task.engine.params == {"Entrypoint": words}


def test_options_of_a_run_have_the_defaults_of_the_command_line() -> None:
    assert RunOptions() == RunOptions(wait=True, wait_seconds=None, exit_zero=False)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost:1234"),
        ("localhost:99", "http://localhost:99"),
        ("::1", "http://[::1]:1234"),
        ("https://proxy.example/tarpon/", "https://proxy.example/tarpon"),
    ],
)
def test_an_orchestrator_is_a_host_or_a_url(host: str, url: str) -> None:
    assert base_url(host, 1234) == url


def test_several_orchestrators_are_a_list_or_have_commas() -> None:
    expected = ("http://one:1234", "http://two:99", "https://three")
    assert addresses("one, two:99,https://three/", 1234, {}) == expected
    assert addresses(["one", "two:99", "https://three", "one"], 1234, {}) == expected


def test_the_environment_names_an_orchestrator_unless_the_program_does() -> None:
    ours = {"TARPON_API_HOST": "ours", "TARPON_API_PORT": "8"}
    theirs = {"BACALHAU_API_HOST": "theirs", "BACALHAU_API_PORT": "7"}
    assert addresses(None, None, {}) == ("http://127.0.0.1:1234",)
    assert addresses(None, None, theirs) == ("http://theirs:7",)
    assert addresses(None, None, ours | theirs) == ("http://ours:8",)
    assert addresses("mine", None, ours) == ("http://mine:8",)
    assert addresses(None, 9, ours) == ("http://ours:9",)


@pytest.mark.parametrize("port", ["many", "0", "65536", "-1"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(InvalidInput, match="TARPON_API_PORT"):
        addresses(None, None, {"TARPON_API_PORT": port})


def test_the_names_of_bacalhau_count_where_those_of_tarpon_are_not_set() -> None:
    env = {"HOME": "/nowhere", "BACALHAU_API_HOST": "theirs", "BACALHAU_API_PORT": "7", "TARPON_API_PORT": "8"}
    loaded = load_settings([], env, check_publisher=False)
    assert (loaded.config.api.host, loaded.config.api.port) == ("theirs", 8)
    assert loaded.origins["API.Host"] == "environment BACALHAU_API_HOST"
    assert load_settings(["API.Host=mine"], env, check_publisher=False).config.api.host == "mine"
