"""Commands: the global options at any place, flags that take =false, groups that load late."""

import functools
import importlib
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from shared.settings.config import Config
    from shared.settings.loading import LoadedConfig

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Given:
    """What the global options said, in the order in which they were written."""

    def __init__(self) -> None:
        self.sets: list[str] = []
        self.debug = False
        self.origins: Mapping[str, str] = {}
        """Where each setting came from that was loaded last, as LoadedConfig has it."""

    def __repr__(self) -> str:
        return f"<Given {len(self.sets)} settings, debug={self.debug}>"

    def load(self, *extra: str, check_publisher: bool = False) -> "LoadedConfig":
        """The configuration, with its warnings told on stderr. Raises ConfigurationInvalid."""
        import os

        from tarpon.cli.console.environment import load_settings

        loaded = load_settings([*self.sets, *extra], os.environ, check_publisher=check_publisher)
        self.origins = loaded.origins
        for warning in loaded.warnings:
            click.echo(f"Warning: {warning}", err=True)
        return loaded

    def config(self, *extra: str) -> "Config":
        return self.load(*extra).config


def given() -> Given:
    """What the global options of the running command said."""
    return click.get_current_context().find_root().ensure_object(Given)


def _take_sets(context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> None:
    context.find_root().ensure_object(Given).sets += values


def _complete_settings(context: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    from tarpon.cli.console.completed_names import settings

    return settings(context, parameter, incomplete)


def _take_as(key: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def take(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            context.find_root().ensure_object(Given).sets.append(f"{key}={value}")

    return take


def _take_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click
    if value:
        context.find_root().ensure_object(Given).debug = True


def _global_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["-c", "--config"],
            metavar="KEY=VALUE|FILE",
            multiple=True,
            expose_value=False,
            callback=_take_sets,
            shell_complete=_complete_settings,
            help="A setting, or a YAML file of settings; may be repeated.",
        ),
        click.Option(
            ["--api-host"],
            metavar="HOST|URL",
            expose_value=False,
            callback=_take_as("API.Host"),
            help="Where the orchestrator is (API.Host).",
        ),
        click.Option(
            ["--api-port"],
            metavar="PORT",
            expose_value=False,
            callback=_take_as("API.Port"),
            help="Its port (API.Port).",
        ),
        click.Option(
            ["--debug"], is_flag=True, expose_value=False, callback=_take_debug, help="Show where an error arose."
        ),
    ]


@contextmanager
def _nearest_option(ctx: click.Context) -> Iterator[None]:
    """Of the options that click suggests for one that does not exist, only the likeliest."""
    try:
        yield
    except click.NoSuchOption as error:
        from shared.data.decoding import close_match

        nearest = close_match(error.option_name, error.possibilities or ())
        raise click.NoSuchOption(error.option_name, possibilities=[nearest] if nearest else None, ctx=ctx) from error


class ReaderWentAway(Exception):
    """Nobody reads our stdout any more. A BrokenPipeError click would take for a failure."""


class Command(click.Command):
    """A command that takes the global options, and flags written as Go programs take them: --wait=false."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _global_options()
        self.context_settings = {**CONTEXT, **self.context_settings}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [each for each in self.params if isinstance(each, click.Option)]
        mixed = ctx.allow_interspersed_args
        with _nearest_option(ctx):
            return super().parse_args(ctx, list(plain_flags(args, options, stop_at_argument=not mixed)))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderWentAway from error


class Group(click.Group):
    """A group whose commands are imported when they are used. `lazy` tells module and help line of each."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy or {}
        self.params += _global_options()
        self.context_settings = {**CONTEXT, **self.context_settings}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _nearest_option(ctx):
            return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *self._lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from shared.data.decoding import close_match
            from tarpon.cli.console.foreign_commands import instead_of

            if instead := instead_of(self, ctx, args[0]):
                raise click.UsageError(instead, ctx) from error
            suggestion = close_match(args[0], self.list_commands(ctx))
            if not suggestion or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"There is no command {args[0]!r}. Did you mean {suggestion!r}?", ctx) from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """What may follow, without importing the lazy commands for it."""
        from click.shell_completion import CompletionItem

        lazy = [
            CompletionItem(name, help=line) for name, (_, line) in self._lazy.items() if name.startswith(incomplete)
        ]
        others = click.Command.shell_complete(self, ctx, incomplete)
        eager = [
            CompletionItem(name, help=command.get_short_help_str())
            for name, command in self.commands.items()
            if name.startswith(incomplete)
        ]
        return [*eager, *lazy, *others]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's
        """List lazy commands with their help lines, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._help_lines().items()))

    def _help_lines(self) -> dict[str, str]:
        eager = {name: command.get_short_help_str() for name, command in self.commands.items()}
        return eager | {name: line for name, (_, line) in self._lazy.items()}


def plain_flags(args: list[str], options: Iterable[click.Option], *, stop_at_argument: bool) -> Iterator[str]:
    """`--flag=true` and `--flag=false` as click writes them. What follows `--`, or an argument, may be left alone."""
    known = {name: option for option in options for name in option.opts}
    rest = iter(args)
    for arg in rest:
        name, equals, value = arg.partition("=")
        option = known.get(name)
        if arg == "--" or (stop_at_argument and not arg.startswith("-")):
            yield arg
            yield from rest
        elif option is None or (option.is_flag and not equals):
            yield arg
        elif not option.is_flag:
            yield arg
            if not equals:
                yield from islice(rest, 1)  # the option's value, whatever it looks like
        elif value.lower() in {"true", "false"}:
            yield from [name] if value.lower() == "true" else option.secondary_opts[:1]
        else:
            yield arg


def with_client(function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """Run a coroutine function as a command; its first parameter becomes the connected client."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        return _in_loop(given().config(), function, *args, **kwargs)

    return command


def with_quick_client(function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """As `with_client`, of one that asks for all that it shows before it shows anything, and waits for nothing else.

    Its client is the quick one. Where that has no answer all begins anew with the other.
    """

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        from tarpon.cli.console.clients import quick_client_of
        from tarpon.http.quick_client import NoQuickAnswer

        config = given().config()
        quick = quick_client_of(config)
        if quick is not None:
            with suppress(NoQuickAnswer):
                return _at_once(function(quick, *args, **kwargs))
        return _in_loop(config, function, *args, **kwargs)

    return command


def _in_loop(config: "Config", function: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any) -> Any:
    import asyncio

    from tarpon.cli.console.clients import client_of

    async def main() -> Any:
        async with client_of(config) as client:
            return await function(client, *args, **kwargs)

    return asyncio.run(main())


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What it returns, without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise RuntimeError("it waits")
