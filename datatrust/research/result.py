"""A study in a researcher's hands, and its result."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from datatrust.person.pins import pinned, read_root
from datatrust.research.job import Job
from datatrust.research.results import Released, released
from trust.analyses.base import Scope, Values
from trust.decision import Decisions
from trust.documents.filed_study import FiledStudy, TrustDocuments
from trust.documents.result import ResultDocument, read_result, write_envelope
from trust.documents.root import TrustRoot
from trust.documents.study import Study
from trust.documents.verification import Verified, require_verified, verify
from trust.errors import Refused
from trust.files import write_new, writing
from trust.logs.merkle import Entry
from trust.policy.explain import Explanation
from trust.secure_sum import Record
from trust.secure_sum.messages import signature_is_valid
from trust.signing.envelope import Envelope
from trust.words.safe import escaped

__all__ = ["Job", "ReleaseContext", "Result", "StudyHandle", "provenance_of"]

LOCAL = "local: keys of all roles in one process"


class _Trust(Protocol):
    def check(self, study: Study) -> Decisions: ...
    def explain(self, study: Study, lang: str = "en") -> Explanation: ...
    def submit(self, study: Study) -> Job: ...
    def run(self, study: Study) -> Result: ...


class StudyHandle:
    """A written study: `check()` it, then `run()` it."""

    def __init__(self, study: Study, trust: _Trust) -> None:
        self.study, self._trust = study, trust

    def check(self) -> Decisions:
        """What the charter says of it: instant, no row is touched."""
        return self._trust.check(self.study)

    def explain(self, lang: str = "en") -> Explanation:
        """Why the charter refuses it, in English or French, and the smallest change that would pass."""
        return self._trust.explain(self.study, lang)

    def submit(self) -> Job:
        """File it for the committee to sign: a Job, or `Refused(rule, text, remedy)`."""
        return self._trust.submit(self.study)

    def run(self) -> Result:
        """Carry it out: a Result, or `Refused(rule, text, remedy)`."""
        return self._trust.run(self.study)

    def save(self, path: str | Path) -> Path:
        """Write the study's document, for `datatrust study` and `trust.read`; never over another file.

        Raises: InvalidInput.
        """
        with writing(path, "name another file"):
            write_new(Path(path), self.study.canonical() + b"\n", 0o644)
        return Path(path)

    def __repr__(self) -> str:
        return f"<study {self.study.id}: {escaped(self.study.title, quotes=False)}; {', '.join(self.study.analyses)}>"


@dataclass(frozen=True)
class ReleaseContext:
    """What a result file is held to.

    Attributes:
        filed: the study, as the docket has it.
        entries: of the register, those of this study; nothing in them is believed that is not signed.
        anchor: the trust root that the reader trusts, any version up to the one in force.
        where: what the file is called in an error.
        whose: the trust's name in the provenance.
        versions: of the trust root, those that the reader has verified; a result under another of the same number is
            refused.
    """

    trust: TrustDocuments
    filed: FiledStudy
    entries: Sequence[Entry]
    anchor: TrustRoot
    where: str
    whose: str = LOCAL
    versions: Mapping[int, TrustRoot] = field(default_factory=dict)


class Result(Mapping[str, Released]):
    """The released results of a study, by the names that its analyses were given.

    Attributes:
        study: what was asked.
        decisions: what was decided on totals and results.
        provenance: where the numbers come from.
        envelope: the signed result, which `save` writes.
    """

    def __init__(
        self,
        study: Study,
        scope: Scope,
        values: Mapping[str, Values],
        decisions: Decisions,
        provenance: Mapping[str, Any],
        envelope: Envelope,
    ) -> None:
        self.study, self.decisions, self.provenance, self.envelope = study, decisions, dict(provenance), envelope
        self._analysis_results = {n: released(study.analyses[n], v, scope, self.provenance) for n, v in values.items()}

    def __getitem__(self, name: str) -> Released:
        if name not in self._analysis_results:
            raise KeyError(f"no analysis {name!r}; this study has: {', '.join(self._analysis_results)}")
        return self._analysis_results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._analysis_results)

    def __len__(self) -> int:
        return len(self._analysis_results)

    @classmethod
    def kept(cls, raw: bytes, context: ReleaseContext) -> Result:
        """The result of a study that was released before, from its file, verified in full, and the register.

        Raises: Refused where it is not what was released for this study, InvalidInput where it is not a result.
        """
        trust, filed_study = context.trust, context.filed
        verified = require_verified(raw, pinned=context.anchor)
        document, root = verified.document, verified.root
        same_mandate = (
            document is not None and document.mandate.unverified_payload == filed_study.mandate.unverified_payload
        )
        if document is None or root is None or not same_mandate:
            raise Refused("study", f"{context.where} is the result of another study", remedy="put the right file back")
        if context.versions.get(root.root.version, root).payload != root.payload:
            raise Refused(
                "root-pinned", f"{context.where} was made under another trust root", remedy="ask who runs the trust"
            )
        study = filed_study.written
        scope = study.scope(trust.dataset, filed_study.drafted.partners, trust.charter)
        sums = _sums(context, root)
        partners = sums[0] if sums else scope.partners
        absent = {name: "not known any more" for name in scope.partners if name not in partners}
        provenance = provenance_of(
            trust, filed_study, partners=partners, absent=absent, sums=len(sums), trust_name=context.whose
        )
        return cls(study, scope, document.values(), document.taken(), provenance, read_result(raw)[0])

    def save(self, path: str | Path) -> Path:
        """Write the signed result file, which anybody can check with `datatrust verify`.  Raises: InvalidInput."""
        with writing(path, "name another file"):
            Path(path).write_bytes(write_envelope(self.envelope))
        return Path(path)

    def verify(self, root: TrustRoot | str | Path | None = None) -> Verified:
        """Check the signed result from the trust root to the register, offline.

        Args:
            root: the trust root that you trust, or its file; otherwise the one that you pinned before.  With neither,
                `pinned` is False and `fingerprint` is what to compare.
        """
        if isinstance(root, str | Path):
            root = read_root(Path(root))
        pin = root if root is not None else pinned(TrustRoot.chain(self._document.root).root.trust)
        return verify(write_envelope(self.envelope), pinned=pin)

    @property
    def _document(self) -> ResultDocument:
        return read_result(write_envelope(self.envelope))[1]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready and versioned."""
        return {
            "schema": "datatrust/results/1",
            "study": self.study.document(),
            "provenance": self.provenance,
            "decisions": [vars(d) for d in self.decisions],
            "results": {name: result.to_dict() for name, result in self._analysis_results.items()},
        }

    def __str__(self) -> str:
        partners = ", ".join(self.provenance["partners"])
        lines = [
            f"{escaped(self.study.title, quotes=False)}: {len(self)} analyses over {partners}",
            *(f"  {n}: {r.title()}" for n, r in self.items()),
        ]
        lines += [f"  {n} took no part, because of: {rule}" for n, rule in self.provenance["absent"].items()]
        return "\n".join(lines[:25])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [f"<h4>{html.escape(n)}</h4>{r._repr_html_()}" for n, r in self.items()]
        return f"<h3>{html.escape(escaped(self.study.title, quotes=False))}</h3>" + "".join(parts)


