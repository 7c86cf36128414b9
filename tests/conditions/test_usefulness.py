"""Condition: usefulness.  Sums over partners keep what averages of places lose.

The three tables of the workshop's worked example: 20 people in four places, two equal measurements.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from tests.support.outside_view import rule_of
from tests.support.small_trusts import rows, study, trust
from trust.dataset.dataset import Column

CASES = ("case1", "case2", "case3")
COLUMNS = tuple(Column(name=name, type="integer", minimum=1, maximum=5) for name in ("v1", "v2"))
DATASET = dt.Dataset(id="worked-example", name="worked example", version="1.0.0", columns=COLUMNS)


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(str(files("datatrust.demo") / "data" / "seed" / f"{name}.csv"))


def federated(name: str, charter: str) -> float:
    """The correlation over four partners, one for each place."""
    sources = {f"place-{place}": rows[["v1", "v2"]] for place, rows in table(name).groupby("loc")}
    of = dt.local(sources, DATASET, charter)
    result = study(of, dt.Correlation(["v1", "v2"])).run()
    return float(result["a"].to_frame().to_numpy()[0, 1])


@pytest.mark.parametrize("name", CASES)
def test_the_federated_correlation_is_1(name: str) -> None:
    assert federated(name, "sandbox") == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("name", "expected"), list(zip(CASES, (None, 0.1443, 0.6690), strict=True)))
def test_averages_of_places_give_what_the_workshop_showed(name: str, expected: float | None) -> None:
    """The positive control: each person has the average of the place; in the first case nothing varies any more."""
    people = table(name)
    averages = people.groupby("loc")["v1"].transform("mean")
    if expected is None:
        assert averages.nunique() == 1
    else:
        assert round(float(np.corrcoef(averages, people["v2"])[0, 1]), 4) == expected


@pytest.mark.parametrize("name", CASES)
def test_the_charter_for_real_people_refuses_so_few(name: str) -> None:
    """What usefulness does not promise: 20 people are too few for it."""
    assert rule_of(lambda: federated(name, "research")) in ("persons", "organisations")


def test_with_enough_people_the_charter_for_real_people_gives_the_pooled_numbers() -> None:
    frames = {name: rows(60, seed) for seed, name in enumerate("abc", 2)}
    pooled = pd.concat(frames.values())
    result = study(trust(frames), {"d": dt.Describe(["x"]), "c": dt.Correlation(["x", "z"])}).run()
    described = result["d"].to_frame()["x"]
    assert float(described["mean"]) == pytest.approx(pooled["x"].mean(), rel=1e-12)
    assert float(described["std"]) == pytest.approx(pooled["x"].std(), rel=1e-12)
    assert result["c"].to_frame().to_numpy(float)[0, 1] == pytest.approx(pooled["x"].corr(pooled["z"]), rel=1e-10)
