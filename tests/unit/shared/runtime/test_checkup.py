"""Checks are made at once, each in its own time, and none hides what the others find."""

import asyncio
import socket
import threading

from shared.errors import StorageUnavailable
from shared.runtime.checkup import Check, Finding, Grade, aside, findings_of, ok, port_finding

HOST = "127.0.0.1"


async def well() -> list[Finding]:
    return [ok("b", "It is well.")]


async def test_findings_come_in_the_order_of_the_checks() -> None:
    both_begun = asyncio.Barrier(2)

    async def first() -> list[Finding]:
        await both_begun.wait()
        return [ok("a", "It is well.")]

    async def second() -> list[Finding]:
        await both_begun.wait()
        return await well()

    async with asyncio.timeout(5):
        found = await findings_of([Check("a", first), Check("b", second)])
    assert [each.area for each in found] == ["a", "b"], "and they were made at once"


async def test_a_check_that_hangs_is_told_and_holds_nobody_up() -> None:
    async def hangs() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    hung, fine = await findings_of([Check("a", hangs, 0.01), Check("b", well)])
    assert (hung.grade, hung.code, hung.area) == (Grade.PROBLEM, "CheckTimedOut", "a")
    assert fine.grade is Grade.OK


async def test_an_error_of_ours_is_a_problem_with_its_code_and_hint() -> None:
    async def fails() -> list[Finding]:
        raise StorageUnavailable("S3 is away.", hint="Look for it.")

    (found,) = await findings_of([Check("a", fails)])
    assert (found.code, found.message, found.hint) == ("StorageUnavailable", "S3 is away.", "Look for it.")


async def test_a_defect_of_one_check_shows_no_text_of_its_error() -> None:
    async def fails() -> list[Finding]:
        raise ValueError("https://host/?X-Amz-Signature=secret")

    found, fine = await findings_of([Check("a", fails), Check("b", well)])
    assert (found.code, found.message) == ("InternalError", "It could not be looked at: ValueError.")
    assert fine.grade is Grade.OK


async def test_what_blocks_for_ever_is_left_behind() -> None:
    never = threading.Event()

    async def blocks() -> list[Finding]:
        await aside(never.wait)
        return []

    (found,) = await findings_of([Check("a", blocks, 0.01)])
    assert found.code == "CheckTimedOut"
    never.set()


async def test_what_a_thread_raises_is_raised_where_it_is_waited_for() -> None:
    def fails() -> None:
        raise StorageUnavailable("S3 is away.")

    async def look() -> list[Finding]:
        await aside(fails)
        return []

    (found,) = await findings_of([Check("a", look)])
    assert found.code == "StorageUnavailable"


def test_a_port_is_free_or_taken() -> None:
    with socket.create_server((HOST, 0)) as listening:
        port = listening.getsockname()[1]
        assert port_finding("ports", "The API", HOST, port, "API.Port").code == "PortTaken"
    assert port_finding("ports", "The API", HOST, port, "API.Port").grade is Grade.OK


def test_a_host_that_is_no_address_of_this_machine_is_told() -> None:
    assert port_finding("ports", "The API", "192.0.2.1", 1, "API.Port").code == "PortNotUsable"
