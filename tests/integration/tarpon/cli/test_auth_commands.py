"""`tarpon auth ...` with a whole orchestrator over TLS, whose people sign in at a real issuer."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator.service import run
from shared.runtime.aio import background
from shared.settings.loading import load
from tests.certificates import make_certificate
from tests.integration.tarpon.cli.test_user_commands import tarpon
from tests.played_issuer import ADA, AUDIENCE, CLIENT, PlayedIssuer
from tests.servers import HOST, free_ports
from tests.waiting import answered

RULES = [
    {
        "Match": [{"Claim": "groups", "Value": "people"}],
        "Capabilities": [{"Actions": ["read:job", "write:job"]}],
        "Namespaces": ["lab"],
    }
]
NOOP = "{Type: batch, Name: hello, Namespace: lab, Count: 1, Tasks: [{Name: main, Engine: {Type: noop}}]}"


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[PlayedIssuer]:
    (tmp_path / "issuer").mkdir()
    with PlayedIssuer(make_certificate(tmp_path / "issuer")).running() as played:
        played.interval = 0.1
        yield played


@asynccontextmanager
async def whole_orchestrator(folder: Path, issuer: PlayedIssuer, *more: str) -> AsyncIterator[dict[str, str]]:
    """One whose API is encrypted; what commands have to know to reach it as somebody on another machine."""
    api, nats = free_ports(2)
    oauth2 = {
        "Issuer": issuer.url,
        "ProviderID": "example",
        "ProviderName": "Example Login",
        "Audience": AUDIENCE,
        "DeviceClientID": CLIENT,
        "CAFile": str(folder / "issuer" / "server.pem"),
        "Rules": json.dumps(RULES),
    }
    sets = [f"DataDir={folder / 'data'}", f"API.Port={api}", f"Orchestrator.Port={nats}", f"Orchestrator.Host={HOST}"]
    sets += ["API.TLS.SelfSigned=true", *(f"API.Auth.Oauth2.{key}={value}" for key, value in oauth2.items()), *more]
    ready = asyncio.Event()
    async with background(orchestrator=run(load(sets=sets, env={}).config, ready=ready.set)):
        await ready.wait()
        yield {
            "TARPON_DIR": str(folder / "ada"),
            "TARPON_API_HOST": HOST,
            "TARPON_API_PORT": str(api),
            "TARPON_API_TLS_CAFILE": str(folder / "data" / "orchestrator" / "tls" / "authority.pem"),
            "TARPON_API_AUTH_OAUTH2_CAFILE": oauth2["CAFile"],
        }


@pytest.fixture
async def there(tmp_path: Path, issuer: PlayedIssuer) -> AsyncIterator[dict[str, str]]:
    async with whole_orchestrator(tmp_path, issuer) as variables:
        yield variables


async def test_somebody_signs_in_and_works(tmp_path: Path, issuer: PlayedIssuer, there: dict[str, str]) -> None:
    issuer.first_answers = ["authorization_pending"]
    done = await tarpon("auth", "sso", "login", **there)
    assert done.returncode == 0, done.stderr
    assert f"{issuer.url}/activate" in done.stderr
    assert "WDJB-MJHT" in done.stderr
    assert "Signed in at Example Login as ada." in done.stderr
    assert "refreshed by itself" in done.stderr
    assert done.stdout == ""

    job = tmp_path / "job.yaml"
    job.write_text(NOOP)
    submitted = await tarpon("job", "run", str(job), "--no-wait", "--id-only", **there)
    assert submitted.returncode == 0, submitted.stderr
    assert "hello" in (await tarpon("job", "list", **there)).stdout
    nodes = await tarpon("node", "list", **there)
    assert "'ada' does not have that capability" in nodes.stderr


async def test_somebody_sees_who_that_is_and_signs_out(issuer: PlayedIssuer, there: dict[str, str]) -> None:
    refused = await tarpon("job", "list", **there)
    assert (refused.returncode, "[KeyMissing]" in refused.stderr) == (1, True)
    assert "tarpon auth sso login" in refused.stderr
    assert (await tarpon("auth", "sso", "login", **there)).returncode == 0
    info = json.loads((await tarpon("auth", "info", "--output", "json", **there)).stdout)
    assert (info["Provider"], info["AsksBy"]) == ("Example Login", "a sign-in")
    assert (info["Subject"], info["Name"]) == (ADA["sub"], "ada")
    token = (await tarpon("auth", "sso", "token", **there)).stdout.strip()
    assert token.count(".") == 2
    out = await tarpon("auth", "sso", "logout", **there)
    assert (out.returncode, "Signed out" in out.stderr) == (0, True)
    told = await tarpon("auth", "info", **there)
    assert "Asks by       nothing" in told.stdout
    assert token not in told.stdout
    assert "[NotFound]" in (await tarpon("auth", "sso", "token", **there)).stderr


async def test_a_sign_in_that_fails_says_why(issuer: PlayedIssuer, there: dict[str, str]) -> None:
    issuer.first_answers = ["access_denied"]
    denied = await tarpon("auth", "sso", "login", **there)
    assert (denied.returncode, "[SignInDenied]" in denied.stderr) == (1, True)
    issuer.first_answers = []
    issuer.person["groups"] = []
    nobody = await tarpon("auth", "sso", "login", **there)
    assert (nobody.returncode, "[NoRuleMatches]" in nobody.stderr) == (1, True)
    issuer.stop()
    away = await tarpon("auth", "sso", "login", **there)
    assert (away.returncode, "[IssuerUnreachable]" in away.stderr) == (1, True)


async def test_no_token_is_in_a_log_or_a_file_but_its_own(
    tmp_path: Path, issuer: PlayedIssuer, there: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    assert (await tarpon("auth", "sso", "login", "--debug", **there)).returncode == 0
    kept = json.loads((tmp_path / "ada" / "sign-ins.json").read_bytes())["sign_ins"][0]
    secrets = [kept["token"].split(".")[1], kept["token"].split(".")[2], kept["refresh_token"]]
    shown = await tarpon("job", "list", "--debug", **there)
    assert not any(secret in f"{shown.stdout}{shown.stderr}{caplog.text}" for secret in secrets)
    for path in (each for each in tmp_path.rglob("*") if each.is_file() and each.name != "sign-ins.json"):
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in secrets), path


async def test_a_job_runs_on_while_the_issuer_is_away(
    tmp_path: Path, issuer: PlayedIssuer, there: dict[str, str]
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(NOOP)
    assert (await tarpon("auth", "sso", "login", **there)).returncode == 0
    issuer.stop()
    submitted = await tarpon("job", "run", str(job), "--no-wait", "--id-only", **there)
    assert submitted.returncode == 0, submitted.stderr
    listed = await tarpon("job", "list", **there)
    assert (listed.returncode, "hello" in listed.stdout) == (0, True)


async def test_the_orchestrators_own_user_needs_no_sign_in(tmp_path: Path, there: dict[str, str]) -> None:
    here = {"TARPON_DIR": str(tmp_path / "data")}
    refused = await tarpon("auth", "sso", "login", **here)
    assert "[SignInNotOffered]" in refused.stderr
    told = await tarpon("auth", "info", **here)
    assert "the local socket" in told.stdout


async def test_an_issuer_that_is_away_at_the_start_is_asked_until_it_is_there(
    tmp_path: Path, issuer: PlayedIssuer
) -> None:
    issuer.stop()
    async with whole_orchestrator(tmp_path, issuer) as there:
        context = ssl.create_default_context(cafile=there["TARPON_API_TLS_CAFILE"])
        url = f"https://{HOST}:{there['TARPON_API_PORT']}/api/v1/agent/authconfig"
        async with aiohttp.ClientSession() as http:

            async def told() -> tuple[int, Any]:
                async with http.get(url, ssl=context) as answer:
                    return answer.status, await answer.json()

            status, body = await told()
            assert (status, body["Code"]) == (503, "IssuerAway")
            issuer.start()
            await answered(told, lambda found: found[0] == 200, within=60, what="the issuer is there")
