"""Condition: environment.  A study has a budget of sums and bytes, signed beforehand; over it, a node stops.

What is reported is what was measured.  There is no budget of computing time or energy, and none is reported.
"""

from __future__ import annotations

from typing import Any

import pytest

import datatrust as dt
from nodes.state.journal import Journal
from nodes.study import gate
from tests.support.outside_view import rule_of, watched
from tests.support.small_trusts import rows, study, trust
from tests.support.trust_parts import TrustParts
from trust.analyses.base import Ask
from trust.charters.charter import Charter
from trust.documents.mandate import Mandate, SignedMandate
from trust.documents.study import plan
from trust.protocol.asks import pack_asks, unpack_asks, upload_bytes
from trust.protocol.messages import UP, unpack

FRAMES = {name: rows(60, seed) for seed, name in enumerate("abc", 2)}
QUESTION = dt.Describe(["x", "z"], by=["sex"])


@pytest.mark.parametrize(
    ("limit", "rule"), [({"sums_at_most": 2}, "floor/sums_at_most"), ({"bytes_at_most": 1000}, "floor/bytes_at_most")]
)
def test_a_plan_over_the_charters_budget_is_refused_before_a_row_is_read(limit: dict[str, int], rule: str) -> None:
    research = Charter.load("research")
    charter = research.model_copy(update={"floor": research.floor.model_copy(update=limit)})
    of = TrustParts(trust(FRAMES, charter))
    assert rule_of(study(of.trust, QUESTION).run) == rule
    assert rule_of(lambda: of.run(study(of.trust, QUESTION).study)) == rule  # each node for itself
    assert all([s.kind for s in session.egress.sent] == ["refusal"] for session in of.sessions.values())


def test_the_budget_is_computed_from_the_plan_and_signed() -> None:
    of = TrustParts(trust(FRAMES))
    asked = study(of.trust, QUESTION).study
    mandate = of.mandate_of(asked, of.keys.study(asked))
    plans = plan(asked, of.trust._scope(asked))
    assert (mandate.bytes, mandate.sums) == (upload_bytes(plans), sum(s.at_most for s in plans["a"].values()))


def test_what_is_reported_is_what_was_measured() -> None:
    """Of each partner: every byte that went out, counted on the wire; the vectors stand in its journal too."""
    of = trust(FRAMES)
    with watched() as wire:
        result = study(of, QUESTION).run()
    assert result.provenance["bytes"] == {name: wire.bytes_of(name) for name in "abc"}
    assert result.provenance["sums"] == len({r for _, r in wire.uploads()})
    for name in "abc":
        bodies = [len(unpack(raw, UP)[1]) for who, raw in wire.up if who == name]
        journal = Journal(of._nodes[name].store.db).entries()
        assert sum(e.body["bytes"] for e in journal if e.kind == "sum-contributed") == sum(bodies)
        signed = Mandate.model_validate_json(of.docket.find(result.provenance["study"]).mandate.unverified_payload)
        assert sum(bodies) <= signed.bytes


def test_a_coordinator_that_asks_more_often_than_the_plan_says_is_stopped() -> None:
    of = TrustParts(trust(FRAMES))
    asked = study(of.trust, QUESTION).study
    plans = plan(asked, of.trust._scope(asked))
    first = next(iter(plans["a"]))

    def again(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        if header["kind"] != "ask" or header["r"] != 1:
            return header, body
        _, rest = unpack_asks(header["asks"], body, plans)
        sums, packed = pack_asks({"a": Ask(first)}, plans)
        return {**header, "asks": sums}, packed + rest

    assert rule_of(lambda: of.run(asked, change=again)) == "sum-budget"
    assert all([s.r for s in session.egress.sent if s.kind == "upload"] == [0] for session in of.sessions.values())


@pytest.mark.parametrize(("over", "ok"), [(-1, True), (0, True), (1, False)])
def test_a_node_stops_at_the_byte_that_is_one_too_many(over: int, ok: bool) -> None:
    of = TrustParts(trust(FRAMES))
    asked = study(of.trust, QUESTION).study
    plans = plan(asked, of.trust._scope(asked))
    mandate = SignedMandate(of.keys.mandate(of.mandate_of(asked, of.keys.study(asked))), of.keys.root)
    asks = {"a": Ask(next(iter(plans["a"])))}
    said = gate.before_sum(mandate, asks, asks, plans, {}, bytes_given=mandate.mandate.bytes + over)
    assert said.ok is ok
    assert [no.rule for no in said.refusals] == ([] if ok else ["sum-budget"])


@pytest.mark.parametrize(("before", "ok"), [(0, True), (1, False)])
def test_a_node_gives_to_no_sum_more_often_than_the_plan_says(before: int, ok: bool) -> None:
    of = TrustParts(trust(FRAMES))
    asked = study(of.trust, QUESTION).study
    plans = plan(asked, of.trust._scope(asked))
    mandate = SignedMandate(of.keys.mandate(of.mandate_of(asked, of.keys.study(asked))), of.keys.root)
    first = next(iter(plans["a"]))
    said = gate.before_sum(mandate, {"a": Ask(first)}, {"a": Ask(first)}, plans, {("a", first): before}, bytes_given=1)
    assert [no.rule for no in said.refusals] == ([] if ok else ["sum-budget"])


def test_no_figure_of_time_or_energy_is_made_up() -> None:
    """Where nothing is measured, nothing is reported."""
    result = study(trust(FRAMES), dt.Describe(["x"])).run()
    assert not {"energy", "watt_hours", "seconds", "cpu", "co2"} & set(result.provenance)
