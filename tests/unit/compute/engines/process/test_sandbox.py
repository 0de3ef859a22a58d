"""What a task is shown of the machine, as arguments of bubblewrap."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.engines.process.configuration import SHOWN
from compute.engines.process.sandbox import SandboxBase, SandboxView, arguments

WORKSPACE, TEMPORARY = Path("/data/e-1/workspace"), Path("/data/e-1/tmp")
BASE = SandboxBase(links={"/bin": "usr/bin"}, system=["/usr"])
VIEW = SandboxView(workspace=WORKSPACE, temporary=TEMPORARY, working_directory=WORKSPACE / "sub")
BINDS = ("--bind", "--ro-bind", "--ro-bind-try", "--dev-bind")


def bound(told: list[str]) -> Iterator[tuple[str, str, str]]:
    """How, what and where, in order."""
    return ((how, told[at + 1], told[at + 2]) for at, how in enumerate(told) if how in BINDS)


def made(base: SandboxBase = BASE, view: SandboxView = VIEW, gpus: dict[str, str] | None = None) -> list[str]:
    return arguments(base, view, gpus or {})


def test_a_task_has_namespaces_of_its_own_and_no_capabilities() -> None:
    told = made()
    assert told[:3] == ["--unshare-user", "--cap-drop", "ALL"]
    for name in ("--disable-userns", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"):
        assert name in told
    assert "--new-session" in told
    assert not {"--cap-add", "--share-net", "--unshare-user-try", "--die-with-parent", "--as-pid-1"} & set(told)


def test_an_older_bubblewrap_is_not_told_what_it_does_not_know() -> None:
    assert "--disable-userns" not in made(SandboxBase(forbids_nesting=False))


def test_only_the_tasks_own_folders_can_be_written() -> None:
    writable = [(source, place) for how, source, place in bound(made()) if how in {"--bind", "--dev-bind"}]
    temporary = [(str(TEMPORARY), place) for place in ("/tmp", "/dev/shm")]
    assert sorted(writable) == sorted([(str(WORKSPACE), str(WORKSPACE)), *temporary])


def test_what_bubblewrap_makes_in_memory_is_closed_at_last() -> None:
    told = made(SandboxBase(hidden="/data"))
    closed = {told[at + 1]: at for at, each in enumerate(told) if each == "--remount-ro"}
    assert set(closed) == {"/", "/dev", "/proc", "/data"}
    last = max(at for at, each in enumerate(told) if each in BINDS)
    assert closed["/"] > last
    assert closed["/data"] > last
    assert "--tmpfs" not in made(), "there is no memory to write files to"


@pytest.mark.parametrize("secret", ["/etc", "/etc/shadow", "/etc/ssh", "/etc/ssl", "/etc/ssl/private", "/etc/pki"])
def test_nothing_of_the_configuration_that_may_be_secret_is_shown(secret: str) -> None:
    assert not [name for name in SHOWN if Path(secret).is_relative_to(f"/etc/{name}")]


@pytest.mark.parametrize("place", ["/home", "/root", "/run", "/var", "/sys", "/boot", "/mnt", "/media", "/srv"])
def test_folders_of_others_are_absent(place: str) -> None:
    told = made(SandboxBase())
    shown = [where for _, _, where in bound(told) if Path(where).is_relative_to(place)]
    assert set(shown) <= {"/sys/devices/system"}


def test_links_of_the_machine_are_links_for_the_task() -> None:
    told = made()
    at = told.index("--symlink")
    assert told[at : at + 3] == ["--symlink", "usr/bin", "/bin"]


def test_the_configuration_is_a_folder_of_copies() -> None:
    view = SandboxView(workspace=WORKSPACE, temporary=TEMPORARY, configuration=Path("/data/sandbox/etc-1"))
    assert ("--ro-bind", "/data/sandbox/etc-1", "/etc") in bound(made(view=view))


def test_the_nodes_folder_is_hidden_where_something_else_would_show_it() -> None:
    told = made(SandboxBase(shown=["/srv"], hidden="/srv/tarpon"))
    order = [told.index("/srv"), told.index("/srv/tarpon"), told.index(str(WORKSPACE))]
    assert order == sorted(order)
    assert told[told.index("/srv/tarpon") - 1] == "--tmpfs"


def test_paths_of_the_operator_are_read_only() -> None:
    assert ("--ro-bind-try", "/srv/data", "/srv/data") in bound(made(SandboxBase(shown=["/srv/data"])))


def test_files_of_secrets_are_shown_one_by_one_and_read_only() -> None:
    secret = Path("/data/secrets/e-1/0")
    told = made(view=SandboxView(workspace=WORKSPACE, temporary=TEMPORARY, files=[secret]))
    assert ("--ro-bind", str(secret), str(secret)) in bound(told)


def test_a_task_has_the_nodes_network_unless_it_says_none() -> None:
    assert "--unshare-net" not in made()
    assert "--unshare-net" in made(view=SandboxView(workspace=WORKSPACE, temporary=TEMPORARY, has_network=False))


def test_a_task_has_the_machines_host_name_unless_it_is_to_be_the_same_everywhere() -> None:
    assert "--hostname" not in made()
    told = made(view=SandboxView(workspace=WORKSPACE, temporary=TEMPORARY, host_name="localhost"))
    assert told[told.index("--hostname") + 1] == "localhost"


def test_a_task_of_root_is_nobody_in_its_own_eyes() -> None:
    told = made(SandboxBase(is_root=True))
    at = told.index("--uid")
    assert told[at : at + 4] == ["--uid", "65534", "--gid", "65534"]
    assert "--uid" not in made()


def test_gpus_are_devices_and_what_is_known_of_them() -> None:
    told = list(bound(made(gpus={"/dev/nvidia0": "/data/sandbox/nvidia0"})))
    assert ("--dev-bind", "/data/sandbox/nvidia0", "/dev/nvidia0") in told
    assert ("--ro-bind-try", "/sys/class", "/sys/class") in told


def test_copies_take_the_place_of_devices() -> None:
    told = list(bound(made(SandboxBase(devices={"/dev/null": "/data/sandbox/null"}))))
    assert ("--dev-bind", "/data/sandbox/null", "/dev/null") in told


def test_the_environment_is_set_inside() -> None:
    view = SandboxView(workspace=WORKSPACE, temporary=TEMPORARY, environment={"LD_PRELOAD": "evil.so"})
    assert made(view=view)[-3:] == ["--setenv", "LD_PRELOAD", "evil.so"]
    assert "evil" not in repr(view)
