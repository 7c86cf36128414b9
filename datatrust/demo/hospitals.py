"""Made-up patients of four hospitals, each with its own mix of people and its own habits; made from a stated seed.

Two of them have fewer than 11 women by construction, so that a study of women alone finds too few partners.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nodes.rows.source import Source

__all__ = ["COHORT", "DATASET", "EDGES", "FORMULA", "PAINS", "SEED", "WEST", "Written", "write"]

SEED = 20210520
"""numpy's PCG64; the day of the workshop that the worked example comes from."""

DATASET = "hospitals.yaml"
COHORT = "age >= 40"
FORMULA = "disease ~ I(age / 10) + sex + C(chest_pain) + I(systolic / 10) + smoker"
PAINS = ("absent", "other", "atypical", "typical")
EDGES = tuple(range(40, 100, 5))
WEST: dict[str, dict[str, Any]] = {
    "columns": {"systolic": "bp_sys", "cholesterol": "chol"},
    "levels": {"sex": {"1": "M", "2": "F"}},
}
"""The hospital west has its own names and codes; its source says how they fulfil the dataset."""


@dataclass(frozen=True)
class _Hospital:
    """How many patients, how many of them women, and how the others differ.

    Attributes:
        age: mean and standard deviation, in years.
        gaps: share without systolic pressure, without cholesterol.
        shift: log odds of disease, compared with the others.
    """

    rows: int
    women: int
    age: tuple[float, float]
    smokers: float
    gaps: tuple[float, float]
    shift: float


_HOSPITALS = {
    "east": _Hospital(430, 205, (67.0, 10.5), 0.21, (0.04, 0.12), 0.1),  # older people
    "north": _Hospital(560, 236, (59.0, 12.5), 0.27, (0.02, 0.06), 0.0),  # a university hospital
    "south": _Hospital(310, 9, (62.0, 9.5), 0.38, (0.07, 0.09), 0.35),  # a hospital of veterans
    "west": _Hospital(260, 8, (54.0, 8.0), 0.44, (0.05, 0.78), -0.15),  # a port's clinic, measures cholesterol rarely
}


@dataclass(frozen=True)
class Written:
    """The files that the demo made.

    Attributes:
        dataset: the shared description.
        files: partner -> its table.
        rows: partner -> how many rows its table has.
    """

    dataset: Path
    files: dict[str, Path]
    rows: dict[str, int]

    def sources(self) -> dict[str, Source]:
        """How each table fulfils the dataset."""
        return {name: Source(path, **(WEST if name == "west" else {})) for name, path in self.files.items()}


def write(folder: Path) -> Written:
    """Write a CSV file for each hospital, and the dataset.  Raises: OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("datatrust.demo") / "data" / DATASET) as shipped:
        dataset = Path(shutil.copyfile(shipped, folder / DATASET))
    written_files, rows = {}, {}
    for name, draw in zip(_HOSPITALS, np.random.SeedSequence(SEED).spawn(len(_HOSPITALS)), strict=True):
        frame = _patients(_HOSPITALS[name], np.random.Generator(np.random.PCG64(draw)))
        if name == "west":
            frame = _as_west_writes(frame)
        written_files[name], rows[name] = folder / f"{name}.csv", len(frame)
        frame.to_csv(written_files[name], index=False, lineterminator="\n")
    return Written(dataset, written_files, rows)


def _patients(hospital: _Hospital, draw: np.random.Generator) -> pd.DataFrame:
    """Rows in the dataset's own names and codes."""
    n = hospital.rows
    woman = np.zeros(n, dtype=bool)
    woman[draw.choice(n, hospital.women, replace=False)] = True
    age = np.clip(np.rint(draw.normal(*hospital.age, n) + 2.5 * woman), 19, 94).astype(int)
    smoker = draw.random(n) < hospital.smokers * np.where(age > 70, 0.6, 1.0)
    systolic = np.clip(np.rint(draw.normal(124 + 0.45 * (age - 50), 16)), 85, 235)
    cholesterol = np.clip(np.rint(draw.normal(208 + 0.4 * (age - 50) + 8 * woman, 38)), 95, 480)
    pain = _pains(woman, draw)
    odds = -1.75 + 0.062 * (age - 60) + 0.9 * ~woman + np.array([0.0, 0.45, 0.85, 2.1])[pain]
    odds += 0.011 * (systolic - 130) + 0.55 * smoker + hospital.shift
    disease = draw.random(n) < 1 / (1 + np.exp(-odds))
    return pd.DataFrame(
        {
            "age": age,
            "sex": np.where(woman, "F", "M"),
            "chest_pain": _with_gaps(np.array(PAINS, dtype=object)[pain], 0.02, draw),
            "systolic": _with_gaps(systolic.astype(int), hospital.gaps[0], draw),
            "cholesterol": _with_gaps(cholesterol.astype(int), hospital.gaps[1], draw),
            "smoker": _with_gaps(np.where(smoker, "true", "false"), 0.04, draw),
            "disease": np.where(disease, "true", "false"),
        }
    )


def _pains(woman: npt.NDArray[np.bool_], draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """The place in PAINS of each; typical pain is rare among women here."""
    shares = {True: [0.47, 0.34, 0.175, 0.015], False: [0.40, 0.27, 0.21, 0.12]}
    pains = np.zeros(len(woman), dtype=np.int64)
    for of_women, share in shares.items():
        pains[woman == of_women] = draw.choice(len(PAINS), int((woman == of_women).sum()), p=share)
    return pains


def _with_gaps(values: npt.NDArray[Any], share: float, draw: np.random.Generator) -> npt.NDArray[Any]:
    objects = values.astype(object)
    objects[draw.random(len(values)) < share] = None
    return objects


def _as_west_writes(frame: pd.DataFrame) -> pd.DataFrame:
    """Its own codes and names."""
    coded = frame.assign(sex=frame["sex"].map({"M": 1, "F": 2}))
    return coded.rename(columns=WEST["columns"])
