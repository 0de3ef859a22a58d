"""Nothing of the node's environment reaches a task but what its operator allows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from compute.engines.environment import EnvironmentPolicy, VariableRefused, basics
from shared.jobs.capacity import Capacity
from shared.protocol.messages import Assignment
from tests.builders import new_assignment, new_task

NODE = {
    "PATH": "/opt/bin:/bin",
    "LANG": "de_DE.UTF-8",
    "DATA_ROOT": "/data",
    "AWS_SECRET_ACCESS_KEY": "wJalr",
    "TARPON_COMPUTE_AUTH_TOKEN": "join-secret",
}


def assignment(env: Mapping[str, str]) -> Assignment:
    return new_assignment(resources=Capacity(), task=new_task(env=dict(env)), partition_index=2, partition_count=5)


def seen_by_task(env: Mapping[str, str], allow_list: Sequence[str] = ()) -> dict[str, str]:
    return EnvironmentPolicy(NODE, allow_list).for_task(assignment(env))


@pytest.mark.parametrize("prefix", ["BACALHAU_", "TARPON_"])
def test_a_task_learns_what_it_is_under_both_prefixes(prefix: str) -> None:
    seen = seen_by_task({})
    expected = {
        "EXECUTION_ID": "e-1",
        "JOB_ID": "j-1",
        "JOB_TYPE": "batch",
        "PARTITION_INDEX": "2",
        "PARTITION_COUNT": "5",
    }
    assert {name: seen[prefix + name] for name in expected} == expected


def test_a_task_learns_on_which_node_it_is() -> None:
    policy = EnvironmentPolicy(NODE, (), node_id="n-1")
    assert policy.for_task(assignment({"TARPON_NODE_ID": "another"}))["TARPON_NODE_ID"] == "n-1"


def test_a_job_cannot_set_the_names_of_the_system() -> None:
    assert seen_by_task({"TARPON_EXECUTION_ID": "another", "GREETING": "hello"})["TARPON_EXECUTION_ID"] == "e-1"


def test_the_node_s_own_variables_do_not_reach_the_task() -> None:
    seen = seen_by_task({"GREETING": "hello"}) | basics(NODE, Path("/work/space"))
    assert seen["GREETING"] == "hello"
    assert not {name for name in seen if name.startswith("AWS_")}
    assert not {"DATA_ROOT", "TARPON_COMPUTE_AUTH_TOKEN"} & set(seen)
    assert not {"wJalr", "join-secret"} & set(seen.values())


def test_a_host_command_has_a_path_a_language_and_its_workspace_as_home() -> None:
    assert basics(NODE, Path("/work/space")) == {"PATH": "/opt/bin:/bin", "LANG": "de_DE.UTF-8", "HOME": "/work/space"}
    assert set(basics({}, Path("/work/space"))) == {"PATH", "LANG", "HOME"}


@pytest.mark.parametrize("pattern", ["DATA_ROOT", "DATA_*", "*"])
def test_an_allowed_variable_of_the_node_is_resolved(pattern: str) -> None:
    assert seen_by_task({"ROOT": "env:DATA_ROOT"}, [pattern])["ROOT"] == "/data"


@pytest.mark.parametrize(
    ("name", "allow_list"),
    [
        ("DATA_ROOT", []),
        ("DATA_ROOT", ["DATA", "data_root"]),
        ("ABSENT", ["*"]),
        ("AWS_SECRET_ACCESS_KEY", ["*", "AWS_SECRET_ACCESS_KEY"]),
        ("TARPON_COMPUTE_AUTH_TOKEN", ["*"]),
    ],
)
def test_any_other_variable_of_the_node_is_refused_by_name_and_never_shown(name: str, allow_list: list[str]) -> None:
    with pytest.raises(VariableRefused) as refused:
        seen_by_task({"WANTED": f"env:{name}"}, allow_list)
    assert name in refused.value.message
    assert NODE.get(name, "-") not in refused.value.message.replace(name, "")
