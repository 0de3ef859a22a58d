"""What the author of a job tries from inside of a container, by name (no tests in here).

Each is a script for the shell of BusyBox. It has gained something if what comes back of it has a word of outside, or
`{gain}`, which it prints where it could do what it may not. `{names}` are of what is outside: the node's folder and
process, a neighbour's task, a file and services of the machine. What would harm the machine that runs the tests, if a
wall were missing, is tried in a way that would not, such as by writing what stands there already.
"""

from collections.abc import Iterator
from typing import NamedTuple


class ContainerAttempt(NamedTuple):
    name: str
    script: str
    alone: bool = False
    """It ends all in its container, or shows all that is tried there."""


def _all(*attempts: tuple[str, str] | tuple[str, str, bool]) -> tuple[ContainerAttempt, ...]:
    return tuple(ContainerAttempt(*each) for each in attempts)


def _writes(*paths: str) -> str:
    """What stands there already, so that nothing is harmed if it can be done."""
    return "; ".join(f'v=$(cat {path}); echo "$v" > {path} && echo {{gain}}' for path in paths)


def _each(items: str, act: str) -> str:
    return f"for each in {items}; do {act}; done"


ALONE = True
PATHS = _all(
    ("reads a file of the machine by its path", "cat {file}"),
    ("reads a file of the machine through the first process", "cat /proc/1/root{file} /proc/1/cwd{file}"),
    ("reads a file of the machine through every process", "cat /proc/[0-9]*/root{file}"),
    ("reads a file of the machine by a link in its results", "ln -s {file} /outputs/link; cat /outputs/link"),
    ("reads a file of the machine by a path upwards", "cd /outputs; cat ../../../../../../../../..{file}"),
    (
        "changes its root and goes upwards",
        "mkdir -p /r/bin; cp /bin/busybox /r/bin/cat; cd /; chroot /r /bin/cat ../../../../..{file}",
    ),
    ("reads the node's key by its path", "cat {data_dir}/compute/node.nkey"),
    (
        "reads the node's key where its results are mounted from",
        "cat $(awk '$5 == \"/outputs\" {{print $4}}' /proc/self/mountinfo)/../../../node.nkey",
    ),
    ("reads the node's journal", "cat {data_dir}/compute/journal* {data_dir}/compute/journal/*"),
    ("reads all that the node has", "find {data_dir} -type f -exec cat {{}} +"),
    ("looks for what other tasks leave", "find / -xdev -name 'hush*' -exec cat {{}} +"),
    ("makes a file in a folder of the machine", "mkdir -p {folder}; echo was-here > {folder}/was-here"),
    (
        "makes a file there by a link",
        "ln -s {folder} /outputs/folder; echo was-here > /outputs/folder/was-here",
    ),
    (
        "has a file there removed with its results",
        "rm -rf /outputs; ln -s {folder} /outputs; ln -s {folder} /outputs/folder",
    ),
    (
        "leaves links that lead to a file of the machine",
        "ln -s {file} /outputs/absolute; ln -s ../../../../../../../../../..{file} /outputs/relative",
    ),
    ("leaves a hard link to a file of the machine", "ln {file} /outputs/hard; cat /outputs/hard"),
    ("leaves a link to what its node reads of itself", "ln -s /proc/self/environ /outputs/environ"),
    ("leaves a link to the node's key", "ln -s ../../../node.nkey /outputs/key; ln -s {data_dir} /outputs/all"),
)
PROCESSES = _all(
    ("reads the environments of all processes", "cat /proc/[0-9]*/environ"),
    ("reads the commands of all processes", "cat /proc/[0-9]*/cmdline", ALONE),
    ("reads the node's environment by its number", "cat /proc/{node_pid}/environ"),
    ("reads a neighbour's environment by its number", "cat /proc/{neighbour_pid}/environ"),
    ("reads what a neighbour has open", "cat /proc/{neighbour_pid}/fd/*; ls -l /proc/{neighbour_pid}/fd"),
    ("reads the node's memory by its number", "cat /proc/{node_pid}/maps && head -c 9 /proc/{node_pid}/mem"),
    ("reads a neighbour's folder through its process", "cat /proc/{neighbour_pid}/root/outputs/hush"),
    ("kills every process that it sees", "kill -9 -1", ALONE),
    ("kills the node by its number", "kill -9 {node_pid} && echo {gain}"),
    ("kills a neighbour by its number", "kill -9 {neighbour_pid} && echo {gain}"),
    ("stops a neighbour by its number", "kill -STOP {neighbour_pid} && echo {gain}"),
    ("has the node wait for others", "renice -n 19 -p {node_pid} && echo {gain}"),
    ("has the kernel kill the node first", "echo 1000 > /proc/{node_pid}/oom_score_adj && echo {gain}"),
    ("has the kernel never kill it", "echo -1000 > /proc/self/oom_score_adj && echo {gain}"),
    ("enters the mounts of its first process", "nsenter -t 1 -m -- cat {file}"),
    ("enters the namespaces of a neighbour", "nsenter -t {neighbour_pid} -m -p -- cat /outputs/hush"),
)
KERNEL = _all(
    ("chooses what the kernel calls at a crash", _writes("/proc/sys/kernel/core_pattern")),
    ("chooses what the kernel calls for modules", _writes("/proc/sys/kernel/modprobe")),
    ("chooses what the kernel shows", _writes("/proc/sys/kernel/printk", "/proc/sys/kernel/dmesg_restrict")),
    ("turns off the protection of links", _writes("/proc/sys/fs/protected_symlinks", "/proc/sys/fs/suid_dumpable")),
    ("chooses how the kernel gives out memory", _writes("/proc/sys/vm/overcommit_memory", "/proc/sys/vm/swappiness")),
    ("chooses what the network forwards", _writes("/proc/sys/net/ipv4/ip_forward")),
    ("asks the kernel for help by its magic key", "echo h > /proc/sysrq-trigger && echo {gain}"),
    ("renames the machine", 'hostname "$(hostname)" && echo {gain}'),
    ("sets the clock", "date -s @$(date +%s) 2>&1 | grep -q 'not permitted' || echo {gain}"),
    ("loads a module", "echo > /m.ko; insmod /m.ko && echo {gain}"),
    ("reads the kernel's memory", "head -c 64 /proc/kcore | grep -q ELF && echo {gain}"),
    ("reads the machine's memory", "mknod /m c 1 1; head -c 64 /m > /n && [ -s /n ] && echo {gain}"),
    ("reads the kernel's keys", "[ -s /proc/keys ] && echo {gain}"),
    ("reads the kernel's timers", "[ -s /proc/timer_list ] && echo {gain}"),
    ("reads the kernel's log", "dmesg | grep -q . && echo {gain}"),
    ("writes into the kernel's log", "mknod /k c 1 11; echo hush > /k && echo {gain}"),
    (
        "reads the disk by a device of its own",
        (
            "set -- $(awk '$4 ~ /^[svn]/ {{print $1, $2; exit}}' /proc/partitions); mknod /d b ${{1:-8}} ${{2:-0}}; "
            "head -c 512 /d > /n && [ -s /n ] && echo {gain}"
        ),
    ),
    ("leaves a device in its results", "mknod /outputs/d b 7 0; head -c 1 /outputs/d > /n && echo {gain}"),
)
MOUNTS = _all(
    ("mounts the disk", "mkdir /d; mount -t ext4 /dev/vda /d && echo {gain}; cat /d{file}"),
    ("mounts the processes of the machine", "mkdir /p; mount -t proc none /p && echo {gain}"),
    ("mounts the root elsewhere", "mkdir /b; mount --bind / /b && echo {gain}"),
    ("takes away what is mounted over its files", "umount -l /etc/hosts && echo {gain}"),
    ("takes away what is mounted over the kernel's", "umount -l /proc/kcore && echo {gain}"),
    ("has what it may only read be written", "mount -o remount,rw /etc/hosts && echo {gain}"),
    ("writes what it may only read", "echo hush >> /etc/hosts && echo {gain}"),
    ("has the kernel's settings be written", "mount -o remount,rw /proc/sys && echo {gain}"),
    ("makes namespaces in which it has all rights", "unshare -U -r -m mount -t tmpfs none /mnt && echo {gain}"),
    ("mounts control groups", "mkdir /c; mount -t cgroup -o memory none /c && echo {gain}"),
    ("mounts control groups of the second kind", "mkdir /c; mount -t cgroup2 none /c && echo {gain}"),
    (
        "lifts the limits of its control group",
        _each(
            "$(find /sys/fs/cgroup -name memory.max -o -name pids.max -o -name memory.limit_in_bytes)",
            "cat $each > /n; cat /n > $each && echo {gain}",
        ),
    ),
    (
        "has a program called at the end of a control group",
        _each("$(find / -name release_agent 2> /dev/null)", "cat $each > /n; cat /n > $each && echo {gain}"),
    ),
    ("mounts what the kernel tells of itself", "mkdir /k; mount -t debugfs none /k && echo {gain}"),
    ("mounts the kernel's traces", "mkdir /k; mount -t tracefs none /k && echo {gain}"),
)
NETWORK = _all(
    ("asks a service on the machine's loopback", "wget -q -T 2 -O - http://127.0.0.1:{port}/"),
    ("asks it by its name", "wget -q -T 2 -O - http://localhost:{port}/"),
    (
        "asks it by every address that it has a way to",
        "wget -q -T 2 -O - http://$(ip route | awk '{{print $3}}'):{port}/",
    ),
    ("asks the orchestrator's API", "wget -q -T 2 -O - http://127.0.0.1:{api_port}/api/v1/agent/alive && echo {gain}"),
    ("speaks to NATS", "nc -w 2 127.0.0.1 {nats_port} < /dev/null | grep -q INFO && echo {gain}"),
    ("asks a metadata address", "wget -q -T 2 -O - http://169.254.169.254/ && echo {gain}"),
    ("makes an interface", "ip link add hush type dummy && echo {gain}"),
    ("gives itself a metadata address", "ip addr add 169.254.169.254/32 dev lo && echo {gain}"),
    ("talks to the container engine where it is as a rule", "[ -S /var/run/docker.sock ] && echo {gain}"),
    ("talks to the container engine where it is here", "[ -S {socket} ] && echo {gain}"),
)
MORE = _all(
    (
        "becomes another user by a program of its own",
        "cp /bin/busybox /outputs/su; chmod 4777 /outputs/su; grep -q 'NoNewPrivs:.1' /proc/self/status || echo {gain}",
    ),
    (
        "has rights by which a machine is administered",
        # CAP_SYS_ADMIN is bit 21 and CAP_SYS_MODULE bit 16 of the set that it can ever have.
        "c=$(awk '/CapBnd/ {{print $2}}' /proc/self/status); [ $((0x$c & 0x210000)) = 0 ] || echo {gain}",
    ),
    ("takes more memory than it asked for", "tail /dev/zero", ALONE),
    ("starts processes without end", "b() {{ b | b & }}; b; sleep 1", ALONE),
    ("fills the memory that is shared", "head -c 90000000 /dev/zero > /dev/shm/hush && echo {gain}", ALONE),
    ("locks a file of the machine", "flock -n {file} echo {gain}"),
    (
        "leaves a process behind",
        "setsid sh -c 'sleep 2; echo was-here > {folder}/was-here' > /dev/null 2>&1 & exit 0",
        ALONE,
    ),
    (
        "leaves a crashed program's memory outside",
        "cd {folder}; cd /outputs; ulimit -c unlimited; sh -c 'kill -SEGV $$'",
    ),
)
GROUPS = (PATHS, PROCESSES, KERNEL, MOUNTS, NETWORK, MORE)

ONE_AFTER_THE_OTHER = 'for each in "$@"; do n=$((n + 1)); echo "== $n"; timeout 8 sh -c "$each"; done'
"""Scripts, each for a shell of its own."""


def containers() -> Iterator[tuple[ContainerAttempt, ...]]:
    """What is tried in each one."""
    for group in GROUPS:
        yield tuple(each for each in group if not each.alone)
        yield from ((each,) for each in group if each.alone)


def attempts() -> Iterator[ContainerAttempt]:
    for group in GROUPS:
        yield from group
