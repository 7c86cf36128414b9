"""The table of states: every move that it has is possible, and no other."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import get_args

import pytest

from trust.documents.study_states import ENDED, FOLLOWS, State, check_move
from trust.errors import Refused

STATES: tuple[State, ...] = get_args(State)
MOVES = {
    ("filed", "mandated"), ("filed", "refused"), ("filed", "revoked"), ("filed", "cancelled"),
    ("mandated", "running"), ("mandated", "revoked"), ("mandated", "cancelled"),
    ("running", "released"), ("running", "refused"), ("running", "revoked"), ("running", "failed"),
    ("running", "cancelled"),
    ("released", "revoked"), ("failed", "revoked"), ("cancelled", "revoked"),
}  # fmt: skip


@pytest.mark.parametrize(("now", "then"), list(itertools.product(STATES, STATES)))
def test_a_study_moves_as_the_table_says_and_in_no_other_way(now: State, then: State) -> None:
    if (now, then) in MOVES:
        check_move("s", now, then)
        return
    with pytest.raises(Refused) as refused:
        check_move("s", now, then)
    assert refused.value.rule == "study-state"
    assert f"'s' is {now}" in refused.value.text
    assert refused.value.remedy


def test_every_state_is_in_the_table_and_what_has_ended_is_never_run_again() -> None:
    assert set(FOLLOWS) == set(STATES)
    for state in ENDED:
        assert FOLLOWS[state] <= {"revoked"}
    assert not FOLLOWS["revoked"]


def test_who_comes_second_is_told_to_wait_and_not_to_file_again() -> None:
    with pytest.raises(Refused, match="'s' is running already; to fix it: wait for its end"):
        check_move("s", "running", "running")


def test_the_page_for_members_has_the_same_table() -> None:
    page = (Path(__file__).parents[3] / "docs" / "committee.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:2] == "| "]
    table = {row[0]: frozenset(row[2].replace("–", "").split(", ")) - {""} for row in rows if row[0] in STATES}
    assert table == FOLLOWS
