"""What the kernel's log says of a container's end. The log's lines are those of Linux."""

from pathlib import Path

import pytest

from compute.engines.docker.api import ContainerState
from compute.engines.docker.facts import facts_of
from compute.engines.docker.oom_kills import with_kernel_s_word

MINE, OTHER = "a1" * 32, "b2" * 32
DOCKER, OLD_PODMAN = facts_of({"ServerVersion": "28.0"}), facts_of({"ServerVersion": "4.3.1", "Rootless": False})


def kill(*, asked_by: str, full: str, killed: str) -> str:
    """`full` is whose limit was reached; empty is the machine's memory."""
    what = f"CONSTRAINT_MEMCG,nodemask=(null),cpuset=docker-{asked_by}.scope,mems_allowed=0,oom_memcg=/x/docker-{full}"
    if not full:
        what = f"CONSTRAINT_NONE,nodemask=(null),cpuset=docker-{asked_by}.scope,mems_allowed=0,global_oom"
    return f"4,812,99,-;oom-kill:constraint={what},task_memcg=/x/docker-{killed}.scope,task=dd,pid=22836,uid=0\n"


def ended(exit_code: int, *, told: bool = False) -> ContainerState:
    return ContainerState(id=MINE, status="exited", exit_code=exit_code, oom_killed=told, started_at="")


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("compute.engines.docker.oom_kills.KERNEL_LOG", tmp_path / "kmsg")
    return tmp_path / "kmsg"


async def test_a_kill_for_the_container_s_own_limit_is_one(log: Path) -> None:
    log.write_text(kill(asked_by=MINE, full=MINE, killed=MINE))
    for facts, exit_code in ((DOCKER, 137), (OLD_PODMAN, 5)):
        state = await with_kernel_s_word(ended(exit_code), facts)
        assert (state.oom_killed, state.is_starved) == (True, False)


async def test_a_kill_of_another_is_none_of_whoever_asked_for_memory_last(log: Path) -> None:
    log.write_text(kill(asked_by=MINE, full="", killed=OTHER))
    assert (await with_kernel_s_word(ended(5), OLD_PODMAN)).oom_killed is False


@pytest.mark.parametrize("told", [False, True])
async def test_a_kill_because_the_machine_had_no_memory_is_told_apart(log: Path, *, told: bool) -> None:
    log.write_text(kill(asked_by=OTHER, full="", killed=MINE))
    state = await with_kernel_s_word(ended(137, told=told), DOCKER)
    assert (state.oom_killed, state.is_starved) == (True, True)


async def test_what_the_engine_tells_stays_so_where_the_log_has_forgotten_it(log: Path) -> None:
    log.write_text("")
    assert (await with_kernel_s_word(ended(137, told=True), DOCKER)).oom_killed is True
    log.unlink()
    assert (await with_kernel_s_word(ended(137, told=True), DOCKER)).oom_killed is True
    assert (await with_kernel_s_word(ended(137), DOCKER)).oom_killed is None
