"""What people write for a trust root: a founding file and a file of changes, in TOML, with keys as paths of .pub files.

A partner is named by one file, `partner.json`, which `datatrust node init` has written; or by its two .pub files.

A founding file says the whole trust (docs/found-a-trust.md has one).  In a file of changes, what is named is set to
this and all else stays: nobody is left out by not being mentioned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BeforeValidator, Field, StrictInt, model_validator

from nodes.keys import PartnerFile
from trust.canonical import Model, read_model
from trust.documents.root import Name, Partner
from trust.errors import DataTrustError, InvalidInput
from trust.files import parse_toml
from trust.signing.connection_key import connection_hex
from trust.signing.key_files import KeyKind, PublicKey, read_public
from trust.times import read_time, write_time

__all__ = [
    "Changes",
    "Founding",
    "Holders",
    "PartnerFiles",
    "ResearcherFile",
    "When",
    "key_of",
    "moment",
    "read_partner",
    "read_toml",
]

_LARGEST_BYTES = 1 << 20
_LONGEST_DAYS = 3650
M = TypeVar("M", "Founding", "Changes")


def _when(value: Any) -> Any:
    """A date, a time, or the text of one, as text; a number of days stays a number."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time without a zone; write it as 2027-11-24T12:00:00Z")
        return write_time(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("no date; write it as 2027-11-24")
    return value


def _holders(value: Any) -> Any:
    return {"keys": value} if isinstance(value, list) else value


def _member_changes(value: Any) -> Any:
    if isinstance(value, list):
        raise ValueError("a list of all members; write [members] with add = [...] and remove = [...]")
    return value


When: TypeAlias = Annotated[str | int, BeforeValidator(_when)]
Files: TypeAlias = tuple[str, ...]


class Holders(Model):
    """Who has a role, and how many of them must act; the charter's number if none is given."""

    keys: Files = Field(min_length=1)
    threshold: StrictInt | None = Field(default=None, ge=1)


class PartnerFiles(Model):
    """A partner's public file, as its node wrote it; or its two .pub files, without a key for its connection."""

    partner: str | None = None
    sign: str | None = None
    seal: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> PartnerFiles:
        if (self.partner is None) != (self.sign is not None and self.seal is not None) or (
            self.partner is not None and (self.sign is not None or self.seal is not None)
        ):
            raise ValueError('partner = "partner.json" alone, or both sign and seal')
        return self


class ResearcherFile(Model):
    """A researcher's public file and accreditation."""

    key: str
    organisation: str = Field(min_length=1, max_length=200)
    accredited_until: When


Roles: TypeAlias = dict[Name, Annotated[Holders, BeforeValidator(_holders)]]


class Founding(Model):
    """A whole trust.  What is left out is the charter's (quorum) or one year (expires)."""

    trust: Name
    charter: str
    members: Files
    coordinator: str
    auditor: str
    quorum: StrictInt | None = None
    expires: When = 365
    roles: Roles = Field(default_factory=dict)
    partners: dict[Name, PartnerFiles] = Field(default_factory=dict)
    researchers: dict[Name, ResearcherFile] = Field(default_factory=dict)


class MemberChanges(Model):
    """Members who come and go."""

    add: Files = ()
    remove: Files = ()


class Removed(Model):
    """Partners and researchers who leave."""

    partners: tuple[str, ...] = ()
    researchers: tuple[str, ...] = ()


class Changes(Model):
    """What the next version changes; all else stays."""

    charter: str | None = None
    members: Annotated[MemberChanges, BeforeValidator(_member_changes)] = MemberChanges()
    coordinator: str | None = None
    auditor: str | None = None
    quorum: StrictInt | None = None
    expires: When = 365
    roles: Roles = Field(default_factory=dict)
    partners: dict[Name, PartnerFiles] = Field(default_factory=dict)
    researchers: dict[Name, ResearcherFile] = Field(default_factory=dict)
    remove: Removed = Removed()
    replace: dict[str, str] = Field(default_factory=dict)


def read_toml(model: type[M], path: Path) -> M:
    """A founding file or a file of changes.  Raises: InvalidInput, which names the nearest field."""
    name = repr(str(path))
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_BYTES + 1)
    except OSError as wrong:
        raise InvalidInput(f"{name} cannot be read ({wrong.strerror})", remedy="correct the path") from None
    value = parse_toml(raw, name, largest=_LARGEST_BYTES)
    return read_model(model, _grammar(value, name), InvalidInput, name)


