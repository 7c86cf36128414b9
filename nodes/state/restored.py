"""A home that was restored from a backup: what it has lost, and what lets it serve again.

A backup holds no state, so a restored node knows neither the cohorts that it has answered nor what it has spent, and
must not answer as if nothing had been.  It serves again only once the trust's quorum has signed a next root that names
other keys for this partner: that is the committee's consent to a new history.  The old key's heads in the register are
then of the history that was given up.  `N/restored` is the mark; it stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from trust.canonical import Model, read_document
from trust.documents.root import Key, TrustRoot
from trust.errors import InvalidInput, Refused
from trust.files import read_file
from trust.times import Time

__all__ = ["FILE", "Restored", "abandoned_keys", "require_caught_up", "restored"]

FILE = "restored"


class Restored(Model):
    """The mark of a restored home.

    Attributes:
        keys: raw public signing keys, hex, of every history that was given up.
        size: how many entries the last one's journal had when it was exported.
    """

    schema_: Literal["datatrust/restored/1"] = Field(default="datatrust/restored/1", alias="schema")
    at: Time
    keys: tuple[Key, ...] = Field(min_length=1)
    root: int = Field(ge=0)
    size: int = Field(ge=0)


def restored(own_folder: Path) -> Restored | None:
    """The mark, None in a home that was never restored.  Raises: InvalidInput for one that cannot be read."""
    file = own_folder / FILE
    if not file.exists():
        return None
    return read_document(Restored, read_file(file).strip(), InvalidInput, f"{str(file)!r}")


def abandoned_keys(own_folder: Path) -> tuple[bytes, ...]:
    """Raw keys of histories that were given up.  Raises: InvalidInput."""
    mark = restored(own_folder)
    return tuple(bytes.fromhex(key) for key in mark.keys) if mark else ()


def require_caught_up(own_folder: Path, name: str, root: TrustRoot) -> None:
    """Raises: Refused (`state-rolled-back`) for a restored home whose keys no newer root has replaced."""
    mark = restored(own_folder)
    if mark is None:
        return
    partner = root.root.partners.get(name)
    if root.root.version <= mark.root or partner is None or partner.sign in mark.keys:
        raise Refused(
            "state-rolled-back",
            f"this home was restored from a backup at {mark.at}: it does not know what it has answered",
            remedy="datatrust node keys rotate, have the next trust root signed with the new keys, and enrol it: that "
            "is the committee's consent to a new history",
        )
