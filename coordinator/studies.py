"""One study from its mandate to its release: conducted, judged, written to the register, signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coordinator.conductor import Channel, Conducted, Coordinator, conduct
from coordinator.docket import Docket
from coordinator.release import publish
from trust.analyses.base import Values
from trust.charter import Charter
from trust.decision import Decisions
from trust.errors import DataTrustError, Refused
from trust.protections import Protections
from trust.signing import Envelope, Signer
from trust.study import Study, plan

__all__ = ["Carried", "carry_out"]


@dataclass(frozen=True)
class Carried:
    """A released study: how it was conducted, results with small cells hidden, what was decided, the signed file."""

    conducted: Conducted
    values: dict[str, Values]
    decisions: Decisions
    envelope: Envelope


def carry_out(
    docket: Docket,
    identity: Signer,
    study: str,
    channel: Channel,
    *,
    before_release: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = lambda words: None,
) -> Carried:
    """Carry out a study whose mandate is in force.  However it ends, the docket says so: nobody waits for ever.

    Args:
        before_release: may raise, once all sums are there.
        tell: is told the state in words.

    Raises: Refused, AnalysisFailed, Fault.
    """
    mandate, filed, trust = docket.mandate(study), docket.find(study), docket.trust
    written = filed.written
    scope = trust.scope(written)
    docket.move(filed.id, "running")
    try:
        coordinator = Coordinator(identity, trust.root, docket, trust.roots[1:], _least(written, trust.charter))
        conducted = conduct(coordinator, filed.study, mandate, scope, channel, tell=tell)
        before_release()
        values, decisions, envelope = publish(conducted, scope, plan(written, scope), docket, filed, identity)
    except Refused as refused:
        docket.refused(filed.id, refused, "failed" if refused.rule == "mandate-revoked" else "refused")
        raise
    except DataTrustError as wrong:
        docket.refused(filed.id, Refused(wrong.code, "the study could not be answered"), "failed")
        raise
    except BaseException:  # a stop, or a mistake of ours
        docket.refused(filed.id, Refused("fault", "the study was broken off", "file a new study"), "failed")
        raise
    return Carried(conducted, values, decisions, envelope)


def _least(study: Study, charter: Charter) -> Protections:
    """What the charter asks for; participation and colluders are the study's own, since they are no thresholds."""
    own = study.protections
    return charter.defaults().model_copy(update={"participation": own.participation, "colluders": own.colluders})
