"""What can be checked of a register by anybody who can read it: each check a decision, each signature in its entries.

trust root     the versions of the trust root follow from the first, each signed by a quorum of the one before
entries        every entry has its number and its hash, and together they lead to the head that was kept
checkpoint     the coordinator has signed this very head
root, charter, study, mandate, vote, revocation, sum-record, release, refusal, journal-head
               each entry is closed, says what its kind says, and carries the signatures of those who may: judged by
               the version of the root that the register had at that entry
earlier        the register still begins with what an earlier checkpoint stands for

What the caller must still do: compare the first root's fingerprint with the one that the trust has published, and keep
the checkpoint for the next time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field

from trust.canonical import Model, read_model
from trust.decision import Decision
from trust.documents.mandate import SignedMandate
from trust.documents.root import Name, TrustRoot
from trust.documents.study import signed_study
from trust.documents.votes import read_refusal, read_revocation
from trust.errors import DataTrustError, InvalidInput, MessageInvalid, Refused
from trust.logs.checkpoint import Checkpoint, journal_origin, read_checkpoint, register_origin
from trust.logs.kinds import REGISTER as KINDS
from trust.logs.logbook import Connection, Logbook
from trust.logs.merkle import Entry
from trust.secure_sum.messages import Record, signature_is_valid
from trust.signing.envelope import Envelope, sha256

__all__ = ["chain", "check_register", "coordinator_key_history", "last_heads", "latest_note"]

Digest: TypeAlias = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_ASK = "ask who runs the trust, and tell its auditor"


class _SignedBody(Model):
    envelope: Envelope


class _Charter(Model):
    name: str
    version: int
    digest_: Digest = Field(alias="digest")


class _Mandate(Model):
    envelope: Envelope
    digest_: Digest = Field(alias="digest")


class _Refusal(Model):
    """Texts only: a refusal never says a number of persons in a field of its own."""

    rule: str
    text: str
    remedy: str
    partner: str


class _SumRecord(Model):
    record: dict[str, Any]


class _Release(Model):
    mandate: Digest
    result: Digest


class _JournalHead(Model):
    partner: Name
    note: str


_BODIES: dict[str, type[Model]] = {
    "root": _SignedBody,
    "charter": _Charter,
    "study": _SignedBody,
    "mandate": _Mandate,
    "vote": _SignedBody,
    "revocation": _SignedBody,
    "sum-record": _SumRecord,
    "release": _Release,
    "refusal": _Refusal,
    "journal-head": _JournalHead,
}
_WELL = {
    "root": "{}, those of the folder in their order",
    "charter": "{}, the trust root's",
    "study": "{}, each signed by a researcher of the trust root",
    "mandate": "{}, each signed by the committee's quorum, for a study of the register",
    "vote": "{} against a mandate, each signed by its member",
    "revocation": "{}, each signed by its member",
    "sum-record": "{}, each signed by the coordinator, of a study with a mandate",
    "release": "{}, each under a mandate of its study that was not revoked before",
    "refusal": "{}, each with its rule's text and no more",
    "journal-head": "{}, each signed by its partner, none shorter than the one before",
}
"""What is true of the entries of each kind; `{}` is how many there are."""


def check_register(db: Connection, roots: Sequence[Envelope], earlier: str | None = None) -> Iterator[Decision]:
    """Each check as a decision.  After a no to the trust root or the entries nothing more is checked.

    Args:
        db: the coordinator's database.
        roots: every signed version of the trust root, in order.
        earlier: a checkpoint of this register that somebody has kept, a note.

    Raises: MessageInvalid where `earlier` is not a checkpoint; `sqlite3.Error`.
    """
    log = Logbook(db, "register", KINDS)
    try:
        versions = chain(roots)
        first, last = versions[0], versions[-1].root
        text = f"{last.trust}, version {last.version}; fingerprint of the first {sha256(first.payload)}"
        yield Decision("trust root", True, text)
        log.verify()
        size, root = log.head()
        yield Decision("entries", True, f"{size} entries, each with its number and its hash, lead to the head")
        yield _checkpoint(db, versions, Checkpoint(register_origin(last.trust), size, root))
    except (Refused, InvalidInput) as wrong:
        yield _no("entries" if isinstance(wrong, Refused) and wrong.rule == "log-corrupt" else "trust root", wrong)
        return
    reading = _Reading(versions)
    for entry in log.entries():
        reading.take(entry)
    yield from reading.decisions()
    if earlier is not None:
        yield _earlier(log, earlier, versions)


def chain(roots: Sequence[Envelope]) -> list[TrustRoot]:
    """Every version, each verified by the one before it.  Raises: Refused, MessageInvalid."""
    if not roots:
        raise MessageInvalid("a chain without a trust root", expected="the signed root of each version")
    versions = [TrustRoot.founding(roots[0])]
    for envelope in roots[1:]:
        versions.append(versions[-1].next(envelope))
    return versions


def coordinator_key_history(versions: Sequence[TrustRoot]) -> list[bytes]:
    """Raw keys of the coordinator, the newest version's first."""
    return [key for version in reversed(versions) for key in version.root.keys_of("coordinator").values()]


