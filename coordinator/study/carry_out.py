"""One study from its mandate to its release: conducted, judged, written to the register, signed; or ended before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from coordinator.docket.docket import Docket
from coordinator.study.conductor import Channel, Coordinator, StudyOutcome, conduct
from coordinator.study.release import publish
from coordinator.study.replay import LeaveForAnother, Replay, answers_kept
from trust.analyses.base import Values
from trust.charters.charter import Charter
from trust.decision import Decisions
from trust.documents.filed_study import FiledStudy
from trust.documents.study import PlannedStudy, Study
from trust.documents.votes import valid_revocations
from trust.errors import DataTrustError, Fault, MessageInvalid, Refused
from trust.privacy.protections import Protections
from trust.protocol.messages import UP, CloseMessage, unpack
from trust.signing.envelope import Envelope, Signer

__all__ = ["ReleasedStudy", "carry_out", "tell_the_end"]

_ROLL_CALL_SECONDS = 60.0
"""A partner that has not answered by then takes no part."""
_END_SECONDS = 60.0
"""How long nodes are tried to be told of a study's end; a node that is away for longer gives the study up by itself."""


@dataclass(frozen=True)
class ReleasedStudy:
    """A released study: how it was conducted, results with small cells hidden, what was decided, the signed file.

    `filed` is the study as it stood before it was carried out.
    """

    filed: FiledStudy
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
    planned = PlannedStudy(study=filed_study.written, scope=trust.scope(filed_study.written))
    if not goes_on:
        docket.move(filed_study.id, "running")
    try:
        least = _least(planned.study, trust.charter)
        coordinator = Coordinator(identity, trust.root, docket, trust.roots[1:], least)
        if replay is not None:
            coordinator = replace(
                coordinator, book=replay, require_not_withdrawn=replay.require_not_withdrawn, salt=replay.salt
            )
        deadline = _ROLL_CALL_SECONDS if patience is None else min(_ROLL_CALL_SECONDS, patience)
        conducted = conduct(
            coordinator,
            filed_study.study,
            mandate,
            planned,
            replay or channel,
            deadline=deadline,
            patience=patience,
            tell=tell,
        )
        before_release()
        values, decisions, envelope = _published(conducted, planned, docket, filed_study, identity, replay)
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
    return ReleasedStudy(filed_study, conducted, values, decisions, envelope)


def _published(
    conducted: StudyOutcome,
    planned: PlannedStudy,
    docket: Docket,
    filed_study: FiledStudy,
    identity: Signer,
    replay: Replay | None,
) -> tuple[dict[str, Values], Decisions, Envelope]:
    """Release it.

    Raises: LeaveForAnother where the database fails: the sums are there, and another process releases them.
    """
    try:
        now = docket.find(filed_study.id)
        return publish(conducted, planned.scope, planned.plans, docket, now, identity)
    except Fault as wrong:
        if replay is None:
            raise
        raise LeaveForAnother from wrong


def _least(study: Study, charter: Charter) -> Protections:
    """What the charter asks for; participation and colluders are the study's own, since they are not thresholds."""
    protections = study.protections
    return charter.defaults().model_copy(
        update={"participation": protections.participation, "colluders": protections.colluders}
    )


def tell_the_end(docket: Docket, identity: Signer, study: str, channel: Channel) -> None:
    """Close a study that ended while no process carried it out, as one that was cancelled while the worker was down.

    Its nodes still hold rows and keys: each that may is told, with the revocations of the mandate.  Nothing depends on
    the answers.  The caller deletes what is kept of the study.  Raises: Fault.
    """
    filed_study, root = docket.find(study), docket.trust.root.root
    refusing = {name for name, raw in answers_kept(docket, study, 0).items() if _is_refusal(raw)}
    digest = filed_study.mandate_digest
    revocations = valid_revocations(docket.revocations(digest), [root], digest)
    message = CloseMessage(mandate=digest.removeprefix("sha256:"), revocations=tuple(revocations) or None)
    close = message.pack_signed(identity)
    partners_to_tell = [name for name in filed_study.drafted.partners if name in root.partners and name not in refusing]
    channel.exchange(dict.fromkeys(partners_to_tell, close), deadline=_END_SECONDS)


def _is_refusal(raw: bytes) -> bool:
    """Whether a partner took no part: it holds nothing."""
    with suppress(MessageInvalid):
        return unpack(raw, UP).kind == "refusal"
    return False
