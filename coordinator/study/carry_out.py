"""One study from its mandate to its release: conducted, judged, written to the register, signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from coordinator.docket.docket import Docket
from coordinator.study.conductor import Channel, Coordinator, StudyOutcome, conduct
from coordinator.study.release import publish
from coordinator.study.replay import LeaveForAnother, Replay
from trust.analyses.base import Scope, Values
from trust.charters.charter import Charter
from trust.decision import Decisions
from trust.documents.filed_study import FiledStudy
from trust.documents.study import Study, plan
from trust.errors import DataTrustError, Fault, Refused
from trust.privacy.protections import Protections
from trust.signing.envelope import Envelope, Signer

__all__ = ["ReleasedStudy", "carry_out"]

_ROLL_CALL = 60.0
"""Seconds after which a partner that has not answered takes no part."""


@dataclass(frozen=True)
class ReleasedStudy:
    """A released study: how it was conducted, results with small cells hidden, what was decided, the signed file."""

    conducted: StudyOutcome
    values: dict[str, Values]
    decisions: Decisions
    envelope: Envelope


def carry_out(
    docket: Docket,
    identity: Signer,
    study: str,
    channel: Channel,
    *,
    replay: Replay | None = None,
    patience: float | None = None,
    before_release: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = lambda words: None,
) -> ReleasedStudy:
    """Carry out a study whose mandate is in force.  However it ends, the docket says so: nobody waits for ever.

    Args:
        replay: keeps the study over the end of this process: a study that was running, or released without its file
            being written, goes on.
        patience: seconds that a partner may be away once the study has started.
        before_release: may raise, once all sums are there.
        tell: is told the state in words.

    Raises: Refused, AnalysisFailed, Fault.
    """
    filed_study, trust = docket.find(study), docket.trust
    goes_on = replay is not None and filed_study.state in ("running", "released")
    mandate = filed_study.mandate if goes_on else docket.mandate(study)
    study_text = filed_study.written
    scope = trust.scope(study_text)
    if not goes_on:
        docket.move(filed_study.id, "running")
    try:
        least = _least(study_text, trust.charter)
        coordinator = Coordinator(identity, trust.root, docket, trust.roots[1:], least)
        if replay is not None:
            coordinator = replace(coordinator, book=replay, go_on=replay.go_on, salt=replay.salt)
        deadline = _ROLL_CALL if patience is None else min(_ROLL_CALL, patience)
        conducted = conduct(
            coordinator,
            filed_study.study,
            mandate,
            scope,
            replay or channel,
            deadline=deadline,
            patience=patience,
            tell=tell,
        )
        before_release()
        values, decisions, envelope = _published(conducted, scope, docket, filed_study, identity, replay)
    except Refused as refused:
        ends_study = refused.rule in (
            "cancelled",
            "study-state",
        )  # already, and says how; a partner may name these rules too
        if not ends_study or docket.find(filed_study.id).state == "running":
            docket.refused(filed_study.id, refused, "failed" if refused.rule == "mandate-revoked" else "refused")
        raise
    except DataTrustError as wrong:
        docket.refused(filed_study.id, Refused(wrong.code, "the study could not be answered"), "failed")
        raise
    except BaseException as wrong:  # a stop, or a mistake of ours
        if replay is None or isinstance(wrong, Exception):
            docket.refused(
                filed_study.id, Refused("fault", "the study was broken off", remedy="file a new study"), "failed"
            )
        raise
    return ReleasedStudy(conducted, values, decisions, envelope)


def _published(
    conducted: StudyOutcome,
    scope: Scope,
    docket: Docket,
    filed_study: FiledStudy,
    identity: Signer,
    replay: Replay | None,
) -> tuple[dict[str, Values], Decisions, Envelope]:
    """Release it.  Raises: Parked where the database fails: the sums are there, and another process releases them."""
    try:
        now = docket.find(filed_study.id)
        return publish(conducted, scope, plan(now.written, scope), docket, now, identity)
    except Fault as wrong:
        if replay is None:
            raise
        raise LeaveForAnother from wrong


def _least(study: Study, charter: Charter) -> Protections:
    """What the charter asks for; participation and colluders are the study's own, since they are no thresholds."""
    protections = study.protections
    return charter.defaults().model_copy(
        update={"participation": protections.participation, "colluders": protections.colluders}
    )
