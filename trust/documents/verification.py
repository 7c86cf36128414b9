"""A result file, verified from the trust root to the register, by anybody who holds it: nobody is asked, no row is
needed.

1 file       an envelope of kind result, whose payload is closed and canonical
2 root       the versions of the trust root follow from the pinned one, or from the first on its own word
3 result     signed by the coordinator of the root in force
4 mandate    signed by the committee's quorum and the root's further roles; root and mandate in force at the release
5 study      signed by a researcher accredited then; the mandate is for it, and the results are of its analyses
6 rules      every decision was a yes, and as many cells are hidden as the result says
7 register   the release stands in the register whose checkpoint the coordinator has signed

The first step that fails ends it: the later ones rest on it.  What the caller must still do: pin the trust root,
compare the checkpoint with those that others hold, and ask the register for a revocation.  Not verified, because nobody
outside can: that the numbers are what the partners' rows give.  `docs/verify.py` does the same without this code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from trust.decision import Decision, Decisions, require
from trust.documents.mandate import Mandate, SignedMandate
from trust.documents.result import RegisterProof, ResultDocument, hidden_cells, read_result, release_entry
from trust.documents.root import TrustRoot
from trust.documents.study import Study, signed_study
from trust.errors import InvalidInput, MessageInvalid, Refused
from trust.logs.checkpoint import read_checkpoint, register_origin
from trust.logs.merkle import check_inclusion, leaf_hash
from trust.signing.envelope import Envelope, sha256, verified
from trust.times import read_time

__all__ = [
    "MOST_SIGNATURES",
    "NOT_CHECKED",
    "STEPS",
    "Verified",
    "check_mandate",
    "check_roots",
    "check_signature_count",
    "check_study",
    "require_verified",
    "verify",
]

MOST_SIGNATURES = 200
"""Signatures of one envelope that are looked at: more would only cost the reader's time."""
NOT_CHECKED = "not checked"
_NAMED_ROLES = ("root", "committee", "coordinator", "auditor")
_DAMAGED = "get the file again from where it was published"
_ASK = "ask who runs the trust"


@dataclass(frozen=True)
class Verified:
    """What a result file is worth.

    Attributes:
        decisions: one for each of `STEPS`, in their order; those after the first no are not checked.
        document, study, mandate, root: what could be read and verified, None after the step that failed.
        pinned: whether the trust root was pinned; if not, the file only agrees with itself.
        fingerprint: `sha256:<hex>` of the pinned root's signed bytes, or of the file's first one; empty if none.
    """

    decisions: Decisions
    pinned: bool
    fingerprint: str = ""
    document: ResultDocument | None = None
    study: Study | None = None
    mandate: Mandate | None = None
    root: TrustRoot | None = None

    @property
    def ok(self) -> bool:
        """Every step was a yes."""
        return self.decisions.ok

    @property
    def readable(self) -> bool:
        """The file is a result file at all."""
        return self.document is not None


@dataclass
class _Reading:
    raw: bytes
    pinned: TrustRoot | None
    now: datetime | None
    found: Verified
    envelope: Envelope = field(init=False)
    document: ResultDocument = field(init=False)
    register: RegisterProof = field(init=False)
    root: TrustRoot = field(init=False)
    mandate: SignedMandate = field(init=False)
    study: Study = field(init=False)

    @property
    def at(self) -> datetime:
        return read_time(self.register.at)


def verify(raw: bytes, *, pinned: TrustRoot | None, now: datetime | None = None) -> Verified:
    """Judge the bytes of a result file; for screens and programs that show each step.

    Args:
        raw: the file.
        pinned: the trust root that the reader trusts, any version up to the one in force; None: the file's own first.
        now: a release dated later is refused; None: its date is not compared with a clock.
    """
    reading = _Reading(
        raw, pinned, now, Verified(Decisions(), pinned is not None, sha256(pinned.payload) if pinned else "")
    )
    decisions: list[Decision] = []
    for rule, step in STEPS.items():
        if decisions and not decisions[-1].ok:
            decisions.append(Decision(rule, False, NOT_CHECKED))
            continue
        try:
            decisions.append(Decision(rule, True, step(reading)))
        except Refused as no:
            decisions.append(Decision(rule, False, no.text, _DAMAGED if no.rule == "signature" else no.remedy))
        except InvalidInput as wrong:
            decisions.append(Decision(rule, False, wrong.public["text"], wrong.remedy or _DAMAGED))
    return replace(reading.found, decisions=Decisions(decisions))


