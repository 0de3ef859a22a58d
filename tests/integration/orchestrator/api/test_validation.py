"""A job is validated: everything for which a submit would be refused is told at once, and nothing is stored."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.fed_api import JOBS, FedApi
from tests.integration.running import Running

TASK: dict[str, Any] = {"Name": "main", "Engine": {"Type": "noop"}}


@pytest.fixture
async def api() -> AsyncIterator[FedApi]:
    async with FedApi().serving() as fed:
        yield fed


async def validated(api: FedApi, **job: Any) -> Any:
    answer = await api.ask(f"{JOBS}/validate", "PUT", {"Job": {"Type": "batch", "Tasks": [TASK], **job}})
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_job_without_problems_is_valid_and_is_not_run(api: FedApi) -> None:
    told = await validated(api, Colour="red")
    assert (told["Valid"], told["Problems"]) == (True, [])
    assert told["Warnings"] == ["Job.Colour is not known and was ignored"]
    assert (await api.ask(JOBS)).json["Items"] == []


async def test_all_rules_that_are_broken_are_told_at_once_each_with_its_path(api: FedApi) -> None:
    told = await validated(api, Count=0, Type="service", Tasks=[{**TASK, "Resources": {"CPU": "many"}}])
    assert not told["Valid"]
    assert {each["Path"] for each in told["Problems"]} == {"Type", "Count", "Tasks[0].Resources.CPU"}
    assert {each["Code"] for each in told["Problems"]} == {"InvalidJob"}


async def test_what_cannot_be_read_is_told_with_the_rules_that_the_rest_breaks(api: FedApi) -> None:
    told = await validated(api, Count="many", Type="service")
    assert [(each["Code"], each["Path"]) for each in told["Problems"]] == [
        ("InvalidDocument", "Count"),
        ("InvalidDocument", "Type"),
    ]


async def test_what_is_not_there_is_told_at_once(running: Running) -> None:
    task = {**TASK, "Publisher": {"Type": ""}, "Secrets": [{"Name": "s", "Path": "/run/s"}]}
    job = {"Type": "batch", "Name": "j-0123", "Needs": ["j-none"], "Tasks": [task]}
    told = await running.api("/jobs/validate", {"Job": job}, "PUT")
    assert [each["Code"] for each in told["Problems"]] == ["InvalidJob", "SecretUnknown", "InvalidJob"]
    assert (await running.api("/jobs"))["Items"] == []


async def test_a_request_that_is_none_is_an_error(api: FedApi) -> None:
    assert (await api.ask(f"{JOBS}/validate", "PUT", data=b"{")).status == 400
