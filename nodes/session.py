"""One study at one node: a state machine from the mandate to the close, bytes in and bytes out.

new -> approved -> started -> closed.  A message that does not fit the state is refused, and a refusal after the
start ends the study.  What leaves goes through `egress`; why something failed stays here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nodes import gate
from nodes.edition import freeze
from nodes.egress import Egress
from nodes.sources import Source
from trust.analyses.base import Arrays, Ask, Scope, Sum
from trust.canonical import read_model
from trust.charter import Charter
from trust.cohort import Cohort
from trust.dataset import PARTNER, Dataset
from trust.decision import require
from trust.errors import AnalysisFailed, DataTrustError, MessageInvalid, Refused, StudyInvalid
from trust.plain_sum import contribution
from trust.rows import partner_rows
from trust.study import Study, plan
from trust.wire import DOWN, unpack, unpack_asks

__all__ = ["Node", "Session"]


@dataclass(frozen=True)
class Node:
    """What a partner's node knows before any study."""

    name: str
    dataset: Dataset
    source: Source
    charter: Charter
    clock: Callable[[], datetime]


class Session:
    """A node's half of one study.

    Attributes:
        egress: what left, message by message.
        trouble: why the last message was refused, in full; for the node's own operator, never sent.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.egress = Egress()
        self.trouble: DataTrustError | None = None
        self._state = "new"
        self._study: Study | None = None
        self._scope: Scope
        self._plans: dict[str, dict[str, Sum]] = {}
        self._ready: dict[str, Any] = {}
        self._first: dict[str, Arrays] = {}
        self._asked: dict[tuple[str, str], int] = {}
        self._next = 0

    def handle(self, raw: bytes) -> bytes:
        """Answer one message.  Whatever goes wrong leaves as a rule's id and its public text."""
        try:
            header, body = unpack(raw, DOWN)
            if self._state == "closed":
                raise Refused("study-closed", "the study is closed at this partner")
            answer = {"mandate": self._mandate, "start": self._start, "ask": self._ask, "close": self._close}
            if header["kind"] not in answer:
                raise MessageInvalid(f"a message of kind {header['kind']!r} that this node does not answer")
            return answer[header["kind"]](header, body)
        except DataTrustError as wrong:
            return self._refuse(wrong)
        except Exception as wrong:  # noqa: BLE001 - nothing of an unexpected failure may leave a node
            failure = AnalysisFailed(f"an unexpected failure ({type(wrong).__name__})", "see this node's own log")
            failure.__cause__ = wrong
            return self._refuse(failure)

    def _refuse(self, wrong: DataTrustError) -> bytes:
        self.trouble = wrong
        if self._state == "started":
            self._state = "closed"
        if isinstance(wrong, Refused):
            public = {"rule": wrong.rule, "text": wrong.text, "remedy": wrong.remedy}
        else:
            public = {
                "rule": wrong.code,
                "text": f"the partner cannot answer ({wrong.code}); why is in its own log",
                "remedy": "ask the partner",
            }
        return self.egress.send({"kind": "refusal", "name": self._node.name, **public})

    # ---- the messages

    def _mandate(self, header: Mapping[str, Any], body: bytes) -> bytes:
        """Check the study before rows, freeze the rows, check after rows, answer the first question to myself."""
        self._in("new")
        _closed(header, {"kind", "v", "study", "partners", "plan"}, body)
        node = self._node
        study = read_model(Study, header["study"], StudyInvalid, "the study")
        partners = _names(header["partners"])
        if node.name not in partners:
            raise Refused("partners-invalid", "the mandate does not name this partner")
        scope = Scope(node.dataset, partners, study.protections, node.charter.partner_may_be_shown)
        plans = plan(study, scope)
        require(gate.before_rows(study, node.charter, scope, plans, str(header["plan"]), node.clock()))
        cohort = Cohort.parse(study.cohort, node.dataset) if study.cohort else None
        names = [name for analysis in study.analyses.values() for name in analysis.reads()]
        edition = freeze(node.dataset, node.source, names, cohort)
        require(gate.after_rows(study, scope, edition))
        rows = partner_rows(edition.rows, partners.index(node.name)) if PARTNER in names else edition.rows
        self._study, self._scope, self._plans = study, scope, plans
        for name, analysis in study.analyses.items():
            self._ready[name] = analysis.prepare(scope, rows)
            self._first[name] = self._local(name, analysis.run(scope).send(None))
        self._state = "approved"
        return self.egress.send({"kind": "approval", "name": node.name, "study": study.id})

    def _start(self, header: Mapping[str, Any], body: bytes) -> bytes:
        """The partner set is fixed."""
        self._in("approved")
        _closed(header, {"kind", "v", "study", "partners"}, body)
        joined = _names(header["partners"])
        fewest = self._scope.protections.fewest(len(self._scope.partners))
        if self._node.name not in joined or not set(joined) <= set(self._scope.partners) or len(joined) < fewest:
            raise Refused("organisations", f"a sum is over at least {fewest} of the partners named, this one among them")
        self._state = "started"
        return self.egress.send({"kind": "ready", "name": self._node.name})

    def _ask(self, header: Mapping[str, Any], body: bytes) -> bytes:
        """One sum: gate, compute, rules, and out."""
        self._in("started")
        _closed(header, {"kind", "v", "study", "r", "asks"}, None)
        r = header["r"]
        asks = unpack_asks(header["asks"], body, self._plans)
        require(gate.before_sum(r, self._next, asks, self._plans, self._asked))
        given = {name: self._answer(name, ask) for name, ask in asks.items()}
        upload = contribution(asks, self._plans, given)
        self._next = r + 1
        for name, ask in asks.items():
            self._asked[name, ask.sum] = self._asked.get((name, ask.sum), 0) + 1
        return self.egress.send({"kind": "upload", "name": self._node.name, "r": r}, upload)

    def _close(self, header: Mapping[str, Any], body: bytes) -> bytes:
        """Forget the rows."""
        self._ready.clear()
        self._first.clear()
        self._state = "closed"
        return self.egress.send({"kind": "ready", "name": self._node.name})

    # ---- computing

    def _answer(self, name: str, ask: Ask) -> Arrays:
        first = self._first.pop(name, None)
        return first if first is not None and not self._plans[name][ask.sum].takes else self._local(name, ask)

    def _local(self, name: str, ask: Ask) -> Arrays:
        """This partner's blocks of one analysis, its own rules passed; what the rules look at stays behind."""
        assert self._study is not None
        planned = self._plans[name][ask.sum]
        arrays = dict(self._study.analyses[name].local(self._scope, self._ready[name], ask))
        kept = {key: arrays.pop(key) for key in planned.keeps}
        require(gate.own_part(planned, kept, self._scope))
        return arrays

    def _in(self, state: str) -> None:
        if self._state != state:
            raise Refused("message-order", f"this message belongs to a study that is {state}", "begin the study again")


def _closed(header: Mapping[str, Any], fields: set[str], body: bytes | None) -> None:
    """Exactly these fields, and no body where none belongs."""
    if set(header) != fields or body:
        raise MessageInvalid("a message with missing or unknown fields", expected=", ".join(sorted(fields)))


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value) or value != sorted(set(value)):
        raise MessageInvalid("partners that are not a sorted list of names", expected="each name once, in order")
    return tuple(value)
