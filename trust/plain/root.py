"""A trust root in words: what it says, who has signed it, whether it is valid, and what changed; English and French.

Everything is read from the signed bytes.  Words that somebody else chose are shown with `trust.words.safe.escaped`, so
that no name can hide, move or pose on a terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trust.charters.charter import READY, Charter
from trust.documents.root import Partner, Role, Root, TrustRoot
from trust.errors import Refused
from trust.signing.envelope import Envelope, key_id, sha256, signers_of
from trust.times import read_time
from trust.words.safe import escaped
from trust.words.speech import Speech

__all__ = ["Quorum", "RootReview", "review_root", "root_json", "root_text"]


@dataclass(frozen=True, kw_only=True)
class Quorum:
    """Which root keys of one version have signed, of how many, and how many must."""

    version: int
    signers: frozenset[str]
    keys: int
    threshold: int

    @property
    def reached(self) -> bool:
        """Whether enough have signed."""
        return len(self.signers) >= self.threshold


@dataclass(frozen=True, kw_only=True)
class RootReview:
    """A root, who has signed it, and whether it is valid.

    Attributes:
        fingerprint: `sha256:<hex>` of its signed bytes.
        previous: the version before it, if one was given.
        quorums: its own, and that of the version before it.
        signatures: how many it has, those that do not count too.
        rule: empty for a root that is valid at `now`; else why it is not: `invalid_RULE` is its text.
    """

    root: Root
    fingerprint: str
    previous: Root | None
    quorums: tuple[Quorum, ...]
    signatures: int
    rule: str
    now: datetime

    @property
    def valid(self) -> bool:
        """Signed as it must be, and in force."""
        return not self.rule

    @property
    def signers(self) -> frozenset[str]:
        """Ids of all keys whose signatures count."""
        return frozenset().union(*(quorum.signers for quorum in self.quorums))

    @property
    def uncounted(self) -> int:
        """How many signatures count for none of the quorums."""
        return self.signatures - len(self.signers)

    @property
    def days_left(self) -> int:
        """Whole days; negative once it has expired."""
        return (read_time(self.root.expires) - self.now).days


def review_root(envelope: Envelope, earlier: Sequence[Envelope], now: datetime) -> RootReview:
    """Judge a root: as a founding one, or as what follows the earlier versions, each by the one before it.

    Raises: MessageInvalid for what is not a root.
    """
    root = Root.read(envelope.unverified_payload)
    earlier = sorted(earlier, key=lambda version: Root.read(version.unverified_payload).version)
    previous = Root.read(earlier[-1].unverified_payload) if earlier else None
    return RootReview(
        root=root,
        fingerprint=sha256(envelope.unverified_payload),
        previous=previous,
        quorums=tuple(_quorum(envelope, version) for version in (root, previous) if version),
        signatures=len(envelope.signatures),
        rule=_rule(envelope, earlier, now),
        now=now,
    )


def _quorum(envelope: Envelope, version: Root) -> Quorum:
    keys = version.keys_of("root")
    return Quorum(
        version=version.version,
        signers=signers_of("root", envelope, keys),
        keys=len(version.roles["root"].keys),
        threshold=version.roles["root"].threshold,
    )


def _rule(envelope: Envelope, earlier_versions: Sequence[Envelope], now: datetime) -> str:
    """Why the chain does not hold today; empty where it does."""
    try:
        pinned = TrustRoot.chain(earlier_versions) if earlier_versions else None
    except Refused:
        return "earlier"
    try:
        root = pinned.next(envelope) if pinned else TrustRoot.founding(envelope)
        root.require_in_force(now)
    except Refused as no:
        early = no.rule == "root-expired" and now < read_time(Root.read(envelope.unverified_payload).issued)
        return "early" if early else no.rule
    return ""


def root_json(view: RootReview) -> dict[str, Any]:
    """What `root_text` says, for programs."""
    root = view.root
    return {
        "trust": root.trust,
        "version": root.version,
        "fingerprint": view.fingerprint,
        "issued": root.issued,
        "expires": root.expires,
        "days_left": view.days_left,
        "charter": root.charter,
        "roles": {name: role.model_dump(mode="json") for name, role in sorted(root.roles.items())},
        "partners": {
            name: {"sign": _id(partner.sign), "seal": _id(partner.seal), "flower": _id(partner.flower) or None}
            for name, partner in sorted(root.partners.items())
        },
        "researchers": {name: person.model_dump(mode="json") for name, person in sorted(root.researchers.items())},
        "follows": view.previous.version if view.previous else None,
        "changes": _changes(view.previous, root, Speech("en", "root")) if view.previous else [],
        "signed_by": sorted(view.signers),
        "quorums": [
            {"version": q.version, "signed": len(q.signers), "keys": q.keys, "needed": q.threshold}
            for q in view.quorums
        ],
        "valid": view.valid,
        "why_not": view.rule or None,
    }


def root_text(view: RootReview, lang: str = "en", *, verdict: bool = True) -> str:
    """The text of the screen, which ends with a line feed; `verdict`: with a last line that says whether it is valid.

    Raises: InvalidInput for an unknown language.
    """
    say, root = Speech(lang, "root"), view.root
    head = [
        (say("fingerprint"), view.fingerprint),
        (say("issued"), root.issued),
        (say("expires"), say("in_days" if view.days_left >= 0 else "ago", at=root.expires, days=view.days_left)),
        (say("charter"), _charter(root.charter, say)),
    ]
    roles = [(escaped(name), say("of", least=r.threshold, all=len(r.keys))) for name, r in _in_order(root.roles)]
    partners = [(name, _partner(p, say)) for name, p in sorted(root.partners.items())]
    researchers = [
        (
            name,
            say(
                "accredited" if read_time(r.accredited_until) > view.now else "lapsed",
                organisation=escaped(r.organisation),
                until=r.accredited_until,
            )
            + f"\n{say('researcher_key', id=r.key)}",
        )
        for name, r in sorted(root.researchers.items())
    ]
    parts = [
        say("title", trust=root.trust, version=root.version) + "\n" + _table(head),
        say("roles") + "\n" + _table(roles),
        say("keys") + "\n" + _table(_keys(view, say)),
        say("partners") + "\n" + _table(partners or [(say("none"), "")]),
        say("researchers") + "\n" + _table(researchers or [(say("none"), "")]),
    ]
    if view.previous:
        changed = _changes(view.previous, root, say) or [say("nothing")]
        parts.append(say("changes", version=view.previous.version) + "\n" + "".join(f"  {line}\n" for line in changed))
    parts.append(say("signatures") + "\n" + "".join(f"  {line}\n" for line in _signatures(view, say)))
    if verdict:
        parts.append(_verdict(view, say) + "\n")
    return "\n".join(parts)


# ---- the parts


def _keys(view: RootReview, say: Speech) -> list[tuple[str, str]]:
    """Each key once, those that only the version before has too: what it may do, and whether it has signed."""
    owners: dict[str, list[str]] = {}
    for name, role in _in_order(view.root.roles):
        for keyid in role.keys:
            owners.setdefault(keyid, []).append(escaped(name))
    for keyid in view.previous.roles["root"].keys if view.previous else ():
        if keyid not in owners and view.previous:
            owners[keyid] = [say("root_of", version=view.previous.version)]
    return [
        (keyid, say("signed", roles=", ".join(roles)) if keyid in view.signers else ", ".join(roles))
        for keyid, roles in owners.items()
    ]


def _signatures(view: RootReview, say: Speech) -> list[str]:
    lines = [
        say(
            "quorum_1" if q.threshold == 1 else "quorum",
            found=len(q.signers),
            all=q.keys,
            version=q.version,
            least=q.threshold,
        )
        for q in view.quorums
    ]
    return lines + ([say("unknown", count=view.uncounted)] if view.uncounted else [])


def _verdict(view: RootReview, say: Speech) -> str:
    earlier = view.previous.version if view.previous else view.root.version - 1
    if view.rule:
        return say(f"invalid_{view.rule}", version=earlier)
    if view.previous:
        return say("valid_next", version=earlier)
    return say("valid_founding" if view.root.version == 1 else "valid_alone", version=earlier)


def _changes(old: Root, new: Root, say: Speech) -> list[str]:
    """One line for each thing that is no longer as it was."""
    lines = []
    for field in ("trust", "charter", "expires"):
        old_value, new_value = getattr(old, field), getattr(new, field)
        if old_value != new_value:
            lines.append(say(f"change_{field}", old=escaped(old_value), new=escaped(new_value)))
    for name in _names(old.roles, new.roles):
        lines += _role(escaped(name), old.roles.get(name), new.roles.get(name), say)
    for name in _names(old.partners, new.partners):
        was, is_ = old.partners.get(name), new.partners.get(name)
        if was is None or is_ is None:
            lines.append(say("partner_new" if was is None else "partner_gone", name=name))
        elif was != is_:
            lines.append(say("partner_keys", name=name))
    for name in _names(old.researchers, new.researchers):
        lines += _researcher(name, old, new, say)
    return lines


def _role(name: str, old: Role | None, new: Role | None, say: Speech) -> list[str]:
    if new is None:
        return [say("role_gone", role=name)]
    if old is None:
        return [say("role_new", role=name, least=new.threshold, all=len(new.keys))]
    lines = [say("role_key_gone", role=name, id=keyid) for keyid in old.keys if keyid not in new.keys]
    lines += [say("role_key_new", role=name, id=keyid) for keyid in new.keys if keyid not in old.keys]
    if old.threshold != new.threshold:
        lines.append(say("role_threshold", role=name, old=old.threshold, new=new.threshold))
    return lines


def _researcher(name: str, old: Root, new: Root, say: Speech) -> list[str]:
    was, is_ = old.researchers.get(name), new.researchers.get(name)
    if is_ is None:
        return [say("researcher_gone", name=name)]
    values = {"organisation": escaped(is_.organisation), "until": is_.accredited_until}
    if was is None:
        return [say("researcher_new", name=name, **values)]
    lines = [say("researcher_key_other", name=name)] if was.key != is_.key else []
    if (was.organisation, was.accredited_until) != (is_.organisation, is_.accredited_until):
        old_words = {"old_organisation": escaped(was.organisation), "old_until": was.accredited_until}
        lines.append(say("researcher_other", name=name, **values, **old_words))
    return lines


def _names(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return sorted(old.keys() | new.keys())


def _in_order(roles: dict[str, Role]) -> list[tuple[str, Role]]:
    """The four that every root has, then the charter's."""
    first = ["root", "committee", "coordinator", "auditor"]
    return [(name, roles[name]) for name in [*first, *sorted(roles.keys() - set(first))]]


def _charter(digest: str, say: Speech) -> str:
    for name in READY:
        if Charter.load(name).folder_digest == digest:
            return say("ready", digest=digest, name=name)
    return escaped(digest)


def _partner(partner: Partner, say: Speech) -> str:
    keys = {"partner_sign": partner.sign, "partner_seal": partner.seal, "partner_flower": partner.flower}
    return "\n".join(say(words, id=_id(public)) for words, public in keys.items() if public)


def _id(public: str) -> str:
    """SHA-256 of a public key, hex; empty where there is none."""
    return key_id(bytes.fromhex(public)) if public else ""


def _table(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns; a second line of the right one stands under the first."""
    width = max(len(cell) for cell, _ in rows)
    text = ""
    for cell, right in rows:
        for index, line in enumerate(right.split("\n")):
            text += f"  {cell if index == 0 else '':<{width}}  {line}".rstrip() + "\n"
    return text
