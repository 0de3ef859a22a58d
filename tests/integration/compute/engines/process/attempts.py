"""What a task on the machine itself tries, to get at what is not its own, by name (no tests in here).

Each is a script for sh. It has gained something if what comes back of it has a word of outside, or `{gain}`, which it
prints where it could do what it may not. What would harm the machine, if a wall were missing, is tried in a way that
would not, such as by writing what stands there already. `is_seen`: without a sandbox it does gain, and the tests show
that; the others are not tried without, or need rights that not everybody has who runs them.
"""

from collections.abc import Iterator
from typing import NamedTuple

NUMBERS = """
import ctypes, fcntl, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(x86_64, others, *arguments):
    return libc.syscall(x86_64 if os.uname().machine == "x86_64" else others, *arguments)
def gained(is_so):
    if is_so:
        print(GAIN)
"""
"""Is there as a module `call`, so that system calls can be made by their numbers."""


class TaskAttempt(NamedTuple):
    name: str
    script: str
    is_seen: bool = False


def _reads(name: str, script: str) -> TaskAttempt:
    return TaskAttempt(name, script, is_seen=True)


def _tries(name: str, script: str) -> TaskAttempt:
    return TaskAttempt(name, script)


def _calls(name: str, python: str) -> TaskAttempt:
    return TaskAttempt(name, f"/usr/bin/python3 -c 'from call import *; {python}'")


def _has_rights(name: str, python: str) -> TaskAttempt:
    """Files of these give whoever runs them the rights of the node's user, were they handed to others."""
    return TaskAttempt(name, _calls(name, f"{python}; gained(os.stat(f).st_mode & 0o6000)").script, is_seen=True)


def _writes(path: str) -> str:
    """What stands there already, so that nothing is harmed if it can be done."""
    return f'v=$(cat {path}) && echo "$v" > {path} && echo {{gain}}'


