"""Ask a data trust: partners answer together while no data moves between them.

import datatrust as dt
trust = dt.local(sources={"north": "north.csv", "south": "south.csv", "east": frame}, dataset="heart.yaml")
study = trust.study("Age and disease", purpose="AcademicResearch", cohort="age >= 40",
                    analyses={"risk": dt.Glm("disease ~ age + sex", family="binomial")})
print(study.run()["risk"].summary())
trust = dt.connect("https://trust.example:8443", key="lab-1")  # deployed: the same study object, and study.submit()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datatrust.in_process.local_trust import local
    from datatrust.remote.remote_trust import connect
    from datatrust.research.questions import Anova, Correlation, Crosstab, Describe, Glm, Histogram, Quantiles, TTest
    from datatrust.research.result import Result
    from nodes.rows.source import Source
    from trust.dataset.dataset import Dataset
    from trust.errors import Cancelled, DataTrustError, InvalidInput, Refused, TimedOut

# Loaded when they are used: a command such as `datatrust key new` needs none of them, and they take a second.
_ASK = ("Anova", "Correlation", "Crosstab", "Describe", "Glm", "Histogram", "Quantiles", "TTest")
_ERRORS = ("Cancelled", "DataTrustError", "InvalidInput", "Refused", "TimedOut")
_MODULES = {
    **dict.fromkeys(_ASK, "datatrust.research.questions"),
    **dict.fromkeys(_ERRORS, "trust.errors"),
    "Dataset": "trust.dataset.dataset",
    "Result": "datatrust.research.result",
    "Source": "nodes.rows.source",
    "connect": "datatrust.remote.remote_trust",
    "local": "datatrust.in_process.local_trust",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Anova",
    "Cancelled",
    "Correlation",
    "Crosstab",
    "DataTrustError",
    "Dataset",
    "Describe",
    "Glm",
    "Histogram",
    "InvalidInput",
    "Quantiles",
    "Refused",
    "Result",
    "Source",
    "TTest",
    "TimedOut",
    "connect",
    "local",
]
