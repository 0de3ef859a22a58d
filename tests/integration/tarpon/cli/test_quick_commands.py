"""Commands that only read and show: they are quick where the answer is the usual one, and like any other where not."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings.loading import load
from tarpon.cli.console.clients import quick_client_of
from tarpon.http.sign_in.kept import KeptSignIns
from tests.integration.tarpon.cli.test_user_commands import tarpon
from tests.integration.tarpon.http.test_client import Scripted, answer, hang_up, page, serving

JOB = {
    "ID": "j-1",
    "Name": "sums",
    "Version": 1,
    "Revision": 1,
    "CreateTime": 1,
    "ModifyTime": 2,
    "State": {"StateType": "Completed"},
}
LISTED = answer({"Items": [JOB], "NextToken": ""})
HEAVY = """
import sys
from tarpon.cli.program import run
assert run(["job", "list"]) == 0
print("heavy:", sorted({"aiohttp", "asyncio", "yarl"} & set(sys.modules)))
"""


async def test_jobs_are_listed_without_loading_what_would_take_longer_than_the_answer(tmp_path: Path) -> None:
    script = Scripted(LISTED)
    async with serving(script) as url:
        variables = {"PATH": os.environ["PATH"], "TARPON_API_HOST": url, "TARPON_DIR": str(tmp_path)}
        command = [sys.executable, "-c", HEAVY]
        done = await asyncio.to_thread(subprocess.run, command, env=variables, capture_output=True, text=True)
    assert "sums" in done.stdout, done.stderr
    assert "heavy: []" in done.stdout
    assert len(script.requests) == 1
    assert dict(script.requests[0].query) == {"limit": "10", "order_by": "created_at", "reverse": "true"}


@pytest.mark.parametrize("first", [page(503), page(200), hang_up()], ids=["away", "strange", "lost"])
async def test_what_is_no_usual_answer_is_left_to_the_client_that_is_patient(first: object, tmp_path: Path) -> None:
    async with serving(Scripted(first, LISTED)) as url:  # type: ignore[arg-type]
        done = await tarpon("job", "list", TARPON_API_HOST=url, TARPON_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("sums") == 1


async def test_a_refusal_is_told_in_the_orchestrators_words(tmp_path: Path) -> None:
    body = {"Status": 400, "Code": "BadRequest", "Message": "There is no such state.", "Component": "API"}
    async with serving(Scripted(answer(body, 400))) as url:
        done = await tarpon("job", "list", TARPON_API_HOST=url, TARPON_DIR=str(tmp_path))
    assert "There is no such state." in done.stderr
    assert done.returncode != 0


def test_who_may_have_signed_in_does_not_ask_as_nobody(tmp_path: Path) -> None:
    config = load(sets=[f"DataDir={tmp_path}", "API.Port=9"], env={}).config
    assert quick_client_of(config) is not None
    KeptSignIns(tmp_path).path.write_text("{}")
    assert quick_client_of(config) is None
