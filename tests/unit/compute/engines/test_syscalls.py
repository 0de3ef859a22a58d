"""The filter of system calls, run as the kernel would run it."""

import errno
import struct

import pytest

from compute.engines.syscalls import LARGEST_SEGMENT_BYTES, MACHINES, program

X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
ALLOWED = 0x7FFF0000


def verdict(machine: str, number: int, *arguments: int, audit: int = X86_64) -> int:
    """What the program for that machine answers to a call: ALLOWED, or the error's number."""
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, audit, 0, *(*arguments, *[0] * (6 - len(arguments))))
    steps = list(struct.iter_unpack("=HBBI", program(machine)))
    at, accumulator = 0, 0
    while True:
        code, if_so, if_not, value = steps[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x15:
                at += if_so if accumulator == value else if_not
            case 0x25:
                at += if_so if accumulator > value else if_not
            case 0x35:
                at += if_so if accumulator >= value else if_not
            case 0x45:
                at += if_so if accumulator & value else if_not
            case 0x06:
                return int(value if value == ALLOWED else value & 0xFFFF)
            case _:
                pytest.fail(f"unknown instruction {code:#x}")


@pytest.mark.parametrize("number", [0, 1, 2, 9, 59, 61, 101, 231, 257, 319])
def test_ordinary_calls_are_allowed(number: int) -> None:
    assert verdict("x86_64", number) == ALLOWED


@pytest.mark.parametrize("number", [248, 249, 250, 165, 155, 308, 321, 298, 323, 425, 428, 304, 103])
def test_calls_that_no_task_needs_are_refused(number: int) -> None:
    assert verdict("x86_64", number) == errno.EPERM


@pytest.mark.parametrize("number", [217, 218, 219, 40, 41, 268, 280, 241, 282, 425, 428, 265, 116])
def test_they_are_on_machines_of_another_kind(number: int) -> None:
    assert verdict("aarch64", number, audit=AARCH64) == errno.EPERM


def test_calls_of_programs_for_another_machine_are_absent() -> None:
    assert verdict("x86_64", 20, audit=I386) == errno.ENOSYS
    assert verdict("x86_64", 0x40000000 | 1) == errno.ENOSYS
    assert verdict("aarch64", 64, audit=X86_64) == errno.ENOSYS


def test_new_user_namespaces_are_refused_and_other_flags_are_not() -> None:
    assert verdict("x86_64", 56, 0x10000000 | 17) == errno.EPERM
    assert verdict("x86_64", 56, 0x01200011) == ALLOWED
    assert verdict("x86_64", 272, 0x10000000) == errno.EPERM
    assert verdict("x86_64", 272, 0x200) == ALLOWED
    assert verdict("x86_64", 435) == errno.ENOSYS


def test_leases_and_words_in_the_mouth_of_a_terminal_are_refused() -> None:
    assert verdict("x86_64", 72, 3, 1024) == errno.EACCES
    assert verdict("x86_64", 72, 3, 6) == ALLOWED
    assert verdict("x86_64", 16, 0, 0x5412) == errno.EPERM
    assert verdict("x86_64", 16, 0, 0xFFFFFFFF00005412) == errno.EPERM, "the kernel looks at 32 bits"
    assert verdict("x86_64", 16, 0, 0x541C) == errno.EPERM
    assert verdict("x86_64", 16, 0, 0x5413) == ALLOWED


def test_memory_that_no_look_finds_is_small() -> None:
    assert verdict("x86_64", 29, 0, LARGEST_SEGMENT_BYTES) == ALLOWED
    assert verdict("x86_64", 29, 0, LARGEST_SEGMENT_BYTES + 1) == errno.ENOSPC
    assert verdict("x86_64", 29, 0, 1 << 32) == errno.ENOSPC


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6000, 0o104755, 1 << 32 | 0o4000])
def test_no_mode_gives_rights_to_whoever_runs_a_file(mode: int) -> None:
    on_x86_64 = [(90, 0, mode), (91, 1, mode), (268, 0, 0, mode), (452, 0, 0, mode, 0)]
    made = [(85, 0, mode), (133, 0, mode, 0), (259, 0, 0, mode, 0), (2, 0, 0o101, mode), (257, 0, 0, 0o101, mode)]
    for call in (*on_x86_64, *made, (257, 0, 0, 0o20200002, mode)):
        assert verdict("x86_64", *call) == errno.EPERM, call
    for call in ((52, 1, mode), (53, 0, 0, mode), (452, 0, 0, mode, 0), (33, 0, 0, mode, 0), (56, 0, 0, 0o101, mode)):
        assert verdict("aarch64", *call, audit=AARCH64) == errno.EPERM, call


@pytest.mark.parametrize("mode", [0o755, 0o1777, 0o100644, 0])
def test_other_modes_are_allowed(mode: int) -> None:
    for call in ((90, 0, mode), (91, 1, mode), (268, 0, 0, mode), (2, 0, 0o101, mode), (257, 0, 0, 0o101, mode)):
        assert verdict("x86_64", *call) == ALLOWED, call


def test_a_mode_counts_only_where_a_file_may_be_made() -> None:
    assert verdict("x86_64", 2, 0, 0o2, 0o6000) == ALLOWED
    assert verdict("x86_64", 257, 0, 0, 0o200000, 0o6000) == ALLOWED
    assert verdict("x86_64", 437) == errno.ENOSYS, "its flags cannot be seen"


@pytest.mark.parametrize("machine", MACHINES)
def test_a_program_is_as_long_as_the_kernel_takes(machine: str) -> None:
    assert len(program(machine)) % 8 == 0
    assert len(program(machine)) // 8 <= 4096
