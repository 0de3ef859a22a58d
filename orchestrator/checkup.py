"""The checkup of an orchestrator: what its settings ask of this machine, of NATS and of the bucket.

Nothing is changed but the probe object of the bucket, which each start writes too.
"""

import ssl
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from orchestrator.admission.secret_files import Secrets
from orchestrator.admission.tls.authority import CertificateUse
from orchestrator.admission.tls.certificates import Pair, ends_at
from orchestrator.admission.tls.encryption import api_has_tls, has_tls, tls_folder
from orchestrator.admission.tls.served_certificate import GivenCertificate, MadeCertificate
from orchestrator.nats_servers.addresses import own_address, running_addresses
from orchestrator.nats_servers.check import check_nats
from orchestrator.nats_servers.server import find_program
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.bucket_rules.findings import rule_findings
from orchestrator.s3.deletion import DeletionRefused
from orchestrator.s3.locations import location_of
from orchestrator.s3.lookups import NotShown
from shared.errors import StorageUnavailable
from shared.protocol.nats_address import ENCRYPTED, parse_nats_address
from shared.runtime.checkup import Check, Finding, aside, note, of_error, ok, port_finding, problem, warning
from shared.settings.config import Config
from shared.settings.publisher import is_configured

PORTS, NATS, BUCKET, TLS = "ports", "NATS", "bucket", "certificates"
NATS_SECONDS = 45.0
"""For each server: it is logged in to three times, and some answers are waited for."""
BUCKET_SECONDS = 60.0
"""A probe makes three requests, each of which may take 15 s; the others come when these were answered."""
MOST_SKEW_SECONDS = 60.0
LEAST_LIFE_SECONDS = 30 * 86400.0


def orchestrator_checks(
    config: Config, secrets: Secrets | None, trust: Callable[[Secrets], ssl.SSLContext | None]
) -> list[Check]:
    """Without `secrets` no orchestrator has run here yet, and nobody can log in to NATS as it would."""
    is_running = bool(running_addresses(config.data_dir))
    return [
        Check(PORTS, partial(_ports, config, is_running=is_running)),
        _nats(config, secrets, trust, is_running=is_running),
        Check(BUCKET, partial(_bucket, config), BUCKET_SECONDS),
        Check(TLS, partial(_certificates, config)),
    ]


async def _ports(config: Config, *, is_running: bool) -> list[Finding]:
    if is_running:
        told = "An orchestrator runs with this DataDir, and has its ports. What follows is of this command's settings:"
        return [ok(PORTS, f"{told} give it the same -c and variables as `tarpon serve`.")]
    found = [port_finding(PORTS, "The API", config.api.host, config.api.port, "API.Port")]
    if not config.orchestrator.nats.servers:
        host, port = config.orchestrator.host, config.orchestrator.port
        found.append(port_finding(PORTS, "NATS", host, port, "Orchestrator.Port"))
    return found


def _nats(
    config: Config, secrets: Secrets | None, trust: Callable[[Secrets], ssl.SSLContext | None], *, is_running: bool
) -> Check:
    servers = config.orchestrator.nats.servers
    if not servers and not is_running:
        return Check(NATS, partial(_program, config))
    if secrets is None:
        return Check(NATS, _not_yet)
    urls = servers or (own_address(config.orchestrator),)
    return Check(NATS, partial(_servers, urls, secrets, trust), NATS_SECONDS * len(urls))


async def _program(config: Config) -> list[Finding]:
    """Raises ProgramMissing."""
    program = await aside(partial(find_program, config.orchestrator.nats.server_binary))
    return [ok(NATS, f"The embedded server does not run, and can be started: {program}.")]


async def _not_yet() -> list[Finding]:
    told = "No orchestrator has run with this DataDir yet, so NATS could not be logged in to."
    return [note(NATS, told, "`tarpon agent nats-config` makes its keys, and what the servers need.")]


