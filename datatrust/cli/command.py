"""What every command of the command line shares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from trust.decision import Decision
from trust.errors import InvalidInput, sentence
from trust.files import data_folder

if TYPE_CHECKING:
    from nodes.settings import NodeSettings

__all__ = [
    "Command",
    "Invited",
    "NodeHome",
    "PassphraseFile",
    "TrustLocation",
    "Url",
    "end",
    "group",
    "home_of",
    "print_decisions",
    "settings_of",
]

Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The address of a coordinator, https://host:port.")
]
Invited = Annotated[
    Path | None,
    typer.Option("--invitation", metavar="FILE", help="Its invitation.json, the first time; its root is pinned."),
]
NodeHome = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="The node's folder; otherwise ~/.local/share/datatrust/node."),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file (mode 0600) with the passphrase on one line. Otherwise DATATRUST_PASSPHRASE, or you are asked.",
    ),
]


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


@dataclass(frozen=True)
class TrustLocation:
    """A folder that keeps a trust, or the address of a coordinator.  Raises: InvalidInput for both, and for neither."""

    state: Path | None = None
    url: str | None = None
    invitation: Path | None = None

    def __post_init__(self) -> None:
        if (self.state is None) == (self.url is None):
            got = "neither --state nor --url" if self.url is None else "--state and --url"
            raise InvalidInput(got, expected="one of them: --state DIR, or --url URL")
        if self.invitation is not None and self.url is None:
            raise InvalidInput("--invitation without --url", expected="both")

    @property
    def folder(self) -> Path:
        """The folder.  Raises: InvalidInput."""
        if self.state is None:
            raise InvalidInput("an address where a folder is needed", expected="--state DIR")
        return self.state


def home_of(home: Path | None) -> Path:
    """The node's folder: the one that was named, else `node` in the person's data folder."""
    return data_folder() / "node" if home is None else home


def settings_of(home: Path | None) -> NodeSettings:
    """The node in that folder.  Raises: InvalidInput."""
    from nodes.settings import NodeSettings

    return NodeSettings.at(home_of(home))


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
