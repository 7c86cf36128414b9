"""What every command of the command line shares."""

from __future__ import annotations

import click
import typer

__all__ = ["Command", "group"]


class Command(typer.core.TyperCommand):
    """A command whose help is plain text."""

    def get_help(self, ctx: click.Context) -> str:
        """Without the backslashes that typer 0.20 leaves before brackets where help is plain text."""
        return super().get_help(ctx).replace("\\[", "[")


def group(text: str) -> typer.Typer:
    """A group of commands, such as `datatrust dataset`."""
    return typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        suggest_commands=False,  # click suggests already
        help=text,
    )
