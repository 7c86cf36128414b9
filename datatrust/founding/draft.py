"""A trust root from a founding file, or the next version from the root before it; unsigned, and held to its charter.

Stricter than what a node accepts: it stops mistakes before anybody signs them.  At least three members; a quorum that
is not below the charter's; the roles that the charter names, held by members; one key for each person or daemon, so
that nobody votes on a study of her own or checks her own work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from datatrust.founding.files import (
    Changes,
    Founding,
    Holders,
    PartnerFiles,
    ResearcherFile,
    key_of,
    keys_of,
    moment,
    read_partner,
)
from nodes.keys import check_rotation
from trust.canonical import read_model
from trust.charters.charter import READY, Charter
from trust.documents.root import Partner, Researcher, Role, Root
from trust.errors import InvalidInput, nearest
from trust.files import read_file
from trust.signing.envelope import key_id
from trust.signing.key_files import PublicKey, read_public
from trust.times import read_time, write_time

__all__ = ["Drafted", "Given", "draft_founding_root", "follow"]

_FEWEST_MEMBERS = 3
_MEMBERS = ("root", "committee")
_OWN_FIELD = {"root": "members", "committee": "members", "coordinator": "coordinator", "auditor": "auditor"}


@dataclass(frozen=True)
class Given:
    """What surrounds a file.

    Attributes:
        folder: where the paths in the file begin.
        now: the clock.
        issued: when the root begins.
        expires: a date or a number of days, instead of the file's.
        charter: a charter's name or folder, instead of the file's.
    """

    folder: Path
    now: datetime
    issued: datetime
    expires: str | None = None
    charter: str | None = None


@dataclass(frozen=True)
class Drafted:
    """An unsigned root, and what is allowed in it and still worth a thought."""

    root: Root
    notes: tuple[str, ...]


@dataclass
class _Draft:
    """A root in the making: roles as lists, keys by their id."""

    given: Given
    charter: Charter
    known: dict[str, PublicKey] = field(default_factory=dict)
    holders: dict[str, list[str]] = field(default_factory=dict)
    thresholds: dict[str, int] = field(default_factory=dict)
    partners: dict[str, Partner] = field(default_factory=dict)
    researchers: dict[str, Researcher] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def sign_key(self, file: str) -> str:
        """The id of a file's key, or of a key of the earlier root."""
        key = key_of(self.given.folder, file, "sign", self.known)
        self.known[key.id] = key
        return key.id

    def set_role(self, name: str, files: Iterable[str], threshold: int) -> None:
        keys_read = keys_of(self.given.folder, tuple(files), self.known)
        self.known |= keys_read
        self.holders[name], self.thresholds[name] = list(keys_read), threshold

    def set_roles(self, roles: Mapping[str, Holders]) -> None:
        for name, holders in roles.items():
            if name in _OWN_FIELD:
                raise InvalidInput(f"a role {name!r} among the roles", expected=f"the field {_OWN_FIELD[name]!r}")
            least = self.charter.committee.roles.get(name, 1) if holders.threshold is None else holders.threshold
            self.set_role(name, holders.keys, least)

    def set_others(self, partners: Mapping[str, PartnerFiles], researchers: Mapping[str, ResearcherFile]) -> None:
        for name, files in partners.items():
            self.partners[name] = self._partner(name, files)
        for name, file in researchers.items():
            accreditation_end = moment(file.accredited_until, f"researcher {name!r}, accredited_until", self.given.now)
            self.researchers[name] = Researcher(
                key=self.sign_key(file.key), organisation=file.organisation, accredited_until=accreditation_end
            )

    def _partner(self, name: str, files: PartnerFiles) -> Partner:
        if files.sign is None or files.seal is None:
            path = self.given.folder / (files.partner or "")
            partner_read = read_partner(path, name)
            if name in self.partners and self.partners[name].sign != partner_read.sign:
                self._rotated(name, path)
            return partner_read
        sign, seal = self.sign_key(files.sign), key_of(self.given.folder, files.seal, "seal")
        flower = self.partners[name].flower if name in self.partners else ""
        return Partner(sign=self.known[sign].public, seal=seal.public, flower=flower)

    def _rotated(self, name: str, path: Path) -> None:
        """New keys of a partner: signed with its key in use, or worth a question.  Raises: Refused (`signature`)."""
        signature = path.with_name(f"{path.name}.sig")
        if signature.exists():
            check_rotation(read_file(path), read_file(signature), self.partners)
        else:
            self.notes.append(
                f"new keys of {name} without {signature.name}: ask the partner whether it has asked for them"
            )

    def root(self, trust: str, version: int, expires: str | int) -> Drafted:
        """The document, checked."""
        inputs = self.given
        ends = moment(expires if inputs.expires is None else inputs.expires, "expires", inputs.now, inputs.issued)
        if read_time(ends) <= inputs.issued:
            raise InvalidInput(f"expires: {ends} is not after {write_time(inputs.issued)}", expected="a later date")
        self._check(trust)
        used = {keyid for keys in self.holders.values() for keyid in keys}
        used |= {researcher.key for researcher in self.researchers.values()}
        document = {
            "trust": trust,
            "version": version,
            "issued": write_time(inputs.issued),
            "expires": ends,
            "charter": self.charter.folder_digest,
            "keys": {keyid: self.known[keyid].public for keyid in used},
            "roles": {
                name: Role(keys=tuple(ids), threshold=self.thresholds[name]) for name, ids in self.holders.items()
            },
            "partners": self.partners,
            "researchers": self.researchers,
        }
        root = read_model(Root, document, InvalidInput, "the trust root")
        return Drafted(Root.read(root.canonical()), (*self.notes, *_notes(root, self.charter, inputs.now)))

    # ---- what a root must fulfil before anybody is asked to sign it

    def _check(self, trust: str) -> None:
        if self.charter.local_only and trust != "local":
            raise InvalidInput(
                f"the charter {self.charter.name!r} protects nobody and is for a trust in one process only",
                expected="another charter",
                remedy='write charter = "research", or your own folder',
            )
        self._check_members()
        for name, least in self.charter.committee.roles.items():
            if name not in self.holders:
                raise InvalidInput(
                    f"nobody has the role {name!r}, which the charter names",
                    expected=f'roles.{name} = ["FILE.pub"], of at least {least} of the members',
                )
            self._at_least(f"role {name!r}", self.thresholds[name], least)
        for name in sorted(self.holders.keys() - _OWN_FIELD.keys()):
            if not self.holders[name]:
                raise InvalidInput(f"nobody has the role {name!r} any more", expected=f'roles.{name} = ["FILE.pub"]')
            if not set(self.holders[name]) <= set(self.holders["committee"]):
                raise InvalidInput(f"role {name!r} is held by somebody who is not a member", expected="members' keys")
        for name, ids in self.holders.items():
            if not 1 <= self.thresholds[name] <= len(ids):
                raise InvalidInput(
                    f"role {name!r}: {self.thresholds[name]} of {len(ids)} keys", expected=f"1 to {len(ids)}"
                )
        self._check_one_key_each()

    def _check_members(self) -> None:
        for role in _MEMBERS:
            count, quorum = len(self.holders[role]), self.thresholds[role]
            if count < _FEWEST_MEMBERS:
                raise InvalidInput(f"{count} members", expected=f"at least {_FEWEST_MEMBERS}", remedy="add members")
            if not 1 <= quorum <= count:
                raise InvalidInput(f"a quorum of {quorum} of {count} members", expected=f"1 to {count}")
            self._at_least("the quorum", quorum, self.charter.committee.quorum)

    def _at_least(self, subject: str, number: int, least: int) -> None:
        if number < least:
            raise InvalidInput(
                f"{subject} is {number}, and the charter {self.charter.name!r} asks for {least}",
                expected=f"{least} or more",
            )

    def _check_one_key_each(self) -> None:
        owners: dict[str, str] = {}
        actors = [("a member", self.holders["committee"])]
        actors += [(f"the {role}", self.holders[role]) for role in ("coordinator", "auditor")]
        for name, partner in self.partners.items():
            partner_keys = [raw for raw in (partner.sign, partner.seal, partner.flower) if raw]
            actors += [(f"partner {name!r}", [key_id(bytes.fromhex(raw)) for raw in partner_keys])]
        actors += [(f"researcher {name!r}", [researcher.key]) for name, researcher in self.researchers.items()]
        for actor, ids in actors:
            for keyid in ids:
                if keyid in owners:
                    raise InvalidInput(
                        f"one key for {owners[keyid]} and {actor}",
                        expected="a key of its own for each",
                        remedy="make another: datatrust key new",
                    )
                owners[keyid] = actor