def latest_note(db: Connection) -> str:
    """The last checkpoint that the coordinator has signed.  Raises: Refused where it has signed none."""
    row = db.execute("SELECT note FROM checkpoint").fetchone()
    if row is None:
        raise Refused("checkpoint-signature", "the register has no signed checkpoint", remedy=_ASK)
    return str(row[0])


def last_heads(db: Connection) -> dict[str, str]:
    """The last head of each partner's journal in a register, a note.  Raises: Refused (`log-corrupt`)."""
    entries = Logbook(db, "register", KINDS).entries()
    return {str(e.body.get("partner")): str(e.body.get("note")) for e in entries if e.kind == "journal-head"}


def _checkpoint(db: Connection, versions: Sequence[TrustRoot], head: Checkpoint) -> Decision:
    try:
        checkpoint = read_checkpoint(latest_note(db), head.origin, coordinator_key_history(versions))
    except (Refused, InvalidInput) as wrong:
        return _no("checkpoint", wrong)
    if checkpoint != head:
        text = f"the coordinator has signed {checkpoint.size} entries; the register's {head.size} are not those"
        return Decision("checkpoint", False, text, _ASK)
    return Decision("checkpoint", True, f"the coordinator has signed this head, {head.size} entries")


def _earlier(log: Logbook, note: str, versions: Sequence[TrustRoot]) -> Decision:
    try:
        old = read_checkpoint(note, register_origin(versions[-1].root.trust), coordinator_key_history(versions))
    except Refused as wrong:
        return _no("earlier", wrong)
    size, _ = log.head()
    if size < old.size:
        text = f"the register has become shorter: {size} entries; it had {old.size}"
        return Decision("earlier", False, text, _ASK)
    if not log.same_up_to(old.size, old.root):
        text = f"the register was rewritten: its first {old.size} entries are not those of the earlier checkpoint"
        return Decision("earlier", False, text, _ASK)
    return Decision("earlier", True, f"the register begins with the {old.size} entries of the earlier checkpoint")


