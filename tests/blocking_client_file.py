"""How tarpon/blocking/client.py is made: `python -m tests.blocking_client_file` writes it (no tests in here).

Each public call of `tarpon.Client`, and of what reads results, with the same arguments, answer and description, but
without `await`: so an editor and mypy know both alike.
"""

import ast
import copy
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "tarpon" / "blocking" / "client.py"
CLASSES = (
    ("tarpon/http/orchestrator_calls.py", "OrchestratorCalls"),
    ("tarpon/client.py", "Client"),
    ("tarpon/http/data_calls.py", "DataCalls"),
    ("tarpon/http/operator_calls.py", "OperatorCalls"),
)
FUNCTIONS = (
    ("tarpon/results/fetch_job.py", "get_results"),
    ("tarpon/results/files.py", "list_files"),
    ("tarpon/results/files.py", "read_file"),
    ("tarpon/comparison/compare.py", "compare_results"),
    ("tarpon/verification/verify.py", "verify_results"),
    ("tarpon/verification/folder.py", "verify_folder"),
)
STEPS_OF_OTHERS = {
    *("begin_data", "missing_data", "data_parts", "complete_data_file", "finish_data"),  # of put_data
    "patiently",
}
HEAD = '''"""The client for programs that do not await: as `tarpon.Client`, and each call returns when it is done.

`python -m tests.blocking_client_file` has made this file from the asynchronous one.
"""

# ruff: noqa: E501
'''
BEGIN = '''

class SyncClient:
    """`tarpon.Client` without `await`, for scripts, notebooks and tests. Use it with `with`, or close it.

    {about}

    Its connections live in a thread of its own, so that it works where an event loop runs already, as in a notebook.
    Several threads may use one at the same time. What gives one thing after another (`watch`, `logs`, `list_files`) is
    an iterator; leave it and it ends.
    """

    def __init__({init}) -> None:
        self._loop = LoopThread("tarpon client")
        self._client = Client({passed})
        self._is_open = False
        self._opening = threading.Lock()
        self._ends = weakref.finalize(self, _end, self._loop, self._client)

    def __repr__(self) -> str:
        return f"<SyncClient {{self._client!r}}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its connections; nothing can be asked any more."""
        self._ends()

    def _opened(self) -> Client:
        with self._opening:
            if not self._ends.alive:
                raise RuntimeError("This client was closed.")
            if not self._is_open:
                self._loop.run(self._client.__aenter__())
                self._is_open = True
        return self._client

    @property
    def url(self) -> str:
        """Of the orchestrator that is asked at present."""
        return self._client.url
'''
END = """

def _end(loop: LoopThread, client: Client) -> None:
    loop.end(client.__aexit__(None, None, None))
"""


class Made:
    """One method, and the names that its signature needs."""

    def __init__(self, node: ast.AsyncFunctionDef, module: str, *, is_method: bool) -> None:
        self.node = node
        self.module = module
        self._is_method = is_method

    @property
    def arguments(self) -> ast.arguments:
        taken = copy.copy(self.node.args)
        taken.args = [ast.arg("self"), *taken.args[1:]]
        return taken

    @property
    def _given(self) -> str:
        taken = self.arguments
        return ", ".join([each.arg for each in taken.args[1:]] + [f"{e.arg}={e.arg}" for e in taken.kwonlyargs])

    def text(self) -> str:
        answer = ast.unparse(self.node.returns) if self.node.returns else "None"
        called = f"self._opened().{self.node.name}({self._given})"
        if not self._is_method:
            called = f"{self.node.name}(self._opened(), {self._given})"
        run = "run"
        if answer.startswith("AsyncGenerator["):
            answer, run = f"Iterator[{answer.removeprefix('AsyncGenerator[').removesuffix(', None]')}]", "each"
        lines = [f"    def {self.node.name}({ast.unparse(self.arguments)}) -> {answer}:"]
        if told := ast.get_docstring(self.node, clean=False):
            told = told if self._is_method else told.replace("\n    ", "\n        ")
            lines.append(f'        """{told}"""')
        lines += [
            f"        return self._loop.{run}({called})" if answer != "None" else f"        self._loop.{run}({called})"
        ]
        return "\n".join(lines)


