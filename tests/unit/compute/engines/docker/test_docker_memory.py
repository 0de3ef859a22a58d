"""Which files of the kernel tell of a container's memory, and what they tell."""

from pathlib import Path

import pytest

from compute.engines.docker.memory import CGROUPS, ContainerMemory, MemoryFiles, files_in
from compute.engines.task_usage import TaskUsage

ID = "0950d2d814b150f5a5b2aa06004f56280950d2d814b150f5a5b2aa06004f5628"


@pytest.mark.parametrize(
    ("groups", "usage"),
    [
        (
            f"9:memory:/docker/{ID}\n3:cpu,cpuacct:/docker/{ID}\n0::/docker/{ID}\n",
            "memory/docker/{}/memory.usage_in_bytes",
        ),
        (
            f"4:blkio,memory:/system.slice/docker-{ID}.scope\n",
            "memory/system.slice/docker-{}.scope/memory.usage_in_bytes",
        ),
        (f"0::/system.slice/docker-{ID}.scope\n", "system.slice/docker-{}.scope/memory.current"),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", "machine.slice/libpod-{}.scope/container/memory.current"),
    ],
)
def test_both_versions_of_control_groups_are_read(groups: str, usage: str) -> None:
    found = files_in(groups, ID)
    assert found is not None
    assert found.usage == CGROUPS / usage.format(ID)
    assert found.statistics.parent == found.usage.parent


@pytest.mark.parametrize(
    "groups",
    [
        "",
        "0::/\n",
        "0::/user.slice/user-1000.slice\n",
        f"9:memory:/user.slice\n3:cpu:/docker/{ID}\n",
        "not what the kernel says",
    ],
    ids=["nothing", "root", "another", "of another container alone", "garbage"],
)
def test_what_is_not_the_container_s_own_is_not_read(groups: str) -> None:
    assert files_in(groups, ID) is None


class TestLooks:
    def see(
        self, folder: Path, *, used: int, unused: int, peak: int, usage: TaskUsage | None = None
    ) -> ContainerMemory:
        (folder / "usage").write_text(f"{used}\n")
        (folder / "peak").write_text(f"{peak}\n")
        (folder / "stat").write_text(f"anon 100\ntotal_inactive_file 1\ninactive_file {unused}\n")
        files = MemoryFiles(folder / "usage", folder / "peak", folder / "stat", b"inactive_file")
        return ContainerMemory(files, usage or TaskUsage())

    def test_files_that_nobody_has_used_lately_do_not_count(self, tmp_path: Path) -> None:
        usage = TaskUsage()
        assert self.see(tmp_path, used=1000, unused=300, peak=1000, usage=usage).look()
        assert usage.peak_memory_bytes == 700

    def test_what_came_and_went_since_the_last_look_is_known_by_the_kernel_s_peak(self, tmp_path: Path) -> None:
        usage = TaskUsage()
        memory = self.see(tmp_path, used=1000, unused=300, peak=1000, usage=usage)
        memory.look()
        self.see(tmp_path, used=900, unused=400, peak=5000)
        memory.look()
        assert usage.peak_memory_bytes == 4600
        self.see(tmp_path, used=900, unused=0, peak=5000)
        memory.look()
        assert usage.peak_memory_bytes == 4600, "of a peak that is known already nothing more is learned"

    def test_without_the_kernel_s_peak_what_was_seen_counts(self, tmp_path: Path) -> None:
        usage = TaskUsage()
        memory = self.see(tmp_path, used=1000, unused=300, peak=9, usage=usage)
        (tmp_path / "peak").unlink()
        assert memory.look()
        assert usage.peak_memory_bytes == 700

    @pytest.mark.parametrize("gone", ["usage", "stat"])
    def test_of_one_that_has_ended_nothing_is_seen(self, tmp_path: Path, gone: str) -> None:
        usage = TaskUsage()
        memory = self.see(tmp_path, used=1000, unused=300, peak=1000, usage=usage)
        (tmp_path / gone).unlink()
        assert not memory.look()
        assert usage.peak_memory_bytes == 0
