"""Requests exactly as Bacalhau's client v1.9.3 sends them, and what it reads of the answers.

They are written from the protocol's facts, for the client itself is not at hand in every test run; `make matrix
PART=client` lets that try the same, and more.
"""

import base64
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator.api.logs import tail_lines
from orchestrator.api.queries import LogsQuery
from orchestrator.jobs.task_output import chosen
from orchestrator.jobs.versions import version_of
from shared.data.decoding import decode
from shared.jobs.states import ExecutionState
from shared.protocol.rest import BASE_PATH
from tests.integration.fed_api import JOBS, NODES, FedApi
from tests.integration.running import Answer, Running

AUTH = f"{BASE_PATH}/auth"
CLIENT = {
    "User-Agent": "Go-http-client/1.1",
    "Accept-Encoding": "gzip",
    "X-Bacalhau-Git-Version": "v1.9.3",
    "X-Bacalhau-Git-Commit": "",
    "X-Bacalhau-Build-Date": "0001-01-01 00:00:00 +0000 UTC",
    "X-Bacalhau-Build-Os": "linux",
    "X-Bacalhau-Arch": "amd64",
    "X-Bacalhau-Instanceid": "i-0b52a5c1-1111-4a51-8f6c-6d9ca2b3b1a1",
}
KEEPS = "a-credential-that-nobody-may-keep"
TASK = {
    "Name": "main",
    "Engine": {
        "Type": "docker",
        "Params": {
            "Entrypoint": None,
            "EnvironmentVariables": None,
            "Image": "ubuntu",
            "Parameters": ["echo", "hello"],
            "WorkingDirectory": "",
        },
    },
    "Publisher": {"Type": ""},
    "Resources": {},
    "Network": {"Type": "Default"},
    "Timeouts": {},
}
JOB = {
    "ID": "",
    "Name": "",
    "Namespace": "default",
    "Type": "batch",
    "Priority": 0,
    "Count": 1,
    "Constraints": [],
    "Meta": {},
    "Labels": {},
    "Tasks": [TASK],
    "State": {"StateType": "Undefined"},
    "Version": 0,
    "Revision": 0,
    "CreateTime": 0,
    "ModifyTime": 0,
}


def of_every_put(credential: str = "") -> dict[str, Any]:
    shown = {"Scheme": "Bearer", "Value": credential, "Params": None} if credential else None
    return {"Namespace": "", "Credential": shown, "IdempotencyToken": ""}


def challenge_answer(data: bytes = b'{"PhraseSignature":"c2lnbmVk","PublicKey":"a2V5"}') -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    return {"Namespace": "", "Credential": None, "Name": "ClientKey", "MethodData": encoded}


class TestAuthentication:
    async def test_a_client_that_has_nothing_set_can_answer_what_is_offered(self, fed: FedApi) -> None:
        """It takes the one method that it knows, and goes on asking until `success` is true, in these letters."""
        methods = (await fed.ask(AUTH, headers=CLIENT)).json["Methods"]
        assert list(methods) == ["ClientKey"]
        assert methods["ClientKey"]["type"] == "challenge"
        assert base64.b64decode(methods["ClientKey"]["params"]["InputPhrase"], validate=True)
        answer = await fed.ask(f"{AUTH}/ClientKey", "POST", challenge_answer(), headers=CLIENT)
        assert (answer.status, answer.json["Authentication"]["success"]) == (200, True)
        assert answer.json["Authentication"]["token"]
        assert (await fed.ask(f"{AUTH}/ClientKey", headers=CLIENT)).json == methods["ClientKey"]

    async def test_what_it_shows_from_then_on_opens_no_more_than_nothing_does(self, fed: FedApi) -> None:
        fed.job(1)
        plain = await fed.ask(JOBS, headers=CLIENT)
        for shown in ("Bearer everybody", "Bearer anything", "Basic eDp5", "nonsense"):
            assert (await fed.ask(JOBS, headers={**CLIENT, "Authorization": shown})).json == plain.json

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ({}, "MethodData is missing"),
            ({"MethodData": 7}, "MethodData"),
            ({"MethodData": "not base64!"}, "MethodData"),
            (challenge_answer(b"{"), "MethodData is not JSON"),
            (challenge_answer(b"[]"), "MethodData must be a JSON object"),
            (challenge_answer(b"{}"), "PhraseSignature is missing"),
            (challenge_answer(b'{"PhraseSignature":{},"PublicKey":""}'), "PhraseSignature: expected a text"),
        ],
    )
    async def test_what_is_no_answer_is_refused_in_words(self, fed: FedApi, body: dict[str, Any], told: str) -> None:
        answer = await fed.ask(f"{AUTH}/ClientKey", "POST", body, headers=CLIENT)
        assert (answer.status, answer.json["Code"]) == (400, "InvalidDocument")
        assert told in answer.json["Message"]

    async def test_an_answer_is_bounded_however_it_is_sent(self, fed: FedApi) -> None:
        large = json.dumps(challenge_answer(b"x" * 70_000)).encode()

        async def in_chunks() -> Any:
            yield large

        for data in (large, in_chunks()):
            answer = await fed.ask(f"{AUTH}/ClientKey", "POST", data=data)
            assert (answer.status, answer.json["Code"]) == (413, "PayloadTooLarge")

    async def test_a_method_that_is_not_offered_does_not_exist(self, fed: FedApi) -> None:
        answer = await fed.ask(f"{AUTH}/password", "POST", challenge_answer(), headers=CLIENT)
        assert (answer.status, answer.json["Code"]) == (404, "NotFound")


