"""A study that has passed the gate at one node: what it asks, of which rows, and with which keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nodes.node import Node
from nodes.rows.editions import CohortRows
from nodes.study import gate
from nodes.study.analysis_replay import AnalysisReplay
from nodes.study.computation import Computation
from trust.analyses.base import Ask, Scope, Sum
from trust.canonical import canonical, parse
from trust.dataset.dataset import PARTNER
from trust.dataset.rows import partner_rows
from trust.documents.mandate import SignedMandate
from trust.documents.root import TrustRoot
from trust.documents.study import PlannedStudy, Study, plan_documents, signed_study
from trust.errors import MessageInvalid, Refused
from trust.protocol.asks import Plans, pack_asks, plan_bytes, unpack_asks
from trust.protocol.messages import MandateMessage
from trust.secure_sum import Parameters, Party
from trust.signing.envelope import Envelope, sha256

__all__ = ["OpenStudy", "asks_kept", "begin", "kept_asks", "signed", "signed_documents"]


@dataclass(frozen=True, kw_only=True)
class OpenStudy:
    """A study that has passed the gate."""

    study: Study
    mandate: SignedMandate
    scope: Scope
    plans: dict[str, dict[str, Sum]]
    documents: dict[tuple[str, str], bytes]
    parameters: Parameters
    party: Party
    computation: Computation
    progress: AnalysisReplay


def signed_documents(message: MandateMessage) -> bytes:
    """The two signed documents of a message as a node keeps them."""
    return canonical({"mandate": message.mandate.document(), "study": message.study.document()})


def signed(node: Node, root: TrustRoot, mandate_envelope: Envelope, study_envelope: Envelope) -> gate.MandateRequest:
    """Mandate and study, their signatures verified.  Raises: Refused, MessageInvalid, StudyInvalid."""
    mandate = SignedMandate(mandate_envelope, root)
    study = signed_study(study_envelope, root.root)
    partners = mandate.mandate.partners
    if node.name not in partners or not set(partners) <= set(root.root.partners):
        raise Refused("partners-invalid", "the mandate names this partner, and only partners of the trust root")
    planned = PlannedStudy(study=study, scope=study.scope(node.dataset, partners, node.charter))
    return gate.MandateRequest(mandate, sha256(study_envelope.unverified_payload), planned)


def begin(
    node: Node, root: TrustRoot, request: gate.MandateRequest, cohort_rows: CohortRows, names: list[str]
) -> OpenStudy:
    """Rows that each analysis has prepared, plan, and this node's half of the secure sum.

    Args:
        names: the columns that the analyses read.
    """
    mandate, study, scope = request.mandate, request.study, request.scope
    partners, rows = mandate.mandate.partners, cohort_rows.frozen.rows
    rows = partner_rows(rows, partners.index(node.name)) if PARTNER in names else rows
    plans = request.planned.plans
    parameters = mandate.parameters(study.id, root)
    return OpenStudy(
        study=study,
        mandate=mandate,
        scope=scope,
        plans=plans,
        documents=plan_bytes(plan_documents(study, scope, plans)),
        parameters=parameters,
        party=Party(parameters, node.name, node.identity.private, node.store),
        computation=Computation(study, scope, plans, rows),
        progress=AnalysisReplay(study, scope, plans),
    )


def kept_asks(asks: Mapping[str, Ask], plans: Plans) -> bytes:
    """A question as a node keeps it: names, and the values asked for."""
    names, values = pack_asks(asks, plans)
    return canonical({"asks": names, "values": values.hex()})


def asks_kept(raw: bytes, plans: Plans) -> dict[str, Ask]:
    """The inverse of `kept_asks`.  Raises: MessageInvalid."""
    document = parse(raw, largest=1 << 26)
    if not isinstance(document, dict) or not isinstance(document.get("values"), str):
        raise MessageInvalid("a question that was kept and cannot be read", expected="names and values")
    return unpack_asks(document.get("asks"), bytes.fromhex(document["values"]), plans)[0]
