"""The guide's four machines, a fourth partner's and an office, with the demo's patients in PostgreSQL tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import psycopg

from datatrust.demo.hospitals import write
from tests.support.machines import Machines

PERSONS = ("member-1", "member-2", "member-3", "auditor", "lab-1")
ADDRESSES = {
    "coordinator": "10.77.0.1",
    "north": "10.77.0.11",
    "south": "10.77.0.12",
    "east": "10.77.0.13",
    "west": "10.77.0.14",
    "office": "10.77.0.20",
}
_HOSTS = f"{ADDRESSES['coordinator']} coordinator.trust.example\n"
_OPTED_OUT = 7
"""Every so many-th patient has said no."""


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Each hospital's patients, with an id."""
    found = {}
    for name, file in write(folder).files.items():
        frame = pd.read_csv(file)
        frame.insert(0, "patient", [f"{name}-{number:04d}" for number in range(len(frame))])
        found[name] = frame
    return found


def opted_out(frame: pd.DataFrame) -> pd.Series:
    """Who has said no, of a hospital's patients."""
    return pd.Series(range(len(frame)), index=frame.index) % _OPTED_OUT == _OPTED_OUT - 1


@contextmanager
def built() -> Iterator[Machines]:
    """The machines, with a database at each partner."""
    with Machines(ADDRESSES, _HOSTS) as made:
        for name, frame in tables(made.base / "data").items():
            _load(made.database(name), frame)
        yield made


def _load(url: str, frame: pd.DataFrame) -> None:
    kinds = dict.fromkeys(frame.columns, "text")
    kinds |= {c: "double precision" for c in frame.columns if pd.api.types.is_numeric_dtype(frame[c])}
    kinds |= {c: "integer" for c in frame.columns if pd.api.types.is_integer_dtype(frame[c])}
    kinds |= dict.fromkeys(("smoker", "disease"), "boolean")
    columns = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    rows = frame.astype(object).where(frame.notna(), None).itertuples(index=False)
    places = ", ".join(["%s"] * len(kinds))
    with psycopg.connect(url) as db, db.cursor() as cursor:
        cursor.execute(f"CREATE TABLE patients ({columns}, PRIMARY KEY (patient))".encode())
        cursor.executemany(f"INSERT INTO patients VALUES ({places})".encode(), [tuple(row) for row in rows])
        cursor.execute(b"CREATE TABLE opted_out (patient text PRIMARY KEY)")
        said_no = [(patient,) for patient in frame["patient"][opted_out(frame)]]
        cursor.executemany(b"INSERT INTO opted_out VALUES (%s)", said_no)
