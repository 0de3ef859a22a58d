"""How the real servers behind the tests are started and stopped (no tests in here)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import botocore.session
from botocore.config import Config

from tarpon.devstack import seaweedfs
from tarpon.devstack.seaweedfs import HOST, NO_FILE, REGION, SeaweedFS, aws_environment, without_aws
from tarpon.devstack.signed_requests import Keys

__all__ = [
    "HOST",
    "REGION",
    "Keys",
    "S3Server",
    "S3Service",
    "aws_environment",
    "free_ports",
    "s3_client",
    "start_weed",
    "without_aws",
]


class S3Service(Protocol):
    """What a stack needs of an S3 server, whoever made it."""

    endpoint: str
    admin: Keys
    orchestrator: Keys

    def __hash__(self) -> int: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def create_bucket(self, name: str = "", *, prefix: str = "results") -> str: ...

    def environment(self) -> dict[str, str]: ...

    def client(self, keys: Keys | None = None) -> Any: ...


class S3Server(SeaweedFS):
    """The S3 server of the devstack, with a client for whoever wants to look behind the scenes."""

    def __init__(self, folder: Path, *, among: Sequence[int] = ()) -> None:
        super().__init__(folder, among=among)
        self._clients: dict[Keys, Any] = {}

    def client(self, keys: Keys | None = None) -> Any:
        """A synchronous S3 client of botocore with the admin's keys, or with `keys`. Making one takes 50 ms."""
        keys = keys or self.admin
        if keys not in self._clients:
            self._clients[keys] = s3_client(self.endpoint, keys)
        return self._clients[keys]


def s3_client(endpoint: str, keys: Keys) -> Any:
    session = botocore.session.Session()
    session.set_config_variable("config_file", NO_FILE)
    session.set_config_variable("credentials_file", NO_FILE)
    return session.create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=keys.access,
        aws_secret_access_key=keys.secret,
        config=Config(
            signature_version="s3v4",
            retries={"total_max_attempts": 1},
            connect_timeout=2,
            read_timeout=10,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def start_weed(folder: Path) -> S3Server:
    """A running SeaweedFS with its data below `folder`. The caller stops it."""
    server = S3Server(folder, among=_our_ports())
    server.start()
    return server


def free_ports(count: int) -> list[int]:
    return seaweedfs.free_ports(count, among=_our_ports())


def _our_ports() -> Sequence[int]:
    """Every third, say, where three processes share the tests: a port is free too while its server is killed."""
    ports, workers = seaweedfs.listeners_ports(), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return ports[number::workers] if len(ports) > workers else ports