def require_verified(raw: bytes, *, pinned: TrustRoot | None, now: datetime | None = None) -> Verified:
    """`verify` for who must rely on it.  Raises: Refused, with the step's name, at the first no."""
    verified = verify(raw, pinned=pinned, now=now)
    require(verified.decisions)
    return verified


# ---- the steps: each returns what it found, or raises Refused or InvalidInput


def _file(reading: _Reading) -> str:
    reading.envelope, reading.document, reading.register = read_result(reading.raw)
    check_signature_count(reading.envelope, reading.document.study, reading.document.mandate, *reading.document.root)
    reading.found = replace(reading.found, document=reading.document)
    return f"a result file of {len(reading.document.results)} analyses, released {reading.register.at}"


def _root(reading: _Reading) -> str:
    roots = reading.document.root
    if reading.pinned is None:
        reading.found = replace(reading.found, fingerprint=sha256(roots[0].unverified_payload))
    reading.root = check_roots(roots, reading.pinned)
    reading.found = replace(reading.found, root=reading.root)
    root = reading.root.root
    version = f"version {root.version} of the trust root of {root.trust!r}"
    if reading.pinned is None:
        return f"root not pinned: {version} is taken on the file's own word; it begins with {reading.found.fingerprint}"
    return f"{version} follows from the pinned version {reading.pinned.root.version}"


def _result(reading: _Reading) -> str:
    role = reading.root.root.roles["coordinator"]
    verified("result", reading.envelope, reading.root.root.keys_of("coordinator"), threshold=role.threshold)
    return f"the result is signed by the coordinator of {reading.root.root.trust!r}"


def _mandate(reading: _Reading) -> str:
    reading.root.require_in_force(reading.at)
    reading.mandate = check_mandate(reading.document.mandate, reading.root, reading.at)
    reading.found = replace(reading.found, mandate=reading.mandate.mandate)
    quorum = reading.root.root.roles["committee"].threshold
    return (
        f"mandate {reading.mandate.mandate.id} is signed by {len(reading.mandate.signers)} members; {quorum} are needed"
    )


def _study(reading: _Reading) -> str:
    study = reading.study = check_study(reading.document.study, reading.mandate.mandate, reading.root, reading.at)
    if set(study.analyses) != set(reading.document.results):
        raise Refused("study", "the results are not those of the study's analyses", remedy=_DAMAGED)
    reading.found = replace(reading.found, study=study)
    return f"study {study.id} is signed by researcher {study.researcher!r}, and the mandate is for it"


def _rules(reading: _Reading) -> str:
    require(reading.document.taken())
    hidden_counts = {name: hidden_cells(table) for name, table in reading.document.results.items()}
    if hidden_counts != reading.document.suppressed:
        raise Refused("rules", "the numbers of hidden cells are not those of the results", remedy=_DAMAGED)
    for name, table in reading.document.results.items():
        if not hidden_counts[name] and any(array.kind == "count" and "" in array.values for array in table.values()):
            raise Refused("rules", "a count is withheld and no cell is said to be hidden", remedy=_DAMAGED)
    return f"all {len(reading.document.decisions)} rules said yes; {sum(hidden_counts.values())} cells are hidden"


def _register(reading: _Reading) -> str:
    register, root = reading.register, reading.root.root
    if reading.now is not None and reading.now < reading.at:
        raise Refused("register", "the release is dated later than now", remedy="check the clock")
    checkpoint = read_checkpoint(register.checkpoint, register_origin(root.trust), root.keys_of("coordinator").values())
    leaf = leaf_hash(release_entry(reading.document, reading.study.id, register.at, register.index).canonical())
    proof = [bytes.fromhex(part) for part in register.proof]
    check_inclusion(leaf, register.index, checkpoint.size, proof, checkpoint.root)
    return f"the release is entry {register.index} of the {checkpoint.size} of the register"


