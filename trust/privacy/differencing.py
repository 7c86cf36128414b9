"""Differencing: a cohort that differs by a few persons from one already answered is refused.

Two sums over cohorts that differ by one person, subtracted, are that person's values.  So the persons of a new cohort
are held against those of each cohort that was answered before, at one partner, for a study that shares an analysed
column.  The same persons again tell nothing new, and a difference of k or more persons is a group like any other.

Persons are compared, not rows and not complete cases.  What this does not see, and no rule here does:

- three cohorts: everybody, a part, and the rest but one.  Each pair may differ by many;
- groups within a study (`by`, a factor's levels, the complete cases of a column): only whole cohorts are compared;
- studies that share no analysed column: both still tell how many persons there are;
- a value of the same person that has changed between two editions;
- partners: two studies over the same persons, one of them without a partner, tell that partner's total.  A partner
  that refuses by this rule ends the study for all (`coordinator/study/conductor.py`); one that is left out otherwise,
  by a coordinator that wants it so, does not, where participation is `joined`;
- weights, which take out persons without changing the cohort (the rule on effective records bounds them).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trust.decision import Decision

__all__ = ["Bits", "Earlier", "apart", "bits", "differencing", "places"]

Bits = npt.NDArray[np.uint8]
"""A set of persons: one bit for each person of an edition, eight to a byte, shape (ceil(persons / 8),)."""


@dataclass(frozen=True)
class Earlier:
    """A cohort already answered.

    Attributes:
        columns: those that the study's analyses read.
        persons: its persons who are in the edition of the new cohort.
        elsewhere: how many more there were, who are not in that edition.
        fewest: the k that its study promised.
    """

    columns: frozenset[str]
    persons: Bits
    elsewhere: int = 0
    fewest: int = 1


def bits(places: npt.NDArray[np.int64], size: int) -> Bits:
    """The set of these places, each below `size`; one that stands twice is one person."""
    inside = np.zeros(size, dtype=np.bool_)
    inside[places] = True
    packed_bits = np.packbits(inside)
    packed_bits.flags.writeable = False
    return packed_bits


def places(persons: Bits, size: int) -> npt.NDArray[np.int64]:
    """The places of a set, in order."""
    return np.flatnonzero(np.unpackbits(persons, count=size)).astype(np.int64)


def apart(persons: Bits, earlier: Earlier) -> int:
    """How many persons are in one of the two cohorts and not in the other.

    Raises: ValueError for sets over editions of different sizes.
    """
    if persons.shape != earlier.persons.shape:
        raise ValueError("sets of persons over editions of different sizes")
    return int(np.bitwise_count(persons ^ earlier.persons).sum(dtype=np.int64)) + earlier.elsewhere


def differencing(persons: Bits, columns: Collection[str], earlier: Iterable[Earlier], fewest: int) -> Decision:
    """At a node, on its cohort: the same persons as in an earlier study of a shared column, or `fewest` others, and no
    fewer than that study promised.

    The words never tell how many persons differ, nor from which study.
    """
    columns_asked = frozenset(columns)
    few = any(
        columns_asked & earlier_cohort.columns
        and 0 < apart(persons, earlier_cohort) < max(fewest, earlier_cohort.fewest)
        for earlier_cohort in earlier
    )
    return Decision(
        "differencing",
        not few,
        f"at a partner the cohort has the same persons as each earlier one that was asked about these columns, or at "
        f"least {fewest} persons differ",
        f"ask for a cohort that differs by at least {fewest} persons, or the same one again",
    )
