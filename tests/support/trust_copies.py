"""Kept trusts for tests of the committee's commands: one is made in each test process, and every test has a copy."""

from __future__ import annotations

import functools
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from datatrust.in_process.folder import TrustFolder
from datatrust.in_process.local_trust import LocalTrust
from tests.support.example import small_trust
from trust.signing import key_files
from trust.signing.envelope import Signer
from trust.signing.key_files import read_signer

PASSPHRASE = "correct horse battery"
ASKED: Mapping[str, Any] = {"table": dt.Describe(["age", "pressure"]), "model": dt.Glm("pressure ~ age + sex")}


@contextmanager
def quick() -> Iterator[None]:
    """Keys that are made meanwhile cost no time to encrypt, and none to open afterwards."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(key_files, "_N", 2)
        yield


def opened(folder: Path, **options: Any) -> LocalTrust:
    """`dt.local` on the folder."""
    return small_trust(state=folder, **{"passphrase": PASSPHRASE} | options)


def close(trust: LocalTrust) -> None:
    """What happens when nobody holds it any more."""
    trust.docket.close()
    for store in trust._stores.values():
        store.close()


def submit(trust: LocalTrust, title: str = "Age and pressure", **more: Any) -> str:
    """A study that waits for the committee; its id."""
    fields: dict[str, Any] = {"purpose": "AcademicResearch", "cohort": "age >= 40", "analyses": ASKED} | more
    return trust.study(title, **fields).submit().id


@functools.cache
def _made() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="datatrust-tests-"))
    weakref.finalize(_made, shutil.rmtree, folder, ignore_errors=True)
    with quick():
        trust = opened(folder / "state")
    submit(trust)
    close(trust)
    return folder / "state"


def copy(folder: Path) -> Path:
    """A folder of its own with one study, number 2026-0001 or what the year says, which nobody has signed."""
    shutil.copytree(_made(), folder)
    return folder


def only(folder: Path) -> str:
    """The id of its first study."""
    docket = TrustFolder(folder).docket()
    try:
        return docket.studies()[0].id
    finally:
        docket.close()


def member(folder: Path, number: int) -> Signer:
    """A member's key; the first is lay."""
    return read_signer(key(folder, number), PASSPHRASE)


def key(folder: Path, number: int) -> Path:
    """Its file."""
    return folder / "committee" / f"member-{number}.pem"