async def _servers(
    urls: tuple[str, ...], secrets: Secrets, trust: Callable[[Secrets], ssl.SSLContext | None]
) -> list[Finding]:
    context = await aside(partial(trust, secrets))
    known = [parse_nats_address(url) for url in urls]
    told = [(each.encrypted if context is not None and each.scheme != ENCRYPTED else each).url for each in known]
    found = await check_nats(told, secrets, context)
    return [
        ok(NATS, f"{each.server}: {each.message}")
        if each.good
        else problem(NATS, "NatsServerUnfit", f"{each.server}: {each.message}", each.hint)
        for each in found
    ]


async def _bucket(config: Config) -> list[Finding]:
    """With the keys that this process finds, as the service finds its own."""
    if not is_configured(config):
        return [note(BUCKET, "No bucket is configured: jobs that publish by s3managed are refused.")]
    settings = config.publishers.types.s3managed
    async with Bucket(location_of(settings), ca_file=settings.ca_file) as bucket:
        outcome = await bucket.health.check()
        if outcome.problem is not None:
            return [problem(BUCKET, outcome.problem.code, outcome.problem.message, outcome.problem.hint)]
        create_only = "honours" if outcome.create_only else "does not honour"
        found = [ok(BUCKET, f"{bucket.location.place} can be written and read, and {create_only} create-only PUTs.")]
        if (skew := outcome.clock_skew_seconds) is not None:
            found.append(_skew(skew))
        found.append(await _listing(bucket))
        if settings.retention > 0:
            found.append(await _deletion(bucket))
        return found + rule_findings(await bucket.rules(), bucket.location)


def _skew(seconds: float) -> Finding:
    if abs(seconds) <= MOST_SKEW_SECONDS:
        return ok("clock", "This machine and S3 show the same time, to the minute.")
    told = f"S3's clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine's."
    return problem("clock", "ClockOff", told, "Set the clock of this machine, best by NTP.")


async def _listing(bucket: Bucket) -> Finding:
    try:
        await bucket.list_page(f"{bucket.location.key}/" if bucket.location.key else "")
    except (NotShown, StorageUnavailable):
        told = "Its keys may not list the bucket: inputs that name a prefix are refused."
        return note(BUCKET, told, "deploy/iam-policy-inputs.json has the rights that inputs need.")
    return ok(BUCKET, "The bucket may be listed, as inputs that name a prefix need.")


async def _deletion(bucket: Bucket) -> Finding:
    try:
        await bucket.check_deletion()
    except DeletionRefused as error:
        return of_error(BUCKET, error)
    return ok(BUCKET, "Results may be deleted after their Retention.")


async def _certificates(config: Config) -> list[Finding]:
    return await aside(partial(_shown, config, time.time()))


def _shown(config: Config, now: float) -> list[Finding]:
    """Blocks. Raises CertificateInvalid."""
    given = {
        "The API": (api_has_tls(config.api), config.api.tls.cert_file, config.api.tls.key_file, "API.TLS.CertFile"),
        "NATS": (
            not config.orchestrator.nats.servers and has_tls(config.orchestrator),
            config.orchestrator.tls.server_cert,
            config.orchestrator.tls.server_key,
            "Orchestrator.TLS.ServerCert",
        ),
    }
    found = []
    for who, (is_shown, certificate, key, setting) in given.items():
        if is_shown:
            pair = _pair(config, certificate, key, setting, now)
            found.append(_life(who, pair, now) if pair else ok(TLS, f"{who} gets a certificate at its first start."))
    return found or [note(TLS, "Nothing here has TLS: what is served is on loopback, or by plain text.")]


def _pair(config: Config, certificate: str, key: str, setting: str, now: float) -> Pair | None:
    if certificate:
        settings = (setting, f"the key to {setting}")
        return GivenCertificate(Path(certificate), Path(key), settings=settings).load(now=now)
    made = MadeCertificate.file(tls_folder(config.data_dir), CertificateUse.SERVERS)
    return Pair(made.read_bytes(), b"") if made.exists() else None


def _life(who: str, pair: Pair, now: float) -> Finding:
    left = ends_at(pair) - now
    told = f"{who} shows a certificate that is valid for {left / 86400:.0f} days more."
    if left < LEAST_LIFE_SECONDS:
        hint = "Renew it; one of Tarpon's own is made anew two months early by an orchestrator that runs."
        return warning(TLS, "CertificateEnds", told, hint)
    return ok(TLS, told)
