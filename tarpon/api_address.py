"""The addresses of the HTTP API, as a user writes them: hosts, hosts with their ports, or URLs."""

import re

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 1234

_HOST_AND_PORT = re.compile(r"[^:\[\]]+:\d{1,5}")


def base_urls(hosts: str, port: int) -> tuple[str, ...]:
    """Those of several orchestrators are parted by commas."""
    return tuple(base_url(host.strip(), port) for host in hosts.split(",") if host.strip())


def base_url(host: str, port: int) -> str:
    """Of a host, of a host with its port, or of a URL as it is."""
    if "://" in host:
        return host.rstrip("/")
    if _HOST_AND_PORT.fullmatch(host):
        return f"http://{host}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
