"""What an analysis is: a computation written as sums over nodes.

An analysis says what may be asked (`plan`, before any row), answers one question at a node (`local`), and turns
totals into the next question or the result (`run`, a generator).  Everything between the two halves is a named
array of a shape known in advance.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from trust.canonical import Model
from trust.dataset.dataset import PARTNER, Column, Dataset
from trust.dataset.rows import Rows
from trust.errors import MessageInvalid, StudyInvalid
from trust.privacy.protections import Protections
from trust.privacy.rules import Rule

__all__ = ["Analysis", "Arrays", "Ask", "Block", "Run", "Scope", "Sum", "Values", "fits", "together"]

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
Values: TypeAlias = dict[str, npt.NDArray[Any]]
"""A result: named arrays of numbers, texts and booleans, which a library's look is put on by `datatrust.results`."""
Run: TypeAlias = Generator[Any, Any, Any]
"""Yields an Ask, is sent the opened total, returns the result."""


@dataclass(frozen=True)
class Block:
    """A named array.  `bound`: given, what one person can add (L2); taken, the largest entry; inf: never with noise."""

    name: str
    shape: tuple[int, ...] = ()
    encoding: Literal["count", "real", "model"] = "real"
    bound: float = math.inf

    def document(self) -> dict[str, Any]:
        """For the plan's digest; an infinite bound is left out, canonical JSON has no infinity."""
        bound = {} if math.isinf(self.bound) else {"bound": repr(float(self.bound))}
        return {"name": self.name, "shape": list(self.shape), "encoding": self.encoding, **bound}


@dataclass(frozen=True)
class Sum:
    """One secure sum that may be asked for; follows from study and dataset alone.

    `keeps` names arrays that `local` computes for the node's own rules; they never leave.
    """

    gives: tuple[Block, ...]
    takes: tuple[Block, ...] = ()
    keeps: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    at_most: int = 1

    def document(self) -> dict[str, Any]:
        """For the plan's digest."""
        return {
            "gives": [b.document() for b in self.gives],
            "takes": [b.document() for b in self.takes],
            "rules": [r.document() for r in self.rules],
            "state": "derived" if self.takes else "none",
        }


@dataclass(frozen=True)
class Ask:
    """Which sum, and the public values it depends on: coefficients, centres, splits; never code."""

    sum: str
    values: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Scope:
    """All that is public about the rows: the dataset, who takes part, and the protections in force."""

    dataset: Dataset
    partners: tuple[str, ...]
    protections: Protections
    partner_may_be_shown: bool = False

    @property
    def fewest(self) -> int:
        """m for a part of a total (a cell, a group, a bracket): 1 where the charter shows a single partner's total."""
        return 1 if self.partner_may_be_shown else self.protections.fewest(len(self.partners))

    def numeric(self, name: str) -> Column:
        """A numeric or boolean column.  Raises: StudyInvalid."""
        column = self.dataset.column(name)
        if not (column.numeric or column.type == "boolean"):
            raise StudyInvalid(
                f"column {name!r} is not a number", expected="a numeric column", remedy="use it as a group"
            )
        return column

    def levels(self, name: str) -> tuple[bool | int | str, ...]:
        """Levels of a categorical column, or the roster for `partner`.  Raises: StudyInvalid."""
        if name == PARTNER:
            return self.partners
        column = self.dataset.column(name)
        if not column.categorical:
            remedy = "give it an enum in the dataset, or use it as a measurement"
            raise StudyInvalid(
                f"column {name!r} is not a category", expected="a column with an enum, or a boolean", remedy=remedy
            )
        return column.values


class Analysis(Model, ABC):
    """Its fields are what a researcher writes; the methods are all there is to run it."""

    title: ClassVar[str] = ""

    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Names of the columns that are read, `partner` included where it is."""

    def groups(self) -> tuple[str, ...]:
        """Names of the columns whose levels get a total each; `partner` among them needs the charter's leave."""
        return ()

    @abstractmethod
    def plan(self, scope: Scope) -> dict[str, Sum]:
        """Every sum that may be asked for.  Raises: StudyInvalid where fields do not fit the dataset."""

    @abstractmethod
    def prepare(self, scope: Scope, rows: Rows) -> Any:
        """At a node, once a study: whatever makes `local` quick."""

    @abstractmethod
    def local(self, scope: Scope, ready: Any, ask: Ask) -> Arrays:
        """At a node, once a sum: this partner's part."""

    @abstractmethod
    def run(self, scope: Scope) -> Run:
        """Totals in, result out.  Depends on nothing else, so anyone who has the totals can replay it."""


def count(name: str, *shape: int, bound: float = 1.0) -> Block:
    """A block of whole numbers."""
    return Block(name, shape, "count", bound)


def real(name: str, *shape: int, bound: float = math.inf) -> Block:
    """A block of reals."""
    return Block(name, shape, "real", bound)


def fits(blocks: tuple[Block, ...], arrays: Arrays) -> None:
    """Names, shapes and finiteness: the one check for what a node is asked and for what it gives.

    Raises: MessageInvalid, naming the block.
    """
    names = [b.name for b in blocks]
    if set(arrays) != set(names):
        raise MessageInvalid(f"blocks {sorted(arrays)}", expected=str(sorted(names)))
    for block in blocks:
        array = np.asarray(arrays[block.name])
        if array.shape != block.shape:
            raise MessageInvalid(f"block {block.name!r} of shape {array.shape}", expected=str(block.shape))
        if block.encoding == "count" and array.dtype.kind not in "iu":
            raise MessageInvalid(f"block {block.name!r} of type {array.dtype}", expected="whole numbers")
        if not np.isfinite(array).all():
            raise MessageInvalid(
                f"block {block.name!r} holds a value that is not finite",
                expected="finite numbers",
                remedy="declare bounds for the columns in the dataset, so that such values are found in the source",
            )


def together(runs: Mapping[str, Run]) -> Run:
    """Side by side: one secure sum an iteration carries the blocks of every analysis not yet finished."""
    asks: dict[str, Ask] = {}
    done: dict[str, Any] = {}

    def advance(name: str, total: Any) -> None:
        try:
            asks[name] = runs[name].send(total)
        except StopIteration as end:
            done[name] = end.value
            asks.pop(name, None)

    for name in runs:
        advance(name, None)
    while asks:
        totals = yield dict(asks)
        for name in list(asks):
            advance(name, totals[name])
    return done
