"""The same study on the pooled rows, with numpy, pandas and scipy and none of this project's code.

Only the demo can do this: it made the files.  No partner and no coordinator has all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import linalg, special, stats

from datatrust.demo.hospitals import PAINS

__all__ = ["Fit", "describe", "logistic", "pool"]

Floats = npt.NDArray[np.float64]


def pool(files: Mapping[str, Path]) -> pd.DataFrame:
    """All rows under one set of names and codes, and in `hospital` whose they are."""
    frames = []
    for name, path in files.items():
        frame = pd.read_csv(path)
        if name == "west":
            frame = frame.rename(columns={"bp_sys": "systolic", "chol": "cholesterol"})
            frame["sex"] = frame["sex"].map({1: "M", 2: "F"})
        frames.append(frame.assign(hospital=name))
    pooled = pd.concat(frames, ignore_index=True)
    for name in ("smoker", "disease"):
        pooled[name] = pooled[name].astype(str).str.lower().map({"true": 1.0, "false": 0.0})
    return pooled


def describe(frame: pd.DataFrame, columns: list[str], group_column: str, level: str | float) -> pd.DataFrame:
    """What `Describe` gives for one level, from pandas and scipy."""
    group = frame[frame[group_column] == level]
    tables = {}
    for name in columns:
        values = group[name].dropna().to_numpy(dtype=float)
        tables[name] = {
            "count": len(values),
            "missing": len(group) - len(values),
            "mean": values.mean(),
            "std": values.std(ddof=1),
            "var": values.var(ddof=1),
            "sum": values.sum(),
            "skewness": stats.skew(values),
            "kurtosis": stats.kurtosis(values),
        }
    return pd.DataFrame(tables)


@dataclass(frozen=True)
class Fit:
    """A fitted logistic model: coefficients, standard errors, two-sided p-values, records; shape (p,)."""

    params: Floats
    bse: Floats
    pvalues: Floats
    records: int


def logistic(frame: pd.DataFrame) -> Fit:
    """`disease ~ age / 10 + sex + chest pain + systolic / 10 + smoker` by Newton's method, on complete cases."""
    rows = frame.dropna(subset=["age", "sex", "chest_pain", "systolic", "smoker", "disease"])
    y = rows["disease"].to_numpy(dtype=float)
    pains = [rows["chest_pain"] == level for level in PAINS[1:]]
    parts = [np.ones(len(rows)), rows["age"] / 10, rows["sex"] == "M", *pains, rows["systolic"] / 10, rows["smoker"]]
    x = np.column_stack([np.asarray(part, dtype=float) for part in parts])
    beta = np.zeros(x.shape[1])
    information = np.eye(x.shape[1])
    for _ in range(50):
        mean = special.expit(x @ beta)
        information = (x * (mean * (1 - mean))[:, None]).T @ x
        step = linalg.solve(information, x.T @ (y - mean), assume_a="pos")
        beta = beta + step
        if np.abs(step).max() < 1e-13:
            break
    bse = np.sqrt(np.diag(linalg.inv(information)))
    return Fit(beta, bse, 2 * stats.norm.sf(np.abs(beta / bse)), len(rows))
