"""The database under the docket: its versions, what is said when it cannot be used, and no password in it."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from coordinator.docket import database, migrations
from coordinator.docket.database import Database, Postgres, open_database
from tests.coordinator.conftest import Opened
from tests.support.committee import NAME, Desk, checks, rotated, signed
from tests.support.postgres import new_schema
from trust.errors import DataTrustError, Fault, InvalidInput

CANARY = "canary-4711"


def opened(place: Path | str) -> Database:
    return open_database(place, durable=False)


def run(place: Path | str, *statements: str) -> None:
    """As an administrator, or another software, does; nothing is prepared before."""
    if isinstance(place, str):
        with psycopg.connect(place, autocommit=True) as db:
            for statement in statements:
                db.execute(statement.encode())
        return
    place.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(place / "state.sqlite", isolation_level=None)) as file:
        for statement in statements:
            file.execute(statement)


def columns(db: Database) -> set[tuple[str, str]]:
    if isinstance(db, Postgres):
        query = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
    else:
        query = "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'"
    return {(table, column) for table, column in db.rows(query)}


# ---- versions


def test_a_new_state_has_the_newest_version_and_the_same_tables_on_both(tmp_path: Path, postgres: str) -> None:
    found = []
    for place in (tmp_path / "coordinator", new_schema(postgres)):
        with contextlib.closing(opened(place)) as db:
            assert db.revision() == migrations.HEAD
            found.append(columns(db))
    assert found[0] == found[1]
    assert ("kept", "raw") in found[0]


def test_the_list_of_versions_is_that_of_the_steps() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations.FOLDER))
    config.set_main_option("path_separator", "os")
    steps = list(ScriptDirectory.from_config(config).walk_revisions())
    assert tuple(step.revision for step in reversed(steps)) == migrations.REVISIONS


def test_a_state_of_today_is_opened_at_once_without_the_software_that_makes_it(place: Path | str) -> None:
    opened(place).close()
    script = (
        "import sys, time; from pathlib import Path; from coordinator.docket.database import open_database\n"
        "def took():\n    began = time.perf_counter(); open_database(place).close()\n"
        "    return time.perf_counter() - began\n"
        "place = sys.argv[1] if '://' in sys.argv[1] else Path(sys.argv[1])\n"
        "print(min(took() for _ in range(5)), *(m for m in ('alembic', 'sqlalchemy', 'psycopg') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(place)], capture_output=True, text=True, timeout=60, check=True
    )
    took, *loaded = done.stdout.split()
    if isinstance(place, Path):
        assert (loaded, float(took) < 0.05) == ([], True)
    else:
        assert loaded == ["sqlalchemy", "psycopg"]


def test_a_state_whose_making_fails_half_way_is_left_as_it_was(place: Path | str) -> None:
    run(place, "CREATE TABLE said (x TEXT)")  # the last table cannot be made
    with pytest.raises(Fault, match="cannot be used"):
        opened(place)
    run(place, "CREATE TABLE log (x TEXT)", "DROP TABLE log")  # the first was undone
    run(place, "DROP TABLE said")
    opened(place).close()


def test_a_state_of_a_newer_version_is_refused_and_left_alone(filed: Desk) -> None:
    filed.by_hand("UPDATE datatrust_version SET version_num = '0009'")
    with pytest.raises(
        InvalidInput, match=r"a state of version 0009; expected version 0001 or older; .* newer datatrust"
    ):
        filed.again()
    run(filed.place, "UPDATE datatrust_version SET version_num = '0001'")
    run(filed.place, "INSERT INTO datatrust_version (version_num) VALUES ('0000')")
    with pytest.raises(InvalidInput, match="a state with 2 versions"):
        filed.again()
    run(filed.place, "DELETE FROM datatrust_version WHERE version_num = '0000'")
    assert filed.again().find(NAME).state == "filed"


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_file_with_a_newer_mark_is_refused_and_left_alone(filed: Desk) -> None:
    run(filed.place, "PRAGMA user_version=2")
    with pytest.raises(InvalidInput, match=r"a state of version 2; expected version 1 or older; .* use a newer"):
        filed.again()
    run(filed.place, "PRAGMA user_version=1")
    assert filed.again().find(NAME).state == "filed"


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_a_database_in_which_something_else_is_is_left_alone(place: str) -> None:
    run(place, "CREATE TABLE study (x TEXT)", "CREATE TABLE alembic_version (version_num TEXT)")
    with pytest.raises(InvalidInput, match="holds tables of something else; expected an empty database"):
        opened(place)
    run(place, "DROP TABLE study")
    with contextlib.closing(opened(place)) as db:  # another's table of versions is not ours
        assert db.revision() == migrations.HEAD


# ---- what is no database


@pytest.mark.parametrize(
    "url",
    [
        "",
        f"/srv/{CANARY}",
        f"postgresql//me:{CANARY}@host/db",
        f"postgresql://me:{CANARY}@host:port/db",
        f"postgresql://me:{CANARY}@host",
        f"mysql://me:{CANARY}@host/db",
        f"{CANARY}://me@host/db",
        f"postgresql+asyncpg://me:{CANARY}@host/db",
        f"postgresql://me:x@{CANARY}@host/db",
        f"postgresql://me:x@h/{CANARY}@host/db",
        f"postgresql://me:{CANARY}@[::1/db",
    ],
)
def test_a_url_that_is_none_is_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape("expected a folder, or postgresql://")) as error:
        open_database(url)
    unsaid(error.value)


def unsaid(error: BaseException) -> None:
    assert CANARY not in "".join(traceback.format_exception(error))
    assert CANARY not in repr(error)


def test_without_its_driver_postgresql_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InvalidInput, match=re.escape("pip install 'datatrust-federation[coordinator]'")) as error:
        open_database(f"postgresql://me:{CANARY}@127.0.0.1/db")
    unsaid(error.value)


def test_a_server_that_is_not_there_is_a_fault() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://me:{CANARY}@127.0.0.1:{free.getsockname()[1]}/trust"
        with pytest.raises(Fault, match=r"database 'trust' at 127\.0\.0\.1:\d+ cannot be reached") as error:
            open_database(url)
    unsaid(error.value)


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_a_fault_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(Fault, match="cannot be reached") as error:
            open_database(f"postgresql://me:{CANARY}@127.0.0.1:{silent.getsockname()[1]}/trust")
        assert time.monotonic() - began < 10
    unsaid(error.value)


@pytest.fixture(scope="module")
def locked(postgres: str) -> Iterator[str]:
    """The same server, where the user `locked` needs a password: `{}` in the URL is its place."""
    with psycopg.connect(postgres, autocommit=True) as db:
        (file,) = db.execute("SHOW hba_file").fetchone() or ("",)
        (rules,) = db.execute("SELECT pg_read_file(%s)", (file,)).fetchone() or ("",)
        db.execute(f"CREATE ROLE locked LOGIN PASSWORD '{CANARY}'".encode())
        _replace(db, file, "host all locked 127.0.0.1/32 scram-sha-256\n" + rules)
        yield postgres.replace("tester@", "locked{}@")
        _replace(db, file, rules)
        db.execute("DROP ROLE locked")


def _replace(db: psycopg.Connection[Any], file: str, text: str) -> None:
    """The server's own rules on who is let in; it runs as another user than the tests."""
    ((large,),) = db.execute("SELECT lo_from_bytea(0, %s)", (text.encode(),)).fetchall()
    db.execute("SELECT lo_export(%s, %s)", (large, file))
    db.execute("SELECT pg_reload_conf()")
    time.sleep(0.2)


