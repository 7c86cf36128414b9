"""Condition: at least three partners.  Two are refused: named, counted at the roll call, and by every node."""

from __future__ import annotations

from typing import Any

import pytest

import datatrust as dt
from tests.support.outside_view import rule_of, watched
from tests.support.small_trusts import K, rows, study, trust
from tests.support.trust_parts import TrustParts
from trust.errors import StudyInvalid


def frames(sizes: dict[str, int]) -> Any:
    return trust({name: rows(size, seed) for seed, (name, size) in enumerate(sizes.items(), 2)})


def test_two_partners_are_refused_before_anybody_is_asked() -> None:
    with watched() as wire:
        assert rule_of(study(frames({"a": 60, "b": 60}), dt.Describe(["x"])).run) == "organisations"
    assert wire.everything() == []


@pytest.mark.parametrize(
    ("sizes", "rule"),
    [
        ({"a": 60, "b": 60, "c": K - 1}, "organisations"),
        ({"a": 60, "b": 60, "c": K}, "answered"),
        ({"a": 60, "b": 60, "c": K - 1, "d": K - 1}, "organisations"),
        ({"a": 60, "b": 60, "c": K - 1, "d": K}, "answered"),
    ],
    ids=["two of three join", "three of three", "two of four", "three of four"],
)
def test_at_the_roll_call_those_who_join_are_counted(sizes: dict[str, int], rule: str) -> None:
    with watched() as wire:
        assert rule_of(study(frames(sizes), dt.Describe(["x"])).run) == rule
    assert bool(wire.uploads()) is (rule == "answered")
    if rule == "answered":
        assert len({name for name, _ in wire.uploads()}) >= 3


def test_no_node_starts_with_two_though_the_coordinator_says_so() -> None:
    """A coordinator that leaves out one approval at the start."""
    of = TrustParts(frames({"a": 60, "b": 60, "c": 60}))

    def fewer(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        if header["kind"] == "start":
            return {**header, "approvals": [a for a in header["approvals"] if a["name"] != "c"]}, body
        return header, body

    assert rule_of(lambda: of.run(study(of.trust, dt.Describe(["x"])).study, change=fewer)) == "approval-set"
    assert all("upload" not in [s.kind for s in session.egress.sent] for session in of.sessions.values())


def test_no_node_gives_to_a_sum_of_two_after_a_start_of_three() -> None:
    of = TrustParts(frames({"a": 60, "b": 60, "c": 60}))

    def fewer(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        return ({**header, "partners": ["a", "b"]}, body) if header["kind"] == "ask" else (header, body)

    assert rule_of(lambda: of.run(study(of.trust, dt.Describe(["x"])).study, change=fewer)) == "partners-invalid"
    assert all("upload" not in [s.kind for s in session.egress.sent] for session in of.sessions.values())


def test_a_group_that_only_two_partners_have_is_hidden() -> None:
    sizes = {"a": 60, "b": 60, "c": 60}
    made = {name: rows(size, seed) for seed, (name, size) in enumerate(sizes.items(), 2)}
    made["c"]["g"] = ["a", "b"] * 30
    table = study(trust(made), dt.Describe(["x"], by=["g"])).run()["a"].values
    assert table["hidden_groups"].tolist()[2] is True
    whole = study(frames(sizes), dt.Describe(["x"], by=["g"])).run()["a"].values
    assert whole["hidden_groups"].tolist() == [False, False, False]


def test_a_study_cannot_ask_for_fewer() -> None:
    with pytest.raises(StudyInvalid):
        study(frames({"a": 60, "b": 60, "c": 60}), dt.Describe(["x"]), protections={"organisations": 2})
