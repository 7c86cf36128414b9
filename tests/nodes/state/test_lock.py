"""One process a home; who only looks, or is about to end, is waited for."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from nodes.state.lock import holder, locked
from trust.errors import Fault


def test_who_looks_for_a_moment_keeps_nobody_out(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.2, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
        with locked(tmp_path):
            assert holder(tmp_path) is not None
    assert holder(tmp_path) is None


def test_a_disk_that_is_full_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with locked(tmp_path):
        assert holder(tmp_path) == 0, "held, by whom is not known"


def test_who_stays_is_named(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(Fault, match=f"process {holder(tmp_path)} serves"), locked(tmp_path):
        pass
