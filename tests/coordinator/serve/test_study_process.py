"""The process of one study, where another one has ended the study meanwhile."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.serve.study_process import _carry
from coordinator.settings import CoordinatorSettings
from tests.support.restartable_trust import ASKED, RestartableTrust
from trust.errors import InvalidInput


@pytest.fixture
def released(tmp_path: Path) -> tuple[CoordinatorSettings, str]:
    """A coordinator's folder with a study that was released, and no SuperLink."""
    places = RestartableTrust(tmp_path)
    result = places.trust.study("many", purpose="AcademicResearch", analyses=ASKED).run()
    return CoordinatorSettings(tmp_path / "state"), result.study.id


def carried(settings: CoordinatorSettings, study: str) -> list[str]:
    said: list[str] = []
    with closing(settings.docket()) as docket:
        _carry(settings, docket, "127.0.0.1:1", study, threading.Event(), said.append)
    return said


def test_a_study_that_another_process_has_released_is_left_alone(released: tuple[CoordinatorSettings, str]) -> None:
    """Its lease is free again, and what was kept of it is forgotten: to conduct it anew would ask the nodes again."""
    settings, study = released
    assert settings.result(study).exists()
    assert carried(settings, study) == []
    settings.result(study).unlink()
    assert carried(settings, study) == []  # and nothing was kept to write the file from


def test_what_was_kept_of_one_whose_file_is_written_goes(released: tuple[CoordinatorSettings, str]) -> None:
    """Its process was killed between the two."""
    settings, study = released
    with closing(settings.docket()) as docket:
        docket.messages.keep(study, "messages 0", b"")
        assert docket.messages.studies() == [study]
        assert carried(settings, study) == []
        assert docket.messages.studies() == []


def test_what_a_process_kept_that_had_lost_its_lease_goes(released: tuple[CoordinatorSettings, str]) -> None:
    """It was stopped for longer than its lease, and another has released the study meanwhile."""
    settings, study = released
    with closing(settings.docket()) as docket:
        docket.messages.keep(study, "answers 3", b"")
        assert carried(settings, study) == []
        assert docket.messages.studies() == []


def test_one_whose_file_was_not_written_is_gone_on_with(released: tuple[CoordinatorSettings, str]) -> None:
    """The control: it wants the SuperLink's secrets, which are not there."""
    settings, study = released
    settings.result(study).unlink()
    with closing(settings.docket()) as docket:
        docket.messages.keep(study, "messages 0", b"")
    with pytest.raises(InvalidInput, match="engine"):
        carried(settings, study)