def _grammar(value: dict[str, Any], place: str) -> dict[str, Any]:
    """Names first: pydantic would show the pattern of a name and not say whose it is."""
    names = [value.get("trust", "x")]
    for table in ("partners", "researchers", "roles"):
        names += list(value[table]) if isinstance(value.get(table), Mapping) else []
    for name in names:
        if isinstance(name, str) and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
            raise InvalidInput(
                f"{place} has the name {name[:80]!r}",
                expected="small letters, digits and hyphens, at most 63, no hyphen first",
            )
    return value


def key_of(folder: Path, file: str, kind: KeyKind, known_keys: Mapping[str, PublicKey] | None = None) -> PublicKey:
    """The key that a file names, beside the TOML file, or that an id of an earlier root names.

    Raises: InvalidInput, also for a key of another kind.
    """
    key = (known_keys or {}).get(file) or read_public(folder / file)
    if key.kind != kind:
        use = {"sign": "a key to sign with (kind sign)", "seal": "a key to be sealed to (kind seal)"}
        raise InvalidInput(f"{file!r} is a key of kind {key.kind}", expected=use[kind])
    return key


def keys_of(
    folder: Path, key_files: Sequence[str], known_keys: Mapping[str, PublicKey] | None = None
) -> dict[str, PublicKey]:
    """`{key id: key}` of several files that sign, each once.  Raises: InvalidInput."""
    keys_read: dict[str, PublicKey] = {}
    for file in key_files:
        key = key_of(folder, file, "sign", known_keys)
        if key.id in keys_read:
            raise InvalidInput(f"{file!r} is the key of somebody already listed", expected="each key once")
        keys_read[key.id] = key
    return keys_read


def read_partner(path: Path, name: str) -> Partner:
    """The keys in a node's `partner.json`, of the partner that a root calls `name`.  Raises: InvalidInput."""
    subject = repr(str(path))
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_LARGEST_BYTES))
    except OSError as wrong:
        raise InvalidInput(f"{subject} cannot be read ({wrong.strerror})", remedy="correct the path") from None
    except (ValueError, RecursionError):
        raise InvalidInput(f"{subject} is not JSON", expected="the partner.json of a node") from None
    partner_file = read_model(PartnerFile, value, InvalidInput, subject)
    if partner_file.name != name:
        raise InvalidInput(
            f"{subject} is of the partner {partner_file.name!r}, and stands under {name!r}",
            expected=f"[partners.{partner_file.name}]",
            remedy="name each partner as its own node does",
        )
    return Partner(sign=partner_file.sign, seal=partner_file.seal, flower=connection_hex(partner_file.flower.encode()))


def moment(value: str | int, subject: str, now: datetime, since: datetime | None = None) -> str:
    """A time from a date (its first second, in UTC), a time, or a number of days after `since`.

    Raises: InvalidInput for what is not a time, and for one that is past.
    """
    if isinstance(value, int) or value.isdigit():
        days = int(value) if isinstance(value, int) or len(value) < 9 else _LONGEST_DAYS + 1
        if since is None or not 1 <= days <= _LONGEST_DAYS:
            least = f"a date, or 1 to {_LONGEST_DAYS} days" if since else "a date, such as 2027-11-24"
            raise InvalidInput(f"{subject}: {value}", expected=least)
        time = since + timedelta(days=days)
    else:
        try:
            time = read_time(value if "T" in value else f"{value}T00:00:00Z")
        except DataTrustError:
            form = "2027-11-24 or 2027-11-24T12:00:00Z" + (", or a number of days" if since else "")
            raise InvalidInput(f"{subject}: {value!r} is not a date", expected=form) from None
    if time <= now:
        raise InvalidInput(f"{subject}: {write_time(time)} is past", expected=f"a time after {write_time(now)}")
    return write_time(time.astimezone(UTC))
