"""What bash and zsh complete, in real sessions: jobs, nodes, settings, files, and paths in results."""

from collections.abc import Iterator

import pytest

from tests.e2e.shells import ANSWER_SECONDS, Shell, shell
from tests.e2e.stack import Stack, process_job, wait_until
from tests.servers import HOST, free_ports

NAME = "team:the 2nd $run of it"


@pytest.fixture(scope="module")
def job(running: Stack) -> str:
    """The id of a job of that NAME which has ended, with files in its result."""
    script = "echo x > 'outputs/a table.csv'; echo x > 'outputs/wow!'; mkdir outputs/plots; echo x > outputs/plots/p1"
    made = process_job(script, ResultPaths=[{"Name": "outputs", "Path": "/outputs"}]) | {"Name": NAME}
    job_id = running.submit(made)
    running.wait_ended(job_id)
    return job_id


@pytest.fixture(scope="module", params=["bash", "zsh"])
def session(
    request: pytest.FixtureRequest, running: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    home = tmp_path_factory.mktemp("home")
    (home / "my jobs.yaml").touch()
    where = {"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(running.api_port)}
    with shell(request.param, home, where) as made:
        yield made


def becomes(session: Shell, typed: str, last: str) -> None:
    """The orchestrator may be slow to answer under load, and the shell then offers nothing."""
    wait_until(lambda: session.words(typed)[-1:] == [last], within=ANSWER_SECONDS, what=f"{typed!r} becomes {last!r}")


def test_the_id_of_a_job_is_completed(session: Shell, job: str) -> None:
    becomes(session, f"tarpon job describe {job[:14]}", job)


@pytest.mark.parametrize("typed", ["team", "team:", "team:the\\ 2nd", '"team:the 2', "'team:the 2"])
def test_the_name_of_a_job_is_completed_as_one_word(session: Shell, job: str, typed: str) -> None:
    becomes(session, f"tarpon job logs {typed}", NAME)


def test_a_node_is_completed(session: Shell) -> None:
    becomes(session, "tarpon node describe ", "node-")


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("out", "outputs/"),
        ("outputs/a", "outputs/a table.csv"),
        ("outputs/w", "outputs/wow!"),
        ("outputs/p", "outputs/plots/"),
        ("std", "std"),
    ],
)
def test_a_path_in_a_result_is_completed_step_by_step(session: Shell, job: str, typed: str, path: str) -> None:
    becomes(session, f"tarpon job get {job} {typed}", path)
    becomes(session, f"tarpon job cat {job}/{typed}", f"{job}/{path}")


def test_a_file_is_completed(session: Shell) -> None:
    becomes(session, "tarpon job run my", "my jobs.yaml")
    becomes(session, "tarpon exec -i my", "my jobs.yaml")


def test_the_name_of_sent_data_is_completed(running: Stack, session: Shell) -> None:
    running.cli("data", "put", __file__, "--name", "train-1")
    becomes(session, "tarpon data get tr", "train-1")


def test_settings_and_values_of_options_are_completed(session: Shell) -> None:
    becomes(session, "tarpon config set api.po", "API.Port=")
    becomes(session, "tarpon job list --output=js", "--output=json")
    becomes(session, "tarpon job list --output js", "json")
    becomes(session, "tarpon job list --state Com", "Completed")
    becomes(session, "tarpon job list --state Failed,Comp", "Failed,Completed")


@pytest.mark.parametrize("command", ["logs", "get", "files", "cat", "url"])
def test_the_number_of_a_part_is_completed(session: Shell, job: str, command: str) -> None:
    becomes(session, f"tarpon job {command} {job} --partition ", "0")


def test_where_no_orchestrator_answers_nothing_is_said(session: Shell, job: str) -> None:
    (port,) = free_ports(1)
    assert session.at_tab(f"tarpon --api-port {port} job describe {job[:14]}") == ""
