"""Ask a data trust: partners answer together while no data moves between them.

import datatrust as dt
trust = dt.local(sources={"north": "north.csv", "south": "south.csv", "east": frame}, dataset="heart.yaml")
study = trust.study("Age and disease", purpose="AcademicResearch", cohort="age >= 40",
                    analyses={"risk": dt.Glm("disease ~ age + sex", family="binomial")})
print(study.run()["risk"].summary())
trust = dt.connect("https://trust.example:8443", key="lab-1")  # deployed: the same study object, and study.submit()
"""

from datatrust.ask import Anova, Correlation, Crosstab, Describe, Glm, Histogram, Quantiles, TTest
from datatrust.client import Result
from datatrust.federation import local
from datatrust.remote import connect
from nodes.sources import Source
from trust.dataset import Dataset
from trust.errors import Cancelled, DataTrustError, InvalidInput, Refused, TimedOut

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
