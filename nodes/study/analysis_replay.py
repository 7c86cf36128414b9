"""How far a study has come at a node: what was asked, and what its own replay of the analyses asks next.

The totals are the only state: given the same ones again, as after a restart, it stands where it stood.
"""

from __future__ import annotations

from collections.abc import Mapping

from trust.analyses.base import Ask, Scope, together
from trust.documents.study import Study
from trust.errors import Refused
from trust.protocol.asks import Plans, blocks_of, split
from trust.secure_sum import Question, decode_sum
from trust.secure_sum.masks import Words

__all__ = ["AnalysisReplay"]


class AnalysisReplay:
    """The replay of one study's analyses.

    Attributes:
        expected: what they ask next; None while a total is due, and at their end.
        last: the last sum that was answered, and its asks.
        audited: the number of the last sum whose total was taken, -1 before the first.
        asked: (analysis, sum) -> how often it was answered.
        given: bytes of all answers.
    """

    def __init__(self, study: Study, scope: Scope, plans: Plans) -> None:
        self._plans, self._partners = plans, len(scope.partners)
        self._run = together({name: analysis.run(scope) for name, analysis in sorted(study.analyses.items())})
        self.expected: dict[str, Ask] | None = self._run.send(None)
        self.last: tuple[Question, dict[str, Ask]] | None = None
        self.audited = -1
        self.asked: dict[tuple[str, str], int] = {}
        self.given = 0

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
        totals = split(decode_sum(blocks_of(asks, self._plans), words, n=self._partners))
        self.audited = question.r
        try:
            self.expected = self._run.send(totals)
        except StopIteration:
            self.expected = None
