"""The command `tarpon admin doctor`: everything is looked at that applies to this machine, all at once."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from shared.data.plain_text import printable
from shared.errors import ConfigurationInvalid, ExtraMissing, NotFound, TarponError
from shared.runtime.checkup import Check, Finding, Grade, findings_of, note, of_error, ok
from tarpon.cli.admin.client_checks import client_checks
from tarpon.cli.admin.machine_checks import hosts_of, machine_checks
from tarpon.cli.console.commands import Command, given
from tarpon.cli.console.local_secrets import local_secrets, own_trust
from tarpon.cli.console.outcomes import Exit
from tarpon.cli.console.output import output_option, show
from tarpon.cli.display.job_text import counted_in_words

if TYPE_CHECKING:
    from shared.settings.config import Config

ORCHESTRATOR, NODE, CLIENT = "orchestrator", "node", "client"
SECRETS = "secrets"
_MARKS = {Grade.OK: "ok       ", Grade.NOTE: "note     ", Grade.WARNING: "WARNING  ", Grade.PROBLEM: "PROBLEM  "}


@click.command(cls=Command)
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice([ORCHESTRATOR, NODE, CLIENT]),
    help="What this machine is; may be repeated. Without it what the settings enable, or what has run with DataDir.",
)
@output_option
def doctor(roles: tuple[str, ...], output: str) -> None:
    """Look at what this machine needs for Tarpon, and say what to mend; it ends with 7 where something is wrong.

    Clock, names, disk and, for what the machine is, ports, NATS, the bucket, certificates, engines, and what the
    orchestrator says of itself and its nodes. Run it as the user of the service, with its settings (-c) and its
    environment. Nothing is changed; to the bucket its probe object is written.
    """
    try:
        config = given().load(check_publisher=True).config
    except ConfigurationInvalid as error:
        _end([of_error("settings", error)], output)
        return
    found = asyncio.run(_look(config, frozenset(roles) or roles_of(config)))
    _end([ok("settings", "The settings can be read."), *found], output)


def roles_of(config: "Config") -> frozenset[str]:
    """By what is enabled, and by what has run here. Who runs a node alone need not reach the API."""
    folder = config.data_dir
    found = {
        ORCHESTRATOR: config.orchestrator.enabled or (folder / "orchestrator" / "secrets").is_dir(),
        NODE: config.compute.enabled or (folder / "compute").is_dir(),
    }
    here = {role for role, is_so in found.items() if is_so}
    names_api = any(given().origins.get(key, "default") != "default" for key in ("API.Host", "API.Port"))
    return frozenset(here if here == {NODE} and not names_api else {*here, CLIENT})


async def _look(config: "Config", roles: frozenset[str]) -> list[Finding]:
    logging.disable(logging.CRITICAL)  # what is logged elsewhere of a problem is said here
    servers: list[str] = []
    checks: list[Check] = []
    if ORCHESTRATOR in roles:
        checks += _of_orchestrator(config)
        servers += config.orchestrator.nats.servers
    if NODE in roles:
        from compute.checkup import node_checks, servers_of

        checks += node_checks(config)
        servers += servers_of(config)
    if CLIENT in roles:
        checks += client_checks(config)
    hosts = hosts_of(config, of_orchestrator=ORCHESTRATOR in roles, servers=servers)
    return await findings_of([*machine_checks(config, hosts), *checks])


def _of_orchestrator(config: "Config") -> list[Check]:
    secrets, told = None, ok(SECRETS, "The files of secrets can be read, and by nobody else.")
    try:
        secrets = local_secrets(config)
    except NotFound as error:
        told = note(SECRETS, error.message)
    except ExtraMissing as error:
        return [Check(SECRETS, partial(_told, of_error(SECRETS, error)))]
    except TarponError as error:
        told = of_error(SECRETS, error)
    from orchestrator.checkup import orchestrator_checks

    return [Check(SECRETS, partial(_told, told)), *orchestrator_checks(config, secrets, partial(own_trust, config))]


async def _told(finding: Finding) -> list[Finding]:
    return [finding]


def _end(found: Sequence[Finding], output: str) -> None:
    show(found, output, lambda: "\n".join([*map(_line, found), "", _summary(found)]))
    if any(each.grade is Grade.PROBLEM for each in found):
        click.get_current_context().exit(Exit.UNHEALTHY)


def _line(finding: Finding) -> str:
    code = f" [{finding.code}]" if finding.code else ""
    hint = f"\n         {printable(finding.hint)}" if finding.hint else ""
    return printable(f"{_MARKS[finding.grade]}{finding.area}: {finding.message}{code}") + hint


def _summary(found: Sequence[Finding]) -> str:
    counts = Counter(each.grade for each in found)
    if not counts[Grade.PROBLEM] and not counts[Grade.WARNING]:
        return "Nothing is wrong."
    told = ", ".join(counted_in_words(counts[grade], str(grade.value)) for grade in (Grade.PROBLEM, Grade.WARNING))
    return f"{told}. docs/runbook.md has the codes."
