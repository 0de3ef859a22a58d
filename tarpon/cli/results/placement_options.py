"""Options for what becomes of links, names and attributes when a result becomes files."""

import functools
from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    click.option(
        "--links",
        type=click.Choice(["refuse", "skip", "keep-text"]),
        default="skip",
        show_default=True,
        help="Symbolic links that lead out of the result: place nothing, leave them out, or make them as they stand.",
    ),
    click.option(
        "--rename-collisions",
        is_flag=True,
        help="Where the folder takes two names for one (Readme, README), give the second file another name.",
    ),
    click.option("--xattrs", is_flag=True, help="Restore extended attributes of users, and access control lists."),
    click.option("--capabilities", is_flag=True, help="Restore file capabilities too; takes root."),
)


def placement_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options; its function gets them as `rules`."""

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        from shared.extraction.placement_rules import LinkRule, PlacementRules

        rules = PlacementRules(
            links=LinkRule(values.pop("links")),
            rename_collisions=values.pop("rename_collisions"),
            xattrs=values.pop("xattrs"),
            capabilities=values.pop("capabilities"),
        )
        return function(rules=rules, **values)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command
