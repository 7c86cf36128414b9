"""The worker: what it goes on after, and what ends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coordinator.docket import roots
from coordinator.operate.certificates import certify
from coordinator.serve import worker
from coordinator.serve.worker import Worker
from coordinator.settings import CoordinatorSettings
from tests.support import killer
from tests.support.restartable_trust import NAMES
from trust.errors import Fault, InvalidInput


@pytest.fixture
def made(tmp_path: Path) -> Iterator[tuple[Worker, list[str]]]:
    """With a study in force, a SuperLink that nobody reaches, and what it says."""
    killer.mandated(tmp_path)
    certify(tmp_path / "state", NAMES)
    said: list[str] = []
    made = Worker(CoordinatorSettings(tmp_path / "state"), "127.0.0.1:1", said.append)
    yield made, said
    made._end()


def test_it_ends_where_the_root_names_another_charter(
    made: tuple[Worker, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor starts another, which reads the charter anew; a SuperLink that is away is waited for."""
    ours, said = made
    wait = ours.stop.wait

    def other(*_: Any) -> None:
        raise InvalidInput("another charter than the root's")

    def away(partners: Any) -> None:
        raise Fault("the SuperLink does not answer")

    def waited(seconds: float) -> bool:
        if said:
            monkeypatch.setattr(roots, "_check_charter", other)
        return wait(min(seconds, 0.01))

    monkeypatch.setattr(ours._engine, "enrol", away)
    monkeypatch.setattr(ours.stop, "wait", waited)
    monkeypatch.setattr(ours, "_hand_out", lambda docket: None)
    with pytest.raises(InvalidInput, match="another charter"):
        ours.run()
    assert said == ["the SuperLink does not answer; trying again"], "the control: it has gone on after a fault"


@pytest.mark.parametrize(("code", "left"), [(worker._UNKNOWN, True), (1, False)])
def test_a_process_of_which_nothing_is_known_keeps_its_lease(
    made: tuple[Worker, list[str]], code: int, left: bool
) -> None:
    """Who starts the processes has died: multiprocessing says that they have too, but they go on."""
    ours, _ = made
    with closing(ours._settings.docket()) as docket:
        (study,) = docket.ids("mandated")
        assert docket.leases.acquire(study, "one", 20.0)
        gone: Any = SimpleNamespace(is_alive=lambda: False, exitcode=code)
        ours._children.append(worker._StudyChild(study, "one", gone))
        ours._reap(docket)
        assert (study in docket.leases.holders()) is left
