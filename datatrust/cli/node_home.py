"""The folder of a partner's node, as its commands take it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from nodes.settings import NodeSettings

__all__ = ["Home", "home_of", "settings_of"]

Home: TypeAlias = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="The node's folder; otherwise ~/.local/share/datatrust/node."),
]


def home_of(home_given: Path | None) -> Path:
    """What was given, else `node` in DATATRUST_HOME, else in `datatrust` under XDG_DATA_HOME, else ~/.local/share."""
    if home_given is not None:
        return home_given
    if home := os.environ.get("DATATRUST_HOME"):
        return Path(home) / "node"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "datatrust" / "node"


def settings_of(home: Path | None) -> NodeSettings:
    """The node in that folder.  Raises: InvalidInput."""
    from nodes.settings import NodeSettings

    return NodeSettings.at(home_of(home))
