"""Rules: judged on rows at a node, on a total at the coordinator, or on a result before its release.

An analysis names rules with the arrays that they look at; what they demand comes from the study's protections.
A rule's words never hold a value that was computed from rows.  The table of rules: docs/rules.md.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from trust.canonical import Model
from trust.dataset.rows import Rows
from trust.decision import Decision
from trust.privacy.protections import Protections
from trust.privacy.suppression import suppress

__all__ = [
    "EffectiveRecords",
    "Groups",
    "Leverage",
    "Organisations",
    "ParametersPerRecord",
    "ResidualDf",
    "Rule",
    "SuppressCells",
    "dominance",
    "persons",
]

Arrays = Mapping[str, npt.NDArray[Any]]


class Rule(Model):
    """What an analysis names.  `kind` is the public id that a decision carries."""

    where: ClassVar[Literal["node", "total", "result"]]
    kind: str

    @abstractmethod
    def judge(self, arrays: Arrays, protections: Protections, fewest: int) -> Decision:
        """Yes or no on these arrays; `fewest` is m, the fewest partners in a sum."""


class EffectiveRecords(Rule):
    """At the node: weights must not concentrate on a few persons (Kish's effective sample size).

    `(sum w)^2 / sum w^2` of the kept array `of`, a weight a person, must reach the study's number of persons.
    Source: L. Kish, Survey Sampling, 1965, section 11.7.
    """

    where = "node"
    kind: Literal["too-few-effective-records"] = "too-few-effective-records"
    of: str

    def judge(self, arrays: Arrays, protections: Protections, fewest: int) -> Decision:
        weights = np.asarray(arrays[self.of], dtype=np.float64)
        largest = float(np.abs(weights).max(initial=0.0))
        scaled = weights / largest if largest > 0 else weights
        squares = float(scaled @ scaled)
        effective = float(scaled.sum()) ** 2 / squares if squares > 0 else 0.0
        return Decision(
            self.kind,
            effective >= protections.persons * (1 - 1e-12),
            f"the persons who carry the weight at a partner count for at least {protections.persons}",
            "leave out the column that is missing for nearly everyone here, or the weights; in a logistic model this "
            "also happens when a column predicts the outcome fully: leave it out or set ridge",
        )


class Organisations(Rule):
    """On the total: every entry of the count block `of` (partners with a person there) reaches m.

    `may_be_empty`: an entry of 0 passes too where the study's protections say that zero is not small.
    """

    where = "total"
    kind: Literal["organisations"] = "organisations"
    of: str
    may_be_empty: bool = False

    def judge(self, arrays: Arrays, protections: Protections, fewest: int) -> Decision:
        enough = _reach(arrays[self.of], fewest, self.may_be_empty and not protections.zero_is_small)
        text = f"each group, and the whole, holds persons of at least {fewest} partners"
        return Decision(self.kind, enough, text, "merge levels, widen the cohort, or leave the column out")


class Groups(Rule):
    """On the total: every entry of the count block `of` reaches the study's number of persons.

    `may_be_empty`: an entry of 0 passes too where the study's protections say that zero is not small.
    """

    where = "total"
    kind: Literal["persons-in-group"] = "persons-in-group"
    of: str
    may_be_empty: bool = False

    def judge(self, arrays: Arrays, protections: Protections, fewest: int) -> Decision:
        enough = _reach(arrays[self.of], protections.persons, self.may_be_empty and not protections.zero_is_small)
        text = f"each group that a coefficient or a test speaks of holds at least {protections.persons} persons"
        remedy = "merge levels, widen the cohort, or leave the column out"
        return Decision(self.kind, enough, text, remedy)


def _reach(counts: npt.NDArray[Any], least: int, zero_passes: bool) -> bool:
    counts = np.asarray(counts)
    return bool(((counts >= least) | (zero_passes & (counts == 0))).all())


class ParametersPerRecord(Rule):
    """On the total: not more parameters than a share of the records (DataSHIELD's nfilter.glm)."""

    where = "total"
    kind: Literal["parameters"] = "parameters"
    parameters: int
    of: str

    def judge(self, arrays: Arrays, protections: Protections, fewest: int) -> Decision:
        share = protections.glm_parameters_per_person
        enough = self.parameters <= share * float(arrays[self.of])
        return Decision(self.kind, enough, f"a model has at most {share} parameters a record", "use fewer terms")


class Leverage(Rule):
    """On the total: the count block `of`, persons who weigh too much in a fit, is 0.

    A person's leverage is `w x' (X'WX)^-1 x`, summed over the person's rows.  At 1 the fit passes through that person's
    own outcome; a term may do what a group of one would, without being a group.
    Source: P. J. Huber, Robust Statistics, 1981, section 7.2.
    """

    where = "total"
    kind: Literal["leverage"] = "leverage"
    of: str

    def judge(self, arrays: Arrays, protections: Protections, fewest: int) -> Decision:
        text = "no person makes up a third of what a coefficient rests on, or twice the mean where that is more"
        remedy = "leave out the steep or skewed term, take its logarithm, or widen the cohort"
        return Decision(self.kind, int(arrays[self.of]) == 0, text, remedy)


class ResidualDf(Rule):
    """On the total: enough residual degrees of freedom (ACRO)."""

    where = "total"
    kind: Literal["residual-df"] = "residual-df"
    parameters: int
    of: str

    def judge(self, arrays: Arrays, protections: Protections, fewest: int) -> Decision:
        enough = float(arrays[self.of]) - self.parameters >= protections.residual_df
        text = f"at least {protections.residual_df} residual degrees of freedom remain"
        return Decision(self.kind, enough, text, "use fewer terms, or widen the cohort")


class SuppressCells(Rule):
    """On the result: hide small cells, and as many more as keep them from being worked out.

    Looks at the count array `of`, whose first `axes` axes are the table; a cell is small below the study's number of
    persons, or below m partners in the array `organisations`.  `hides` are set to NaN (counts to -1) where hidden and
    the boolean array `mask` says where.
    """

    where = "result"
    kind: Literal["suppress-cells"] = "suppress-cells"
    of: str
    organisations: str
    hides: tuple[str, ...]
    mask: str
    axes: int
    also: tuple[str, ...] = ()
    """Masks of other tables: what they hide is hidden here too."""
    places: tuple[int, ...] = ()
    """For columns of two values: the table has a last axis for the value, and the trailing axis of `of` holds only
    these columns of what is hidden; a column is hidden where either value is."""
    partner_may_be_shown: bool = False
    """The charter lets a total speak of one partner: then the number of partners hides no cell."""

    def judge(self, arrays: Arrays, protections: Protections, fewest: int) -> Decision:
        hidden = int(np.asarray(arrays[self.mask]).sum()) if self.mask in arrays else 0
        small = f"cells below {protections.persons} persons or {fewest} partners"
        text = f"{small} are hidden, and others that would give them away"
        return Decision(self.kind, True, text + (": some are" if hidden else ": none had to be"))

    def apply(self, values: dict[str, npt.NDArray[Any]], protections: Protections, fewest: int) -> None:
        """Hide in place.  Trailing axes of `of` (several columns of one table) are treated table by table."""
        counts = np.asarray(values[self.of])
        partners = np.asarray(values[self.organisations])
        mask = np.zeros(counts.shape, dtype=bool)
        table = counts.shape[: self.axes]
        for rest in np.ndindex(counts.shape[self.axes :]):
            slices = (slice(None),) * self.axes + rest
            few = np.zeros(table, dtype=bool) if self.partner_may_be_shown else partners[slices] < fewest
            if not protections.zero_is_small:
                few &= counts[slices] > 0
            mask[slices] = suppress(counts[slices], few, protections.persons, protections.zero_is_small)
        if self.places:
            either = mask.any(axis=self.axes - 1)
            mask = np.zeros(np.shape(values[self.hides[0]]), dtype=bool)
            mask[..., list(self.places)] = either
        for also_name in self.also:
            wider = np.asarray(values[also_name])
            mask |= wider.reshape(wider.shape + (1,) * (mask.ndim - wider.ndim))
        values[self.mask] = mask
        for name in self.hides:
            values[name] = hide(values[name], np.asarray(values[self.mask]))


def hide(array: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """A copy with what is masked made NaN, or -1 in a count."""
    wide = mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim))
    return np.where(wide, -1 if array.dtype.kind in "iu" else np.nan, array)


def persons(persons_found: int, protections: Protections) -> Decision:
    """At the node, on its cohort: enough persons, or it takes no part."""
    text = f"a partner takes part with at least {protections.persons} persons in the cohort"
    return Decision("persons", persons_found >= protections.persons, text, "widen the cohort")


def dominance(rows: Rows, column: str, protections: Protections) -> Decision:
    """At the node, for a column marked `magnitude`: no person makes up more than the allowed share.

    The share is of the sum of absolute values, so that negative amounts cannot hide a large one.
    Source: INSEE, Guide du secret statistique, 2023: 85 %.
    """
    amounts = np.nan_to_num(np.abs(rows.numeric(column)))
    largest = rows.of_persons(amounts)
    total = float(amounts.sum())
    limit = protections.dominance_percent
    enough = limit >= 100 or 100 * float(largest.max(initial=0.0)) <= limit * total * (1 + 1e-12)
    text = f"no person makes up more than {limit} % of a partner's sum of {column!r}"
    return Decision("dominance", enough, text, "leave the column out, or widen the cohort")