PATHS = (
    _reads("reads a file of the machine", "cat {file}"),
    _reads("reads it by a path upwards", "cat ../../../../../../../../../..{file}"),
    _reads("reads it by a link in its results", "ln -s {file} outputs/link; cat outputs/link"),
    _reads("reads it by its own root", "cat /proc/self/root{file}"),
    _tries("reads it by the root of the first process", "cat /proc/1/root{file} /proc/1/cwd{file}"),
    _reads("reads the node's key", "cat {data_dir}/compute/node.nkey"),
    _reads("reads the node's journal", "cat {data_dir}/compute/journal.jsonl"),
    _reads("reads all that the node has", "find {data_dir} -type f -exec cat {{}} +"),
    _reads("reads what another task works on", "cat {neighbour_folder}/workspace/hush"),
    _reads("reads temporary files of another task", "find {neighbour_folder}/ -name hush -exec cat {{}} +"),
    _reads("reads a home folder", "cat {home}/.ssh/id_ed25519"),
    _tries("sees the homes of people", "ls -d /root /home | grep -q . && echo {gain}"),
    _tries("sees what services leave", "ls /var/log | grep -q . && echo {gain}"),
    _tries("sees what runs", "ls -A /run | grep -q . && echo {gain}"),
    _tries("reads passwords of the machine", "cat /etc/shadow /etc/gshadow && echo {gain}"),
    _tries("reads keys of its ssh", "ls /etc/ssh && echo {gain}"),
    _tries("reads keys of its services", "ls /etc/ssl/private /etc/pki/tls/private && echo {gain}"),
    _tries("reads how its disks are mounted", "cat /etc/fstab && echo {gain}"),
    _calls(
        "opens a file by its handle",
        'h = struct.pack("=IiQQ", 8, 1, 2, 0); gained(call(304, 265, 3, h, 0) >= 0)',
    ),
    _reads("makes a file in a folder of the machine", "echo was-here > {folder}/was-here && echo {gain}"),
    _tries("makes a file in the system", "touch /usr/hush /usr/local/hush /opt/hush && echo {gain}"),
    _tries("makes a file where all is mounted", "touch /hush || touch /dev/hush || touch /etc/hush && echo {gain}"),
    _tries("changes a program of the system", "chmod 755 /usr/bin/env && echo {gain}"),
    _tries("changes when one was used", "touch -c /usr/bin/env && echo {gain}"),
    _tries("replaces the loader's cache", "cp /etc/ld.so.cache /etc/ld.so.cache && echo {gain}"),
    _tries("moves a folder of the system", "mv /usr/share /usr/elsewhere && echo {gain}"),
    _tries("links a file of the system into its results", "ln /usr/bin/env outputs/env && echo {gain}"),
)
DEVICES = (
    _tries("takes the null device from everybody", "chmod 666 /dev/null && echo {gain}"),
    _tries("takes it by what it reads from", "chmod 666 /proc/self/fd/0 && echo {gain}"),
    _tries("takes the source of random numbers", "chmod 666 /dev/urandom && echo {gain}"),
    _tries("takes the program that keeps it in", "chmod 755 /proc/1/exe && echo {gain}"),
    _tries("writes to the program that keeps it in", ": >> /proc/1/exe && echo {gain}"),
    _tries("makes that a program with rights", "chmod u+s /proc/1/exe && echo {gain}"),
    _tries("finds the disks", "ls /dev/sd* /dev/vd* /dev/nvme* /dev/loop* /dev/mapper && echo {gain}"),
    _tries("finds the memory", "ls /dev/mem /dev/kmem /dev/port /dev/kmsg && echo {gain}"),
    _tries("makes a disk of its own", "mknod outputs/disk b 8 0 && echo {gain}"),
    _tries("makes a null device of its own", "mknod outputs/null c 1 3 && echo {gain}"),
    _tries("finds a virtual machine to be", "ls /dev/kvm /dev/vhost-net /dev/net/tun /dev/fuse && echo {gain}"),
    _calls("speaks for its terminal", 'gained(fcntl.ioctl(os.open("/dev/tty", os.O_RDWR), 0x5412, b"x") is not None)'),
)
PROCESSES = (
    _reads("reads the environments of all processes", "cat /proc/[0-9]*/environ"),
    _reads("reads the commands of all processes", "cat /proc/[0-9]*/cmdline"),
    _reads("reads the node's environment", "cat /proc/{node_pid}/environ"),
    _reads("reads the node's root", "cat /proc/{node_pid}/root{file}"),
    _reads("sees what the node has open", "ls /proc/{node_pid}/fd && echo {gain}"),
    _tries("reads the node's memory", "cat /proc/{node_pid}/maps && head -c 9 /proc/{node_pid}/mem && echo {gain}"),
    _reads("reads a neighbour's environment", "cat /proc/{neighbour_pid}/environ"),
    _reads("reads a neighbour's folder through its process", "cat /proc/{neighbour_pid}/cwd/hush"),
    _reads("could kill the node", "kill -0 {node_pid} && echo {gain}"),
    _reads("could kill a neighbour", "kill -0 {neighbour_pid} && echo {gain}"),
    _tries("kills all that it sees", "kill -9 -1"),
    _tries("kills its group", "kill -9 0"),
    _tries("kills what keeps it in", "kill -9 1; kill -TERM 1; kill -STOP 1"),
    _tries("stops the node", "kill -STOP {node_pid} && echo {gain}"),
    _tries("has the node wait for others", "renice -n 1 -p {node_pid} && echo {gain}"),
    _tries("has the kernel kill the node first", "echo 1 > /proc/{node_pid}/oom_score_adj && echo {gain}"),
    _tries("has the kernel never kill it", "echo -1000 > /proc/self/oom_score_adj && echo {gain}"),
    _calls("holds the node by a descriptor", "gained(call(434, 434, {node_pid}, 0) >= 0)"),
    _calls("traces the node", "gained(call(101, 117, 0x4206, {node_pid}, 0, 0) == 0)"),
    _calls("traces a neighbour", "gained(call(101, 117, 0x4206, {neighbour_pid}, 0, 0) == 0)"),
    _calls(
        "reads the node's memory by a call",
        "b = ctypes.create_string_buffer(8); v = struct.pack('=QQ', ctypes.addressof(b), 8);"
        " gained(call(310, 270, {node_pid}, v, 1, v, 1, 0) >= 0)".replace("'", '"'),
    ),
    _calls("limits the node", "gained(call(302, 261, {node_pid}, 7, 0, ctypes.create_string_buffer(16)) == 0)"),
    _calls("chooses the node's processors", 'gained(call(203, 122, {node_pid}, 8, struct.pack("Q", 255)) == 0)'),
)
KERNEL = (
    _tries("chooses what the kernel calls at a crash", _writes("/proc/sys/kernel/core_pattern")),
    _tries("chooses what the kernel calls for modules", _writes("/proc/sys/kernel/modprobe")),
    _tries("chooses what the kernel shows", _writes("/proc/sys/kernel/printk")),
    _tries("turns off the protection of links", _writes("/proc/sys/fs/protected_symlinks")),
    _tries("chooses how memory is given out", _writes("/proc/sys/vm/overcommit_memory")),
    _tries("chooses how many processes there are", _writes("/proc/sys/kernel/pid_max")),
    _tries("has the kernel drop what it keeps", "echo 1 > /proc/sys/vm/drop_caches && echo {gain}"),
    _tries("asks the kernel for help by its magic key", "echo h > /proc/sysrq-trigger && echo {gain}"),
    _tries("reads the kernel's keys", "grep -q . /proc/keys && echo {gain}"),
    _tries("reads the kernel's memory", "head -c 4 /proc/kcore | grep -q ELF && echo {gain}"),
    _tries("reads the kernel's log", "dmesg | grep -q . && echo {gain}"),
    _calls("reads it by a call", "b = ctypes.create_string_buffer(64); gained(call(103, 116, 3, b, 64) > 0)"),
    _calls("makes a key", 'gained(call(248, 217, b"user", b"hush", b"x", 1, -3) > 0)'),
    _calls("looks into the node's keyring", "gained(call(250, 219, 0, -3, 1) > 0)"),
    _calls("asks for a key", 'gained(call(249, 218, b"user", b"hush", 0, -3) > 0)'),
    _calls("loads a program into the kernel", "gained(call(321, 280, 0, ctypes.create_string_buffer(128), 128) >= 0)"),
    _calls(
        "counts what others do", 'gained(call(298, 241, ctypes.create_string_buffer(b"\\1", 128), -1, 0, -1, 0) >= 0)'
    ),
    _calls("handles its page faults itself", "gained(call(323, 282, 1) >= 0)"),
    _calls("queues calls past the filter", "gained(call(425, 425, 1, ctypes.create_string_buffer(128)) >= 0)"),
    _calls("takes a lease on a program of the system", 'gained(fcntl.fcntl(os.open("/usr/bin/env", 0), 1024, 1) == 0)'),
    _calls("takes memory that nobody sees", "gained(call(29, 194, 0, 1 << 30, 0o1600) >= 0)"),
    _tries("sets the clock", "date -s @$(date +%s) > /dev/null && echo {gain}"),
    _tries("loads a module", "modprobe loop && echo {gain}"),
    _tries("renames the machine", "hostname hush && hostname | grep -q . && uname -n"),
)
NAMESPACES = (
    _calls("makes a namespace in which it has all rights", "gained(libc.unshare(0x10000000) == 0)"),
    _calls("makes one for a child", "gained(call(56, 220, 0x10000011, 0, 0, 0, 0) > 0)"),
    _calls(
        "makes one by the newer call", 'gained(call(435, 435, struct.pack("=Q", 0x10000000).ljust(88, b"\\0"), 88) > 0)'
    ),
    _calls("enters those of its first process", 'gained(libc.setns(os.open("/proc/1/ns/mnt", 0), 0) == 0)'),
    _tries("enters those of the node", "nsenter -t {node_pid} -m cat {file}"),
    _tries("mounts memory", "mount -t tmpfs none /tmp && echo {gain}"),
    _tries("mounts the processes of the machine", "mkdir p; mount -t proc none p && echo {gain}"),
    _tries("mounts control groups", "mkdir c; mount -t cgroup2 none c && echo {gain}"),
    _tries("has what it may only read be written", "mount -o remount,rw /usr && echo {gain}"),
    _tries("has the kernel's settings be written", "mount -o remount,rw /proc && echo {gain}"),
    _tries("takes away what is mounted", "umount -l /proc || umount -l /usr || umount -l /tmp && echo {gain}"),
    _tries("changes its root", "mkdir r; chroot r / && echo {gain}"),
    _calls("changes its root by the newer call", 'os.mkdir("r"); gained(call(155, 41, b".", b"r") == 0)'),
    _calls("takes a tree of mounts", 'gained(call(428, 428, -100, b"/", 1) >= 0)'),
    _tries("finds control groups", "find /sys/fs/cgroup -type f | grep -q . && echo {gain}"),
    _tries("finds what the kernel tells of itself", "ls /sys/kernel /sys/fs /sys/firmware && echo {gain}"),
    _tries(
        "has rights left",
        "grep -E '^Cap(Prm|Eff|Bnd|Amb)' /proc/self/status | grep -qv '0000000000000000' && echo {gain}",
    ),
    _tries("may gain rights", "grep -q 'NoNewPrivs:.0' /proc/self/status && echo {gain}"),
    _tries("becomes root by a program of the system", "echo | su -c 'echo {gain}' || sudo -n echo {gain}"),
    _tries(
        "becomes another by a program of its own",
        "cp /usr/bin/id outputs/id; chmod 6755 outputs/id; outputs/id | grep -q 'euid=' && echo {gain}",
    ),
)
MODES = (
    _has_rights("makes its output a program with rights", "f = 1; os.fchmod(f, 0o4755)"),
    _has_rights("makes its errors one of its group", "f = 2; os.fchmod(f, 0o2755)"),
    _has_rights("makes its output one by its path", 'f = "/proc/self/fd/1"; os.chmod(f, 0o4755)'),
    _has_rights("makes it one beside a folder", 'f = "/proc/self/fd/1"; call(268, 53, -100, f.encode(), 0o4755)'),
    _has_rights("makes a file that is one", 'f = os.open("own", os.O_CREAT | os.O_WRONLY, 0o4755)'),
    _has_rights("makes one that has no name", 'f = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o4755)'),
    _has_rights("makes one as a node", 'f = "own"; os.mknod(f, 0o104755)'),
    _has_rights(
        "makes one by the newest call to open",
        'f = call(437, 437, -100, b"own", struct.pack("=3Q", 0o101, 0o4755, 0), 24)',
    ),
)
OTHERS = (
    _reads("asks a service on the machine's loopback", "exec bash -c 'cat < /dev/tcp/127.0.0.1/{port}'"),
    _tries("asks a metadata address", "timeout 3 bash -c ': < /dev/tcp/169.254.169.254/80' && echo {gain}"),
    _calls("sees the machine's interfaces", 'gained([n for _, n in socket.if_nameindex() if n != "lo"])'),
    _reads("asks a service by its socket", "{connect} {socket}"),
    _reads("asks a service by a name without a file", "{connect} @{abstract}"),
    _tries("talks to the container engine", "ls /run/docker.sock /var/run/docker.sock /run/podman && echo {gain}"),
    _reads("reads memory that programs share", "ipcs -m | grep -q {segment} && echo {gain}"),
    _tries("finds queues of messages", "ls /dev/mqueue && echo {gain}"),
    _reads("reads temporary files of the machine", "cat {temporary}"),
    _reads("reads shared memory of the machine", "cat {shared}"),
    _reads("locks a file that others use", "flock -n {file} echo {gain}"),
    _tries("writes its crash elsewhere", "ulimit -c unlimited; sh -c 'cd {folder}; kill -SEGV $$'"),
    _tries("leaves a process behind", "setsid sh -c 'sleep 1; echo was-here > {folder}/was-here' & exit 0"),
)
LINKS = (
    _tries("leaves a link to a file of the machine", "ln -s {file} outputs/link"),
    _tries("leaves one that goes upwards", "ln -s ../../../../../../../../../..{file} outputs/link"),
    _tries("leaves a link to the node's key", "ln -s {data_dir}/compute/node.nkey outputs/key"),
    _tries("leaves a link in the place of its results", "rm -r outputs; ln -s {data_dir}/compute outputs"),
    _tries(
        "leaves a link on the way to its results", "mkdir a; ln -s {data_dir} a/b; rm -r outputs; ln -s a/b outputs"
    ),
    _tries("leaves a link to what its node reads of itself", "ln -s /proc/self/environ outputs/environ"),
)
GROUPS = (PATHS, DEVICES, PROCESSES, KERNEL, NAMESPACES, MODES, OTHERS, LINKS)


def task_attempts() -> Iterator[TaskAttempt]:
    for group in GROUPS:
        yield from group
