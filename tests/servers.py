"""How the real servers behind the tests are started and stopped (no tests in here)."""

from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

from tarpon.seaweedfs import HOST, NO_FILE, REGION, SeaweedFS, aws_environment, free_ports, without_aws
from tarpon.sigv4 import Keys

__all__ = ["HOST", "REGION", "Keys", "S3Server", "aws_environment", "free_ports", "start_weed", "without_aws"]


class S3Server(SeaweedFS):
    """The S3 server of the devstack, with a client for whoever wants to look behind the scenes."""

    def client(self, keys: Keys | None = None) -> Any:
        """A synchronous S3 client of botocore with the admin's keys, or with `keys`."""
        keys = keys or self.admin
        session = botocore.session.Session()
        session.set_config_variable("config_file", NO_FILE)
        session.set_config_variable("credentials_file", NO_FILE)
        return session.create_client(
            "s3",
            endpoint_url=self.endpoint,
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
    server = S3Server(folder)
    server.start()
    return server
