"""Release: the rules on a result before anyone but the coordinator sees it, the register, and the signed file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coordinator.docket.docket import Docket
from coordinator.study.conductor import Plans, StudyOutcome
from trust.analyses.base import Scope, Values
from trust.decision import Decision, Decisions, require
from trust.documents.filed_study import FiledStudy
from trust.documents.result import RegisterProof, result_document, results_digest, signed_result
from trust.errors import Fault
from trust.logs.merkle import Entry
from trust.privacy.protections import Protections
from trust.privacy.rules import SuppressCells
from trust.signing.envelope import Envelope, Signer

__all__ = ["publish", "release"]


def release(conducted: StudyOutcome, scope: Scope, plans: Plans) -> tuple[dict[str, Values], Decisions]:
    """Results with small cells hidden, and what was decided on them.

    The arrays that a rule judges by (persons and partners in each cell) are dropped once it has judged.

    Raises: Refused where a result is about too few persons altogether: nothing could hide how many.
    """
    fewest = scope.protections.fewest(len(scope.partners))
    values_released: dict[str, Values] = {}
    decisions: list[Decision] = []
    for name, values_of_analysis in conducted.values.items():
        values = dict(values_of_analysis)
        rules = [r for planned_sum in plans[name].values() for r in planned_sum.rules if isinstance(r, SuppressCells)]
        require([_enough(values, rules, scope.protections)])
        for rule in rules:
            rule.apply(values, scope.protections, fewest)
            decisions.append(rule.judge(values, scope.protections, fewest))
        hidden_arrays = {hidden for rule in rules for hidden in rule.hides}
        for rule in rules:
            for internal in {rule.of, rule.organisations} - hidden_arrays:
                values.pop(internal, None)
        values_released[name] = values
    return values_released, Decisions([*conducted.decisions, *decisions])


def _enough(values: Values, rules: Sequence[SuppressCells], protections: Protections) -> Decision:
    """A result is about at least k records, and a table about at least k persons."""
    counts = [np.sum(values[rule.of]) for rule in rules if np.ndim(values[rule.of]) == rule.axes]
    counts += [values["nobs"]] if "nobs" in values else []
    enough = all(int(n) >= protections.persons for n in counts)
    text = f"a result is about at least {protections.persons} persons"
    return Decision("persons-in-group", enough, text, "leave out the column that is missing for nearly everyone")


def publish(
    conducted: StudyOutcome, scope: Scope, plans: Plans, docket: Docket, filed_study: FiledStudy, identity: Signer
) -> tuple[dict[str, Values], Decisions, Envelope]:
    """Release a study: the rules on its result, its entry in the register, and the result file, signed.

    Raises: Refused.
    """
    values, decisions = release(conducted, scope, plans)
    document = result_document(filed_study.study, filed_study.mandate, docket.trust.roots, values, decisions)
    body = {"mandate": filed_study.mandate_digest, "result": results_digest(document)}
    entry = (
        docket.released(filed_study.id, body)
        if filed_study.state != "released"
        else _release_entry(docket, filed_study)
    )
    proof, checkpoint = docket.register.inclusion(entry.seq)
    place = RegisterProof(
        at=entry.at, index=entry.seq, proof=tuple(part.hex() for part in proof), checkpoint=checkpoint
    )
    return values, decisions, signed_result(document, place, identity)


def _release_entry(docket: Docket, filed_study: FiledStudy) -> Entry:
    """The release's entry, where the last process has written it and no file.  Raises: Fault."""
    for entry in docket.register.entries():
        if entry.kind == "release" and entry.study == filed_study.id:
            return entry
    raise Fault(f"the register has no release of {filed_study.id!r}", remedy="keep the state as it is for the auditor")