STEPS: dict[str, Callable[[_Reading], str]] = {
    "file": _file,
    "root": _root,
    "result": _result,
    "mandate": _mandate,
    "study": _study,
    "rules": _rules,
    "register": _register,
}
"""The steps by name, in order; a decision's `rule` is the step's name."""


# ---- what a corpus or another reader asks for alone


def check_signature_count(*envelopes: Envelope) -> None:
    """Raises: MessageInvalid where an envelope has more than `MOST_SIGNATURES`."""
    for envelope in envelopes:
        if len(envelope.signatures) > MOST_SIGNATURES:
            raise MessageInvalid(
                f"an envelope with {len(envelope.signatures)} signatures", expected=f"at most {MOST_SIGNATURES}"
            )


def check_roots(envelopes: Sequence[Envelope], pinned: TrustRoot | None) -> TrustRoot:
    """The last of the versions of a trust root, which stand in their order without a gap.

    Args:
        envelopes: the signed versions.
        pinned: the root that is trusted; None: the first is taken on its own quorum's word.

    Raises: Refused (`root-trust`, `root-version`, `root-pinned`, `signature`), MessageInvalid.
    """
    claimed = [TrustRoot(envelope.unverified_payload).root for envelope in envelopes]
    if not claimed:
        raise MessageInvalid("a chain without a trust root", expected="the signed root of each version")
    if pinned is not None and any(root.trust != pinned.root.trust for root in claimed):
        text = f"this is of the trust {claimed[-1].trust!r}; the trust root that you hold is of {pinned.root.trust!r}"
        raise Refused("root-trust", text, remedy="use the root of that trust, if it is the one you mean")
    if [root.version for root in claimed] != list(range(claimed[0].version, claimed[0].version + len(claimed))):
        raise Refused("root-version", "the versions of the trust root do not stand in their order", remedy=_DAMAGED)
    if pinned is not None and claimed[-1].version < pinned.root.version:
        text = (
            f"this was made under version {claimed[-1].version} of the trust root; the one that is pinned is "
            f"version {pinned.root.version}, and what it took back may be what this rests on"
        )
        raise Refused(
            "root-version", text, remedy=f"to know what it was worth then, give version {claimed[-1].version}"
        )
    return TrustRoot.chain(envelopes, pinned)


def check_mandate(envelope: Envelope, root: TrustRoot, moment: datetime) -> SignedMandate:
    """The mandate that this root's committee has signed, in force at a time; the root's further roles have signed too.

    A further role is any that is not root, committee, coordinator or auditor, such as `lay`: as many members as its
    threshold says must be among the signers.

    Raises: Refused (`signature`, `root-version`, `mandate-expired`, `mandate`), MessageInvalid.
    """
    signed_mandate = SignedMandate(envelope, root)
    for name, role in sorted(root.root.roles.items()):
        if name not in _NAMED_ROLES and len(signed_mandate.signers & set(role.keys)) < role.threshold:
            text = f"the mandate is not signed by {role.threshold} of role {name!r}"
            raise Refused("signature", text, remedy="have it signed by those who may")
    signed_mandate.require_in_force(moment)
    if signed_mandate.mandate.charter != root.root.charter:
        raise Refused("mandate", "the mandate is under another charter than the trust root's", remedy=_ASK)
    if not set(signed_mandate.mandate.partners) <= set(root.root.partners):
        raise Refused("mandate", "the mandate names a partner that the trust root does not have", remedy=_ASK)
    return signed_mandate


def check_study(envelope: Envelope, mandate: Mandate, root: TrustRoot, moment: datetime) -> Study:
    """The study of a mandate, signed by a researcher of the root who is accredited at a time.

    Raises: Refused (`signature`, `researcher`, `study`), MessageInvalid, StudyInvalid.
    """
    study = signed_study(envelope, root.root)
    if moment >= read_time(root.root.researchers[study.researcher].accredited_until):
        raise Refused(
            "researcher", "the study's researcher was no longer accredited", remedy="have the researcher accredited"
        )
    if sha256(envelope.unverified_payload) != mandate.study:
        raise Refused("study", "the mandate is for another study", remedy=_ASK)
    if study.dataset_digest != mandate.dataset:
        raise Refused("study", "study and mandate name different datasets", remedy=_ASK)
    return study
