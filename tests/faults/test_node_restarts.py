"""A node's process is ended at every message of a study, and started again: the result is the same, nothing twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import datatrust as dt
from coordinator.study.conductor import Coordinator, StudyOutcome, conduct
from tests.support.restartable_trust import NAMES, Disturbed, RestartableTrust
from trust.protocol.messages import UP, unpack


def run(places: RestartableTrust, channel: Disturbed) -> StudyOutcome:
    _, signed, mandate, planned = places.study()
    keys = places.of.keys
    return conduct(Coordinator(keys.coordinator, keys.root), signed, mandate, planned, channel)


def same(one: StudyOutcome, other: StudyOutcome) -> bool:
    """But for the bits below a double's last place, which are random (docs/protocol.md, 6, Fill)."""
    for name, values in one.values.items():
        for key, value in values.items():
            here, there = np.asarray(value), np.asarray(other.values[name][key])
            if here.dtype.kind in "ifc" and not np.allclose(here, there, rtol=1e-12, atol=1e-12, equal_nan=True):
                return False
            if here.dtype.kind not in "ifcO" and not np.array_equal(here, there):
                return False
    return one.partners == other.partners


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyOutcome, list[str]]:
    channel = Disturbed(RestartableTrust(tmp_path_factory.mktemp("calm")))
    return run(channel.places, channel), channel.kinds


def test_a_study_has_several_sums_that_follow_from_totals(undisturbed: tuple[StudyOutcome, list[str]]) -> None:
    assert undisturbed[1][:2] == ["mandate", "start"]
    assert undisturbed[1].count("ask") >= 4


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True], ids=["before the message", "the answer is lost"])
def test_a_node_that_was_killed_at_any_message_goes_on(
    tmp_path: Path, undisturbed: tuple[StudyOutcome, list[str]], lost: bool
) -> None:
    calm, kinds = undisturbed
    for at in range(len(kinds) - (1 if lost else 0)):  # an answer to the close is not waited for
        folder = tmp_path / str(at)
        folder.mkdir()
        places = RestartableTrust(folder)

        def kill(name: str, n: int, at: int = at, places: RestartableTrust = places) -> None:
            if n == at and name == "b":
                places.start("b")

        channel = (
            Disturbed(places, lose=lambda name, n, at=at: n == at and name == "b")  # type: ignore[misc]
            if lost
            else Disturbed(places, before=kill)
        )
        assert same(run(places, channel), calm), (at, kinds[at])
        entries = Counter(entry.kind for entry in places.node("b").store._journal.entries())
        assert entries["sum-contributed"] == kinds.count("ask")
        assert (entries["study-approved"], entries["study-started"], entries["study-closed"]) == (1, 1, 1)


def test_all_nodes_killed_at_every_message(tmp_path: Path, undisturbed: tuple[StudyOutcome, list[str]]) -> None:
    calm, _ = undisturbed
    places = RestartableTrust(tmp_path)
    channel = Disturbed(places, before=lambda name, n: places.start(name), lose=lambda name, n: n < 3)
    assert same(run(places, channel), calm)
    assert any("goes on after a restart" in words for words in places.told)


def test_what_a_session_keeps_is_gone_after_the_close(tmp_path: Path) -> None:
    places = RestartableTrust(tmp_path)
    seen: list[int] = []
    study, signed, mandate, planned = places.study()
    channel = Disturbed(places, before=lambda name, n: seen.append(len(places.node(name).store.session(study.id))))
    conduct(Coordinator(places.of.keys.coordinator, places.of.keys.root), signed, mandate, planned, channel)
    assert max(seen) > 3  # the control: there was something
    assert all(places.node(name).store.session(study.id) == {} for name in NAMES)


def test_rows_that_have_changed_since_the_first_answer_end_the_study(tmp_path: Path) -> None:
    places = RestartableTrust(tmp_path)

    def opt_out(name: str, n: int) -> None:
        if name == "b" and n == 4:
            new = places.node("b").store.folder / "editions"
            for rows in new.glob("*.parquet"):
                rows.unlink()
            places.start("b")

    with pytest.raises((dt.Refused, dt.DataTrustError)) as wrong:
        run(places, Disturbed(places, before=opt_out))
    assert wrong.value.exit_code != 0
    assert all(places.node(name).store.open_studies() == [] for name in NAMES)


def test_another_node_folder_does_not_answer_for_a_study(tmp_path: Path) -> None:
    """The control: a node that has lost its state cannot go on."""
    places = RestartableTrust(tmp_path)

    def lose(name: str, n: int) -> None:
        if name == "b" and n == 3:
            (places.node("b").store.folder / "state.sqlite").unlink()
            for more in ("state.sqlite-wal", "state.sqlite-shm"):
                (places.node("b").store.folder / more).unlink(missing_ok=True)
            places.start("b")

    channel = Disturbed(places, before=lose)
    with pytest.raises(dt.Refused):
        run(places, channel)
    last = [unpack(raw, UP)[0] for name, raw in channel.answers if name == "b"]
    assert "refusal" in {header["kind"] for header in last}
