"""Rows as arrays: what a node's edition holds, and what a prediction is made for.

A numeric column is float64 with NaN where missing; a categorical one is the index of its level, -1 where missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trust.dataset.dataset import PARTNER, Column, Dataset
from trust.errors import SourceInvalid, StudyInvalid, nearest

__all__ = ["Rows"]


@dataclass(frozen=True)
class Rows:
    """The chosen columns of `n` rows at one partner.

    Attributes:
        n: how many rows.
        columns: name -> array of shape (n,): float64 for a measurement, integer codes for a category.
        person: index of the person of each row, shape (n,); None where each row is one person.
    """

    n: int
    columns: Mapping[str, npt.NDArray[Any]]
    person: npt.NDArray[np.int64] | None = field(default=None)

    def numeric(self, name: str) -> npt.NDArray[np.float64]:
        """A measurement, or a boolean as 0 and 1; NaN where missing; shape (n,)."""
        values = self.columns[name]
        if values.dtype == np.float64:
            return values
        return np.where(values < 0, np.nan, values).astype(np.float64)

    def codes(self, name: str) -> npt.NDArray[Any]:
        """Index of each row's level, -1 where missing; shape (n,)."""
        return self.columns[name]

    def persons(self, keep: npt.NDArray[np.bool_] | None = None) -> int:
        """How many persons there are among the rows kept."""
        if self.person is None:
            return self.n if keep is None else int(np.count_nonzero(keep))
        chosen = self.person if keep is None else self.person[keep]
        return int(np.count_nonzero(np.bincount(chosen))) if chosen.size else 0

    def of_persons(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The sum of each person's rows, shape (persons,); `values` itself where each row is one person."""
        return values if self.person is None else np.asarray(np.bincount(self.person, values), dtype=np.float64)

    def persons_by(self, cell: npt.NDArray[Any], cells: int) -> npt.NDArray[np.int64]:
        """Distinct persons in each cell; rows with a negative cell count nowhere; shape (cells,)."""
        inside = cell >= 0
        if self.person is None:
            return np.bincount(cell[inside], minlength=cells).astype(np.int64)
        pairs = np.unique(cell[inside].astype(np.int64) * (int(self.person.max(initial=0)) + 1) + self.person[inside])
        return np.bincount(pairs // (int(self.person.max(initial=0)) + 1), minlength=cells).astype(np.int64)

    @classmethod
    def from_frame(cls, dataset: Dataset, frame: pd.DataFrame, names: Sequence[str]) -> Rows:
        """Rows of a researcher's own frame, for predictions.

        Raises: StudyInvalid for a missing column or a level that the dataset does not know.
        """
        columns = {}
        for name in names:
            if name not in frame:
                raise StudyInvalid(f"the frame has no column {name!r}", expected=nearest(name, map(str, frame.columns)))
            columns[name] = column_values(dataset.column(name), frame[name])
        return cls(len(frame), columns)


def column_values(column: Column, values: pd.Series[Any]) -> npt.NDArray[Any]:
    """One column of a frame as floats or codes.  Raises: SourceInvalid."""
    if not column.categorical:
        try:
            return pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
        except (ValueError, TypeError):
            raise SourceInvalid(
                f"column {column.name!r} holds something that is not a number", expected="numbers"
            ) from None
    codes = np.full(len(values), -1, dtype=np.int64)
    missing = values.isna().to_numpy()
    texts = values.astype(object).to_numpy()
    codes_by_level = {_key(level): code for code, level in enumerate(column.values)}
    for row in np.flatnonzero(~missing):
        code = codes_by_level.get(_key(texts[row]))
        if code is None:
            raise StudyInvalid(
                f"column {column.name!r} holds an unknown level", expected=f"one of {list(column.values)}"
            )
        codes[row] = code
    return codes


def _key(value: Any) -> Any:
    """`1`, `1.0`, `True` and numpy's of them are one level."""
    if isinstance(value, bool | np.bool_ | int | float | np.number):
        return float(value)
    return str(value)


def partner_rows(rows: Rows, index: int) -> Rows:
    """The same rows with the reserved column `partner`, whose level is this partner's place in the roster."""
    return Rows(rows.n, {**rows.columns, PARTNER: np.full(rows.n, index, dtype=np.int64)}, rows.person)
