"""Inputs that a node reads by itself, from the web and from its own folders, with each engine there is."""

import http.server
import threading
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ended
from tests.e2e.stack import Stack, wait_until
from tests.engine import IMAGE, TestEngine
from tests.servers import HOST, S3Server

NODE = "node-a"
ENGINES = ("process", "docker_engine", "podman_engine")
KEY = "key=s3cret-of-a-url"
LOOPBACK = "127.0.0.0/8"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[TestEngine | None]:
    kind = str(request.param)
    found = None if kind == "process" else request.getfixturevalue(kind)
    yield found
    if found is not None:
        wait_until(
            lambda: not found.containers(f"tarpon.node={NODE}"), within=30, what="the node removes its containers"
        )


@pytest.fixture(scope="module")
def orchestrator(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("outside"), s3_server)
    made.shown = tmp_path_factory.getbasetemp()
    made.start_orchestrator()
    yield made
    ended(made)


@pytest.fixture
def stack(orchestrator: Stack) -> Iterator[Stack]:
    """One orchestrator, with nodes for each test."""
    yield orchestrator
    for node in orchestrator.computes.values():
        node.stop()
    for name in orchestrator.computes:
        orchestrator.wait_disconnected(name)
    orchestrator.computes.clear()


@pytest.fixture
def start(stack: Stack, engine: TestEngine | None) -> Callable[..., Stack]:
    """A stack with a node of these settings, which is the one of the test before with others."""

    def started(**settings: Any) -> Stack:
        stack.start_compute(NODE, Engines_Types_Docker_Socket="" if engine is None else engine.url, **settings)
        return stack

    return started


@pytest.fixture
def job(engine: TestEngine | None) -> Callable[..., dict[str, Any]]:
    """The script sees all paths below `$R`."""

    def made(script: str, *inputs: Mapping[str, Any]) -> dict[str, Any]:
        params = {"Entrypoint": ["/bin/sh", "-c"], "Parameters": [f"R={'$HOME' if engine is None else ''}; {script}"]}
        wanted = {"Type": "docker", "Params": {"Image": IMAGE, **params}}
        if engine is None:
            wanted = {"Type": "process", "Params": params}
        return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": wanted, "InputSources": list(inputs)}]}

    return made


