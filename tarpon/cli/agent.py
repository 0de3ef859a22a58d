"""The commands `tarpon agent ...`: what the orchestrator says about itself."""

from typing import TYPE_CHECKING

import click

from shared.errors import InvalidId
from shared.ids import is_safe_id
from tarpon.cli.agent_nats import nats_check, nats_config, nats_replicas
from tarpon.cli.console.commands import Group, given, with_client
from tarpon.cli.console.local_secrets import local_secrets, nats_addresses, nats_trust
from tarpon.cli.console.output import output_option, pairs, show, table

if TYPE_CHECKING:
    from shared.protocol.rest_nodes import AuditState, PublisherHealth
    from tarpon.client import Client


@click.group(cls=Group)
def agent() -> None:
    """Ask the orchestrator about itself."""


@agent.command()
@output_option
@with_client
async def alive(client: "Client", output: str) -> None:
    """Tell whether the orchestrator answers."""
    answer = await client.alive()
    show(answer, output, lambda: f"Status: {answer.status}")


@agent.command()
@output_option
@with_client
async def version(client: "Client", output: str) -> None:
    """Show the orchestrator's version."""
    answer = await client.version()
    show(answer, output, lambda: f"Tarpon {answer.git_version}")


@agent.command()
@output_option
@with_client
async def node(client: "Client", output: str) -> None:
    """Show the orchestrator as a node, and whether results can be published."""
    answer = await client.agent_node()
    health = answer.publishers.s3managed
    if health is None:
        publisher = "not configured"
    elif health.problem is not None:
        publisher = f"not ready: {health.problem.message} [{health.problem.code}]"
    else:
        publisher = "ready" if health.ready else "being probed"
    rows = {
        "Node": answer.node_id,
        "Type": answer.node_type,
        "Version": answer.version.git_version,
        "Leader": f"{answer.leader} (this one)" if answer.leader == answer.node_id else answer.leader,
        "s3managed": publisher,
        "Audit log": _audit_line(answer.audit),
        "Hint": health.problem.hint if health is not None and health.problem is not None else "",
        "Create-only": _create_only_line(health),
        "Old results": _deletion_line(health),
        "Unfinished uploads": _uploads_line(health.unfinished_uploads) if health is not None else "",
    }
    show(answer, output, lambda: pairs(rows))


def _audit_line(state: "AuditState | None") -> str:
    if state is None:
        return ""
    if state.problem is not None:
        return f"{state.problem.message} {state.problem.hint}"
    return f"written, {state.last_line} lines" + (f"; {state.lost} events were lost" if state.lost else "")


def _create_only_line(health: "PublisherHealth | None") -> str:
    if health is None or health.create_only is None:
        return ""
    known = {True: "yes", False: "no", None: "not known yet"}
    return f"{known[health.create_only]} with one PUT, {known[health.create_only_parts]} in parts"


def _deletion_line(health: "PublisherHealth | None") -> str:
    problem = health.deletion_problem if health is not None else None
    return f"cannot be deleted: {problem.message} {problem.hint}" if problem is not None else ""


def _uploads_line(count: int) -> str:
    return f"{count}; `tarpon agent uploads` lists them" if count else ""


@agent.command()
@output_option
@with_client
async def uploads(client: "Client", output: str) -> None:
    """List uploads in parts that no result came of, and that S3 does not let the orchestrator abort."""
    found = (await client.unfinished_uploads()).items
    rows = [[each.job_id, each.bucket, each.key, each.upload_id] for each in found]
    show(found, output, lambda: table(["JOB", "BUCKET", "KEY", "UPLOAD"], rows))


@agent.group(cls=Group)
def integration() -> None:
    """Connect programs to the NATS API."""


@integration.command("show")
@click.argument("name")
def show_integration(name: str) -> None:
    """Print what connects a program as the integration NAME. It holds a password; run this where the orchestrator runs.

    Each name is a user of its own, which needs not be made beforehand.
    """
    if not is_safe_id(name):
        raise InvalidId("integration", name)
    config = given().config()
    secrets = local_secrets(config)
    from orchestrator.admission.secret_files import integration_lines

    trusted = nats_trust(config, secrets)
    click.echo(integration_lines(secrets.integration_secret, name, nats_addresses(config), trusted))


for command in (nats_config, nats_check, nats_replicas):
    agent.add_command(command)
