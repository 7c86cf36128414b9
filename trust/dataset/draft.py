"""A first description of a table, for a person to correct.  It is meant to be shown, so it prints no extreme and no
rare value of the data.

What it proposes, column by column:
- numbers: bounds rounded outward to one significant figure, strictly beyond the extremes; none where fewer than
  `persons` persons have a value;
- 0 and 1, true and false, yes and no: boolean;
- at most 10 different whole numbers from 0 to 99: a category, with the levels held by at least `persons` persons;
- texts: a category likewise, with at most 50 levels; its order is the pandas categories', else sorted;
- a category whose levels would speak of less than half of the values is none: a measurement, or free text;
- dates as dates.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trust.dataset.dataset import PARTNER, Column, Dataset, Level
from trust.dataset.odcs import write_yaml
from trust.errors import DatasetInvalid, nearest

__all__ = ["Draft", "draft_dataset"]

_MARKERS = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?", ".", "-")
_TRUE, _FALSE = {"true", "t", "yes"}, {"false", "f", "no"}
_MOST_CODES, _LARGEST_CODE, _MOST_LEVELS, _MOST_DECIMALS = 10, 99, 50, 9
_DATE = r"\d{4}-\d\d-\d\d"


@dataclass(frozen=True)
class Draft:
    """A proposed dataset, and what should be said about it.

    Attributes:
        comments: column -> sentences; under "" those about the whole.
    """

    dataset: Dataset
    comments: dict[str, tuple[str, ...]]

    def to_yaml(self) -> str:
        """The document with its comments."""
        return write_yaml(self.dataset, self.comments)


@dataclass(frozen=True)
class _Values:
    """One column without what is missing, and whose each value is."""

    series: pd.Series[Any]
    holders: pd.Series[Any]
    persons: int
    gaps: bool

    def common(self, levels: list[Any]) -> list[Any]:
        """Those levels that at least `persons` persons hold."""
        holder_counts = self.holders.groupby(self.series.astype(object)).nunique()
        return [level for level in levels if holder_counts.get(level, 0) >= self.persons]

    def cover(self, levels: list[Any]) -> bool:
        """Whether these levels make up at least half of the values."""
        return bool(levels) and 2 * int(self.series.astype(object).isin(levels).sum()) >= len(self.series)

    @property
    def few(self) -> bool:
        """Fewer than `persons` persons have a value."""
        return self.holders.nunique() < self.persons


def draft_dataset(frame: pd.DataFrame, person: str | None = None, persons: int = 11, name: str = "dataset") -> Draft:
    """Propose a dataset for these rows.

    Args:
        person: the column that says whose a row is; without it each row is one person.
        persons: levels held by fewer persons are left out.

    Raises: DatasetInvalid.
    """
    _check(frame, person, persons)
    holders = pd.Series(np.arange(len(frame)), index=frame.index) if person is None else frame[person]
    frame = frame.set_axis(pd.Index([str(c) for c in frame.columns]), axis=1).reset_index(drop=True)
    holders = holders.reset_index(drop=True)
    comments: dict[str, tuple[str, ...]] = {}
    columns: list[Column] = []
    for raw_name in frame.columns:
        if raw_name == person:
            continue
        chosen = _name(raw_name, [c.name for c in columns])
        column, notes = _column(chosen, frame[raw_name], holders, persons)
        if chosen != raw_name:
            notes = [f"The table calls it {raw_name!r}: in the source, columns = {{{chosen} = {raw_name!r}}}.", *notes]
        columns.append(column)
        comments[chosen] = tuple(notes)
    person_note, most = _rows_per_person(holders, person)
    comments[""] = (
        "A draft made from data: correct types, bounds and levels, add units, and what the levels mean.",
        f"Bounds are rounded outward. Levels that fewer than {persons} persons hold are left out.",
        person_note,
    )
    dataset = Dataset(
        id=_slug(name),
        name=name,
        version="0.1.0",
        person=person or "row",
        rows_per_person=most,
        columns=tuple(columns),
    )
    return Draft(dataset, comments)


def _check(frame: Any, person: str | None, persons: Any) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise DatasetInvalid(f"a draft from a {type(frame).__name__}", expected="a pandas DataFrame")
    names = [str(c) for c in frame.columns]
    if len(set(names)) != len(names):
        raise DatasetInvalid("two columns of the table have the same name", remedy="rename one of them")
    if person is not None and person not in names:
        raise DatasetInvalid(f"the table has no column {person!r}", expected=nearest(person, names))
    if isinstance(persons, bool) or not isinstance(persons, int) or persons < 1:
        raise DatasetInvalid(f"persons = {persons!r}", expected="a whole number, 1 or more")
    if len(frame) == 0 or len(names) - (person is not None) < 1:
        raise DatasetInvalid("a table without rows, or without columns to describe", expected="a header and rows")


# ---- one column


def _column(name: str, raw: pd.Series[Any], holders: pd.Series[Any], persons: int) -> tuple[Column, list[str]]:
    """The column, and what should be said about it."""
    declared = list(raw.cat.categories) if isinstance(raw.dtype, pd.CategoricalDtype) else None
    series, notes = _plain(raw)
    values = _Values(series, holders[series.index], persons, len(series) < len(raw))
    if series.empty:
        return Column(name=name, type="string"), [*notes, "No value in this table: say what it holds."]
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return Column(name=name, type="date"), notes
    if pd.api.types.is_bool_dtype(series.dtype):
        return Column(name=name, type="boolean"), notes
    if pd.api.types.is_numeric_dtype(series.dtype):
        column, extra_notes = _number(name, values, declared)
    else:
        column, extra_notes = _text(name, values, declared)
    return column, notes + extra_notes


def _plain(raw: pd.Series[Any]) -> tuple[pd.Series[Any], list[str]]:
    """Values without what is missing, as booleans, numbers, dates or trimmed texts, whichever all of them are."""
    series = raw.dropna()
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if pd.api.types.is_bool_dtype(series.dtype):
        return series.astype(bool), []
    if pd.api.types.is_numeric_dtype(series.dtype) and series.dtype.kind in "iuf":
        whole = series.dtype.kind != "f" and int(series.max() if len(series) else 0) < 2**62
        return _finite(series.astype(np.int64 if whole else np.float64)), []
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return series, []
    texts = series.astype(str).str.strip()
    texts = texts[texts != ""]
    for ignored in ((), _MARKERS):
        remaining = texts[~texts.isin(ignored)]
        typed = _typed(remaining)
        if typed is not None:
            markers = sorted(set(texts) & set(ignored))
            how_to = f"{', '.join(map(repr, markers))} would be missing: in the source, missing = {markers}."
            return typed, [how_to] if markers else []
    return texts, []


def _typed(texts: pd.Series[Any]) -> pd.Series[Any] | None:
    """As booleans, numbers or dates; None where they are neither."""
    if texts.empty:
        return None
    lowered = texts.str.lower()
    if lowered.isin(_TRUE | _FALSE).all():
        return lowered.isin(_TRUE)
    numbers = pd.to_numeric(texts, errors="coerce")
    if bool(numbers.notna().all()) and bool(np.isfinite(numbers).all()):
        whole = bool(texts.str.fullmatch(r"[+-]?\d{1,15}").all())
        return numbers.astype(np.int64 if whole else np.float64)
    if texts.str.fullmatch(_DATE).all() and bool(pd.to_datetime(texts, errors="coerce").notna().all()):
        return pd.to_datetime(texts)
    return None


def _finite(series: pd.Series[Any]) -> pd.Series[Any]:
    return series.replace([np.inf, -np.inf], np.nan).dropna() if series.dtype.kind == "f" else series


def _number(name: str, values: _Values, declared: list[Any] | None) -> tuple[Column, list[str]]:
    series = values.series
    # pandas writes whole numbers with gaps as floats
    whole = series.dtype.kind in "iu" or (values.gaps and bool((series == np.floor(series)).all()))
    kind: Any = "integer" if whole else "number"
    if values.few:
        notes = [f"Fewer than {values.persons} persons have a value: say the bounds or levels."]
        return Column(name=name, type=kind), notes
    distinct = sorted(set(series))
    if whole and all(v in (0, 1) for v in distinct) and declared is None:
        return Column(name=name, type="boolean"), ["0 and 1, taken for no and yes; two named groups would be an enum."]
    if whole and len(distinct) <= _MOST_CODES and distinct[0] >= 0 and distinct[-1] <= _LARGEST_CODE:
        order = [int(v) for v in declared or distinct]
        levels = values.common(order)
        if values.cover(levels):
            return _category(name, "integer", order, levels, values.persons)
    low, high = _outward(series, whole)
    notes = []
    if whole and len(distinct) == len(series) > _MOST_LEVELS:
        notes = ["Every value is another one. If it is an identifier, leave it out, or name it as the person."]
    return Column(name=name, type=kind, minimum=low, maximum=high), notes


def _text(name: str, values: _Values, declared: list[Any] | None) -> tuple[Column, list[str]]:
    order = [str(v).strip() for v in declared] if declared is not None else sorted(set(values.series))
    levels = values.common(order)
    if len(levels) <= _MOST_LEVELS and values.cover(levels):
        return _category(name, "string", order, levels, values.persons)
    notes = ["Free text: its values are many or rare, so none is listed. Most studies leave it out."]
    return Column(name=name, type="string"), notes


def _category(name: str, kind: Any, order: list[Any], levels: list[Any], persons: int) -> tuple[Column, list[str]]:
    lost = f"Some levels are left out: fewer than {persons} persons hold each. Add those that belong here."
    column = Column(name=name, type=kind, levels=tuple(Level(value=v) for v in levels))
    return column, [lost] if len(levels) < len(order) else []


# ---- bounds


def _outward(series: pd.Series[Any], whole: bool) -> tuple[float, float]:
    """Bounds beyond the extremes, to one significant figure and never finer than ten steps of the data.

    A bound that could only come from one extreme would print it: whole numbers are rounded to tens at least, tenths
    to ones.  Zero stays zero, so that a count keeps its natural bound.
    """
    low, high = float(series.min()), float(series.max())
    finest = 10.0 ** (1 - (0 if whole else _decimals(series)))
    return -_beyond(-low, finest), _beyond(high, finest)


def _decimals(series: pd.Series[Any]) -> int:
    """How many decimals the values are written with."""
    for places in range(_MOST_DECIMALS):
        if np.allclose(series, np.round(series, places), rtol=1e-12, atol=0):
            return places
    return _MOST_DECIMALS


def _beyond(value: float, finest: float) -> float:
    """The next number above `value` of one significant figure, at least `finest` apart; 0 for 0."""
    if value == 0:
        return 0.0
    unit = max(10.0 ** math.floor(math.log10(abs(value))), finest)
    steps = math.floor(value / unit) + 1
    return float(f"{steps * unit:.6g}")


# ---- names and persons


def _name(raw_name: str, names_used: list[str]) -> str:
    """A name that a dataset may have: letters, digits, _ and ., each once whatever its capitals."""
    plain = unicodedata.normalize("NFKD", raw_name).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_.]+", "_", plain).strip("_") or "column"
    name = (name if re.match(r"[A-Za-z_]", name) else f"c_{name}")[:60]
    if name.lower() == PARTNER:
        name += "_"
    used = {t.lower() for t in names_used}
    numbers = (f"{name}{suffix}" for suffix in ["", *(f"_{n}" for n in range(2, len(names_used) + 3))])
    return next(n for n in numbers if n.lower() not in used)


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63].strip("-") or "dataset"


def _rows_per_person(holders: pd.Series[Any], person: str | None) -> tuple[str, int]:
    """What to say of persons and rows, and a round number of rows that nobody exceeds."""
    if person is None:
        return "Each row is taken for one person. If a column says whose a row is, name it as the person.", 1
    most = int(holders.value_counts().max()) if holders.notna().any() else 1
    if most == 1:
        return f"{person!r} says whose a row is: one row a person.", 1
    notes = f"{person!r} says whose a row is: several rows a person, and rowsPerPerson is rounded up."
    return notes, int(_beyond(most, 10))
