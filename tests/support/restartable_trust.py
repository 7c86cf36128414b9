"""A trust whose nodes can be ended and started again at any message, over the same folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import datatrust as dt
from nodes.node import Node
from nodes.rows.editions import EditionKeeper
from nodes.state.store import SqliteStore
from nodes.study.sessions import Sessions
from tests.support.example import contract, number, small_trust
from tests.support.trust_parts import TrustParts
from trust.documents.study import PlannedStudy, Study
from trust.protocol.messages import DOWN, unpack
from trust.signing.envelope import Envelope

DATASET = contract(
    number("x", 0, 100, "integer"),
    "name: y, logicalType: boolean",
    name="many",
)
NAMES = ("a", "b", "c")
ASKED = {"h": dt.Histogram("x", edges=[0, 20, 60, 100]), "r": dt.Glm("y ~ x", family="binomial")}


def frame(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 100, 60)
    return pd.DataFrame({"x": x, "y": rng.random(60) < 1 / (1 + np.exp(2 - x / 30))})


class RestartableTrust:
    """Nodes over CSV files in `folder`, three if not said, each of which keeps its state there."""

    def __init__(self, folder: Path, names: Sequence[str] = NAMES) -> None:
        for seed, name in enumerate(names):
            frame(seed).to_csv(folder / f"{name}.csv", index=False)
        sources = {name: folder / f"{name}.csv" for name in names}
        self.trust = small_trust(sources, DATASET, state=folder / "state")
        self.of = TrustParts(self.trust)
        self.told: list[str] = []
        self.up: dict[str, Sessions] = {}
        self._node: dict[str, Node] = dict(self.of.nodes)
        for name in names:
            self.start(name)

    def start(self, name: str) -> None:
        """A process of this node, in place of the one before: only what is on the disk is known."""
        old = self._node[name]
        folder = old.store.folder
        k = self.trust.charter.floor.persons
        editions = EditionKeeper(folder / "editions", old.dataset, persons=k)
        self._node[name] = replace(old, store=SqliteStore(folder), editions=editions)
        self.up[name] = Sessions(self._node[name], tell=lambda event: self.told.append(f"{name}: {event}"))

    def node(self, name: str) -> Node:
        return self._node[name]

    def study(
        self, cohort: str = "", asked: Mapping[str, Any] | None = None
    ) -> tuple[Study, Envelope, Envelope, PlannedStudy]:
        analyses = dict(asked or ASKED)
        study = self.trust.study("many", purpose="AcademicResearch", analyses=analyses, cohort=cohort).study
        signed = self.of.keys.study(study)
        return study, signed, self.of.keys.mandate(self.of.mandate_of(study, signed)), self.of.planned(study)


class Disturbed:
    """A channel that runs something before or after each message of one partner is answered; lost answers are asked
    for again with the same bytes, as the deployed channel does.
    """

    def __init__(
        self,
        places: RestartableTrust,
        *,
        before: Callable[[str, int], None] = lambda name, n: None,
        lose: Callable[[str, int], bool] = lambda name, n: False,
    ) -> None:
        self.places, self._before, self._lose = places, before, lose
        self.count = dict.fromkeys(NAMES, 0)
        self.kinds: list[str] = []
        self.answers: list[tuple[str, bytes]] = []

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        answers = {}
        for name, raw in messages.items():
            n = self.count[name]
            self.count[name] += 1
            if name == NAMES[0]:
                self.kinds.append(unpack(raw, DOWN)[0]["kind"])
            self._before(name, n)
            if self._lose(name, n):
                self.places.up[name].handle(raw)
                self.places.start(name)
            answers[name] = self.places.up[name].handle(raw)
            self.answers.append((name, answers[name]))
        return answers