class _Reading:
    """One pass over the entries; each is judged by the root and by the entries before it."""

    def __init__(self, versions: Sequence[TrustRoot]) -> None:
        self._versions = versions
        self._entries_read = 0
        self._studies: dict[str, str] = {}
        self._mandates: dict[str, str] = {}
        self._revoked: set[str] = set()
        self._heads: dict[str, Checkpoint] = {}
        self._right: Counter[str] = Counter()
        self._wrong: dict[str, list[tuple[int, DataTrustError]]] = {}
        self._judges: dict[str, Callable[[str, Any], None]] = {
            "root": self._root,
            "charter": self._charter,
            "study": self._study,
            "mandate": self._mandate,
            "vote": self._vote,
            "revocation": self._revocation,
            "sum-record": self._sum_record,
            "release": self._release,
            "refusal": self._refusal,
            "journal-head": self._journal_head,
        }

    def take(self, entry: Entry) -> None:
        """Judge one entry."""
        kind = entry.kind
        try:
            body: Any = read_model(_BODIES[kind], entry.body, MessageInvalid, "its body")
            if kind != "root" and not self._entries_read:
                raise Refused("register", "it comes before the first trust root", remedy=_ASK)
            self._judges[kind](entry.study, body)
            self._right[kind] += 1
        except DataTrustError as wrong:
            self._wrong.setdefault(kind, []).append((entry.seq, wrong))

    def decisions(self) -> Iterator[Decision]:
        """One for each kind that the register has."""
        for kind, text in _WELL.items():
            wrong = self._wrong.get(kind, [])
            if wrong:
                seq, error = wrong[0]
                rest_note = f" (and {len(wrong) - 1} more)" if wrong[1:] else ""
                yield Decision(kind, False, f"entry {seq}{rest_note}: {error.public['text']}", _ASK)
            elif self._right[kind]:
                yield Decision(kind, True, text.format(self._right[kind]))

    @property
    def _root_now(self) -> TrustRoot:
        """The version that the register had at this entry."""
        return self._versions[self._entries_read - 1]

    @property
    def _coordinator(self) -> list[bytes]:
        return coordinator_key_history(self._versions[: self._entries_read])

    def _root(self, _: str, body: _SignedBody) -> None:
        """The chain of the folder is verified already: the same bytes are enough."""
        if self._entries_read == len(self._versions):
            raise Refused("root-version", "a version of the trust root that the folder does not have", remedy=_ASK)
        if body.envelope.unverified_payload != self._versions[self._entries_read].payload:
            text = f"it is not version {self._entries_read + 1} of the folder's trust root"
            raise Refused("root-version", text, remedy=_ASK)
        self._entries_read += 1

    def _charter(self, _: str, body: _Charter) -> None:
        _must(body.digest_ == self._root_now.root.charter, "the charter is not the trust root's")

    def _study(self, study: str, body: _SignedBody) -> None:
        signed_study_ = signed_study(body.envelope, self._root_now.root)
        _must(signed_study_.id == study, "the study has another id than its entry")
        _must(study not in self._studies.values(), "a second study with this id")
        self._studies[sha256(body.envelope.unverified_payload)] = study

    def _mandate(self, study: str, body: _Mandate) -> None:
        mandate = SignedMandate(body.envelope, self._root_now)
        _must(body.digest_ == sha256(body.envelope.unverified_payload), "the mandate has another digest")
        _must(self._studies.get(mandate.mandate.study) == study, "the mandate is for no study of this id")
        self._mandates[body.digest_] = study

    def _vote(self, _: str, body: _SignedBody) -> None:
        read_refusal(body.envelope, self._root_now.root)

    def _revocation(self, study: str, body: _SignedBody) -> None:
        revocation = read_revocation(body.envelope, self._root_now.root)
        _must(self._mandates.get(revocation.mandate, study) == study, "the revocation is of another study's mandate")
        self._revoked.add(revocation.mandate)

    def _sum_record(self, study: str, body: _SumRecord) -> None:
        record = Record.parse(body.record)
        keys = map(Ed25519PublicKey.from_public_bytes, self._coordinator)
        has_valid_signature = any(signature_is_valid(key, record.sig, record.message()) for key in keys)
        _must(has_valid_signature, "the sum record is not signed by the coordinator")
        _must(study in self._mandates.values(), "the sum record is of a study without a mandate")

    def _release(self, study: str, body: _Release) -> None:
        _must(self._mandates.get(body.mandate) == study, "the release is under no mandate of its study")
        _must(body.mandate not in self._revoked, "the release comes after its mandate was revoked")

    def _refusal(self, _: str, body: _Refusal) -> None:
        _must(bool(body.rule and body.text), "the refusal names no rule")

    def _journal_head(self, _: str, body: _JournalHead) -> None:
        versions = [v.root for v in self._versions[: self._entries_read] if body.partner in v.root.partners]
        keys = [v.verify_keys()[body.partner] for v in reversed(versions)]
        origin = journal_origin(self._root_now.root.trust, body.partner)
        head, previous = read_checkpoint(body.note, origin, keys), self._heads.get(body.partner)
        if previous:
            _must(head.size >= previous.size, f"the journal of {body.partner} has become shorter")
            _must(
                head.size > previous.size or head.root == previous.root, f"the journal of {body.partner} was rewritten"
            )
        self._heads[body.partner] = head


def _must(right: bool, text: str) -> None:
    if not right:
        raise Refused("register", text, remedy=_ASK)


def _no(rule: str, wrong: Refused | InvalidInput) -> Decision:
    return Decision(rule, False, wrong.text, wrong.remedy or _ASK)
