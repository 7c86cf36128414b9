"""The demo's study as a program that runs: what `datatrust demo --show-code` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datatrust.demo.hospitals import COHORT, EDGES, FORMULA, WEST, Written
from datatrust.demo.question import CHARTER, COLUMNS, PURPOSE, TITLE

__all__ = ["python_program"]


def python_program(hospitals: Written) -> str:
    """Python text over the files that the demo wrote."""
    places = {name: _literal(path) for name, path in hospitals.files.items()}
    mapped = "".join(f",\n        {key}={_literal(value)}" for key, value in WEST.items())
    places["west"] = f"dt.Source({places['west']}{mapped})"
    sources = "\n".join(f"    {_literal(name)}: {place}," for name, place in places.items())
    return f"""import datatrust as dt

sources = {{
{sources}
}}
trust = dt.local(sources=sources, dataset={_literal(hospitals.dataset)}, charter={_literal(CHARTER)})
study = trust.study({_literal(TITLE)}, purpose={_literal(PURPOSE)}, cohort={_literal(COHORT)}, analyses={{
    "table": dt.Describe({_literal(COLUMNS)}, by=["sex"]),
    "pain": dt.Describe(["age"], by=["chest_pain", "sex"]),
    "ages": dt.Histogram("age", edges=range({EDGES[0]}, {EDGES[-1] + 1}, {EDGES[1] - EDGES[0]})),
    "risk": dt.Glm({_literal(FORMULA)}, family="binomial"),
}})
print(study.check())   # what the charter says: no row is read
result = study.run()   # add "and sex = 'F'" to the cohort, and this raises dt.Refused
print(result["table"], result["risk"].summary(), sep="\\n\\n")
"""


def _literal(value: Any) -> str:
    """Texts, lists and mappings of texts read the same in JSON and in Python."""
    return json.dumps(value.as_posix() if isinstance(value, Path) else value, ensure_ascii=False)
