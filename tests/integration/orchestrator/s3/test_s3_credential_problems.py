"""Every failure of AWS's chain of credentials says what was asked, what is wrong with it and what to do."""

import asyncio
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp import web

from orchestrator.rules.location import Location
from orchestrator.s3.credentials import program as credential_program
from orchestrator.s3.credentials.chain import load_snapshot
from orchestrator.s3.signing import signers
from shared.errors import CredentialsMissing
from tests.instance_role import instance_role
from tests.servers import HOST, Keys, free_ports
from tests.waiting import eventually

ROLE = "role_arn = arn:aws:iam::123456789012:role/results\nregion = us-east-1\n"
KEYS = "aws_access_key_id = AKIDPRINTED\naws_secret_access_key = printed-secret\n"
SOURCE = f"source_profile = s\n[profile s]\n{KEYS}"
DEVICE = "mfa_serial = arn:aws:iam::123456789012:mfa/me\n"


class Machine:
    """The files and variables of AWS, which are all that a test changes."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = patch

    def has(self, *, config: str = "", credentials: str = "", **variables: str) -> None:
        files = {"AWS_CONFIG_FILE": config, "AWS_SHARED_CREDENTIALS_FILE": credentials}
        for name, text in files.items():
            path = self.folder / name
            path.write_text(text)
            self._patch.setenv(name, str(path))
        for name, value in variables.items():
            self._patch.setenv(name, value)

    def has_program(self, script: str) -> None:
        program = self.folder / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        self.has(config=f"[default]\ncredential_process = {program}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def refusal() -> CredentialsMissing:
    with pytest.raises(CredentialsMissing) as caught:
        load_snapshot()
    told = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert "AKIDPRINTED" not in told
    assert "printed-secret" not in told
    return caught.value


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (f"[default]\n{ROLE}{DEVICE}{SOURCE}", "(mfa_serial)"),
        (
            f"[default]\n{ROLE}source_profile = m\n[profile m]\n{ROLE}{DEVICE}{SOURCE}",
            "mfa",
        ),
        (f"[default]\n{ROLE}source_profile = b\n[profile b]\n{ROLE}source_profile = default\n", "in a circle"),
        (f"[default]\n{ROLE}source_profile = b\n", 'source_profile "b" referenced in the profile "default" does not'),
        (f"[default]\n{ROLE}", "the role of the profile 'default' lacks source_profile or credential_source"),
        (f"[default]\n{ROLE}source_profile = b\n[profile b]\nregion = x\n", 'source profile "b" must have credentials'),
        (f"[default]\n{ROLE}credential_source = Environment\n", "the environment gives none"),
        (f"[default]\n{ROLE}credential_source = Ec2InstanceMetadata\n", "the machine's role gives none"),
        ("[default]\nsso_account_id = 1\nsso_role_name = r\n", "missing required configuration: sso_start_url"),
        ("[default]\ncredential_process = /no/such/program\n", "cannot be started (No such file or directory)"),
        ("[default]\ncredential_process = /bin/echo 'x\n", "the command in credential_process"),
        ("what is\n no file of AWS [", "is not written as AWS's files are"),
    ],
)
def test_what_is_wrong_in_the_config_file_is_told(machine: Machine, config: str, words: str) -> None:
    machine.has(config=config)
    assert words in refusal().message


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"AWS_PROFILE": "nope"}, "the profile 'nope' is neither in "),
        ({"AWS_ACCESS_KEY_ID": "A"}, "the environment lacks AWS_SECRET_ACCESS_KEY"),
        ({"AWS_SECRET_ACCESS_KEY": "A"}, "AWS_ACCESS_KEY_ID is not set, although AWS_SECRET_ACCESS_KEY is"),
        ({"AWS_SHARED_CREDENTIALS_FILE": "/no/such/file"}, "/no/such/file does not exist"),
        ({}, "has no keys for the profile 'default'"),
        ({}, "the role of this machine is not asked for (AWS_EC2_METADATA_DISABLED)"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/token", "AWS_ROLE_ARN": "arn"}, "/no/token cannot be read (No such file"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/token"}, "no role ARN"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/"}, "AWS_CONTAINER_CREDENTIALS_FULL_URI, or"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "ipx"}, "settings for the instance metadata service is wrong"),
        ({"AWS_METADATA_SERVICE_TIMEOUT": "soon"}, "settings for the instance metadata service is wrong"),
    ],
)
def test_what_is_wrong_in_the_environment_is_told(machine: Machine, variables: Mapping[str, str], words: str) -> None:
    machine.has(**variables)
    assert words in refusal().message


def test_times_of_keys_in_the_environment_are_looked_at(machine: Machine) -> None:
    machine.has(
        AWS_ACCESS_KEY_ID="AKIDPRINTED", AWS_SECRET_ACCESS_KEY="printed-secret", AWS_CREDENTIAL_EXPIRATION="soon"
    )
    assert "AWS_CREDENTIAL_EXPIRATION is not a time" in refusal().message
    machine.has(AWS_CREDENTIAL_EXPIRATION="2020-01-01T00:00:00Z")
    assert "the environment gives keys that have expired" in refusal().message


def test_half_a_pair_of_keys_in_a_file_is_told(machine: Machine) -> None:
    machine.has(credentials="[default]\naws_access_key_id = AKIDPRINTED\n")
    assert refusal().message.endswith("lacks aws_secret_access_key.")


def test_a_session_of_sso_that_was_never_begun_is_told_with_the_command(machine: Machine, tmp_path: Path) -> None:
    config = "[default]\nsso_start_url = https://x/\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = r\n"
    machine.has(config=config, HOME=str(tmp_path))
    found = refusal()
    assert "the SSO session of the profile 'default' has expired, or was never begun" in found.message
    assert "aws sso login --profile default" in found.hint


class TestPrograms:
    ANSWER = '{"Version": 1, "AccessKeyId": "AKIDPRINTED", "SecretAccessKey": "printed-secret", "SessionToken": "t"'

    @pytest.mark.parametrize(
        ("script", "words"),
        [
            ("echo printed-secret >&2; exit 3", "ended with exit code 3"),
            ("kill -TERM $$", "was ended by signal 15"),
            ("echo printed-secret", "printed what is no JSON"),
            ("echo '[1]'", "printed JSON without what AWS asks for"),
            ("""echo '{"Version": 1, "AccessKeyId": "AKIDPRINTED"}'""", "printed JSON without what AWS asks for"),
            ("head -c 100000 /dev/zero", "printed more than 65,536 bytes"),
            (f'echo \'{ANSWER}, "Expiration": "2020-01-01T00:00:00Z"}}\'', "gives keys that have expired"),
            (f'echo \'{ANSWER}, "Expiration": "soon"}}\'', "or the Expiration in its answer, cannot be read"),
            (f'echo \'{ANSWER}, "Expiration": "2040-01-01T00:00:00"}}\'', "or the Expiration in its answer, cannot be"),
        ],
    )
    def test_what_a_program_does_wrong_is_told_without_what_it_printed(
        self, machine: Machine, script: str, words: str
    ) -> None:
        machine.has_program(script)
        assert words in refusal().message

    def test_the_keys_of_a_program_are_used(self, machine: Machine) -> None:
        machine.has_program(f'echo \'{self.ANSWER}, "Expiration": "2040-01-01T00:00:00Z"}}\'')
        found = load_snapshot()
        assert (found.access_key, found.token, found.source) == ("AKIDPRINTED", "t", "custom-process")

    @pytest.mark.parametrize("closes", ["", "exec >&-; "])
    @pytest.mark.parametrize("source", [False, True])
    async def test_one_that_does_not_end_is_killed_with_all_that_it_has_begun(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, closes: str, *, source: bool
    ) -> None:
        monkeypatch.setattr(credential_program, "PROGRAM_SECONDS", 0.5)
        told = machine.folder / "pid"
        machine.has_program(f"sleep 1000 & echo $! > {told}; {closes}wait")
        if source:
            program = f"[profile p]\ncredential_process = {machine.folder / 'program'}\n"
            machine.has(config=f"[default]\n{ROLE}source_profile = p\n{program}")
        assert "did not end within 0.5 s and was killed" in (await asyncio.to_thread(refusal)).message
        pid = int(told.read_text())
        await eventually(lambda: not _runs(pid), within=10, what="its child has ended")


def _runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_what_a_token_service_refuses_is_told_by_its_code_alone(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        error = "<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>printed-secret</Message></Error>"
        return web.Response(status=403, text=f"<ErrorResponse>{error}</ErrorResponse>", content_type="text/xml")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        machine.has(
            config=f"[default]\n{ROLE}{SOURCE}",
            AWS_ENDPOINT_URL_STS=f"http://{HOST}:{runner.addresses[0][1]}",
        )
        found = await asyncio.to_thread(refusal)
    finally:
        await runner.cleanup()
    assert "AWS refuses the role of the profile 'default' (AssumeRole: AccessDenied)." in found.message
    assert "sts:AssumeRole" in found.hint
    assert caplog.records == [], "botocore logs no traceback beside it"


def test_a_token_service_that_cannot_be_reached_is_told_with_the_reason(machine: Machine) -> None:
    (port,) = free_ports(1)
    config = f"[default]\n{ROLE}{SOURCE}"
    machine.has(config=config, AWS_ENDPOINT_URL_STS=f"http://{HOST}:{port}")
    assert f"{HOST} cannot be reached: the connection is refused" in refusal().message
    machine.has(config=config, AWS_ENDPOINT_URL_STS="http://sts.invalid")
    assert "sts.invalid cannot be reached: no such host" in refusal().message


async def test_why_a_machine_gives_no_role_is_told(machine: Machine) -> None:
    (port,) = free_ports(1)
    machine.has(AWS_EC2_METADATA_DISABLED="false", AWS_EC2_METADATA_SERVICE_ENDPOINT=f"http://{HOST}:{port}/")
    assert "its instance metadata service does not answer" in (await asyncio.to_thread(refusal)).message
    async with instance_role(Keys("AKIDPRINTED", "printed-secret"), life_seconds=60) as role:
        role.is_away = True
        machine.has(**role.environment())
        assert "instance metadata service answers with status 503" in (await asyncio.to_thread(refusal)).message


@pytest.mark.parametrize("variables", [{"AWS_PROFILE": "nope"}, {"config": "what is\n no file of AWS ["}])
def test_where_results_go_is_known_without_the_profile(machine: Machine, variables: dict[str, str]) -> None:
    """What is wrong with it is told with the credentials, which are asked for again and again."""
    machine.has(**variables)
    settings = Location(bucket="my-results", key="k", region="eu-north-1")
    assert signers(settings).public.base_url == "https://my-results.s3.eu-north-1.amazonaws.com/"
