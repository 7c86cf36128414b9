"""The mean of a column of two values is a count: it is judged, and hidden, as the cells of a table are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from tests.support.small_trusts import K, rows, study, trust


def means_where(held: int) -> pd.DataFrame:
    """By group, where of group a so many persons hold the value True, of others every second."""
    frames = {}
    for number, partner in enumerate("abc"):
        frame = rows(60, number + 1)
        of_a = np.flatnonzero(frame["g"] == "a")
        values = frame["y"].to_numpy().copy()
        values[of_a] = np.arange(len(of_a)) < (held + number) // 3
        frames[partner] = frame.assign(y=values)
    return study(trust(frames), dt.Describe(["y", "x"], by=["g"])).run()["a"].to_frame()


@pytest.mark.parametrize("held", [K - 1, 60 - K + 1])
def test_one_that_tells_of_few_is_hidden_and_another_so_that_it_cannot_be_worked_out(held: int) -> None:
    found = means_where(held)
    shown = found["y"].xs("mean", level="statistic").notna()
    assert not shown["a"]
    assert list(shown).count(False) == 2
    for statistic in ("std", "sum", "skewness"):
        assert (found["y"].xs(statistic, level="statistic").notna() == shown).all()
    assert found["x"].xs("mean", level="statistic").notna().all(), "a column of many values is no table"


def test_one_that_tells_of_enough_is_shown() -> None:
    """The control."""
    mean = means_where(K)["y"].xs("mean", level="statistic")
    assert mean["a"] == pytest.approx(K / 60)
    assert mean.notna().all()
