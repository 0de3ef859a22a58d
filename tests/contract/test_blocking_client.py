"""The client without `await` has each call of the asynchronous one, with the same arguments and answer."""

import ast

from tests import blocking_client_file


def meant(text: str) -> tuple[set[str], list[str]]:
    """What it imports, and all else; not how it is laid out, which differs from release to release of ruff."""
    tree = ast.parse(text)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {f"{getattr(node, 'module', '')} {alias.name}" for node in imports for alias in node.names}
    return named, [ast.unparse(node) for node in tree.body if node not in imports]


def test_the_file_is_what_the_asynchronous_client_makes_of_it() -> None:
    written = meant(blocking_client_file.FILE.read_text(encoding="utf-8"))
    assert written == meant(blocking_client_file.code()), "`make docs` writes it anew"
