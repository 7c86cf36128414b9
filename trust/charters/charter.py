"""A charter: the trust's policies as a folder of files.  Format: docs/formats.md, 13."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, StrictBool, StrictInt

from trust.canonical import LARGEST_INTEGER, Model, Real, digest, read_model
from trust.charters.cedar import PolicyEngine, engine
from trust.charters.cedar_text import PolicyText, policies_of
from trust.errors import CharterInvalid, nearest
from trust.files import parse_toml
from trust.privacy.protections import Protections

__all__ = ["READY", "Charter", "Committee", "Floor", "folder_of"]

READY = tuple(
    sorted(folder.name for folder in (files("trust") / "charters").iterdir() if (folder / "charter.toml").is_file())
)
"""The charters that come with the software: the folders beside this file."""
_LARGEST_BYTES, _MOST_PURPOSES = 1 << 20, 1_000
_LARGEST_TOML_BYTES, _LONGEST_LINE_CHARACTERS = 1 << 16, 1_000


class Floor(Model):
    """The least that every study must promise; a study may be stricter, never laxer."""

    persons: StrictInt = Field(ge=1)
    organisations: StrictInt = Field(ge=3)
    dominance_percent: StrictInt = Field(ge=1, le=100)
    glm_parameters_per_person: Real = Field(gt=0, le=1)
    residual_df: StrictInt = Field(ge=1)
    zero_is_small: StrictBool
    participation: tuple[Literal["all", "joined"], ...] = Field(min_length=1)
    longest_days: StrictInt = Field(ge=1, le=90)
    sums_at_most: StrictInt = Field(ge=1)
    bytes_at_most: StrictInt = Field(ge=1)


LOOSEST: Mapping[str, Any] = {
    "persons": 1,
    "organisations": 3,
    "dominance_percent": 100,
    "glm_parameters_per_person": 1.0,
    "residual_df": 1,
    "zero_is_small": False,
    "participation": ("all", "joined"),
    "longest_days": 90,
    "sums_at_most": LARGEST_INTEGER - 1,
    "bytes_at_most": LARGEST_INTEGER - 1,
}
"""A floor that demands nothing: what a partner's policy does not mention."""


class Committee(Model):
    """How many members sign, and how many of a role must be among them."""

    quorum: StrictInt = Field(ge=1)
    roles: dict[str, StrictInt] = Field(default_factory=dict)


class Charter(Model):
    """charter.toml, purposes.toml and the policies, with the digest of the folder.

    Attributes:
        local_only: whether only a trust in one process may have this charter, as a sandbox without protections.
        policies: `((file name, text), …)` of the *.cedar files, by name.
    """

    name: str
    version: StrictInt = Field(ge=1)
    languages: tuple[str, ...]
    title: dict[str, str]
    contact: str
    rights: dict[str, str]
    partner_may_be_shown: StrictBool
    local_only: StrictBool = False
    committee: Committee
    floor: Floor
    purposes: dict[str, tuple[str, ...]]
    policies: tuple[tuple[str, str], ...] = ()
    folder_digest: str
    _files: dict[str, bytes] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(cls, folder_path: str | Path) -> Charter:
        """A ready charter by its name (`research`, `sandbox`), or a folder.  Raises: CharterInvalid."""
        folder = folder_of(folder_path)
        raw = {name: read(folder, name, f"charter {str(folder_path)!r}") for name in ("charter.toml", "purposes.toml")}
        fields = toml(raw["charter.toml"], "charter.toml")
        purposes = toml(raw["purposes.toml"], "purposes.toml")
        _check_purposes(purposes)
        raw |= cedar_files(folder, f"charter {str(folder_path)!r}")
        extra = {"purposes": purposes, "policies": texts(raw), "folder_digest": digest_of(raw)}
        for name in extra:
            if name in fields:
                raise CharterInvalid(f"charter.toml has an unknown field {name!r}", expected="only the documented ones")
        charter = read_model(cls, {**fields, **extra}, CharterInvalid, "charter.toml")
        charter._check_policies()
        charter._files.update(raw)
        return charter

    @property
    def files(self) -> Mapping[str, bytes]:
        """The files that the digest is over, by name."""
        return self._files

    def _check_policies(self) -> None:
        for policy in self.rules:
            if not policy.id.startswith(f"{self.name}/"):
                raise CharterInvalid(
                    f"{policy.place}: the id {policy.id!r}",
                    expected=f"the charter's name before it, such as '{self.name}/{policy.id.rpartition('/')[2]}'",
                )
            for purpose in sorted(policy.literals.purposes - set(self.purposes)):
                raise CharterInvalid(
                    f"{policy.place}: policy {policy.id!r} names the unknown purpose {purpose!r}",
                    expected=nearest(purpose, self.purposes),
                    remedy="correct the name, or add it to purposes.toml",
                )
        self.engine()

    @property
    def rules(self) -> tuple[PolicyText, ...]:
        """The policies, in order."""
        return policies_of(self.policies)

    def engine(self, *extra: tuple[str, str]) -> PolicyEngine:
        """What answers requests: this charter's policies, and a partner's (`more`).  Made once.

        Raises: CharterInvalid where two policies have the same id.
        """
        return engine(self.policies + extra, tuple(self.purposes.items()))

    def defaults(self) -> Protections:
        """The protections of a study that says nothing: exactly this charter's floors."""
        floor = self.floor.model_dump()
        shared = {name: floor[name] for name in Protections.model_fields if name in floor}
        shared["participation"] = "joined" if "joined" in self.floor.participation else "all"
        return Protections.model_validate(shared)


