"""The gate: a node's numbered checks.  The first that fails refuses; nothing is skipped.

Before rows     1 my clock goes on; the trust root that I pinned is in force, its charter is mine and may be its charter
                2 the mandate: in force, not revoked, not seen before, signed as my charter asks, for this study, this
                  dataset, these partners
                3 the plan that I compute is the plan that was signed, and so are the bounds
                4 charter and my own policy say yes: researcher, purpose, columns, floors, dates, partners, sizes
                5 my journal can be written
After rows      6 those who opted out are not among the rows
                7 enough persons in my cohort, and no person dominates a magnitude
                8 the cohort differs from each one already answered by nobody, or by enough persons
Each sum        9 my clock goes on, root and mandate are still in force and not revoked, I have not given more than the
                  mandate allows, and no sum more often than the plan says
               10 the analyses and sums asked are those that my own replay asks next
               11 rules on my own part
               12 journalled and on the disk before it goes (`trust/secure_sum/party.py`, `nodes/study/egress.py`)
Order, repetition, partner set and values of a question are checked by the secure sum (`trust/secure_sum/party.py`).
What the gate does not do: it neither reads rows nor sends anything; `session.py` calls it in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nodes.rows.cohort_rows import FrozenRows
from trust.analyses.base import Arrays, Ask, Scope, Sum
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy
from trust.dataset.dataset import PARTNER
from trust.decision import Decision, Decisions
from trust.documents.mandate import Mandate, SignedMandate, draft_mandate, quorum
from trust.documents.root import TrustRoot
from trust.documents.study import PlannedStudy, Study
from trust.errors import Refused
from trust.policy.decide import asker_of, decide, local_only
from trust.privacy.rules import dominance, persons
from trust.protocol.asks import same_sums
from trust.times import read_time

__all__ = ["MandateRequest", "NodeView", "after_rows", "before_rows", "before_sum", "own_part", "still_allowed"]

_COORDINATOR = "the coordinator is at fault"


@dataclass(frozen=True)
class MandateRequest:
    """What a coordinator asks, signatures verified: a mandate, its study, and the digest of the study's bytes."""

    mandate: SignedMandate
    study_digest: str
    planned: PlannedStudy

    @property
    def study(self) -> Study:
        """The study's document."""
        return self.planned.study

    @property
    def scope(self) -> Scope:
        """What it is about."""
        return self.planned.scope


@dataclass(frozen=True, kw_only=True)
class NodeView:
    """What a node holds it to.

    Attributes:
        partner: the node's own name.
        revoked: whether a member has revoked the mandate, as far as this node was told.
        seen: whether this node has given to the study before.
        clock, journal: whether its clock goes on, and its journal can be written now.
        policy: the partner's own; the strictest wins.
    """

    partner: str
    root: TrustRoot
    charter: Charter
    revoked: bool
    seen: bool
    clock: Decision
    journal: Decision
    policy: PartnerPolicy | None = None


def before_rows(request: MandateRequest, view: NodeView, *, now: datetime) -> Decisions:
    """Steps 1 to 5.  The signatures on root, mandate and study have been verified where they were read."""
    mandate, study, scope, root, charter = request.mandate, request.study, request.scope, view.root, view.charter
    mandate_body = mandate.mandate
    own_draft = draft_mandate(request.study_digest, request.planned, charter.folder_digest, root.root, mandate_body.id)
    accredited_until = root.root.researchers[study.researcher].accredited_until
    return Decisions(
        [
            # 1 clock and root
            view.clock,
            _in_force("root", root, now),
            Decision(
                "charter",
                root.root.charter == charter.folder_digest,
                "my charter is the trust root's",
                "use the charter that the root names",
            ),
            local_only(charter, root.root.trust),
            # 2 mandate
            _in_force("mandate", mandate, now),
            _revoked(view.revoked),
            Decision(
                "already-started", not view.seen, "this partner has not given to this study before", "file it again"
            ),
            quorum(root.root, mandate.signers, charter.committee),
            _same_fields(
                "mandate-study", mandate_body, own_draft, ("study", "dataset", "charter", "not_before", "expires")
            ),
            _same_fields("mandate-partners", mandate_body, own_draft, ("partners", "participation", "m", "c")),
            # 3 plan
            _same_fields("plan", mandate_body, own_draft, ("plan", "sums", "bytes", "root", "audit", "conditions")),
            # 4 researcher and policy
            Decision(
                "researcher",
                now < read_time(accredited_until),
                "the study's researcher is accredited today",
                "have the researcher accredited",
            ),
            *decide(
                study,
                charter,
                scope,
                request.planned.plans,
                now=now,
                asker=asker_of(root.root, study.researcher),
                partner=view.partner,
                policy=view.policy,
            ),
            # 5 journal
            view.journal,
        ]
    )


