"""What every command of the command line shares."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import click
import typer

from trust.decision import Decision

__all__ = ["Command", "end", "group", "print_decisions", "program"]


class Command(typer.core.TyperCommand):
    """A command whose help is plain text."""

    def get_help(self, ctx: click.Context) -> str:
        """Without the backslashes that typer 0.20 leaves before brackets where help is plain text."""
        return super().get_help(ctx).replace("\\[", "[")


def group(text: str | None = None) -> typer.Typer:
    """A group of commands, such as `datatrust dataset`; the text of one at the top stands in datatrust/cli.py."""
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
        mend = f"; to mend it: {decision.remedy}" if decision.remedy and not decision.ok else ""
        typer.echo(f"{'ok' if decision.ok else 'no'}  {decision.rule}: {decision.text}{mend}")
    return ok


def end(ok: bool) -> None:
    """The last line, and exit code 1 where something said no."""
    typer.echo("ok" if ok else "not ok")
    if not ok:
        raise typer.Exit(1)


def program(*, absolute: bool = False) -> str:
    """How to call this program again from here: its name where the shell finds it, else its path."""
    called = Path(sys.argv[0])
    if called.name != "datatrust" or not called.is_file():
        return "datatrust"
    found = shutil.which("datatrust")
    if found and Path(found).resolve() == called.resolve():
        return "datatrust"
    return str(called.absolute() if absolute else called)
