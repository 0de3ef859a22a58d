"""The command `tarpon completion`: the lines that teach a shell to complete what follows `tarpon`."""

import click

from tarpon.cli.console.commands import Command

VARIABLE = "_TARPON_COMPLETE"
"""With it, the shell asks the program itself what may come next."""


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands, options, files, jobs, nodes, settings and paths in results.

    \b
    bash:  eval "$(tarpon completion bash)"              in ~/.bashrc
    zsh:   eval "$(tarpon completion zsh)"               in ~/.zshrc
    fish:  tarpon completion fish > ~/.config/fish/completions/tarpon.fish
    """  # noqa: D301  # click wants the character
    from click.shell_completion import get_completion_class

    from tarpon.cli.console.shell_completion import register

    register()
    kind = get_completion_class(shell)
    assert kind is not None, "click knows all shells of the choice"
    click.echo(kind(click.get_current_context().find_root().command, {}, "tarpon", VARIABLE).source())
