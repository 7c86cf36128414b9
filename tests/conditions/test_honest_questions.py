"""Condition: honest questions.  A node answers only the question that follows from the totals before it.

Whoever picks coefficients or brackets can single out a person with exact totals; so each node replays the analysis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from tests.support.outside_view import rule_of
from tests.support.small_trusts import dataset, rows, study
from tests.support.trust_parts import TrustParts
from trust.analyses.base import Ask
from trust.documents.study import plan
from trust.protocol.asks import pack_asks, unpack_asks
from trust.secure_sum import Record

MODEL = dt.Glm("y ~ x + z", family="binomial")
Change = Callable[[dict[str, Ask]], dict[str, Ask]]


def frames(n: int = 300) -> dict[str, pd.DataFrame]:
    made = {}
    for seed, name in enumerate("abc", 2):
        frame = rows(n, seed)
        frame["y"] = np.random.default_rng(seed + 100).random(n) < 1 / (1 + np.exp(1 - frame["x"] / 40))
        made[name] = frame
    return made


@pytest.fixture
def of() -> TrustParts:
    return TrustParts(dt.local(frames(), dataset()))


def asking(of: TrustParts, written: Any, r: int, change: Change) -> Any:
    """The coordinator asks sum `r` with values of its own."""
    plans = plan(written, of.trust._scope(written))

    def changed(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        if header["kind"] != "ask" or header["r"] != r:
            return header, body
        asks, rest = unpack_asks(header["asks"], body, plans)
        own = {n: Ask(a.sum, {k: np.array(v) for k, v in a.values.items()}) for n, a in asks.items()}
        sums, packed = pack_asks(change(own), plans)
        return {**header, "asks": sums}, packed + rest

    return changed


def given(of: TrustParts) -> list[list[int]]:
    """Numbers of the sums that each node gave to."""
    return [[s.r for s in session.egress.sent if s.kind == "upload"] for session in of.sessions.values()]


def moved(by: float) -> Change:
    def change(asks: dict[str, Ask]) -> dict[str, Ask]:
        for ask in asks.values():
            for name, value in ask.values.items():
                if value.dtype.kind == "f":
                    ask.values[name] = value + by
        return asks

    return change


def test_the_coordinators_own_question_follows_from_the_totals_and_is_answered(of: TrustParts) -> None:
    """The positive control: the honest coordinator."""
    conducted = of.run(study(of.trust, MODEL).study)
    assert len(conducted.records) >= 4
    assert all(session.trouble is None for session in of.sessions.values())


@pytest.mark.parametrize("by", [1.0, 1e-6])
def test_coefficients_of_its_own_are_refused(of: TrustParts, by: float) -> None:
    written = study(of.trust, MODEL).study
    assert rule_of(lambda: of.run(written, change=asking(of, written, 2, moved(by)))) == "state-not-derived"
    assert given(of) == [[0, 1]] * 3


def test_a_bracket_of_its_own_is_refused() -> None:
    of = TrustParts(dt.local(frames(2_000), dataset()))
    written = study(of.trust, dt.Quantiles(["x"], [0.5])).study
    assert rule_of(lambda: of.run(written, change=asking(of, written, 1, moved(0.001)))) == "state-not-derived"
    assert given(of) == [[0]] * 3


def test_another_sum_than_the_next_one_is_refused(of: TrustParts) -> None:
    written = study(of.trust, MODEL).study
    again: Change = lambda asks: {"a": Ask("start")}  # noqa: E731
    assert rule_of(lambda: of.run(written, change=asking(of, written, 2, again))) in ("sum-budget", "state-not-derived")
    assert given(of) == [[0, 1]] * 3


def test_a_sum_without_one_of_the_analyses_is_refused(of: TrustParts) -> None:
    """Each part that is asked follows; what is left out would be asked later, when other totals are known."""
    written = study(of.trust, {"a": MODEL, "b": dt.Describe(["x"])}).study
    fewer: Change = lambda asks: {"a": asks["a"]}  # noqa: E731
    assert rule_of(lambda: of.run(written, change=asking(of, written, 1, fewer))) == "state-not-derived"
    assert given(of) == [[0]] * 3


def test_a_false_total_shown_to_the_nodes_is_refused(of: TrustParts) -> None:
    """Signed by the coordinator as it should be; from another total other coefficients would follow."""
    written = study(of.trust, MODEL).study

    def forged(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        if "record" in header:
            record = replace(Record.parse(header["record"]), total=bytes(32)).signed(of.keys.coordinator.private)
            header = {**header, "record": record.document()}
        return header, body

    assert rule_of(lambda: of.run(written, change=forged)) == "record-invalid"
    assert given(of) == [[0]] * 3


def test_a_question_without_the_totals_that_it_follows_from_is_refused(of: TrustParts) -> None:
    written = study(of.trust, MODEL).study
    plans = plan(written, of.trust._scope(written))

    def hidden(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        if "record" not in header:
            return header, body
        _, rest = unpack_asks(header["asks"], body, plans)
        bare = {k: v for k, v in header.items() if k not in ("record", "to")}
        return bare, body[: len(body) - len(rest)]

    assert rule_of(lambda: of.run(written, change=hidden)) == "state-not-derived"
    assert given(of) == [[0]] * 3