class TestSubmit:
    async def test_what_every_body_carries_gives_no_warning(self, fed: FedApi) -> None:
        answer = await fed.ask(f"{JOBS}/diff", "PUT", {**of_every_put(KEEPS), "Job": JOB}, headers=CLIENT)
        assert [each for each in answer.json["Warnings"] if "not known" in each] == []

    async def test_nulls_of_an_engine_are_what_is_absent(self, running: Running) -> None:
        made = await self._submitted(running)
        engine = (await running.ask(f"{JOBS}/{made.json['JobID']}")).json["Job"]["Tasks"][0]["Engine"]
        assert engine == {
            "Type": "docker",
            "Params": {"Image": "ubuntu", "Parameters": ["echo", "hello"], "WorkingDirectory": ""},
        }

    async def test_its_credential_is_neither_kept_nor_logged_nor_told(
        self, running: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        made = await self._submitted(running)
        assert "not known" not in str(made.json["Warnings"])
        wrong = {**of_every_put(KEEPS), "Job": {"Type": KEEPS[:5]}}
        refused = await running.ask(JOBS, "PUT", wrong, headers=CLIENT)
        described = await running.ask(f"{JOBS}/{made.json['JobID']}?include=history,executions", headers=CLIENT)
        for told in (made.body, refused.body, described.body, caplog.text.encode()):
            assert KEEPS.encode() not in told
        assert not [path for path in _files(running.config.data_dir) if KEEPS.encode() in path.read_bytes()]

    async def _submitted(self, running: Running) -> Answer:
        headers = {**CLIENT, "Authorization": f"Bearer {KEEPS}"}
        answer = await running.ask(JOBS, "PUT", {**of_every_put(KEEPS), "Job": JOB, "Force": False}, headers=headers)
        assert answer.status == 200, answer.body
        return answer


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


class TestLogs:
    @pytest.mark.parametrize("query", ["tail=true", "tail=false&follow=true", "tail=5", "tail=-1"])
    async def test_the_truth_of_tail_is_taken_beside_a_number(self, fed: FedApi, query: str) -> None:
        answer = await fed.ask(f"{JOBS}/{fed.job(1)}/logs?{query}", headers=CLIENT)
        assert answer.json["Message"].startswith("Logs are told over a websocket")

    @pytest.mark.parametrize(
        ("tail", "lines"), [("true", 0), ("false", None), ("0", 0), ("1", 1), ("5", 5), ("-1", None)]
    )
    def test_it_tells_only_what_is_written_from_now_on(self, tail: str, lines: int | None) -> None:
        query, _ = decode({"tail": tail}, LogsQuery, what="The query", unknown="report")
        assert tail_lines(query) == lines

    async def test_why_there_are_no_logs_is_told_where_it_reads_it(self, fed: FedApi) -> None:
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(fed.url(f"{JOBS}/j-none/logs"), headers=CLIENT) as told,
        ):
            frame = await told.receive_json()
            ended = await told.receive()
        assert frame == {"error": "There is no job 'j-none'."}
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 1000)

    async def test_others_are_told_by_the_answer_to_their_handshake(self, fed: FedApi) -> None:
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(fed.url(f"{JOBS}/j-none/logs"))
        assert refused.value.status == 404

    def test_logs_of_a_version_are_those_of_what_ran_for_it(self) -> None:
        fed = FedApi()
        job = fed.job(1, version=1)
        fed.job(1, version=2)
        for version in (1, 2):
            fed.execution(job, version, ExecutionState.COMPLETED, version=version)
        entry = fed.model.jobs[job]
        for asked, version in ((0, 2), (1, 1), (2, 2)):
            assert chosen(entry, "", version_of(entry, asked)).job_version == version