@cache
def _tree(path: str) -> ast.Module:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation is not None:
            node.annotation = _Unquoted().visit(node.annotation)
        elif isinstance(node, ast.AsyncFunctionDef) and node.returns is not None:
            node.returns = _Unquoted().visit(node.returns)
    return tree


def _class(path: str, name: str) -> ast.ClassDef:
    return next(each for each in _tree(path).body if isinstance(each, ast.ClassDef) and each.name == name)


def _made() -> Iterator[Made]:
    for path, name in CLASSES:
        for node in _class(path, name).body:
            if (
                isinstance(node, ast.AsyncFunctionDef)
                and not node.name.startswith("_")
                and node.name not in STEPS_OF_OTHERS
            ):
                yield Made(node, path, is_method=True)
    for path, name in FUNCTIONS:
        for each in _tree(path).body:
            if isinstance(each, ast.AsyncFunctionDef) and each.name == name:
                yield Made(each, path, is_method=False)


def _imports(path: str) -> dict[str, str]:
    found = {}
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = f"from {node.module} import {alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.name] = f"import {alias.name}"
    module = path.removesuffix(".py").replace("/", ".")
    for each in _tree(path).body:
        name = each.name if isinstance(each, ast.ClassDef) else ""
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            name = each.targets[0].id
        if name:
            found[name] = f"from {module} import {name}"
    return found


def _names(made: Made) -> set[str]:
    """Those of its signature."""
    nodes = [made.arguments, *([made.node.returns] if made.node.returns else [])]
    texts = {
        n.value for node in nodes for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }
    names = {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}
    return names | {text for text in texts if text.isidentifier()}


class _Unquoted(ast.NodeTransformer):
    """Names in quotes, for what is imported for types alone, without these."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Name(node.value) if isinstance(node.value, str) and node.value.isidentifier() else node


def content() -> str:
    """As it is laid out in the repository."""
    return _formatted(code())


def code() -> str:
    methods = list(_made())
    lines = {
        "import threading",
        "import weakref",
        "from typing import Self",
        "from collections.abc import Iterator",
        "from tarpon.blocking.loop_thread import LoopThread",
        "from tarpon.client import Client",
        *(f"from {path.removesuffix('.py').replace('/', '.')} import {name}" for path, name in FUNCTIONS),
    }
    client = _class("tarpon/http/orchestrator_calls.py", "OrchestratorCalls")
    init = next(each for each in client.body if isinstance(each, ast.FunctionDef) and each.name == "__init__")
    known = _imports("tarpon/http/orchestrator_calls.py")
    lines |= {known[node.id] for node in ast.walk(init.args) if isinstance(node, ast.Name) and node.id in known}
    for made in methods:
        known = _imports(made.module)
        lines |= {known[name] for name in _names(made) if name in known}
    lines = {each for each in lines if "AsyncGenerator" not in each and "OrchestratorCalls" not in each}
    passed = ", ".join(
        [each.arg for each in init.args.args[1:]] + [f"{each.arg}={each.arg}" for each in init.args.kwonlyargs]
    )
    about = ast.get_docstring(_class("tarpon/client.py", "Client"), clean=False) or ""
    about = about.partition("\n\n")[2].strip()
    begin = BEGIN.format(init=ast.unparse(init.args), passed=passed, about=about)
    return "\n".join([HEAD, *sorted(lines), begin, "\n\n".join(each.text() for each in methods), END])


def _formatted(text: str) -> str:
    ruff = [sys.executable, "-m", "ruff"]
    for command in ([*ruff, "check", "--fix", "--quiet", "--select", "I,UP,F401"], [*ruff, "format", "--quiet"]):
        done = subprocess.run(
            [*command, "--stdin-filename", str(FILE), "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        text = done.stdout
    return text


if __name__ == "__main__":
    FILE.write_text(content(), encoding="utf-8")
