"""The worked example: what local averages lose and federated sums keep.  Source: data/seed/README.md."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

import datatrust as dt
from datatrust.in_process.local_trust import LocalTrust
from trust.dataset.dataset import Column

__all__ = ["ALLOWED", "EXPECTED", "REFUSING", "SeedCase", "run_cases"]

ALLOWED, REFUSING = "sandbox", "research"
EXPECTED = (None, 0.1443, 0.6690)
"""From averages, to four decimals, as on the slides; None where the correlation has no value."""


@dataclass(frozen=True)
class SeedCase:
    """One of the three tables.

    Attributes:
        sizes: people in each place.
        means: average of the first measurement in each place.
        local: correlation when everyone has the average of the place; None where it has no value.
        federated: correlation from the sums of the four places.
        refused_by: the rule by which the charter for real data refuses it; "" where it does not.
    """

    name: str
    sizes: tuple[int, ...]
    means: tuple[float, ...]
    local: float | None
    federated: float
    refused_by: str


def run_cases() -> list[SeedCase]:
    """The three cases, each computed both ways and put before the stricter charter."""
    return [_case(f"case{n}") for n in (1, 2, 3)]


def _case(name: str) -> SeedCase:
    with (files("datatrust.demo") / "data" / "seed" / f"{name}.csv").open("rb") as table:
        frame = pd.read_csv(table)
    places = frame.groupby("loc")["v1"]
    inferred = places.transform("mean")
    all_same = bool(np.allclose(inferred, inferred.iloc[0], rtol=0, atol=1e-12))
    return SeedCase(
        name,
        tuple(int(n) for n in places.size()),
        tuple(float(m) for m in places.mean()),
        None if all_same else float(np.corrcoef(inferred, frame["v2"])[0, 1]),
        _federated(frame, ALLOWED),
        _refusal(frame),
    )


def _federated(frame: pd.DataFrame, charter: str) -> float:
    trust = _trust(frame, charter)
    analyses: dict[str, Any] = {"correlation": dt.Correlation(["v1", "v2"])}
    result = trust.study("Two measurements", purpose="AcademicResearch", analyses=analyses).run()
    return float(result["correlation"].to_frame().to_numpy()[0, 1])


def _refusal(frame: pd.DataFrame) -> str:
    try:
        _federated(frame, REFUSING)
    except dt.Refused as refused:
        return refused.rule
    return ""


def _trust(frame: pd.DataFrame, charter: str) -> LocalTrust:
    """Four partners, one for each place."""
    columns = tuple(Column(name=name, type="integer", minimum=1, maximum=5) for name in ("v1", "v2"))
    dataset = dt.Dataset(id="worked-example", name="worked example", version="1.0.0", columns=columns)
    sources = {f"place-{loc}": rows[["v1", "v2"]] for loc, rows in frame.groupby("loc")}
    return dt.local(sources=sources, dataset=dataset, charter=charter)
