"""Ask one question of real data, or of data made for a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from tests.conftest import DATA

PURPOSE = "AcademicResearch"
FILES = {"datashield_cnsim": "cnsim", "randhie": "randhie"}


@pytest.fixture(scope="session")
def ask_of(oracle: Any, heart_trust: Any) -> Callable[..., Any]:
    """`ask_of("uci_heart", dt.Describe(["age"]), cohort="", charter="sandbox")`: the released result."""
    trusts: dict[tuple[str, str], Any] = {}

    def ask(data: str, question: Any, cohort: str = "", charter: str = "sandbox") -> Any:
        key = data, charter
        if key not in trusts and data == "uci_heart":
            trusts[key] = heart_trust(charter)
        elif key not in trusts:
            frames = {site.lower(): frame for site, frame in oracle(data).frames.items()}
            trusts[key] = dt.local(sources=frames, dataset=DATA / f"{FILES[data]}.yaml", charter=charter)
        study = trusts[key].study("t", purpose=PURPOSE, cohort=cohort, analyses={"a": question})
        return study.run()["a"]

    return ask


def made(properties: str, person: str = "row", rows_per_person: int = 1) -> dt.Dataset:
    """A dataset of these columns, one line each."""
    columns = "\n".join(f"      - {{{line.strip()}}}" for line in properties.strip().splitlines())
    return dt.Dataset.parse(
        f"""
apiVersion: v3.1.0
kind: DataContract
id: made
name: made
version: 1.0.0
status: active
customProperties:
  - {{property: person, value: {person}}}
  - {{property: rowsPerPerson, value: {rows_per_person}}}
schema:
  - name: t
    logicalType: object
    properties:
{columns}
"""
    )


def ask_made(
    dataset: dt.Dataset, frames: Mapping[str, pd.DataFrame], question: Any, charter: str = "research", **study: Any
) -> Any:
    """One question of made-up frames."""
    trust = dt.local(sources=dict(frames), dataset=dataset, charter=charter)
    return trust.study("t", purpose=PURPOSE, analyses={"a": question}, **study).run()["a"]


def split(frame: pd.DataFrame, partners: int = 4) -> dict[str, pd.DataFrame]:
    """Rows dealt out to partners in turn."""
    return {f"p{i}": frame.iloc[i::partners].reset_index(drop=True) for i in range(partners)}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20211124)