def draft_founding_root(file: Founding, inputs: Given) -> Drafted:
    """Version 1.  Raises: InvalidInput, CharterInvalid."""
    charter = _charter(inputs, file.charter)
    draft = _Draft(inputs, charter)
    for role in _MEMBERS:
        draft.set_role(role, file.members, charter.committee.quorum if file.quorum is None else file.quorum)
    draft.set_role("coordinator", [file.coordinator], 1)
    draft.set_role("auditor", [file.auditor], 1)
    draft.set_roles(file.roles)
    draft.set_others(file.partners, file.researchers)
    return draft.root(file.trust, 1, file.expires)


def follow(old: Root, file: Changes, inputs: Given) -> Drafted:
    """The version after `old`: what the file names is changed, all else stays.

    Raises: InvalidInput, CharterInvalid.
    """
    if inputs.issued < read_time(old.issued):
        raise InvalidInput(
            f"issued: {write_time(inputs.issued)} is before version {old.version} ({old.issued})",
            expected="a later time",
            remedy="check the clock",
        )
    draft = _Draft(
        inputs,
        _charter(inputs, file.charter, old),
        known={i: PublicKey(kind="sign", id=i, public=raw) for i, raw in old.keys.items()},
        holders={name: list(role.keys) for name, role in old.roles.items()},
        thresholds={name: role.threshold for name, role in old.roles.items()},
        partners=dict(old.partners),
        researchers=dict(old.researchers),
    )
    for old_key, new_key in file.replace.items():
        _replace(draft, old_key, new_key)
    _leave(draft, file)
    new = keys_of(inputs.folder, file.members.add, draft.known)
    if already := new.keys() & set(draft.holders["committee"]):
        raise InvalidInput(f"{min(already)} is a member already", expected="keys of new members")
    draft.known |= new
    for role in _MEMBERS:
        draft.holders[role] += new
        draft.thresholds[role] = draft.thresholds[role] if file.quorum is None else file.quorum
    for role, key_file in (("coordinator", file.coordinator), ("auditor", file.auditor)):
        if key_file is not None:
            draft.set_role(role, [key_file], 1)
    draft.set_roles(file.roles)
    draft.set_others(file.partners, file.researchers)
    return draft.root(old.trust, old.version + 1, file.expires)