@contextmanager
def web(files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """The address of a web server, and what it was asked for. `/to/...` redirects to the rest of the path."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            path = self.path.partition("?")[0]
            if path.startswith("/to/"):
                self.send_response(302)
                self.send_header("Location", path.removeprefix("/to/"))
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif path in files:
                self.send_response(200)
                self.send_header("Content-Length", str(len(files[path])))
                self.end_headers()
                self.wfile.write(files[path])
            else:
                self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def from_url(url: str, target: str = "/in") -> dict[str, Any]:
    return {"Source": {"Type": "urlDownload", "Params": {"URL": url}}, "Target": target}


def from_path(path: Path | str, target: str = "/in", kind: str = "localDirectory") -> dict[str, Any]:
    return {"Source": {"Type": kind, "Params": {"SourcePath": str(path)}}, "Target": target}


def output(stack: Stack, made: str) -> str:
    stack.wait_ended(made)
    items = stack.describe(made)["Executions"]["Items"]
    assert len(items) == 1, items
    return str(items[0]["RunOutput"]["Stdout"])


def failed(stack: Stack, made: str) -> str:
    """All that is told of it."""
    assert stack.wait_ended(made)["Job"]["State"]["StateType"] == "Failed"
    told = str(stack.describe(made)) + stack.cli("job", "history", made, check=False).stdout
    assert "s3cret" not in told.replace(KEY, "", 10_000).replace(f"?{KEY}", "")
    return told


def folders(stack: Stack) -> list[str]:
    return [each.name for each in (stack.root / NODE / "compute" / "executions").iterdir() if each.name[0] != "."]


class TestUrls:
    def test_a_task_reads_a_file_behind_a_url_under_its_name(
        self, start: Callable[..., Stack], job: Callable[..., dict[str, Any]]
    ) -> None:
        stack = start(Compute_Inputs_AllowedAddresses=LOOPBACK)
        with web({"/data/names.csv": b"Ada\nGrace\n"}) as (address, asked):
            made = stack.submit(
                job(
                    "sort -r $R/in/names.csv; ls $R/in; stat -c %a $R/in/*", from_url(f"{address}/data/names.csv?{KEY}")
                )
            )
            assert output(stack, made).split() == ["Grace", "Ada", "names.csv", "444"]
            assert asked == [f"/data/names.csv?{KEY}"]
        log = (stack.root / f"{NODE}.log").read_text() if (stack.root / f"{NODE}.log").exists() else ""
        assert "s3cret" not in log
        wait_until(lambda: not folders(stack), within=20, what="the file goes with its execution")

    @pytest.mark.parametrize("engine", ["process"], indirect=True)
    def test_what_cannot_be_fetched_fails_the_job_with_a_sentence(
        self, start: Callable[..., Stack], job: Callable[..., dict[str, Any]]
    ) -> None:
        bad = {
            "/none.csv": ("InputNotFound", "its server says that it is not there (status 404)"),
            "/to/http://[::1]:1/x": ("InputNotAllowed", "has a loopback address"),
            "/to/http://169.254.169.254/latest/meta-data": ("InputNotAllowed", "has a metadata address"),
            "/to/file:///etc/passwd": ("InputNotAllowed", "redirects to what is no http:// or https:// URL"),
            "/big.bin": ("InputTooLarge", "it has more than the "),
        }
        stack = start(Compute_Inputs_AllowedAddresses=LOOPBACK, Compute_DiskLimit="1MB")
        with web({"/big.bin": bytes(2 << 20)}) as (address, asked):
            made = {path: stack.submit(job("true", from_url(f"{address}{path}?{KEY}"))) for path in bad}
            for path, (reason, sentence) in bad.items():
                told = failed(stack, made[path])
                assert reason in told
                assert sentence in told
            assert len(asked) == len(bad), "none is asked again"
        assert not folders(stack)

    @pytest.mark.parametrize("engine", ["process"], indirect=True)
    def test_no_node_asks_its_own_machine_unless_its_operator_says_so(
        self, start: Callable[..., Stack], job: Callable[..., dict[str, Any]]
    ) -> None:
        stack = start()
        with web({"/x": b"x"}) as (address, asked):
            told = failed(stack, stack.submit(job("true", from_url(f"{address}/x?{KEY}"))))
            assert asked == []
        assert "InputNotAllowed" in told
        assert "its host has a loopback address, and the operator of this node does not allow that" in told


class TestLocalPaths:
    @pytest.mark.parametrize("kind", ["localDirectory", "local"])
    def test_a_task_reads_a_folder_of_its_node_and_changes_nothing_there(
        self, start: Callable[..., Stack], job: Callable[..., dict[str, Any]], tmp_path: Path, kind: str
    ) -> None:
        data = tmp_path / "data"
        (data / "deep").mkdir(parents=True)
        (data / "deep" / "a.txt").write_text("one\n")
        (data / "link").symlink_to("deep/a.txt")
        stack = start(Compute_AllowListedLocalPaths=f"{tmp_path}/data/**:ro")
        script = "cd $R/in; cat deep/a.txt link; (echo x >> deep/a.txt; touch new) 2> /dev/null; true"
        made = stack.submit(job(script, from_path(data, kind=kind)))
        assert output(stack, made) == "one\none\n"
        assert (data / "deep" / "a.txt").read_text() == "one\n"
        assert sorted(each.name for each in data.iterdir()) == ["deep", "link"]
        wait_until(lambda: not folders(stack), within=20, what="a copy goes with its execution")
        assert (data / "deep" / "a.txt").exists()

    def test_a_container_writes_to_a_folder_of_its_node_where_the_operator_lets_it(
        self,
        start: Callable[..., Stack],
        job: Callable[..., dict[str, Any]],
        engine: TestEngine | None,
        tmp_path: Path,
    ) -> None:
        for name in ("open", "closed"):
            (tmp_path / name).mkdir()
        stack = start(Compute_AllowListedLocalPaths=f"{tmp_path}/open:rw,{tmp_path}/closed")
        to_open, to_closed = from_path(tmp_path / "open"), from_path(tmp_path / "closed")
        for each in (to_open, to_closed):
            each["Source"]["Params"]["ReadWrite"] = True
        if engine is None:
            with pytest.raises(urllib.error.HTTPError):
                stack.submit(job("true", to_open))
            return
        assert output(stack, stack.submit(job("echo made > $R/in/new; ls $R/in", to_open))) == "new\n"
        assert (tmp_path / "open" / "new").read_text() == "made\n"
        assert "does not allow tasks to write to" in failed(stack, stack.submit(job("true", to_closed)))

    def test_a_task_reads_one_file_of_its_node(
        self, start: Callable[..., Stack], job: Callable[..., dict[str, Any]], tmp_path: Path
    ) -> None:
        (tmp_path / "a.txt").write_text("one\n")
        stack = start(Compute_AllowListedLocalPaths=f"{tmp_path}/*.txt")
        assert output(stack, stack.submit(job("cat $R/x/b.txt", from_path(tmp_path / "a.txt", "/x/b.txt")))) == "one\n"

    def test_the_operator_s_own_folder_may_be_behind_a_link(
        self, start: Callable[..., Stack], job: Callable[..., dict[str, Any]], tmp_path: Path
    ) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "disk" / "a.txt").write_text("one\n")
        (tmp_path / "data").symlink_to("disk")
        stack = start(Compute_AllowListedLocalPaths=f"{tmp_path}/data/**")
        assert output(stack, stack.submit(job("cat $R/in", from_path(tmp_path / "data" / "a.txt")))) == "one\n"

    @pytest.mark.parametrize("engine", ["process"], indirect=True)
    def test_what_is_not_allowed_or_not_there_fails_the_job_with_a_sentence(
        self, start: Callable[..., Stack], job: Callable[..., dict[str, Any]], tmp_path: Path
    ) -> None:
        data = tmp_path / "data"
        data.mkdir()
        (data / "link").symlink_to("/etc")
        bad = {
            f"{data}/link": ("InputNotAllowed", "is behind a link that leads to what its operator does not allow"),
            f"{data}/link/passwd": (
                "InputNotAllowed",
                "is behind a link that leads to what its operator does not allow",
            ),
            f"{data}/gone": ("InputNotFound", "This node has nothing at "),
            "/etc": ("LocalPathNotAllowed", "does not allow tasks to read /etc"),
            f"{data}2": ("LocalPathNotAllowed", "does not allow tasks to read"),
        }
        stack = start(Compute_AllowListedLocalPaths=f"{data}/**")
        made = {path: stack.submit(job("true", from_path(path))) for path in bad}
        for path, (reason, sentence) in bad.items():
            told = failed(stack, made[path])
            assert reason in told
            assert sentence in told

    @pytest.mark.parametrize("engine", ["process"], indirect=True)
    def test_another_node_that_allows_it_runs_the_task(
        self, start: Callable[..., Stack], job: Callable[..., dict[str, Any]], tmp_path: Path
    ) -> None:
        (tmp_path / "a.txt").write_text("one\n")
        stack = start(Compute_AllowListedLocalPaths="/other/**")
        stack.start_compute("node-b", Engines_Types_Docker_Socket="", Compute_AllowListedLocalPaths=f"{tmp_path}/**")
        stack.start_compute("node-c", Engines_Types_Docker_Socket="")
        for _ in range(3):
            made = stack.submit(job("cat $R/in", from_path(tmp_path / "a.txt")))
            assert stack.wait_ended(made)["Job"]["State"]["StateType"] == "Completed"
            ran = [each for each in stack.describe(made)["Executions"]["Items"] if each.get("RunOutput")]
            assert [each["NodeID"] for each in ran] == ["node-b"]