def provenance_of(
    trust: TrustDocuments,
    filed_study: FiledStudy,
    *,
    partners: Sequence[str],
    absent: Mapping[str, str],
    sums: int,
    sent: Mapping[str, int] | None = None,
    trust_name: str = LOCAL,
) -> dict[str, Any]:
    """Where the numbers of a study come from.

    Args:
        partners: who took part; `absent`: who did not, and by which rule.
        sums: how many were opened.
        sent: bytes that each partner's node has sent, where it is known.
        whose: which trust it is.
    """
    study = filed_study.written
    return {
        "trust": trust_name,
        "study": study.id,
        "study_digest": study.digest(),
        "mandate": filed_study.number,
        "mandate_digest": filed_study.mandate_digest,
        "root": filed_study.drafted.root,
        "dataset": study.dataset_digest,
        "charter": trust.charter.name,
        "charter_digest": trust.charter.folder_digest,
        "purpose": study.purpose,
        "cohort": study.cohort,
        "partners": list(partners),
        "absent": dict(absent),
        "sums": sums,
        "bytes": dict(sent or {}),
        "persons": study.protections.persons,
        "organisations": study.protections.organisations,
        "noise": "none",
    }


def _sums(context: ReleaseContext, root: TrustRoot) -> list[tuple[str, ...]]:
    """Who took part in each sum that was opened: of the records that the coordinator of that root has signed."""
    keys = [Ed25519PublicKey.from_public_bytes(key) for key in root.root.keys_of("coordinator").values()]
    names_by_sum: dict[int, tuple[str, ...]] = {}
    for entry in context.entries:
        if entry.kind != "sum-record":
            continue
        record = Record.parse(entry.body.get("record"))
        if not any(signature_is_valid(key, record.sig, record.message()) for key in keys):
            raise Refused(
                "signature", "the coordinator has not signed a sum of the study", remedy="ask who runs the trust"
            )
        names_by_sum[record.context.r] = record.context.partners
    return [partners for _, partners in sorted(names_by_sum.items())]
