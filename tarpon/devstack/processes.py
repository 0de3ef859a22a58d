"""Processes of a devstack beside its S3 server, and what each of them is given.

Who holds what is as in production: the orchestrator alone gets S3 credentials, in its environment; a compute node gets
the join secret there and no AWS variable. No secret is in a command line.
"""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from shared.settings.config import OFF, REQUIRE, DockerSettings
from shared.settings.keys import environment_name
from tarpon.devstack.child_processes import ChildProcess
from tarpon.devstack.seaweedfs import HOST, REGION, SeaweedFS, aws_environment, without_aws
from tarpon.devstack.tls_files import TlsFiles

BUCKET = "tarpon-results"
PREFIX = "results"
ORCHESTRATOR = "orchestrator"
SANDBOX = "Engines.Types.Process.Sandbox"
STORE_CA_FILE = "Publishers.Types.S3Managed.CAFile"


class WantedProcesses(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `files` are configuration files and `settings` single settings by key, for every process.

    `engine` is what these say of the container engine, and `is_sandboxed` of tasks that are processes. With `tls`,
    NATS, the API and S3 are encrypted.
    """

    computes: int
    api_port: int
    nats_port: int
    data_dir: Path | None = None
    files: tuple[str, ...] = ()
    settings: dict[str, str] = {}
    engine: DockerSettings = DockerSettings()
    tls: bool = False
    is_sandboxed: bool = True


def children_of(
    wanted: WantedProcesses, folder: Path, s3: SeaweedFS, tls: TlsFiles | None = None
) -> list[ChildProcess]:
    """The orchestrator first. `tls` are the files of TLS, if there is any."""
    token = secrets.token_urlsafe(32)
    files = [argument for file in wanted.files for argument in ("-c", file)]
    serve = [sys.executable, "-P", "-m", "tarpon", "serve", *files]
    found = without_aws(dict(os.environ)) | _variables(wanted.settings)
    orchestrator = found | _orchestrator_variables(wanted, folder / ORCHESTRATOR, s3, token, tls)
    children = [ChildProcess(ORCHESTRATOR, [*serve, "--orchestrator"], orchestrator, folder / "orchestrator.log")]
    for number in range(1, wanted.computes + 1):
        name = f"compute-{number}"
        variables = found | _compute_variables(wanted, folder / name, token, tls)
        children.append(ChildProcess(name, [*serve, "--compute"], variables, folder / f"{name}.log"))
    return children


def _variables(settings: Mapping[str, str]) -> dict[str, str]:
    return {environment_name(key): value for key, value in settings.items()}


def _orchestrator_variables(
    wanted: WantedProcesses, data_dir: Path, s3: SeaweedFS, token: str, tls: TlsFiles | None
) -> dict[str, str]:
    publisher = {"Bucket": BUCKET, "Key": PREFIX, "Region": REGION, "Endpoint": s3.endpoint}
    settings = {
        "DataDir": str(data_dir),
        "API.Host": HOST,
        "API.Port": str(wanted.api_port),
        "Orchestrator.Host": HOST,
        "Orchestrator.Port": str(wanted.nats_port),
        "Orchestrator.Auth.Token": token,
        **{f"Publishers.Types.S3Managed.{name}": value for name, value in publisher.items()},
    }
    if tls is not None:
        settings |= {
            "API.TLS.SelfSigned": "true",
            "Orchestrator.TLS.PlainText": "never",
            "Orchestrator.TLS.AuthorityFile": str(tls.authority_secret),
            STORE_CA_FILE: str(tls.store_authority),
        }
    return s3.environment() | _variables(settings)


def _compute_variables(wanted: WantedProcesses, data_dir: Path, token: str, tls: TlsFiles | None) -> dict[str, str]:
    scheme = "tls" if tls else "nats"
    settings = {
        "DataDir": str(data_dir),
        "NameProvider": data_dir.name,
        "Compute.Orchestrators": f"{scheme}://{HOST}:{wanted.nats_port}",
        "Compute.Auth.Token": token,
        "Compute.DrainTimeout": "0s",
        "Engines.Types.Docker.KeepRunning": "false",  # there is no next start
        "Engines.Types.Process.Enabled": "true",
        SANDBOX: REQUIRE if wanted.is_sandboxed else OFF,
    }
    if tls is not None:
        settings |= {"Compute.TLS.CACert": str(tls.authority), STORE_CA_FILE: str(tls.store_authority)}
    return aws_environment() | _variables(settings)
