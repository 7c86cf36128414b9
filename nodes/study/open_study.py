"""A study that has passed the gate at one node: what it asks, of which rows and with which keys, and how far it is.

The totals are the only state: given the same ones again, as after a restart, it stands where it stood.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from nodes.node import Node
from nodes.rows.editions import CohortRows, EditionKeeper
from nodes.rows.source import Source
from nodes.study import gate
from nodes.study.computation import Computation
from trust.analyses.base import Ask, together
from trust.canonical import canonical, parse
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import PARTNER
from trust.dataset.rows import Rows, partner_rows
from trust.documents.mandate import SignedMandate
from trust.documents.root import TrustRoot
from trust.documents.study import PlannedStudy, Study, plan_documents, signed_study
from trust.errors import MessageInvalid, Refused
from trust.protocol.asks import Plans, blocks_of, pack_asks, plan_bytes, question, split, unpack_asks
from trust.protocol.messages import MandateMessage
from trust.secure_sum import Party, Question, decode_sum
from trust.secure_sum.masks import Words
from trust.signing.envelope import Envelope, sha256

__all__ = ["OpenStudy", "as_read", "asks_kept", "kept_asks", "rows_of", "signed", "signed_documents"]


class OpenStudy:
    """Rows that each analysis has prepared, this node's half of the secure sum, and its own replay of the analyses.

    Attributes:
        expected: what the analyses ask next; None while a total is due, and at their end.
        last: the last sum that was answered, and its asks.
        audited: the number of the last sum whose total was taken, -1 before the first.
        asked: (analysis, sum) -> how often it was answered.
        given: bytes of all answers.
    """

    def __init__(
        self, node: Node, root: TrustRoot, request: gate.MandateRequest, cohort_rows: CohortRows, names: list[str]
    ) -> None:
        """Args: names: the columns that the analyses read."""
        self.mandate, self.study, self.plans = request.mandate, request.study, request.planned.plans
        scope = request.scope
        rows = as_read(cohort_rows, names, scope.partners.index(node.name))
        self.parameters = self.mandate.parameters(self.study.id, root)
        self._documents = plan_bytes(plan_documents(self.study, scope, self.plans))
        self.party = Party(self.parameters, node.name, node.identity.private, node.store)
        self.computation = Computation(self.study, scope, self.plans, rows)
        self._run = together({name: analysis.run(scope) for name, analysis in sorted(self.study.analyses.items())})
        self.expected: dict[str, Ask] | None = self._run.send(None)
        self.last: tuple[Question, dict[str, Ask]] | None = None
        self.audited = -1
        self.asked: dict[tuple[str, str], int] = {}
        self.given = 0

    def question(self, r: int, asks: Mapping[str, Ask]) -> Question:
        """What these asks are as sum `r`."""
        return question(r, asks, self.plans, self._documents)

    def repeats(self, question: Question) -> bool:
        """Whether this is the sum that was answered last.  Raises: Refused (`sum-order`) for one before it."""
        last = self.last[0].r if self.last is not None else -1
        if question.r < last:
            raise Refused(
                "sum-order", "a sum before the last one is not answered again", remedy="repeat the last one only"
            )
        return question.r == last

    def answered(self, question: Question, asks: Mapping[str, Ask]) -> None:
        """A sum was answered; its total is due."""
        self.given += question.layout.nbytes
        self.last = question, dict(asks)
        self.expected = None
        for name, ask in asks.items():
            self.asked[name, ask.sum] = self.asked.get((name, ask.sum), 0) + 1

    def total(self, words: Words) -> None:
        """The total of the last sum, which the analyses go on from.  Raises: AnalysisFailed."""
        if self.last is None:
            raise AssertionError("a total before a sum")
        question, asks = self.last
        partners = len(self.mandate.mandate.partners)
        totals = split(decode_sum(blocks_of(asks, self.plans), words, n=partners))
        self.audited = question.r
        try:
            self.expected = self._run.send(totals)
        except StopIteration:
            self.expected = None


def rows_of(study: Study, source: Source, editions: EditionKeeper, *, now: datetime) -> tuple[CohortRows, list[str]]:
    """The rows of a study's cohort, frozen, and the columns that its analyses read.  Raises: SourceInvalid, Fault."""
    cohort = Cohort.parse(study.cohort, editions.dataset) if study.cohort else None
    names = [name for analysis in study.analyses.values() for name in analysis.reads()]
    return editions.freeze(source, names, cohort, now=now), names


def as_read(cohort_rows: CohortRows, names: list[str], partner: int) -> Rows:
    """The rows as the analyses read them, with the partner's number as a column where that is one of the names."""
    rows = cohort_rows.frozen.rows
    return partner_rows(rows, partner) if PARTNER in names else rows


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