def _check_purposes(purposes: Mapping[str, Any]) -> None:
    if len(purposes) > _MOST_PURPOSES:
        raise CharterInvalid(f"purposes.toml has {len(purposes)} purposes", expected=f"at most {_MOST_PURPOSES:,}")
    for child, parents in purposes.items():
        if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
            raise CharterInvalid(f"purposes.toml: {child!r} is not a list of parents", expected=f'{child} = ["Parent"]')
        for parent in parents:
            if parent not in purposes:
                raise CharterInvalid(
                    f"purposes.toml: {child!r} has the unknown parent {parent!r}",
                    expected=nearest(str(parent), purposes),
                )
    unresolved = {child: set(parents) for child, parents in purposes.items()}
    while ready := [child for child, parents in unresolved.items() if not parents & unresolved.keys()]:
        for child in ready:
            del unresolved[child]
    if unresolved:
        raise CharterInvalid(
            f"purposes.toml: {min(unresolved)!r} is among its own ancestors", expected="parents above it"
        )


# ---- a folder's files; a partner's policy is read by the same


def folder_of(folder_named: str | Path) -> Any:
    """The folder of a ready charter, by its name, or of a charter's files.  Raises: CharterInvalid."""
    if str(folder_named) in READY:
        return files("trust") / "charters" / str(folder_named)
    folder = Path(folder_named)
    if not folder.is_dir():
        raise CharterInvalid(
            f"no charter {str(folder_named)!r}",
            expected=nearest(str(folder_named), READY) + ", or a folder with charter.toml and purposes.toml",
        )
    return folder


def read(folder: Any, name: str, owner: str) -> bytes:
    """The bytes of a file.  Raises: CharterInvalid."""
    try:
        return bytes((folder / name).read_bytes())
    except OSError:
        raise CharterInvalid(f"{owner} has no readable {name}", expected="the file") from None


def cedar_files(folder: Any, owner: str) -> dict[str, bytes]:
    """The *.cedar files, by name.  Raises: CharterInvalid."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.lower().endswith(".cedar"))
    for name in names:
        if not name.endswith(".cedar"):
            raise CharterInvalid(f"{owner} has a file {name!r}", expected="the ending .cedar in small letters")
    return {name: read(folder, name, owner) for name in names}


def texts(raw: Mapping[str, bytes]) -> tuple[tuple[str, str], ...]:
    """`((file name, text), …)` of the policies, by name.  Raises: CharterInvalid."""
    return tuple((name, _text(raw[name], name)) for name in sorted(raw) if name.endswith(".cedar"))


def digest_of(raw: Mapping[str, bytes]) -> str:
    """`sha256:<hex>` of canonical({file name: SHA-256 of its bytes})."""
    return digest({name: "sha256:" + hashlib.sha256(content).hexdigest() for name, content in raw.items()})


def toml(raw: bytes, name: str) -> dict[str, Any]:
    """A TOML file's content.  Raises: CharterInvalid.

    A key of many parts takes the parser memory with the square of its length, and files may come from strangers.
    """
    text = _text(raw, name)
    if len(raw) > _LARGEST_TOML_BYTES or max(map(len, text.splitlines()), default=0) > _LONGEST_LINE_CHARACTERS:
        limits = f"at most {_LARGEST_TOML_BYTES} bytes, in lines of at most {_LONGEST_LINE_CHARACTERS} characters"
        raise CharterInvalid(f"{name} is too long, or has too long a line", expected=limits)
    return parse_toml(raw, name, CharterInvalid)


def _text(raw: bytes, name: str) -> str:
    if len(raw) > _LARGEST_BYTES:
        raise CharterInvalid(f"{name} of {len(raw)} bytes", expected=f"at most {_LARGEST_BYTES}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise CharterInvalid(f"{name} is not UTF-8 text", remedy="save it as UTF-8") from None


def strictest(floors: Iterable[Floor]) -> Floor:
    """For each threshold the strictest of several floors; `participation` may come out empty, which refuses all."""
    first, *rest = floors
    if not rest:
        return first
    strictest_floor = dict(first)
    for floor in rest:
        for name, value in dict(floor).items():
            own_floor = strictest_floor[name]
            if isinstance(value, tuple):
                strictest_floor[name] = tuple(way for way in own_floor if way in value)
            elif isinstance(value, bool):
                strictest_floor[name] = own_floor or value
            else:
                strictest_floor[name] = min(own_floor, value) if name in AT_MOST else max(own_floor, value)
    return first.model_copy(update=strictest_floor)


AT_MOST = frozenset({"dominance_percent", "glm_parameters_per_person", "longest_days", "sums_at_most", "bytes_at_most"})
"""Thresholds where less is stricter; elsewhere more is."""
