"""Inputs that are on this machine: each is sent, and the job then reads it by its digest."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from shared.data.plain_text import printable
from shared.jobs.spec import InputSource, Job, SpecConfig
from tarpon.cli.console.output import size
from tarpon.cli.display.sending import sending_shown
from tarpon.cli.job.flags import with_inputs
from tarpon.cli.job.input_flags import LocalInput

if TYPE_CHECKING:
    from tarpon.client import Client


async def with_sent(client: "Client", job: Job, sends: Sequence[LocalInput]) -> Job:
    """The job with the inputs that are sent by then. Raises as Client.put_data does."""
    for each in sends:
        with sending_shown() as on_progress:
            sent = await client.put_data(each.path, namespace=job.namespace, on_progress=on_progress)
        told = f"{size(sent.sent_bytes)} sent" if sent.sent_bytes else "it was there already"
        click.echo(f"Input {printable(each.path)} for {printable(each.target)}: {told}.", err=True)
        job = with_inputs(job, (_input(sent.data.digest, each.target),))
    return job


async def with_digests(job: Job, sends: Sequence[LocalInput]) -> Job:
    """The job as it would be submitted; nothing is sent."""
    if not sends:
        return job
    from tarpon.sending.send import digest_of

    sources = [_input(await digest_of(each.path), each.target) for each in sends]
    return with_inputs(job, tuple(sources))


def _input(digest: str, target: str) -> InputSource:
    return InputSource(source=SpecConfig(type="upload", params={"Data": digest}), target=target)