@pytest.mark.parametrize(("password", "says"), [(f":{CANARY}x", "refuses the password"), ("", "asks for a password")])
def test_a_wrong_password_is_said_and_not_repeated(locked: str, password: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=rf"the server of the database .* {says} of user 'locked'") as error:
        open_database(locked.format(password))
    assert "correct user, password or database in the URL" in str(error.value)
    unsaid(error.value)


def test_who_has_the_password_and_no_rights_is_told_so_and_it_is_in_nothing_that_can_be_printed(locked: str) -> None:
    url = locked.format(f":{CANARY}")
    with pytest.raises(
        Fault, match=r"\(InsufficientPrivilege\); to fix it: correct its server.s disk or its user.s"
    ) as error:
        open_database(url)  # it may create no table
    unsaid(error.value)
    db = Postgres(url, durable=False)  # positive control: the password is right
    assert db.rows("SELECT current_user") == [("locked",)]
    assert CANARY not in repr(db) + str(db)
    db.close()


def test_a_database_that_does_not_exist_is_a_fault(postgres: str) -> None:
    with pytest.raises(Fault, match=r"'nowhere' at .* cannot be reached .*create the database"):
        open_database(postgres.replace("/postgres", "/nowhere"))


# ---- while it is used

ON_POSTGRESQL = pytest.mark.parametrize("place", ["postgresql"], indirect=True)


@ON_POSTGRESQL
def test_a_full_disk_of_the_server_is_a_fault_and_nothing_is_written(filed: Desk) -> None:
    filed.by_hand(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON log EXECUTE FUNCTION full_disk()",
    )
    before = filed.dump()
    with pytest.raises(Fault, match=r"\(DiskFull\); to fix it: correct its server's disk"):
        filed.docket.file(signed("b-1a2b"))
    assert filed.dump() == before
    filed.by_hand("DROP TRIGGER full_disk ON log")
    assert filed.docket.file(signed("b-1a2b")).state == "filed"


def _end_connection(filed: Desk) -> None:
    db = filed.docket._db
    ((pid,),) = db.rows("SELECT pg_backend_pid()")
    filed.by_hand(f"SELECT pg_terminate_backend({pid})")


