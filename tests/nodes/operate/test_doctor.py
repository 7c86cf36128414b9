"""The doctor finds what is planted, says how to fix it, and never prints a value, a password or a key."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy

from nodes.keys import NodeKeys, rotate
from nodes.operate import check_machine as checks
from nodes.operate import check_network as checks_network
from nodes.operate import check_source as checks_source
from nodes.operate import doctor
from nodes.operate.findings import Finding, finding_of
from nodes.rows.from_database import DatabaseTable
from nodes.settings import NodeSettings
from nodes.state.lock import locked
from tests.support.example import DATASET, HOSPITALS
from tests.support.node_homes import Founders, enrol_offline, make_homes, partner_of
from tests.support.postgres import postgres
from tests.support.tls_server import tls_server
from trust.errors import DataTrustError, Fault

__all__ = ["postgres"]

PASSWORD = "s3cret-Pa55"
_PERSON = """status: active
customProperties:
  - {property: person, value: patient}
  - {property: rowsPerPerson, value: 1}
"""
_ID = "      - {name: patient, logicalType: string, required: true}\n"


@pytest.fixture
def founders(tmp_path: Path) -> Founders:
    return make_homes(tmp_path)


@pytest.fixture
def home(founders: Founders, tmp_path: Path) -> NodeSettings:
    enrol_offline(tmp_path, "north", founders)
    return NodeSettings.at(tmp_path / "north")


def asked(home: NodeSettings) -> dict[str, Finding]:
    return {finding.check: finding for finding in doctor.doctor(home.own)}


def test_a_home_in_order_beside_a_coordinator_has_no_failure(founders: Founders, tmp_path: Path) -> None:
    roots = json.dumps([envelope.document() for envelope in founders.roots]).encode()
    with tls_server(tmp_path / "server", {"/livez": b"{}", "/v1/roots": roots}) as server:
        enrol_offline(tmp_path, "north", founders, url=server.url, nodes=server.place, authority=server.authority)
        findings = asked(NodeSettings.at(tmp_path / "north"))
    assert len(findings) >= 20
    assert [f for f in findings.values() if f.state == "failure"] == []
    assert findings["superlink"].text.endswith("its certificate lasts 89 days")
    assert findings["clock"].state == "ok"


def test_each_check_of_a_home_that_is_nothing_is_said(tmp_path: Path) -> None:
    (finding,) = [f for f in doctor.doctor(tmp_path) if f.state == "failure"]
    assert (finding.check, finding.remedy) == ("settings", "datatrust node init NAME")


def test_a_home_that_is_not_enrolled_says_so(founders: Founders, tmp_path: Path) -> None:
    findings = asked(NodeSettings.at(tmp_path / "north"))
    assert findings["keys"].state == "ok"
    for name in ("root", "interface", "superlink"):
        assert (findings[name].state, "enrol" in findings[name].remedy) == ("failure", True)


# ---- files


@pytest.mark.parametrize("name", ["keys/sign.pem", "connection/node.pem", "source.toml", "keys"])
def test_a_secret_that_is_open_to_others(name: str, home: NodeSettings) -> None:
    (home.own / name).chmod(0o755 if name == "keys" else 0o640)
    finding = asked(home)["keys"]
    assert finding.state == "failure"
    assert "chmod" in finding.remedy


def test_a_secret_of_another_user(home: NodeSettings) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(home.own / "source.toml", 12345, -1)
    assert "another user" in finding_of("keys", lambda: checks.check_keys(home)).text


def test_a_key_that_is_lost(home: NodeSettings) -> None:
    (home.own / "keys" / "seal.pem").unlink()
    assert asked(home)["keys"].state == "failure"


@pytest.mark.parametrize(("days", "state"), [(60, "ok"), (20, "warning"), (0.001, "failure")])
def test_the_days_that_a_root_has_left(days: float, state: str, founders: Founders, tmp_path: Path) -> None:
    founders.roots.clear()
    root = founders.found(days=days)
    finding = finding_of("root", lambda: checks.check_root(root, datetime.now(UTC)))
    assert finding.state == state


def test_a_root_that_names_other_keys(founders: Founders, home: NodeSettings, tmp_path: Path) -> None:
    founders.partners["north"] = partner_of(NodeKeys.make().public("north"))
    assert checks.check_root_keys(home, founders.found()).state == "failure"
    founders.partners["north"] = partner_of(rotate(home.own, "north"))
    assert checks.check_root_keys(home, founders.found()).state == "warning"


def test_another_charter(home: NodeSettings) -> None:
    file = home.own / "charter" / "charter.toml"
    file.write_text(file.read_text().replace("version = 1", "version = 2"))
    assert asked(home)["charter"].state == "failure"


def test_a_policy_that_allows_more(home: NodeSettings) -> None:
    (home.own / "policy").mkdir()
    (home.own / "policy" / "partner.toml").write_text('name = "own"\nversion = 1\npublished = true\n')
    (home.own / "policy" / "own.cedar").write_text(
        '@id("own/a")\n@article("1")\n@text("x")\npermit(principal, action, resource);'
    )
    assert asked(home)["charter"].state == "failure"


def test_a_journal_that_was_changed(home: NodeSettings) -> None:
    node = home.node()
    node.journal("root-accepted", "", {"digest": "x", "version": 1})
    node.store.db.execute("DELETE FROM log")
    node.store.close()
    finding = asked(home)["journal"]
    assert finding.state == "failure"
    assert "changed" in finding.text


def test_a_clock_behind_the_journal(home: NodeSettings) -> None:
    node = home.node()
    node.journal("root-accepted", "", {"digest": "x", "version": 1})
    node.store.close()
    yesterday = lambda: datetime.now(UTC) - timedelta(days=1)  # noqa: E731
    assert checks.check_journal(home, yesterday).state == "failure"
    assert checks.check_journal(home, lambda: datetime.now(UTC)).state == "ok"


def test_who_holds_the_home(home: NodeSettings) -> None:
    assert "no process" in checks.check_lock(home).text
    with locked(home.own):
        assert str(os.getpid()) in checks.check_lock(home).text
        with pytest.raises(Fault, match=f"process {os.getpid()} serves"), locked(home.own):
            pass
    assert "no process" in checks.check_lock(home).text


def test_telemetry_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    assert checks.check_telemetry().state == "warning"


def test_quick_needs_neither_network_nor_rows(home: NodeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("asked the network or the rows")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("nodes.rows.source.open_table", refuse)
    begun = time.monotonic()
    findings = list(doctor.quick(home.own))
    assert time.monotonic() - begun < 2
    assert {f.state for f in findings} <= {"ok", "warning"}
    assert len(findings) == 10


# ---- the way to the coordinator


@pytest.mark.parametrize(
    ("server", "check", "state", "said"),
    [
        ({"days": 10}, "superlink", "warning", "9 days"),
        ({"days": -2}, "superlink", "failure", "expired"),
        ({"name": "127.0.0.9"}, "coordinator", "failure", "of another name"),
        ({"late": 60}, "clock", "failure", "differ by"),
        ({"late": -60}, "clock", "failure", "differ by"),
        ({"late": 3}, "clock", "ok", "within 5 s"),
    ],
)
def test_what_the_server_shows(
    server: dict[str, float], check: str, state: str, said: str, founders: Founders, tmp_path: Path
) -> None:
    ask = {
        "superlink": checks_network.check_superlink,
        "coordinator": checks_network.check_tls,
        "clock": checks_network.check_clock,
    }
    with tls_server(tmp_path / "server", {"/livez": b"{}"}, **server) as there:  # type: ignore[arg-type]
        enrol_offline(tmp_path, "north", founders, url=there.url, nodes=there.place, authority=there.authority)
        settings = NodeSettings.at(tmp_path / "north")
        finding = finding_of(check, lambda: ask[check](settings))
    assert (finding.state, said in finding.text) == (state, True), finding


def test_a_newer_root_at_the_coordinator(founders: Founders, tmp_path: Path) -> None:
    old = tuple(founders.roots)
    founders.found()
    roots = json.dumps([envelope.document() for envelope in founders.roots]).encode()
    with tls_server(tmp_path / "server", {"/v1/roots": roots}) as there:
        enrol_offline(tmp_path, "north", founders, url=there.url, authority=there.authority, roots=old)
        assert checks_network.check_interface(NodeSettings.at(tmp_path / "north")).state == "warning"


# ---- rows


def rows_in(server: str, table: str) -> None:
    """The rows of `north`, and an account that may only read them beside one that may write."""
    frame = HOSPITALS["north"]
    engine = sqlalchemy.create_engine(server.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        frame.to_sql(table, connection, index=False, if_exists="replace")
        for role in ("reader", "writer", "owner"):
            connection.exec_driver_sql(
                f"DO $$ BEGIN CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; "
                "EXCEPTION WHEN duplicate_object THEN NULL; END $$"
            )
            connection.exec_driver_sql(f"GRANT SELECT ON {table} TO {role}")
        connection.exec_driver_sql(f"GRANT UPDATE ON {table} TO writer")
        connection.exec_driver_sql("GRANT CREATE ON SCHEMA public TO owner")
        connection.exec_driver_sql("ALTER ROLE writer SET default_transaction_read_only = on")
    engine.dispose()


def source_of(home: NodeSettings, server: str, user: str, table: str) -> None:
    address = server.replace("tester@", f"{user}:{PASSWORD}@")
    (home.own / "source.toml").write_text(f'url = "{address}#{table}"\n')


@pytest.mark.parametrize(
    ("place", "here"),
    [
        ("127.0.0.1:5432/records", True),
        ("[::1]/records", True),
        ("localhost/records", True),
        ("/records", True),
        ("/records?host=/run/postgresql", True),
        ("records.example/records", False),
        ("10.0.0.5/records", False),
        ("127.0.0.1/records?host=records.example", False),
        ("/records?host=127.0.0.1,records.example", False),
        ("localhost.example/records", False),
        ("127.0.0.1:5432/records?password=a#b@c", True),
    ],
)
def test_whether_a_database_is_on_this_machine(place: str, here: bool) -> None:
    assert DatabaseTable(f"postgresql://reader:x@{place}#patients").is_local is here


@pytest.mark.parametrize(("mode", "state"), [("disable", "warning"), ("require", "ok"), ("", "ok")])
def test_a_connection_over_a_network_without_tls_is_found(
    mode: str, state: str, home: NodeSettings, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_in(postgres, "patients")
    place = f"{postgres}?sslmode={mode}" if mode else postgres
    source_of(home, place, "reader", "patients")
    assert checks_source.check_encryption(home).text == "the rows are on this machine"
    monkeypatch.setattr(DatabaseTable, "is_local", False)  # as if the server were elsewhere
    finding = checks_source.check_encryption(home)
    assert (finding.state, "verify-full" in finding.remedy) == (state, state == "warning"), finding
    assert PASSWORD not in str(finding)


@pytest.mark.parametrize(
    ("user", "state", "said"),
    [
        ("reader", "ok", "has no right to write"),
        ("writer", "failure", "may write: UPDATE"),
        ("owner", "failure", "may write: CREATE TABLE"),
        ("tester", "failure", "may write: UPDATE, DELETE, INSERT, CREATE TABLE, TRUNCATE"),
    ],
)
def test_an_account_that_can_write_is_found(
    user: str, state: str, said: str, home: NodeSettings, postgres: str
) -> None:
    rows_in(postgres, "patients")
    source_of(home, postgres, user, "patients")
    finding = finding_of("read-only", lambda: checks_source.check_reading(home))
    assert (finding.state, said in finding.text) == (state, True), finding
    assert PASSWORD not in str(finding)
    engine = sqlalchemy.create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:  # nothing was written, whoever could
        count = connection.exec_driver_sql("SELECT count(*), sum(pressure) FROM patients").fetchone()
        probe = connection.exec_driver_sql("SELECT to_regclass('datatrust_write_probe')").scalar()
    engine.dispose()
    north = HOSPITALS["north"]
    assert count is not None
    assert (count[0], float(count[1]), probe) == (len(north), pytest.approx(north["pressure"].sum()), None)


def test_rights_are_asked_of_postgresql_alone(tmp_path: Path) -> None:
    assert DatabaseTable(f"mysql://reader:{PASSWORD}@127.0.0.1/hospital#patients").write_rights() is None
    assert DatabaseTable(f"sqlite:///{tmp_path / 'rows.db'}#patients").write_rights() is None


def test_a_database_that_is_away_or_refuses_the_password_says_neither_address_nor_password(
    home: NodeSettings, postgres: str
) -> None:
    rows_in(postgres, "patients")
    place = postgres.partition("@")[2]
    for address in (
        f"postgresql://nobody:{PASSWORD}@{place}#patients",
        f"postgresql://reader:{PASSWORD}@127.0.0.1:1/hospital#patients",
        f"postgresql://reader:{PASSWORD}@{place}#nothing",
    ):
        (home.own / "source.toml").write_text(f'url = "{address}"\n')
        findings = asked(home)
        assert findings["source"].state == "failure"
        assert "dataset" not in findings
        said = " ".join(map(str, findings.values()))
        assert PASSWORD not in said
        assert "postgresql://" not in said
        with pytest.raises(DataTrustError) as wrong:
            DatabaseTable(address).write_rights()
        assert PASSWORD not in str(wrong.value)


def test_rows_that_do_not_fulfil_the_dataset(home: NodeSettings) -> None:
    frame = HOSPITALS["north"].copy()
    frame.loc[0, "sex"] = "Jeanne"
    frame.loc[1, "age"] = 987
    (home.own / "rows.csv").chmod(0o600)
    frame.to_csv(home.own / "rows.csv", index=False)
    finding = asked(home)["dataset"]
    assert finding.state == "failure"
    assert "Jeanne" not in str(finding)
    assert "987" not in str(finding)
    frame.drop(columns="sex").to_csv(home.own / "rows.csv", index=False)
    assert "column 'sex' is not in the table" in asked(home)["dataset"].text


def test_too_few_persons_are_not_counted_aloud(home: NodeSettings) -> None:
    (home.own / "rows.csv").chmod(0o600)
    HOSPITALS["north"].head(7).to_csv(home.own / "rows.csv", index=False)
    finding = asked(home)["persons"]
    assert (finding.state, finding.text) == ("failure", "fewer than 11 persons")


def test_persons_are_counted_where_their_id_is_the_first_column(home: NodeSettings) -> None:
    frame = HOSPITALS["north"].assign(patient=[f"north-{n}" for n in range(len(HOSPITALS["north"]))])
    (home.own / "rows.csv").chmod(0o600)
    frame.to_csv(home.own / "rows.csv", index=False)
    with_id = DATASET.replace("status: active\n", _PERSON).replace("properties:\n", f"properties:\n{_ID}")
    (home.own / "dataset.yaml").write_text(with_id)
    assert asked(home)["persons"].text == "11 or more"


def test_a_file_that_the_node_may_write(home: NodeSettings, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        (home.own / "rows.csv").chmod(0o600)
    assert checks_source.check_reading(home).state == "warning"


def test_a_list_of_optouts_that_cannot_be_read(home: NodeSettings) -> None:
    (home.own / "source.toml").write_text('url = "rows.csv"\nopt_out = "gone.txt"\n')
    findings = asked(home)
    assert "failure" in {findings[name].state for name in ("source", "opt-outs") if name in findings}


def test_a_check_that_breaks_says_its_class_alone() -> None:
    def breaks() -> Finding:
        raise ValueError("Jeanne, 47")

    assert finding_of("x", breaks).text == "an unexpected failure (ValueError)"