def _notes(root: Root, charter: Charter, now: datetime) -> tuple[str, ...]:
    notes = []
    members = root.roles["root"]
    if members.threshold == len(members.keys):
        notes.append("every member must sign: one lost key, and there will never be a next version")
    fewest = charter.floor.organisations
    if len(root.partners) < fewest:
        notes.append(f"{len(root.partners)} partners: no study can run with fewer than {fewest}")
    away = sorted(name for name, partner in root.partners.items() if not partner.flower)
    if away and len(away) < len(root.partners):
        notes.append(
            f"no key for the connection of {', '.join(away)}: its node cannot be let in; name its partner.json"
        )
    over = [name for name, person in root.researchers.items() if read_time(person.accredited_until) <= now]
    if over:
        notes.append(f"no longer accredited: {', '.join(sorted(over))}")
    return tuple(notes)


# ---- changes


def _charter(inputs: Given, charter_name: str | None, old: Root | None = None) -> Charter:
    """The charter of the option, of the file (beside it), or the ready one that the earlier root names."""
    if inputs.charter is not None:
        return Charter.load(inputs.charter)
    if charter_name is not None:
        return Charter.load(charter_name if charter_name in READY else inputs.folder / charter_name)
    for name in READY:
        charter = Charter.load(name)
        if old is not None and charter.folder_digest == old.charter:
            return charter
    raise InvalidInput(
        "the charter of the earlier version is none of the ready ones",
        expected="--charter FOLDER",
        remedy="name the folder whose files are those that were agreed",
    )


def _replace(draft: _Draft, old_key: str, new_key: str) -> None:
    """One key by another, wherever it stands."""
    old = draft.known.get(old_key) or _seal_of(draft, old_key) or read_public(draft.given.folder / old_key)
    new = key_of(draft.given.folder, new_key, old.kind)
    stands = False
    for ids in draft.holders.values():
        if old.id in ids:
            ids[ids.index(old.id)], stands = new.id, True
    for name, partner in draft.partners.items():
        if old.public == getattr(partner, old.kind):
            draft.partners[name], stands = partner.model_copy(update={old.kind: new.public}), True
    for name, researcher in draft.researchers.items():
        if old.id == researcher.key:
            draft.researchers[name], stands = researcher.model_copy(update={"key": new.id}), True
    if not stands:
        raise InvalidInput(f"replace: {old_key!r} has no key in the earlier version", expected="a key that it has")
    draft.known[new.id] = new


def _seal_of(draft: _Draft, keyid: str) -> PublicKey | None:
    for partner in draft.partners.values():
        if key_id(bytes.fromhex(partner.seal)) == keyid:
            return PublicKey(kind="seal", id=keyid, public=partner.seal)
    return None


def _leave(draft: _Draft, file: Changes) -> None:
    for member in file.members.remove:
        gone = draft.sign_key(member)
        if gone not in draft.holders["committee"]:
            raise InvalidInput(
                f"members.remove: {member!r} is not a member", expected="a member's .pub file, or its id"
            )
        for name, ids in draft.holders.items():
            if name not in ("coordinator", "auditor"):
                draft.holders[name] = [keyid for keyid in ids if keyid != gone]
    for subject, names, present in (
        ("partner", file.remove.partners, draft.partners),
        ("researcher", file.remove.researchers, draft.researchers),
    ):
        for name in names:
            if name not in present:
                raise InvalidInput(f"there is no {subject} {name!r} to remove", expected=nearest(name, present))
            del present[name]
