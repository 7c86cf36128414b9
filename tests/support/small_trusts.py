"""Small trusts whose groups have exactly as many persons as a case says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

import datatrust as dt
from trust.charters.charter import Charter
from trust.errors import Refused

K = 11
"""The charter's fewest persons."""

_PROPERTIES = """
      - {name: x, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 100}}
      - {name: z, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 100}}
      - {name: w, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 1000}}
      - {name: money, logicalType: number, customProperties: [{property: magnitude, value: true}]}
      - {name: plain, logicalType: number}
      - {name: sex, logicalType: string, enum: [{value: F}, {value: M}]}
      - {name: g, logicalType: string, enum: [{value: a}, {value: b}, {value: c}]}
      - {name: y, logicalType: boolean}
      - {name: one, logicalType: integer, logicalTypeOptions: {minimum: 1, maximum: 2}}
"""


def dataset(rows_per_person: int = 1, properties: str = _PROPERTIES) -> dt.Dataset:
    """The columns of all cases; persons are rows, or `id` where there may be several rows a person."""
    persons = f"""
customProperties:
  - {{property: person, value: id}}
  - {{property: rowsPerPerson, value: {rows_per_person}}}
"""
    return dt.Dataset.parse(f"""
apiVersion: v3.1.0
kind: DataContract
id: edges
name: edges
version: 1.0.0
status: active
{persons if rows_per_person > 1 else ""}
schema:
  - name: t
    logicalType: object
    properties:{properties}
""")


def rows(n: int, seed: int = 1, **columns: Any) -> pd.DataFrame:
    """`n` rows in which every group is as even as can be; `columns` replaces some."""
    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {
        "x": rng.uniform(0, 89, n),
        "z": rng.uniform(0, 89, n),
        "w": np.ones(n),
        "money": np.full(n, 10.0),
        "plain": np.full(n, 10.0),
        "sex": np.resize(["F", "F", "M", "M"], n),
        "g": np.resize(["a", "b", "c"], n),
        "y": np.resize([True, False], n),
        "one": np.resize([1, 2], n),
        "id": np.arange(n),
    }
    return pd.DataFrame(made | columns)


def trust(
    frames: Mapping[str, pd.DataFrame], charter: str | Charter = "research", data: dt.Dataset | None = None
) -> Any:
    """A trust of these frames."""
    return dt.local(dict(frames), data or dataset(), charter)


def study(of: Any, question: Any, **more: Any) -> Any:
    """A study of one analysis, `a`; or of several, as a mapping."""
    analyses = question if isinstance(question, dict) else {"a": question}
    return of.study("a case", purpose=more.pop("purpose", "AcademicResearch"), analyses=analyses, **more)


def outcome(of: Any, question: Any, **more: Any) -> str:
    """`answered`, or the rule that refused."""
    try:
        study(of, question, **more).run()
    except Refused as refused:
        return refused.rule
    return "answered"


def absent(of: Any, question: Any, **more: Any) -> dict[str, str]:
    """Who took no part in a study that was answered, and by which rule."""
    return dict(study(of, question, **more).run().provenance["absent"])
