"""A whole study (describe, histogram, logistic regression) against pandas and statsmodels on the pooled rows."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import datatrust as dt
from tests.support.example import contract, levels, number, small_trust

DATASET = contract(
    number("age", 18, 110),
    number("bmi", 10, 60),
    levels("sex", "F", "M"),
    "name: died, logicalType: boolean",
    name="bench",
)
EDGES = [float(e) for e in range(10, 120, 10)]
FORMULA = "died ~ age + bmi + sex"


def line(name: str, ours: str, rival: str = "", ratio: str = "") -> str:
    """One line of the table."""
    return f"{name:<60} {ours:>12} {rival:>16} {ratio:>10}"


def people(n: int, seed: int) -> pd.DataFrame:
    """Made-up persons of one partner."""
    rng = np.random.default_rng(seed)
    age, bmi = rng.normal(60, 12, n).clip(18, 110).round(1), rng.normal(26, 4, n).clip(10, 60).round(1)
    sex = rng.choice(["F", "M"], n)
    died = rng.random(n) < 1 / (1 + np.exp(6 - 0.06 * age - 0.05 * bmi - 0.3 * (sex == "M")))
    return pd.DataFrame({"age": age, "bmi": bmi, "sex": sex, "died": died})


def questions() -> dict[str, Any]:
    return {
        "table": dt.Describe(["age", "bmi"], by=["sex"]),
        "ages": dt.Histogram("age", EDGES),
        "risk": dt.Glm(FORMULA, family="binomial"),
    }


def federated(trust: Any) -> Any:
    return trust.study("bench", purpose="AcademicResearch", analyses=questions()).run()


def pooled(frames: list[pd.DataFrame]) -> Any:
    """The same answers by pandas and statsmodels."""
    import statsmodels.api as sm
    import statsmodels.formula.api as smf

    rows = pd.concat(frames, ignore_index=True)
    groups = rows.groupby("sex")[["age", "bmi"]]
    table = groups.describe(), groups.agg(["sum", "var", "skew"])
    ages = np.histogram(rows["age"], EDGES)
    model = smf.glm(FORMULA, rows.assign(died=rows["died"].astype(float)), family=sm.families.Binomial()).fit()
    return table, ages, model.params, model.bse


def median_time(run: Callable[[], Any], times: int = 5) -> float:
    """Median seconds of `times` runs, after one to warm up."""
    run()
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def against_pooled(*, full: bool) -> Iterator[str]:
    """4 x 25,000 rows in memory, the trust built: at least as quick as pooled."""
    import statsmodels.api  # noqa: F401 - before either is timed

    frames = [people(25_000, seed) for seed in range(4)]
    trust = small_trust({f"p{i}": f for i, f in enumerate(frames)}, DATASET)
    ours, rival = median_time(lambda: federated(trust)), median_time(lambda: pooled(frames))
    yield line(
        "study / pandas + statsmodels pooled", f"{1e3 * ours:.0f} ms", f"{1e3 * rival:.0f} ms", f"{rival / ours:.1f} x"
    )


def with_rows(*, full: bool) -> Iterator[str]:
    """Time and memory by the number of rows, from Parquet files of 20 columns of which 4 are read."""
    for rows in (100_000, 1_000_000, *((10_000_000,) if full else ())):
        with tempfile.TemporaryDirectory() as folder:
            _child("make", folder, str(rows))
            found = json.loads(_child("run", folder))
        per = 1e6 * found["seconds"] / rows
        yield line(
            f"study, {rows:,} rows", f"{found['seconds']:.2f} s", f"{per:.2f} us a row", f"{found['memory']:.0f} MB"
        )


def _child(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.benchmarks.study", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _make(folder: str, rows: int) -> None:
    """Parquet files of four partners, 20 columns each."""
    import duckdb

    filler = ", ".join(f"random() AS extra{i}" for i in range(16))
    with duckdb.connect() as database:
        for partner in range(4):
            database.execute(
                "COPY (SELECT 18 + 92 * random() AS age, 10 + 50 * random() AS bmi, "
                f"CASE WHEN random() < 0.5 THEN 'F' ELSE 'M' END AS sex, random() < 0.3 AS died, {filler} "
                f"FROM range({rows // 4})) TO '{Path(folder) / f'{partner}.parquet'}'"
            )


def _run(folder: str) -> None:
    """One study in a process of its own: seconds, and the memory that it added at its peak."""
    federated(small_trust({f"p{i}": people(1_000, 1) for i in range(4)}, DATASET))  # imports, engine
    before = _peak()
    begin = time.perf_counter()
    federated(small_trust({f"p{i}": Path(folder) / f"{i}.parquet" for i in range(4)}, DATASET))
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "memory": (_peak() - before) / 1024}))


def _peak() -> int:
    """Peak memory of this process in KB: of its own, where `ru_maxrss` may be its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    if sys.argv[1] == "make":
        _make(sys.argv[2], int(sys.argv[3]))
    else:
        _run(sys.argv[2])
