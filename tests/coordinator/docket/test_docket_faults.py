"""The docket when disk, file or another process gets in the way: all of a change has happened, or nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator.docket.register import Register
from coordinator.docket.roots import Roots
from tests.coordinator.conftest import Opened
from tests.support.committee import LAY, NAME, SECOND, THIRD, Desk, checks, mandate, refused, revocation, signed, vote
from trust.errors import Fault, Refused

ON_SQLITE = pytest.mark.parametrize("place", ["sqlite"], indirect=True)


def schema(desk: Desk) -> str:
    return str(desk.place).rpartition("%3D")[2]


# ---- all or nothing

ACTIONS: dict[str, tuple[str, Callable[[Desk], object]]] = {
    "file": ("filed", lambda desk: desk.docket.file(signed("new-1a2b"))),
    "turn away": ("filed", lambda desk: desk.docket.turned_away(signed("new-1a2b"), Refused("x", "y"))),
    "refuse": ("filed", lambda desk: desk.docket.refuse(vote(desk.digest(), SECOND))),
    "refuse for good": ("filed", lambda desk: desk.docket.refuse(vote(desk.digest(), LAY))),
    "revoke": ("running", lambda desk: desk.docket.revoke(revocation(desk.digest(), SECOND))),
    "release": ("running", lambda desk: desk.docket.released(NAME, {"result": "x"})),
    "end by a rule": ("running", lambda desk: desk.docket.refused(NAME, Refused("x", "y"))),
    "sign": ("filed", lambda desk: desk.docket.sign(NAME, mandate(desk, LAY, THIRD))),
    "publish": ("running", lambda desk: desk.docket.publish("refusal", NAME, {"rule": "x", "text": "y"})),
}


@pytest.mark.parametrize("fails", ["append", "checkpoint"])
@pytest.mark.parametrize("action", ACTIONS)
def test_what_the_register_does_not_take_has_not_happened(
    desk: Desk, action: str, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, act = ACTIONS[action]
    desk.bring_to(state)
    before = desk.dump()
    real = getattr(Register, fails)

    def failing(*arguments: Any) -> None:
        real(*arguments)  # written, and then the disk is full
        raise OSError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Register, fails, failing)
        with pytest.raises(Fault, match=r"cannot be used \(OSError\); to fix it: correct"):
            act(desk)
    assert desk.dump() == before
    act(desk)
    desk.docket.register.verify()
    assert desk.dump() != before
    kinds = desk.kinds("new-1a2b" if action in ("file", "turn away") else NAME)
    assert all(kinds.count(kind) == 1 for kind in kinds)


@ON_SQLITE
def test_a_full_disk_is_a_fault_and_reading_goes_on(filed: Desk) -> None:
    db = filed.docket._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count={pages}")

    def fill() -> None:
        for at in itertools.count():
            filed.docket.file(signed(f"study-{at}", title="x" * 200))

    with pytest.raises(Fault, match="cannot be used") as fault:
        fill()
    assert fault.value.exit_code == 3
    assert filed.docket.find(NAME).state == "filed"
    db.execute("PRAGMA max_page_count=4294967294")
    assert filed.sign(LAY, SECOND) == "mandated"


def test_a_database_that_can_only_be_read_is_a_fault(filed: Desk) -> None:
    before, sqlite = filed.dump(), isinstance(filed.place, Path)
    if sqlite:
        filed.docket._db.execute("PRAGMA query_only=ON")
    else:  # a standby, or a user who may only read
        filed.by_hand("CREATE ROLE reader", "GRANT SELECT ON ALL TABLES IN SCHEMA " + schema(filed) + " TO reader")
        filed.by_hand("GRANT USAGE ON SCHEMA " + schema(filed) + " TO reader")
        filed.docket._db.execute("SET ROLE reader")
    for act in (lambda: filed.sign(LAY), lambda: filed.docket.file(signed("b-1a2b"))):
        with pytest.raises(Fault, match="correct disk or rights" if sqlite else r"Privilege\); to fix it: correct its"):
            act()
    assert filed.docket.find(NAME).state == "filed"
    if not sqlite:
        filed.docket._db.execute("RESET ROLE")
        filed.by_hand("DROP OWNED BY reader", "DROP ROLE reader")
    assert filed.dump() == before


def test_a_closed_database_is_a_fault_for_every_reader(filed: Desk) -> None:
    filed.docket.close()
    for read in (
        filed.docket.studies,
        lambda: filed.docket.find(NAME),
        lambda: filed.docket.used(NAME),
        lambda: filed.docket.journal_head("east"),
        lambda: filed.docket.revocations("x"),
        lambda: filed.docket.mandate(NAME),
    ):
        with pytest.raises(Fault):
            read()
    filed.docket = filed.again()


@ON_SQLITE
@pytest.mark.parametrize("content", [b"no database at all" * 100, None], ids=["other bytes", "a folder"])
def test_a_file_that_is_no_database_is_a_fault(place: Path, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "coordinator" / "state.sqlite"
    file.parent.mkdir()
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(Fault, match=r"the coordinator's state in '.*coordinator' cannot be used"):
        Desk(file.parent)


def test_a_register_that_was_changed_does_not_open(filed: Desk) -> None:
    db = filed.docket._db
    (entry,) = db.rows("SELECT seq, leaf, body FROM log WHERE seq = 1")
    filed.by_hand("DELETE FROM log WHERE seq = 1")
    with refused("log-corrupt", "entry 1 is missing"):
        filed.again()
    db.execute("INSERT INTO log (seq, leaf, body) VALUES (?, ?, ?)", entry)
    assert filed.again().find(NAME).state == "filed"


# ---- two processes


def test_two_that_open_an_empty_place_found_one_register(open_desk: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second looks before the first has written, and writes after it."""
    real = Roots.untold
    late: list[bool] = []

    def second_comes_first(self: Roots) -> bool:
        found = real(self)
        if not late:
            late.append(True)
            open_desk()
        return found

    monkeypatch.setattr(Roots, "untold", second_comes_first)
    desk = open_desk()
    assert late
    assert desk.kinds() == ["root", "charter"]


def test_two_dockets_on_one_folder_see_each_other_and_give_each_number_once(filed: Desk) -> None:
    other = filed.again()
    assert [other.file(signed(f"other-{at}")).number for at in range(2)] == ["2026-0002", "2026-0003"]
    assert filed.docket.file(signed("mine-1")).number == "2026-0004"
    other.sign(NAME, mandate(filed, LAY))
    assert filed.sign(THIRD) == "mandated"
    assert other.find(NAME).signers == {LAY.key_id, THIRD.key_id}
    with refused("study-state"):
        other.refuse(vote(filed.digest(), SECOND))
    filed.docket.move(NAME, "running")
    with refused("study-state", "is running already; to fix it: wait for its end"):
        other.move(NAME, "running")
    assert filed.kinds(NAME) == ["study", "mandate"]
    assert all(checks(filed).values())
