"""What every released result has: numbers under familiar names, where they come from, and how to show them."""

from __future__ import annotations

import html
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from trust.analyses.base import Scope, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["NeedsRows", "Released", "Text", "jsonable", "level_names", "masked_counts"]

_MOST_LINES = 25


class NeedsRows(AttributeError):
    """Asked for something that needs rows.  Rows do not move."""


class Text(str):
    """A text that a notebook shows as it is printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, eq=False, repr=False)
class Released:
    """A released result of one analysis.

    Attributes:
        analysis: what was asked.
        values: the released arrays; hidden cells are NaN, or -1 in a count.
        scope: the dataset, the partners and the protections.
        provenance: study, charter, partners, sums, and where the rules stood.
    """

    analysis: Any
    values: Values
    scope: Scope
    provenance: Mapping[str, Any]

    _absent: ClassVar[str] = "hidden"
    """What a page shows for a number that is not there."""

    @property
    def nobs(self) -> int:
        """How many records the result is about."""
        return int(self.values["nobs"])

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """The result as a DataFrame; hidden cells are `pd.NA`."""

    @abstractmethod
    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw it; the matplotlib Axes."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready and versioned: hidden and undefined values are None."""
        return {
            "schema": "datatrust/released/1",
            "analysis": self.analysis.document(),
            "values": {name: jsonable(value) for name, value in self.values.items()},
            "provenance": dict(self.provenance),
        }

    def title(self) -> str:
        """A line that says what this is."""
        return f"{self.analysis.title}, {self.nobs:,} records of {len(self.provenance['partners'])} partners"

    def __str__(self) -> str:
        lines = [self.title(), "", *str(self.to_frame()).splitlines()]
        return "\n".join(lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], "…"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        table = self.to_frame().to_html(na_rep=self._absent).replace("&lt;NA&gt;", self._absent)
        return f"<p>{html.escape(self.title())}</p>{table}"


def jsonable(array: npt.NDArray[Any]) -> Any:
    """Nested lists; NaN, infinities and hidden counts (-1) as None."""
    if array.dtype.kind in "iu":
        whole = array.astype(object)
        whole[array < 0] = None
        return whole.tolist()
    if array.dtype.kind == "f":
        values = np.where(np.isfinite(array), array, np.nan).astype(object)
        values[np.isnan(array.astype(float))] = None
        return values.tolist()
    return array.tolist()


def level_names(scope: Scope, columns: tuple[str, ...]) -> pd.Index[Any]:
    """The levels of group columns as a pandas index, in the dataset's order."""
    levels = [scope.levels(name) for name in columns]
    if len(columns) == 1:
        return pd.Index(list(levels[0]), name=columns[0])
    return pd.MultiIndex.from_product(levels, names=list(columns))


def masked_counts(counts: npt.NDArray[Any], hidden: npt.NDArray[np.bool_]) -> pd.arrays.IntegerArray:
    """Whole numbers with `pd.NA` where hidden."""
    return pd.arrays.IntegerArray(np.asarray(counts, dtype=np.int64), np.asarray(hidden, dtype=bool).copy())


def axes(ax: Axes | None) -> Axes:
    """The given Axes, or those of a new figure that no window shows."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(layout="constrained").subplots()
