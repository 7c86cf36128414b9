"""A charter: the trust's policies as a folder of files.  Format: docs/formats.md, 13."""

from __future__ import annotations

import hashlib
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, StrictBool, StrictInt

from trust.canonical import Model, Real, digest, read_model
from trust.errors import CharterInvalid, nearest
from trust.protections import Protections

__all__ = ["Charter", "Committee", "Floor"]

_READY = ("research", "sandbox")
_LARGEST = 1 << 20


class Floor(Model):
    """The least that every study must promise; a study may be stricter, never laxer."""

    persons: StrictInt = Field(ge=1)
    organisations: StrictInt = Field(ge=3)
    dominance_percent: StrictInt = Field(ge=1, le=100)
    glm_parameters_per_person: Real = Field(gt=0, le=1)
    residual_df: StrictInt = Field(ge=1)
    zero_is_small: StrictBool
    secure_sum: StrictBool
    replay: StrictBool
    participation: tuple[Literal["all", "joined"], ...] = Field(min_length=1)
    longest_days: StrictInt = Field(ge=1, le=90)
    sums_at_most: StrictInt = Field(ge=1)
    bytes_at_most: StrictInt = Field(ge=1)


class Committee(Model):
    """How many members sign, and how many of a role must be among them."""

    quorum: StrictInt = Field(ge=1)
    roles: dict[str, StrictInt] = Field(default_factory=dict)


class Charter(Model):
    """charter.toml and purposes.toml, with the digest of the folder."""

    name: str
    version: StrictInt = Field(ge=1)
    languages: tuple[str, ...]
    title: dict[str, str]
    contact: str
    rights: dict[str, str]
    partner_may_be_shown: StrictBool
    committee: Committee
    floor: Floor
    purposes: dict[str, tuple[str, ...]]
    folder_digest: str

    @classmethod
    def load(cls, where: str | Path) -> Charter:
        """A ready charter by its name (`research`, `sandbox`), or a folder.  Raises: CharterInvalid."""
        if str(where) in _READY:
            folder: Any = files("trust") / "charters" / str(where)
        else:
            folder = Path(where)
            if not folder.is_dir():
                raise CharterInvalid(
                    f"no charter {str(where)!r}",
                    expected=nearest(str(where), _READY) + ", or a folder with charter.toml and purposes.toml",
                )
        raw = {}
        for name in ("charter.toml", "purposes.toml"):
            try:
                raw[name] = (folder / name).read_bytes()
            except OSError:
                raise CharterInvalid(f"charter {str(where)!r} has no readable {name}", expected="the file") from None
        fields = _toml(raw["charter.toml"], "charter.toml")
        purposes = _toml(raw["purposes.toml"], "purposes.toml")
        for child, parents in purposes.items():
            if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
                raise CharterInvalid(
                    f"purposes.toml: {child!r} is no list of parents", expected=f'{child} = ["Parent"]'
                )
            for parent in parents:
                if parent not in purposes:
                    raise CharterInvalid(
                        f"purposes.toml: {child!r} has the unknown parent {parent!r}",
                        expected=nearest(str(parent), purposes),
                    )
        folder_digest = digest({name: "sha256:" + hashlib.sha256(text).hexdigest() for name, text in raw.items()})
        extra = {"purposes": purposes, "folder_digest": folder_digest}
        for name in extra:
            if name in fields:
                raise CharterInvalid(f"charter.toml has an unknown field {name!r}", expected="only the documented ones")
        return read_model(cls, {**fields, **extra}, CharterInvalid, "charter.toml")

    def defaults(self) -> Protections:
        """The protections of a study that says nothing: exactly this charter's floors."""
        floor = self.floor.model_dump()
        shared = {name: floor[name] for name in Protections.model_fields if name in floor}
        shared["participation"] = "joined" if "joined" in self.floor.participation else "all"
        return Protections.model_validate(shared)


def _toml(raw: bytes, name: str) -> dict[str, Any]:
    if len(raw) > _LARGEST:
        raise CharterInvalid(f"{name} of {len(raw)} bytes", expected=f"at most {_LARGEST}")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise CharterInvalid(f"{name} is not UTF-8 text", remedy="save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as wrong:
        raise CharterInvalid(f"{name} is not valid TOML: {wrong}") from None