READS: dict[str, Callable[[Desk], Any]] = {
    "find": lambda desk: desk.docket.find(NAME),
    "entries": lambda desk: list(desk.docket.register.entries()),
    "verify": lambda desk: desk.docket.register.verify(),
    "write": lambda desk: desk.docket.notes.write(NAME, "sum 1"),
    "accept": lambda desk: desk.docket.accept_root(rotated()[1]),
}


@ON_POSTGRESQL
@pytest.mark.parametrize("what", READS)
def test_a_connection_that_was_lost_is_made_again(filed: Desk, what: str) -> None:
    """The server was started anew meanwhile."""
    _end_connection(filed)
    READS[what](filed)
    assert filed.docket.file(signed("b-1a2b")).number == "2026-0002"


def _lost_before_the_next_statement(desk: Desk) -> None:
    with desk.docket.register.transaction():
        desk.docket._write("refusal", NAME, {"rule": "x"})
        _end_connection(desk)
        desk.docket._write("refusal", NAME, {"rule": "x"})


def _lost_before_the_commit(desk: Desk) -> None:
    with desk.docket._db.transaction():
        desk.docket._write("refusal", NAME, {"rule": "x"})
        _end_connection(desk)


def _failed_and_passed_over(desk: Desk) -> None:
    """PostgreSQL answers the COMMIT after it with ROLLBACK, and with no error."""
    with desk.docket._db.transaction():
        desk.docket._write("refusal", NAME, {"rule": "x"})
        with contextlib.suppress(psycopg.Error):
            desk.docket._db.execute("SELECT 1 / 0")


class Parked(BaseException):
    """What a signal's handler raises, wherever the process is."""


@ON_POSTGRESQL
@pytest.mark.parametrize("inside", [True, False])
def test_a_docket_that_was_broken_off_in_the_middle_of_a_statement_goes_on(filed: Desk, inside: bool) -> None:
    db = filed.docket._db

    def broken_off(*_: Any) -> None:
        raise Parked

    def slow() -> None:
        with filed.docket.register.transaction() if inside else contextlib.nullcontext():
            db.execute("SELECT pg_sleep(20)")

    before, old = filed.dump(), signal.signal(signal.SIGALRM, broken_off)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(Parked):
            slow()
    finally:
        signal.signal(signal.SIGALRM, old)
    filed.docket.leases.release(NAME, "a")
    assert filed.dump() == before


@ON_POSTGRESQL
@pytest.mark.parametrize(
    ("what", "says"),
    [
        (_lost_before_the_next_statement, "look at its server and at the network"),
        (_lost_before_the_commit, "look at its server and at the network"),
        (_failed_and_passed_over, "cannot be used"),
    ],
)
def test_a_transaction_that_did_not_end_well_has_not_happened(
    filed: Desk, what: Callable[[Desk], None], says: str
) -> None:
    before = filed.dump()
    with pytest.raises(Fault, match=says):
        what(filed)
    assert filed.dump() == before
    filed.docket.publish("refusal", NAME, {"rule": "x", "text": "y", "remedy": "", "partner": ""})
    assert all(checks(filed).values())


def test_a_writer_who_waits_too_long_for_another_is_told(
    open_desk: Opened, place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_desk().docket
    monkeypatch.setattr(database, "_LOCK_SECONDS", 1)
    desk = open_desk()
    with other.register.transaction():
        before = desk.docket.register.head()
        began = time.monotonic()
        with pytest.raises(Fault, match="cannot be used"):
            desk.docket.notes.write(NAME, "sum 1")
        assert 0.5 < time.monotonic() - began < 10
        assert desk.docket.register.head() == before  # who reads waits for nobody
    desk.docket.notes.write(NAME, "sum 2")
    assert other.notes.read(NAME).text == "sum 2"


def test_a_transaction_inside_another_is_a_mistake_of_ours_and_undoes_neither(desk: Desk) -> None:
    with desk.docket.register.transaction():
        desk.docket._write("refusal", NAME, {"rule": "x", "text": "y", "remedy": "", "partner": ""})
        with pytest.raises(RuntimeError, match="inside another"):
            desk.docket.notes.write(NAME, "sum 1")
    assert desk.kinds(NAME) == ["refusal"]


@pytest.mark.parametrize("durable", [True, False])
def test_what_is_committed_survives_a_power_loss_unless_it_need_not(place: Path | str, durable: bool) -> None:
    with contextlib.closing(open_database(place, durable=durable)) as db:
        if isinstance(place, Path):
            assert db.rows("PRAGMA synchronous") == [(2 if durable else 0,)]
            assert db.rows("PRAGMA journal_mode") == [("wal",)]
        else:
            assert db.rows("SHOW synchronous_commit") == [("on" if durable else "off",)]


def test_every_error_of_this_page_says_what_to_do(place: Path | str) -> None:
    with contextlib.closing(opened(place)) as db, pytest.raises(DataTrustError, match="; to fix it: "):
        db.rows("SELECT x FROM nowhere")
