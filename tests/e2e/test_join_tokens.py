"""A node joins by the one line that an operator pastes, as real processes do it."""

import json
from typing import Any

from tests.e2e.stack import Stack, wait_until


def pasted(line: str) -> str:
    """The token in the line that starts a node."""
    variable, *command = line.split()
    assert command == ["tarpon", "serve", "--compute"]
    return variable.removeprefix("TARPON_COMPUTE_AUTH_TOKEN=")


def tokens(stack: Stack) -> list[dict[str, Any]]:
    return list(json.loads(stack.cli("node", "token", "list", "--output", "json").stdout))


def test_one_pasted_line_starts_a_node_which_comes_back_by_its_key(stack: Stack) -> None:
    stack.start_orchestrator(publisher={})
    made = stack.cli("node", "token", "create", "--label", "team=a", "--expires", "10m")
    assert "is for one node until " in made.stderr
    token = pasted(made.stdout)
    assert token.startswith("tj1_")

    node = stack.start_compute("node-a", token=token, Compute_Orchestrators="", Labels="team=b,zone=1")
    labels = stack.nodes()[0]["Info"]["Labels"]
    assert (labels["team"], labels["zone"]) == ("a", "1")
    (listed,) = tokens(stack)
    assert (listed["State"], listed["Nodes"]) == ("UsedUp", ["node-a"])
    assert token not in json.dumps(listed)
    assert listed["ID"] in stack.cli("node", "token", "list").stdout

    stack.cli("node", "token", "revoke", listed["ID"])
    assert node.stop() == 0
    node.start()
    stack.wait_connected("node-a")

    other = stack.start_compute("node-b", token=token, connected=False, Compute_Orchestrators="")
    wait_until(lambda: "[JoinTokenRevoked]" in other.tail(), within=40, what="the refused node says why")


def test_a_node_does_not_start_with_a_token_that_was_not_pasted_whole(stack: Stack) -> None:
    stack.start_orchestrator(publisher={})
    token = json.loads(stack.cli("node", "token", "create", "--output", "json").stdout)["Text"]
    wrong = "A" if token[40] != "A" else "B"
    for name, text, code in (
        ("cut", token[:-5], "PastedTextTruncated"),
        ("mistyped", token[:40] + wrong + token[41:], "PastedTextMistyped"),
    ):
        node = stack.start_compute(name, token=text, connected=False)
        assert node.process.wait(40) == 2
        assert code in node.tail()
        assert "Copy all of it again" in node.tail()
    assert tokens(stack)[0]["Used"] == 0


def test_what_a_token_cannot_have_is_told(stack: Stack) -> None:
    stack.start_orchestrator(publisher={})
    for flags, told in (
        (("--expires", "soon"), "InvalidDuration"),
        (("--expires", "0s"), "at least one second"),
        (("--uses", "1001"), "1001 is not in the range"),
        (("--label", "team"), "takes NAME=VALUE"),
    ):
        done = stack.cli("node", "token", "create", *flags, check=False)
        assert done.returncode == 2, done.stderr
        assert told in done.stderr
    for command, told in (
        (("create", "--label", "name=x"), "every node has the label name by itself. [JoinTokenInvalid]"),
        (("revoke", "none"), "There is no join token 'none'. [JoinTokenNotFound]"),
    ):
        done = stack.cli("node", "token", *command, check=False)
        assert (done.returncode, told in done.stderr) == (1, True)
    assert tokens(stack) == []
