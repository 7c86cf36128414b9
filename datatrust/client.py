"""A study in a researcher's hands, and its result."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from coordinator.docket import Docket, Filed, Trust
from coordinator.lifecycle import ENDED
from datatrust.pins import pinned, read_file, read_root
from datatrust.results import Released, released
from datatrust.review_words import standing
from trust.analyses.base import Scope, Values
from trust.decision import Decisions
from trust.errors import InvalidInput, Refused
from trust.explain import Explanation
from trust.plain.safe import escaped
from trust.result import ResultDocument, read_result, write_envelope
from trust.root import TrustRoot
from trust.signing import Envelope
from trust.study import Study
from trust.verification import Verified, require_verified, verify

__all__ = ["Job", "Result", "StudyHandle", "provenance_of"]


class _Trust(Protocol):
    docket: Docket

    def check(self, study: Study) -> Decisions: ...
    def explain(self, study: Study, lang: str = "en") -> Explanation: ...
    def submit(self, study: Study) -> Job: ...
    def run(self, study: Study) -> Result: ...
    def conduct(self, study: str) -> Result: ...


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

    def __repr__(self) -> str:
        return f"<study {self.study.id}: {escaped(self.study.title, quotes=False)}; {', '.join(self.study.analyses)}>"


class Job:
    """A study on the docket, with the names of `concurrent.futures.Future`.

    Attributes:
        id: the study's id, by which `trust.job(id)` finds it again.
    """

    def __init__(self, study: str, trust: _Trust) -> None:
        self.id, self._trust = study, trust
        self._result: Result | None = None

    @property
    def state(self) -> str:
        """Where it stands, in words."""
        return standing(self._trust.docket.trust, self._trust.docket.find(self.id))

    def done(self) -> bool:
        """Whether nothing more will happen to it."""
        filed = self._trust.docket.find(self.id)
        return filed.state in ENDED or filed.lapsed is not None

    def result(self) -> Result:
        """Its result, once its mandate is signed.

        Raises: Refused: by a rule, by the committee, or since members have still to sign (`mandate-missing`).
        """
        if self._result is None:
            self._result = self._trust.conduct(self.id)
        return self._result

    def __repr__(self) -> str:
        return f"<study {self.id}: {self.state}>"


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
        self._released = {n: released(study.analyses[n], v, scope, self.provenance) for n, v in values.items()}

    def __getitem__(self, name: str) -> Released:
        if name not in self._released:
            raise KeyError(f"no analysis {name!r}; this study has: {', '.join(self._released)}")
        return self._released[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._released)

    def __len__(self) -> int:
        return len(self._released)

    @classmethod
    def kept(cls, file: Path, docket: Docket, filed: Filed) -> Result:
        """The result of a study that was released before, from its file and the register.

        Raises: InvalidInput where the file is not there, Refused where it is not what was released.
        """
        raw, trust = read_file(file), docket.trust
        document = require_verified(raw, pinned=TrustRoot.founding(trust.roots[0])).document
        if document is None or document.mandate.unverified_payload != filed.mandate.unverified_payload:
            raise Refused("study", f"{file} is the result of another study", "put the right file back")
        study = filed.written
        scope = Scope(trust.dataset, filed.drafted.partners, study.protections, trust.charter.partner_may_be_shown)
        entries = [entry for entry in docket.register.entries() if entry.study == filed.id]
        records = [entry.body["record"] for entry in entries if entry.kind == "sum-record"]
        partners = tuple(records[0]["U"])
        absent = {name: "not known any more" for name in scope.partners if name not in partners}
        known = provenance_of(trust, filed, partners=partners, absent=absent, sums=len(records))
        return cls(study, scope, document.values(), document.taken(), known, read_result(raw)[0])

    def save(self, path: str | Path) -> Path:
        """Write the signed result file, which anybody can check with `datatrust verify`.  Raises: InvalidInput."""
        try:
            Path(path).write_bytes(write_envelope(self.envelope))
        except OSError as wrong:
            raise InvalidInput(
                f"{str(path)!r} cannot be written ({wrong.strerror})", remedy="name another file"
            ) from None
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
            "results": {name: result.to_dict() for name, result in self._released.items()},
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
    trust: Trust,
    filed: Filed,
    *,
    partners: Sequence[str],
    absent: Mapping[str, str],
    sums: int,
    sent: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Where the numbers of a study come from.

    Args:
        partners: who took part; `absent`: who did not, and by which rule.
        sums: how many were opened.
        sent: bytes that each partner's node has sent, where it is known.
    """
    study = filed.written
    return {
        "trust": "local: keys of all roles in one process",
        "study": study.id,
        "study_digest": study.digest(),
        "mandate": filed.number,
        "mandate_digest": filed.mandate_digest,
        "root": trust.root.root.version,
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
