"""Computing at a node: the rows of one study, and this partner's part of each of its sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nodes.study import gate
from trust.analyses.base import Arrays, Ask, Scope, Sum, fits
from trust.dataset.rows import Rows
from trust.decision import require
from trust.documents.study import Study
from trust.errors import MessageInvalid, SourceInvalid
from trust.protocol.asks import blocks_of, joined
from trust.secure_sum import encode_sum
from trust.secure_sum.masks import Words

__all__ = ["Computation"]


class Computation:
    """The rows that each analysis has prepared, until they are forgotten."""

    def __init__(self, study: Study, scope: Scope, plans: Mapping[str, Mapping[str, Sum]], rows: Rows) -> None:
        self._study, self._scope, self._plans = study, scope, plans
        self._first: dict[str, Arrays] = {}
        with np.errstate(all="ignore"):
            self._rows: dict[str, Any] = {n: analysis.prepare(scope, rows) for n, analysis in study.analyses.items()}

    def rehearse(self, asks: Mapping[str, Ask]) -> None:
        """Compute the first questions, before anything is approved: what is refused then has cost nobody a sum.

        Raises: Refused where a rule on this partner's own part says no.
        """
        self._first = {name: self._local(name, ask) for name, ask in asks.items()}

    def vector(self, asks: Mapping[str, Ask]) -> Words:
        """This partner's part of a sum, encoded; masked by the caller.

        Raises: Refused, SourceInvalid, ValueOutOfRange, ValueNotFinite.
        """
        answers = {name: self._answer(name, ask) for name, ask in asks.items()}
        for name, ask in asks.items():
            try:
                fits(self._plans[name][ask.sum].gives, answers[name])
            except MessageInvalid as wrong:  # what is wrong here is not a message
                raise SourceInvalid(wrong.text, expected=wrong.expected, remedy=wrong.remedy) from None
        return encode_sum(blocks_of(asks, self._plans), joined(answers), n=len(self._scope.partners))

    def forget(self) -> None:
        """Rows, and what was computed from them."""
        self._rows.clear()
        self._first.clear()

    def _answer(self, name: str, ask: Ask) -> Arrays:
        first = self._first.pop(name, None)
        takes = self._plans[name][ask.sum].takes
        return first if first is not None and not takes else self._local(name, ask)

    def _local(self, name: str, ask: Ask) -> Arrays:
        """This partner's blocks of one analysis, its own rules passed; what the rules look at stays behind."""
        planned_sum = self._plans[name][ask.sum]
        with np.errstate(all="ignore"):  # what is not finite is refused where it is encoded
            arrays: dict[str, Any] = dict(self._study.analyses[name].local(self._scope, self._rows[name], ask))
        kept_arrays = {key: arrays.pop(key) for key in planned_sum.keeps}
        require(gate.own_part(planned_sum, kept_arrays, self._scope))
        return {key: np.asarray(array) for key, array in arrays.items()}
