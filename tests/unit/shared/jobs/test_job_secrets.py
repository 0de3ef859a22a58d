"""How a job may name the secrets of its task, and what is wrong otherwise."""

from typing import Any

import pytest

from shared.jobs.rules import problems
from shared.jobs.secrets import names_of, uses_secrets
from shared.jobs.spec import Job, ResultPath, SecretFile, Task
from tests.builders import new_task


def in_task(**task: Any) -> list[str]:
    return list(problems(Job(name="a", namespace="default", type="batch", tasks=(new_task(**task),))))


def files(*paths: str) -> tuple[SecretFile, ...]:
    return tuple(SecretFile(name=f"s{number}", path=path) for number, path in enumerate(paths))


def test_each_secret_is_named_once_whatever_it_becomes() -> None:
    task = new_task(env={"A": "secret:x", "B": "secret:x", "C": "y"}, secrets=(SecretFile(name="z", path="/z"),))
    assert names_of(task) == ("x", "z")
    assert uses_secrets(task)
    assert not uses_secrets(Task(env={"A": "not secret:x"}))


def test_files_beside_each_other_are_fine() -> None:
    assert in_task(secrets=files("/run/secrets/a", "/run/secrets/b", "/etc/hosts.key")) == []


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a.b", "x" * 65])
def test_a_name_that_no_secret_can_have_is_told(name: str) -> None:
    assert "Tasks[0].Env.A" in in_task(env={"A": f"secret:{name}"})[0]
    assert "Tasks[0].Secrets[0].Name" in in_task(secrets=(SecretFile(name=name, path="/a"),))[0]


@pytest.mark.parametrize("path", ["", "relative", "/", "/a/../b", "/proc/1", "/dev", "/a\0b", "/" + "x" * 300])
def test_a_path_that_no_file_can_have_is_told(path: str) -> None:
    assert "Tasks[0].Secrets[0].Path" in in_task(secrets=files(path))[0]


@pytest.mark.parametrize("path", ["/outputs", "/outputs/key", "/", "/outputs//deep/../key", "/etc/hosts"])
def test_no_secret_is_part_of_a_result(path: str) -> None:
    told = in_task(secrets=files(path), result_paths=(ResultPath(name="o", path="/outputs"),), publisher="s3managed")
    assert "Tasks[0].Secrets[0].Path" in told[0]


def test_no_secret_holds_a_result_nor_another_secret() -> None:
    outputs = (ResultPath(name="o", path="/run/secrets/out"),)
    assert "a result path" in in_task(secrets=files("/run/secrets"), result_paths=outputs, publisher="s3managed")[0]
    assert "another secret" in in_task(secrets=files("/run/a", "/run/./a"))[0]
    assert "another secret" in in_task(secrets=files("/run/a/b", "/run/a"))[0]


def test_no_more_files_are_possible_than_a_message_can_carry() -> None:
    assert "at most 64" in in_task(secrets=files(*(f"/run/{number}" for number in range(65))))[0]
