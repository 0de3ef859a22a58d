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

    assert stack.cli("node", "set-owner", "node-a", "maria").stdout == "Node node-a is maria's.\n"
    assert "maria" in stack.cli("node", "keys", "node-a").stdout
    stack.cli("node", "token", "revoke", listed["ID"])
    assert node.stop() == 0
    node.start()
    stack.wait_connected("node-a")

    other = stack.start_compute("node-b", token=token, connected=False, Compute_Orchestrators="")
    wait_until(lambda: "[JoinTokenRevoked]" in other.text(), within=40, what="the refused node says why")


def test_a_node_of_an_earlier_version_goes_on_with_the_join_secret_that_there_is(stack: Stack) -> None:
    secret = "made-by-an-earlier-version"
    folder = stack.root / "orchestrator" / "orchestrator" / "secrets"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "join.secret").touch(mode=0o600)
    (folder / "join.secret").write_text(f"{secret}\n")
    orchestrator = stack.start_orchestrator(publisher={}, join_secret=False)
    assert f"Whoever has the join secret in {folder / 'join.secret'} can add nodes" in orchestrator.tail()
    node = stack.start_compute("node-a", token=secret)

    (folder / "join.secret").unlink()
    orchestrator.stop()
    orchestrator.start()
    stack.wait_ready()
    stack.wait_connected("node-a")
    new = stack.start_compute("node-b", token=secret, connected=False)
    wait_until(lambda: "refused: wrong join token or secret" in new.text(), within=20, what="a new node is refused")
    assert "Whoever has the join secret" not in orchestrator.text().rpartition("Stopped, after")[2]
    assert node.is_running


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
        assert code in node.text()
        assert "Copy all of it again" in node.text()
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


def test_a_node_that_is_rejected_is_told_with_its_token_and_comes_back_with_a_new_key(stack: Stack) -> None:
    stack.start_orchestrator(publisher={})
    token = pasted(stack.cli("node", "token", "create", "--uses", "2", "--namespace", "a").stdout)
    node = stack.start_compute("node-a", token=token)
    told = stack.cli("node", "describe", "node-a").stdout
    (listed,) = tokens(stack)
    assert listed["ID"] in told

    told = stack.cli("node", "reject", "node-a").stdout
    assert f"It came with join token {listed['ID']}, which lets more in: `tarpon node token revoke" in told
    assert "which is revoked." in stack.cli("node", "reject", "node-a", "--revoke-token").stdout

    made = stack.cli("node", "rekey", "node-a")
    assert "is for a new key of node node-a until " in made.stderr
    assert node.stop() == 0
    (stack.root / "node-a" / "compute" / "node.nkey").unlink()
    stack.start_compute("node-a", token=pasted(made.stdout))
    (found,) = stack.nodes()
    assert (found["Membership"], found["Namespaces"]) == ("APPROVED", ["a"])


def test_a_node_that_waits_for_approval_is_listed_as_pending(stack: Stack) -> None:
    stack.start_orchestrator(publisher={})
    stack.start_compute("node-a", token=pasted(stack.cli("node", "token", "create", "--approval").stdout))
    assert " PENDING " in stack.cli("node", "list").stdout
    stack.cli("node", "approve", "node-a")
    assert " CONNECTED " in stack.cli("node", "list").stdout
    unknown = stack.cli("node", "approve", "node-b", check=False)
    assert (unknown.returncode, "[NodeNotFound]" in unknown.stderr) == (1, True)
