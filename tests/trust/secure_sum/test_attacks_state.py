"""Attacks with the question and with what a node still holds: own coefficients, old keys, a restored snapshot."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.secure_sum import question
from trust.logs.checkpoint import Checkpoint
from trust.logs.merkle import EMPTY
from trust.secure_sum.encoding import Layout
from trust.secure_sum.errors import (
    JournalCorrupt,
    NodeRefused,
    QuestionRepeated,
    StateNotDerived,
    StateRolledBack,
    StudyClosed,
    TooFewEffectiveRecords,
)
from trust.secure_sum.frames import mask_seed, ratchet
from trust.secure_sum.masks import add_masks
from trust.secure_sum.question import AnalysisAsk, Question, check_follows
from trust.secure_sum.state import close_if_rolled_back

BETA = {"beta": np.array([0.5, -2.0, 1e6])}


def _asked(made: Any, values: Any, mine: Any = BETA) -> None:
    made.contribute("p000", question(values=values), replay=lambda: {"risk": mine}, compute=_computed)


def _computed() -> Any:
    raise LookupError("computed")


@pytest.mark.parametrize(
    "values",
    [
        {"beta": np.array([0.5, -2.0, 1e6 + 0.01])},
        {"beta": np.array([0.5 + 1e-8, -2.0, 1e6])},
        {"beta": np.array([np.nan, -2.0, 1e6])},
        {"beta": np.array([np.inf, -2.0, 1e6])},
        {"beta": np.array([0.5, -2.0])},
        {"beta": np.array([[0.5, -2.0, 1e6]])},
        {"beta": np.array([0.5, -2.0, 1e6], np.float32)},
        {"beta": np.array([0, -2, 1000000])},
        {"gamma": np.array([0.5, -2.0, 1e6])},
        {**BETA, "gamma": np.array([0.0])},
    ],
)
def test_coefficients_of_the_coordinator_s_own_are_refused_before_anything_is_computed(make: Any, values: Any) -> None:
    with pytest.raises(StateNotDerived):
        _asked(make(3), values)


def test_coefficients_within_the_last_places_of_the_replay_are_computed(make: Any) -> None:
    with pytest.raises(LookupError):
        _asked(make(3), {"beta": np.array([0.5 + 1e-10, -2.0 - 1e-9, 1e6 + 5e-4])})


def test_a_huge_value_against_a_replay_of_zero_is_refused(make: Any) -> None:
    with pytest.raises(StateNotDerived):
        _asked(make(3), {"beta": np.array([1e300])}, mine={"beta": np.array([0.0])})


@pytest.mark.parametrize("mine", [{"beta": np.array([np.inf, -2.0, 1e6])}, {"beta": np.array([np.nan, -2.0, 1e6])}])
def test_a_replay_that_is_not_finite_refuses_everything(make: Any, mine: Any) -> None:
    with pytest.raises(StateNotDerived):
        _asked(make(3), BETA, mine=mine)
    with pytest.raises(StateNotDerived):
        _asked(make(3), mine, mine=mine)


def test_an_analysis_that_asks_nothing_more_in_the_replay_refuses() -> None:
    part = AnalysisAsk("risk", "step", b"1", "derived", BETA)
    with pytest.raises(StateNotDerived):
        check_follows(part, None)


def test_values_where_a_plan_takes_none_are_refused_and_a_free_state_is_not_compared() -> None:
    with pytest.raises(StateNotDerived):
        check_follows(AnalysisAsk("table", "moments", b"1", "none", BETA), None)
    check_follows(AnalysisAsk("table", "moments", b"1", "none"), None)
    check_follows(AnalysisAsk("net", "round", b"1", "free", BETA), None)


def test_whole_numbers_are_compared_exactly_and_text_has_no_bytes() -> None:
    big = {"cut": np.array([2**60])}
    check_follows(AnalysisAsk("tree", "grow", b"1", "derived", big), {"cut": np.array([2**60])})
    with pytest.raises(StateNotDerived):
        check_follows(AnalysisAsk("tree", "grow", b"1", "derived", big), {"cut": np.array([2**60 + 1])})
    with pytest.raises(StateNotDerived):
        _ = AnalysisAsk("tree", "grow", b"1", "derived", {"cut": np.array(["x"])}).state_bytes


def test_weights_that_single_out_a_record_stop_in_the_rules_and_nothing_is_kept(make: Any) -> None:
    made = make(3)

    def one_record() -> Any:
        raise TooFewEffectiveRecords("weights of too few records", expected="11 effective records")

    with pytest.raises(NodeRefused) as refused:
        made.contribute("p000", question(), compute=one_record)
    assert refused.value.code == "too-few-effective-records"
    assert made.stores["p000"].contribution("study-1", 0) is None


@pytest.mark.parametrize("r", [0, 3])
def test_after_a_sum_the_state_of_all_nodes_together_opens_no_upload(make: Any, r: int) -> None:
    made = make(3)
    before = {name: dict(made.stores[name].study("study-1").keys) for name in made.names}
    asked = question(r)
    uploads = [made.contribute(name, asked) for name in made.names]
    y, ctx = np.frombuffer(uploads[0].body, np.uint64), made.context(asked).digest
    for key_of in (
        lambda name: made.stores[name].study("study-1").keys["p000"],
        lambda name: made.stores["p000"].study("study-1").keys[name],
        lambda name: ratchet(made.stores[name].study("study-1").keys["p000"]),
    ):
        opened = y.copy()
        add_masks(opened, [], [mask_seed(key_of(name), ctx) for name in made.names[1:]])
        assert not np.any(opened == [1, 2, 3, 1])
    # Positive control: the keys that they held before do open it.
    keys = before["p000"]
    for _ in range(r):
        keys = {name: ratchet(key) for name, key in keys.items()}
    opened = y.copy()
    add_masks(opened, [], [mask_seed(keys[name], ctx) for name in made.names[1:]])
    assert opened.tolist() == [1, 2, 3, 1]


def _head(store: Any) -> Checkpoint:
    return Checkpoint("a journal", *store.head())


def test_a_restored_snapshot_closes_every_open_study(make: Any, tmp_path: Path) -> None:
    made = make(3)
    make(3, folder=tmp_path / "federation-0", study="study-2")
    folder, backup = tmp_path / "federation-0" / "p000", tmp_path / "backup"
    shutil.copytree(folder, backup)
    made.contribute("p000", question())
    register = _head(made.stores["p000"])
    close_if_rolled_back(made.stores["p000"], register, time="2026-11-24T12:00:01Z")
    close_if_rolled_back(made.stores["p000"], Checkpoint("a journal", 0, EMPTY), time="2026-11-24T12:00:01Z")
    made.stores["p000"].close()
    shutil.rmtree(folder)
    shutil.copytree(backup, folder)
    made.restart("p000")
    with pytest.raises(StateRolledBack):
        close_if_rolled_back(made.stores["p000"], register, time="2026-11-24T12:00:01Z")
    assert not made.stores["p000"].open_studies()
    with pytest.raises(StudyClosed):
        made.contribute("p000", question(0, b"otherwise"))


def test_a_journal_that_grew_past_the_register_after_a_restore_is_noticed_too(make: Any, tmp_path: Path) -> None:
    made = make(3)
    folder, backup = tmp_path / "federation-0" / "p000", tmp_path / "backup"
    shutil.copytree(folder, backup)
    made.contribute("p000", question())
    register = _head(made.stores["p000"])
    made.stores["p000"].close()
    shutil.rmtree(folder)
    shutil.copytree(backup, folder)
    made.restart("p000")
    for r, plan in ((0, b"1"), (1, b"2"), (2, b"3")):
        made.contribute("p000", question(r, plan))
    with pytest.raises(JournalCorrupt):
        close_if_rolled_back(made.stores["p000"], register, time="2026-11-24T12:00:01Z")
    assert not made.stores["p000"].open_studies()


def test_two_analyses_with_one_question_in_a_sum_are_refused(make: Any) -> None:
    """The second would be the first one's repetition."""
    made = make(3)
    parts = [AnalysisAsk(name, "step", b'{"q":1}', "none", {}) for name in ("one", "two")]
    with pytest.raises(QuestionRepeated):
        made.contribute("p000", Question.of(0, parts, Layout("u64", 3)), compute=_computed)
