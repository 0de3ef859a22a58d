"""The command `tarpon job url`: the signed URLs of results, for other programs to read them."""

from typing import TYPE_CHECKING

import click

from shared.data.plain_text import printable
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.job_group import job_argument, namespace_option
from tarpon.cli.console.output import output_option, show
from tarpon.cli.results.result_options import Choice, result_options

if TYPE_CHECKING:
    from tarpon.client import Client


@click.command(cls=Command)
@job_argument
@result_options
@output_option
@namespace_option
@with_client
async def url(
    client: "Client",
    *,
    job: str,
    choice: Choice,
    output: str,
    namespace: str,
) -> None:
    """Print the signed URL of each result of a job, for other programs; by part.

    Whoever has a URL can read that archive (.tar.gz) until it expires, and nothing else: it is for GET, so that HEAD is
    refused. --output json tells when it expires, the size and the SHA-256.
    """
    from shared.errors import ResultIsPlain
    from tarpon.results.offered import chosen_version, offered

    partition, execution, version = choice
    view = await chosen_version(client, job, namespace=namespace, version=version, execution=execution)
    found = await offered(client, job, view, namespace=namespace, partition=partition, execution=execution)
    if (plain := next((each for each in found if each.is_plain), None)) is not None:
        raise ResultIsPlain(plain.execution_id)
    show(found, output, lambda: "\n".join(printable(each.pre_signed_url) for each in found))
