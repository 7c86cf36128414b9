"""Least squares where floating point is hard: NIST's Longley data, and columns over fifteen orders of magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm

import datatrust as dt


def described(frame: pd.DataFrame) -> dt.Dataset:
    columns = "\n".join(f"      - {{name: {name}, logicalType: number}}" for name in frame)
    return dt.Dataset.parse(
        "apiVersion: v3.1.0\nkind: DataContract\nid: hard\nname: hard\nversion: 1.0.0\nstatus: active\n"
        f"schema:\n  - name: t\n    logicalType: object\n    properties:\n{columns}\n"
    )


def federated(frame: pd.DataFrame, formula: str) -> Any:
    parts = {f"p{i}": frame.iloc[i::4].reset_index(drop=True) for i in range(4)}
    trust = dt.local(parts, described(frame), charter="sandbox")
    study = trust.study("hard", purpose="AcademicResearch", analyses={"fit": dt.Glm(formula)})
    return study.run()["fit"]


def test_longley_equals_the_certified_values() -> None:
    """NIST Statistical Reference Datasets, Longley (1967): certified estimates and standard deviations."""
    data = sm.datasets.longley.load_pandas().data.astype(float)
    fit = federated(data, "TOTEMP ~ GNPDEFL + GNP + UNEMP + ARMED + POP + YEAR")
    certified = {
        "Intercept": (-3482258.63459582, 890420.383607373),
        "GNPDEFL": (15.0618722713733, 84.9149257747669),
        "GNP": (-0.358191792925910e-01, 0.334910077722432e-01),
        "UNEMP": (-2.02022980381683, 0.488399681651699),
        "ARMED": (-1.03322686717359, 0.214274163161675),
        "POP": (-0.511041056535807e-01, 0.226073200069370),
        "YEAR": (1829.15146461355, 455.478499142212),
    }
    for name, (estimate, error) in certified.items():
        assert abs(fit.params[name] / estimate - 1) < 1e-9, name
        assert abs(fit.bse[name] / error - 1) < 1e-7, name


def test_columns_over_fifteen_orders_of_magnitude_equal_pooled() -> None:
    rng = np.random.default_rng(11)
    scales = 10.0 ** np.arange(-7, 9, 3)
    x = rng.normal(size=(800, len(scales)))
    y = x @ np.arange(1.0, len(scales) + 1) + rng.normal(size=800)
    frame = pd.DataFrame(x * scales, columns=[f"x{i}" for i in range(len(scales))]).assign(y=y)
    fit = federated(frame, "y ~ " + " + ".join(f"x{i}" for i in range(len(scales))))
    wide = np.column_stack([np.ones(800), x]).astype(np.longdouble)
    gram, right = wide.T @ wide, wide.T @ y.astype(np.longdouble)
    exact = np.linalg.solve(gram.astype(float), right.astype(float))
    exact += np.linalg.solve(gram.astype(float), (right - gram @ exact).astype(float))  # refined in longer words
    np.testing.assert_allclose(fit.params.to_numpy()[1:] * scales, exact[1:], rtol=1e-13)
    np.testing.assert_allclose(fit.params.iloc[0], exact[0], rtol=1e-11)
