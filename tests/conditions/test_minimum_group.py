"""Condition: a minimum group.  Nothing is said of fewer than k persons: at a node, in a group, in a total.

k is 11 in the charter for research.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import datatrust as dt
from tests.support.outside_view import watched
from tests.support.small_trusts import K, absent, outcome, rows, study, trust

EDGE = [pytest.param(K - 1, id="k - 1"), pytest.param(K, id="k"), pytest.param(K + 1, id="k + 1")]


def others() -> dict[str, Any]:
    return {name: rows(60, seed) for seed, name in enumerate("abc", 2)}


def with_fourth(frame: Any) -> Any:
    return trust(others() | {"d": frame})


# ---- at a node


@pytest.mark.parametrize("persons", [pytest.param(0, id="empty"), *EDGE])
def test_a_partner_takes_part_with_k_persons_and_no_fewer(persons: int) -> None:
    frame = rows(60, x=[10.0] * persons + [80.0] * (60 - persons))
    of = with_fourth(frame)
    with watched() as wire:
        missing = absent(of, dt.Describe(["z"]), cohort="x < 79")
    assert missing == ({} if persons >= K else {"d": "persons"})
    assert ("upload" in wire.sent("d")) == (persons >= K)


@pytest.mark.parametrize("persons", [K - 1, K])
def test_a_partner_counts_persons_who_have_a_weight_and_not_rows_that_have_none(persons: int) -> None:
    """Weights that lie on k - 1 persons, among 60."""
    frame = rows(60, w=[1.0] * persons + [0.0] * (60 - persons))
    missing = absent(with_fourth(frame), dt.Describe(["x"], weights="w"))
    assert missing == ({} if persons >= K else {"d": "too-few-effective-records"})


def test_one_heavy_person_among_many_is_a_group_of_one() -> None:
    frame = rows(60, w=[1000.0] + [0.001] * 59)
    assert absent(with_fourth(frame), dt.Describe(["x"], weights="w")) == {"d": "too-few-effective-records"}


# ---- a group in a result


def grouped(at: Sequence[int], missing: int = 0) -> dict[str, Any]:
    """Four partners who have so many persons of group c each; of so many of them the value is missing."""
    frames = {}
    for seed, (name, count) in enumerate(zip("abcd", at, strict=True), 2):
        g = ["c"] * count + ["a", "b"] * ((60 - count) // 2) + ["a"] * (count % 2)
        frames[name] = rows(60, seed, g=g)
    if missing:
        frames["a"].loc[: missing - 1, "x"] = np.nan
    return frames


@pytest.mark.parametrize(
    ("at", "hidden"),
    [((0, 0, 0, 0), True), ((4, 3, 3, 0), True), ((4, 4, 3, 0), False), ((4, 4, 4, 0), False)],
    ids=["empty", "k - 1", "k", "k + 1"],
)
def test_a_group_of_fewer_than_k_persons_is_hidden(at: tuple[int, ...], hidden: bool) -> None:
    table = study(trust(grouped(at)), dt.Describe(["x"], by=["g"])).run()["a"]
    assert bool(table.values["hidden_groups"][2]) is hidden
    for name in ("mean", "sum", "var"):
        assert bool(np.isnan(table.values[name][2, 0])) is hidden


@pytest.mark.parametrize("persons", EDGE)
def test_no_cell_of_a_table_of_counts_shows_fewer_than_k(persons: int) -> None:
    """Another cell is hidden with it, so that it cannot be worked out from the margins."""
    table = study(trust(grouped((4, 4, persons - 8, 0))), dt.Crosstab("g", "sex")).run()["a"]
    counts, hidden = table.values["counts"], table.values["hidden"]
    assert (counts[~hidden] >= K).all()
    assert (counts[hidden] == -1).all()
    assert hidden.sum() >= 2


def test_a_group_of_k_with_a_missing_value_tells_nothing_but_that() -> None:
    """How many values are missing is data quality, and shown for a group of k; what k - 1 persons have is not."""
    whole = study(trust(grouped((4, 4, 3, 0))), dt.Describe(["x"], by=["g"])).run()["a"].values
    assert (whole["count"][2, 0], np.isnan(whole["mean"][2, 0])) == (K, False)
    less = study(trust(grouped((4, 4, 3, 0), missing=1)), dt.Describe(["x"], by=["g"])).run()["a"].values
    assert (less["count"][2, 0], less["missing"][2, 0]) == (K - 1, 1)
    assert all(np.isnan(less[name][2, 0]) for name in ("mean", "sum", "std", "var", "skewness", "kurtosis"))


# ---- a total


@pytest.mark.parametrize("persons", EDGE)
def test_a_model_is_not_fitted_over_a_group_of_fewer_than_k(persons: int) -> None:
    frames = grouped((4, 4, persons - 8, 0))
    rule = outcome(trust(frames), dt.Glm("x ~ C(g)"))
    assert rule == ("answered" if persons >= K else "persons-in-group")


@pytest.mark.parametrize("persons", EDGE)
def test_a_statistic_rests_on_k_persons_who_have_a_value(persons: int) -> None:
    """180 persons are in the cohort, and so many of them have a value."""
    frames = others()
    left = dict(zip("abc", (4, 4, persons - 8), strict=True))
    for name, frame in frames.items():
        frame.loc[left[name] :, "x"] = np.nan
    table = study(trust(frames), dt.Describe(["x"])).run()["a"].values
    assert bool(np.isnan(table["mean"]).all()) is (persons < K)
    assert outcome(trust(frames), dt.Histogram("x", [0, 50, 100])) == (
        "answered" if persons >= K else "persons-in-group"
    )
