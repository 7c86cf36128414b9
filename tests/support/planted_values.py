"""Values that nobody else may ever see, a table that holds them, and a search for them in bytes and texts."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np
import pandas as pd

from tests.support.example import contract, levels, number

DATASET = contract(
    number("age", 0, 120, "integer"),
    number("income", 0, 1000000),
    number("units", 0, 1000000000, "integer"),
    levels("sex", "F", "M"),
    levels("region", "north", "south", "west"),
    "name: smoker, logicalType: boolean",
    "name: surname, logicalType: string",
    "name: note, logicalType: string",
    "name: district, logicalType: string",
    "name: born, logicalType: date",
    name="planted",
    person="pid",
    rows_per_person=2,
)
REAL, WHOLE = 73918.4625813, 918273645
NAME, TEXT, PERSON, POSTCODE = "Quixotzkyov", "saw a heffalump", "PIDzq7Lmm4", "ZZ98 7QXW"
PASSWORD, FOLDER, LEVEL, COLUMN = "kwvPASSWORDzx81", "folderJ4WXr", "weiblichQ6t", "alterspalteV2"
ENVIRONMENT = "environmentH3K"
TEXTS = {
    "a person's name": NAME,
    "a free text": TEXT,
    "a person's id": PERSON,
    "a postcode": POSTCODE,
    "a password in a connection string": PASSWORD,
    "a folder of a file": FOLDER,
    "the source's text of a level": LEVEL,
    "the source's name of a column": COLUMN,
    "a value of the environment": ENVIRONMENT,
}
"""Each of at least nine letters, so that none occurs by chance, in base64 either."""
NUMBERS = {"a rare number": REAL, "a rare whole number": WHOLE}
COHORT = "age >= 0 and surname is not null and note is not null and district is not null and born > '1900-01-01'"


def forms(canary: str | float) -> list[bytes]:
    """How a value may stand in bytes: as text, in UTF-16, in hexadecimal, in base64; a number in eight bytes."""
    found = [str(canary).encode()]
    if isinstance(canary, float):
        found += [struct.pack("<d", canary), struct.pack(">d", canary)]
    if isinstance(canary, int):
        found += [struct.pack(code, canary) for code in ("<q", ">q", "<d", ">d")] + [f"{canary:,}".encode()]
    texts = [found[0], str(canary).encode("utf-16-le")]
    found += [texts[1], *(text.hex().encode() for text in texts)]
    for text in texts:
        for start in range(3):  # where in a group of three bytes it begins
            found.append(base64.b64encode(b"\0" * start + text)[4 if start else 0 : -4])
    return found


CANARIES: dict[str, str | float] = TEXTS | NUMBERS


FORMS = {what: forms(canary) for what, canary in CANARIES.items()}


def found_in(*places: Any) -> list[str]:
    """The canaries that occur in bytes or texts."""
    raw = b"\n".join(place if isinstance(place, bytes) else str(place).encode() for place in places)
    return [what for what, wanted in FORMS.items() if any(form in raw for form in wanted)]


# ---- four partners, and what is planted at each


def table(partner: str, n: int = 60) -> pd.DataFrame:
    """As a source has it: its own names and levels; the person in row 7 holds what must never be seen."""
    rng = np.random.default_rng(ord(partner))
    age = rng.integers(20, 90, n)
    frame = pd.DataFrame(
        {
            "pid": [f"{PERSON}{partner}{i}" for i in range(n)],
            COLUMN: age,
            "income": rng.uniform(1_000, 60_000, n).round(2),
            "units": rng.integers(1, 1_000, n),
            "sex": np.resize([LEVEL, "herr"], n),
            "region": np.resize(["north", "south", "west"], n),
            "smoker": rng.random(n) < 1 / (1 + np.exp(-(age - 55) / 20)),
            "surname": [f"{NAME} {i}" for i in range(n)],
            "note": [f"{TEXT} {i}" for i in range(n)],
            "district": POSTCODE,
            "born": "1970-02-03",
            "never_asked_for": TEXT,
        }
    )
    frame.loc[7, ["income", "units"]] = [REAL, WHOLE]
    return frame


MAPPED: dict[str, Any] = {
    "columns": {"age": COLUMN},
    "levels": {"sex": {LEVEL: "F", "herr": "M"}},
}
