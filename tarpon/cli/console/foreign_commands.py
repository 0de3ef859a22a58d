"""Commands that somebody types and Tarpon does not have: what there is instead, also for those that Bacalhau has."""

from collections.abc import Iterator

import click

_OF_BACALHAU = {
    "profile": (
        "There is no command 'profile'; keep a file of settings for each orchestrator and name it with -c FILE, or set"
        " TARPON_API_HOST and TARPON_API_PORT."
    ),
    "help": "There is no command 'help'; `tarpon --help` lists the commands, and --help after one explains it.",
}


_OF_OTHERS = {
    "ps": "list",
    "ls": "list",
    "submit": "run",
    "cancel": "stop",
    "kill": "stop",
    "status": "describe",
}
"""What other programs call what `tarpon job` does."""


def instead_of(group: click.Group, ctx: click.Context, name: str) -> str:
    """In a sentence, what there is in place of a command; empty where nothing is known."""
    if name in _OF_OTHERS and (ctx.parent is None or ctx.info_name == "job"):
        return f"There is no command {name!r}. Did you mean `tarpon job {_OF_OTHERS[name]}`?"
    if ctx.parent is not None:
        return ""
    if name in _OF_BACALHAU:
        return _OF_BACALHAU[name]
    below = [f"`{ctx.command_path} {each} {name}`" for each in _groups_with(group, ctx, name)]
    return f"There is no command {name!r}. Did you mean {' or '.join(below)}?" if below else ""


def _groups_with(group: click.Group, ctx: click.Context, name: str) -> Iterator[str]:
    for each in group.list_commands(ctx):
        command = group.get_command(ctx, each)
        if isinstance(command, click.Group) and name in command.list_commands(ctx):
            yield each