def _in_force(rule: str, document: TrustRoot | SignedMandate, now: datetime) -> Decision:
    try:
        document.require_in_force(now)
    except Refused as refused:
        return Decision(refused.rule, False, refused.text, refused.remedy)
    return Decision(f"{rule}-expired", True, f"the {rule} is in force")


def _revoked(revoked: bool) -> Decision:
    return Decision("mandate-revoked", not revoked, "the mandate was not revoked", "ask the committee for a new one")


def _same_fields(rule: str, signed_mandate: Mandate, own_draft: Mandate, fields: tuple[str, ...]) -> Decision:
    """The signed fields are those that I compute from the study."""
    differing = [name for name in fields if getattr(signed_mandate, name) != getattr(own_draft, name)]
    text = f"the mandate's {', '.join(fields)} are those that follow from the study"
    if differing:
        text = f"the mandate's {', '.join(differing)} is not what follows from the study"
    return Decision(rule, not differing, text, "the study must be signed again, with the same version at all actors")


def after_rows(study: Study, scope: Scope, frozen: FrozenRows, differs: Decision) -> Decisions:
    """Steps 6 to 8.

    Args:
        frozen: the rows of my cohort.
        differs: what the rule on differencing says of it (`nodes/study/answered_cohorts.py`).
    """
    decisions = [
        # 6 opt-outs
        Decision("opt-outs", True, "those who opted out are not among the rows"),  # or the table is not read at all
        # 7 persons
        persons(frozen.persons, study.protections),
    ]
    for name in sorted({c for a in study.analyses.values() for c in a.reads() if c != PARTNER}):
        column = scope.dataset.column(name)
        if column.magnitude:
            decisions.append(dominance(frozen.rows, name, study.protections))
    # 8 differencing
    return Decisions([*decisions, differs])


def still_allowed(
    root: TrustRoot, mandate: SignedMandate, *, revoked: bool, clock: Decision, now: datetime
) -> Decisions:
    """The first part of step 9, also asked before the start.

    Args:
        root: the newest version that this node has accepted; a mandate is for one version.
        revoked: whether a member has revoked the mandate, as far as this node was told.
        clock: whether this node's clock goes on.
    """
    same_root = mandate.mandate.root == root.root.version
    text = "the mandate was signed for the trust root in force"
    return Decisions(
        [
            clock,
            _in_force("root", root, now),
            Decision("root-version", same_root, text, "have it signed for the root in force"),
            _in_force("mandate", mandate, now),
            _revoked(revoked),
        ]
    )


def before_sum(
    mandate: SignedMandate,
    asks: Mapping[str, Ask],
    asks_due: Mapping[str, Ask] | None,
    plans: Mapping[str, Mapping[str, Sum]],
    times_asked: Mapping[tuple[str, str], int],
    *,
    bytes_given: int,
) -> Decisions:
    """The second part of step 9, and step 10.

    Args:
        expected: what my own replay of the analyses asks next; None before the totals that it needs were shown.
        asked: how often each sum of each analysis was answered before.
        given: bytes of my uploads, this one included.
    """
    often = all(times_asked.get((name, ask.sum), 0) < plans[name][ask.sum].at_most for name, ask in asks.items())
    return Decisions(
        [
            # 9 within the mandate and the plan
            Decision(
                "sum-budget",
                bytes_given <= mandate.mandate.bytes,
                "no more bytes than the mandate allows",
                _COORDINATOR,
            ),
            Decision("sum-budget", often, "no sum is asked more often than the plan says", _COORDINATOR),
            # 10 the next question
            Decision(
                "state-not-derived",
                same_sums(asks, asks_due),
                "the analyses and sums asked are those that follow from the totals",
                _COORDINATOR,
            ),
        ]
    )


def own_part(planned_sum: Sum, kept_arrays: Arrays, scope: Scope) -> Decisions:
    """Step 11, on arrays that never leave."""
    fewest = scope.protections.fewest(len(scope.partners))
    decisions: list[Any] = [
        rule.judge(kept_arrays, scope.protections, fewest) for rule in planned_sum.rules if rule.where == "node"
    ]
    return Decisions(decisions or [Decision("node-rules", True, "this sum has no rule on a partner's own part")])
