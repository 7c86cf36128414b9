"""The example dataset and its made-up patients, and the one way to make a small trust for a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

import datatrust as dt


def contract(*properties: str, name: str = "example", person: str = "", rows_per_person: int = 1) -> str:
    """A dataset's YAML with these columns, each as `name: x, logicalType: number`; persons are rows if not said."""
    about = ""
    if person:
        about = f"customProperties:\n  - {{property: person, value: {person}}}\n"
        if rows_per_person > 1:
            about += f"  - {{property: rowsPerPerson, value: {rows_per_person}}}\n"
    columns = "".join(f"      - {{{each}}}\n" for each in properties)
    return (
        f"apiVersion: v3.1.0\nkind: DataContract\nid: {name}\nname: {name}\nversion: 1.0.0\nstatus: active\n{about}"
        f"schema:\n  - name: patients\n    logicalType: object\n    properties:\n{columns}"
    )


def number(name: str, low: float | None = None, high: float | None = None, kind: str = "number") -> str:
    """A numeric column for `contract`, between its bounds where there are some."""
    bounds = "" if low is None else f", logicalTypeOptions: {{minimum: {low}, maximum: {high}}}"
    return f"name: {name}, logicalType: {kind}{bounds}"


def levels(name: str, *values: str) -> str:
    """A column of levels for `contract`."""
    return f"name: {name}, logicalType: string, enum: [{', '.join(f'{{value: {value}}}' for value in values)}]"


DATASET = contract(
    number("age", 18, 110, "integer"), levels("sex", "F", "M"), number("pressure", 60, 260), name="pressure"
)


def hospital(seed: int, women: int, men: int) -> pd.DataFrame:
    """Made-up patients of one hospital."""
    rng = np.random.default_rng(seed)
    sex = np.repeat(["F", "M"], [women, men])
    age = rng.integers(30, 90, women + men)
    pressure = 90 + 0.6 * age + 5 * (sex == "M") + rng.normal(0, 12, women + men)
    return pd.DataFrame({"age": age, "sex": sex, "pressure": pressure.round(1)})


HOSPITALS = {"east": hospital(1, 40, 50), "north": hospital(2, 60, 30), "south": hospital(3, 4, 45)}
POOLED = pd.concat(HOSPITALS.values(), ignore_index=True)


def small_trust(frames: Mapping[str, Any] | None = None, dataset: str | dt.Dataset = DATASET, **options: Any) -> Any:
    """`dt.local` over these sources, the example's if not said; `options` are those of `dt.local`."""
    described = dt.Dataset.parse(dataset) if isinstance(dataset, str) else dataset
    return dt.local(sources=dict(HOSPITALS if frames is None else frames), dataset=described, **options)
