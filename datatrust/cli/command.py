"""What every command of the command line shares."""

from __future__ import annotations

from collections.abc import Iterable

import click
import typer

from trust.decision import Decision
from trust.errors import sentence

__all__ = ["Command", "end", "group", "print_decisions"]


class Command(typer.core.TyperCommand):
    """A command whose help is plain text."""

    def get_help(self, ctx: click.Context) -> str:
        """Without the backslashes that typer 0.20 leaves before brackets where help is plain text."""
        return super().get_help(ctx).replace("\\[", "[")


def group(text: str | None = None) -> typer.Typer:
    """A group of commands, such as `datatrust dataset`; the text of one at the top stands in datatrust/cli/main.py."""
    return typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        suggest_commands=False,  # click suggests already
        help=text,
    )


def print_decisions(decisions: Iterable[Decision]) -> bool:
    """A line a check; whether all said yes."""
    ok = True
    for decision in decisions:
        ok = ok and decision.ok
        text = decision.text if decision.ok else sentence(decision.text, remedy=decision.remedy)
        typer.echo(f"{'ok' if decision.ok else 'no'}  {decision.rule}: {text}")
    return ok


def end(ok: bool) -> None:
    """The last line, and exit code 1 where something said no."""
    typer.echo("ok" if ok else "not ok")
    if not ok:
        raise typer.Exit(1)
