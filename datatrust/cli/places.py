"""What commands share that act on a trust from here or from afar: which trust it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from trust.errors import InvalidInput

__all__ = ["Invited", "TrustLocation", "Url"]

Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The address of a coordinator, https://host:port.")
]
Invited = Annotated[
    Path | None,
    typer.Option("--invitation", metavar="FILE", help="Its invitation.json, the first time; its root is pinned."),
]


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