class TestNodes:
    """It reads every time as RFC 3339 has it, and fails at any other."""

    async def test_times_are_such_as_go_reads_wherever_a_version_is_told(self, fed: FedApi) -> None:
        fed.node("n-1")
        version = (await fed.ask(f"{BASE_PATH}/agent/version", headers=CLIENT)).json
        agent = (await fed.ask(f"{BASE_PATH}/agent/node", headers=CLIENT)).json
        nodes = (await fed.ask(NODES, headers=CLIENT)).json["Nodes"]
        for each in (version, agent["BacalhauVersion"], *(node["Info"]["BacalhauVersion"] for node in nodes)):
            assert each["BuildDate"].endswith("Z")
            assert datetime.fromisoformat(each["BuildDate"]).tzinfo is UTC
        assert version["BuildDate"] > "2020"
        assert version["GOOS"] == "linux"
        assert version["GOARCH"]

    async def test_the_orchestrator_is_in_the_list_with_its_type_and_labels(self, fed: FedApi) -> None:
        fed.node("n-1")
        nodes = (await fed.ask(f"{NODES}?order_by=type", headers=CLIENT)).json["Nodes"]
        assert [(node["Info"]["NodeID"], node["Info"]["NodeType"]) for node in nodes] == [
            ("o-test", "Requester"),
            ("n-1", "Compute"),
        ]
        own = nodes[0]
        assert own["Info"]["Labels"].items() >= {"name": "o-test", "os_type": "linux"}.items()
        assert own["Info"]["Labels"]["os_arch"] == own["Info"]["BacalhauVersion"]["GOARCH"]
        assert own["Info"]["ComputeNodeInfo"]["ExecutionEngines"] == []
        assert (own["Membership"], own["Connection"], own["ConnectionState"]["Status"]) == (
            "APPROVED",
            "CONNECTED",
            "CONNECTED",
        )
        assert (await fed.ask(f"{NODES}/o-te", headers=CLIENT)).json["Node"]["Info"] == own["Info"]
        agent = (await fed.ask(f"{BASE_PATH}/agent/node", headers=CLIENT)).json
        assert {name: agent[name] for name in own["Info"]} == own["Info"]

    @pytest.mark.parametrize("action", ["drain", "undrain", "approve", "reject", "delete"])
    async def test_the_orchestrator_is_no_compute_node_to_be_changed(self, fed: FedApi, action: str) -> None:
        answer = await fed.ask(f"{NODES}/o-test", "PUT", {"Action": action, "Force": True}, headers=CLIENT)
        assert (answer.status, answer.json["Code"]) == (409, "NodeIsOrchestrator")

    async def test_a_compute_node_of_the_orchestrators_name_is_meant_by_it(self, fed: FedApi) -> None:
        fed.node("o-test")
        assert (await fed.ask(f"{NODES}/o-test")).json["Node"]["Info"]["NodeType"] == "Compute"

    async def test_a_node_has_its_own_name_whatever_label_it_gives_itself(self, running: Running) -> None:
        async with running.node("n-1") as node:
            await node.register(labels={"name": "n-2", "zone": "a"})
            shown = (await running.ask(f"{NODES}/n-1")).json["Node"]["Info"]["Labels"]
        assert shown == {"name": "n-1", "zone": "a"}
