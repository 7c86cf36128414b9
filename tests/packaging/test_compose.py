"""The compose file: what the specification allows, each service closed, and nobody reaches what is not his."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
import yaml
from compose_spec import PyCompose

from tests.support.dockerfile import TOP, read
from tests.support.postgres import postgres

__all__ = ["postgres"]

FILE = TOP / "docker" / "compose.yaml"
DIGITS = "0123456789abcdef" * 4
PARTNERS = ("north", "south", "east")
PROCESSES = ("superlink", "api", "worker")
DATABASES = tuple(f"database-{name}" for name in ("coordinator", *PARTNERS))
OWN = ("coordinator", *PROCESSES, *(f"node-{name}" for name in PARTNERS))


def interpolated(text: str, values: dict[str, str]) -> str:
    """As Compose does it, for the one form that the file uses.  Raises: ValueError with the file's own words."""

    def value(found: re.Match[str]) -> str:
        if not values.get(found[1]):
            raise ValueError(found[2])
        return values[found[1]]

    return re.sub(r"\$\{(\w+):\?([^}]*)\}", value, text)


def loaded(text: str) -> dict[str, Any]:
    return yaml.safe_load(interpolated(text, {"PYTHON_DIGEST": DIGITS, "POSTGRES_DIGEST": DIGITS}))


def validated(whole: dict[str, Any]) -> PyCompose:
    found = PyCompose.from_json(json.dumps(whole))
    found.validate()
    return found


TEXT = FILE.read_text("utf-8")
WHOLE = loaded(TEXT)
SERVICES: dict[str, dict[str, Any]] = WHOLE["services"]
OF_A_SERVICE = pytest.mark.parametrize("name", SERVICES)


def test_the_file_is_as_the_specification_says() -> None:
    assert sorted(validated(WHOLE).service_names()) == sorted([*OWN, *DATABASES])


@pytest.mark.parametrize(
    ("old", "new"),
    [("read_only", "readonly"), ("networks: [north,", "networks: [noth,"), ("cpus: 2.0", "cpus: many")],
    ids=["an unknown key", "an unknown network", "a wrong type"],
)
def test_the_check_finds_mistakes(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(ValueError, match=r"extension key|not defined|invalid float"):
        validated(loaded(TEXT.replace(old, new)))


def test_without_a_lock_nothing_is_started() -> None:
    with pytest.raises(ValueError, match=r"run python3 docker/pin.py first"):
        interpolated(TEXT, {})
    assert "$" not in re.sub(r"\$\{(PYTHON|POSTGRES)_DIGEST:\?run python3 docker/pin.py first\}", "", TEXT)


@OF_A_SERVICE
def test_a_service_is_closed(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all("noexec,nosuid,nodev" in given for given in service["tmpfs"])
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    assert service["ulimits"]["core"] == 0
    opened = {"privileged", "cap_add", "devices", "pid", "ipc", "userns_mode", "extra_hosts", "env_file"}
    assert not opened & set(service)
    assert service.get("network_mode", "service:coordinator") == "service:coordinator"
    assert "test" in service["healthcheck"]
    assert service["healthcheck"]["test"][0] == "CMD"  # no shell
    assert not any("docker.sock" in str(mount) or str(mount).startswith("/") for mount in service.get("volumes", []))


@OF_A_SERVICE
def test_a_service_has_a_user_of_its_own(name: str) -> None:
    uid = int(SERVICES[name]["user"].split(":")[0])
    if name in DATABASES:
        assert uid == 999  # the image's own `postgres`, whom its folders belong to
        return
    assert uid > 10000
    of_image = read(TOP / SERVICES[name]["build"]["dockerfile"])[-1]
    assert SERVICES[name]["user"] in [line.rest for line in of_image if line.word == "USER"]


@OF_A_SERVICE
def test_an_image_is_pinned_or_built_here(name: str) -> None:
    service = SERVICES[name]
    if name in DATABASES:
        assert service["image"] == f"postgres@sha256:{DIGITS}"
        return
    assert re.fullmatch(r"datatrust-(node|coordinator):\d+\.\d+\.\d+", service["image"])
    assert service["pull_policy"] == "build"  # nobody's image of the same name is fetched
    assert service["build"]["args"] == {"PYTHON_DIGEST": DIGITS}


@OF_A_SERVICE
def test_passwords_are_files(name: str) -> None:
    service = SERVICES[name]
    for key, value in service.get("environment", {}).items():
        named = re.search("PASS|SECRET|TOKEN|KEY|URL", key)
        assert not named or str(value).startswith("/run/secrets/"), key
    for given in service.get("secrets", []):
        assert WHOLE["secrets"][given["source"]]["file"].startswith("./secrets/")


@pytest.mark.skipif(os.geteuid() != 0, reason="docker/prepare.py needs root")
def test_the_secrets_are_those_that_prepare_makes(tmp_path: Path) -> None:
    command = [sys.executable, str(TOP / "docker" / "prepare.py"), str(tmp_path / "secrets")]
    subprocess.run(command, check=True, capture_output=True)
    made = {f"./{path.relative_to(tmp_path)}" for path in (tmp_path / "secrets").rglob("*") if path.is_file()}
    assert {given["file"] for given in WHOLE["secrets"].values()} == made
    for name, service in SERVICES.items():
        for given in service.get("secrets", []):
            path = tmp_path / WHOLE["secrets"][given["source"]]["file"]
            assert path.stat().st_uid == int(service["user"].split(":")[0]), (name, given)


def networks(name: str) -> set[str]:
    service = SERVICES[name]
    return networks("coordinator") if "network_mode" in service else set(service["networks"])


def reached(name: str) -> set[str]:
    """The services that share a network with it."""
    return {other for other in SERVICES if networks(other) & networks(name)} - {name}


@pytest.mark.parametrize("partner", PARTNERS)
def test_a_node_reaches_its_database_and_the_coordinator_only(partner: str) -> None:
    assert reached(f"node-{partner}") == {f"database-{partner}", "coordinator", *PROCESSES}
    assert reached(f"database-{partner}") == {f"node-{partner}"}
    assert all(WHOLE["networks"][name] == {"internal": True} for name in networks(f"node-{partner}"))


def test_the_coordinators_database_is_reached_by_the_coordinator_only() -> None:
    assert reached("database-coordinator") == {"coordinator", *PROCESSES}
    assert WHOLE["networks"]["coordinator-database"] == {"internal": True}


def test_nothing_is_open_to_others_but_api_and_superlink() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"coordinator": ["8443:8443", "9443:9443"]}
    assert not [name for name, service in SERVICES.items() if "expose" in service]


def test_the_three_processes_share_one_address_and_can_be_restarted_alone() -> None:
    assert all(SERVICES[name]["network_mode"] == "service:coordinator" for name in PROCESSES)
    assert [SERVICES[name]["command"][:3] for name in PROCESSES] == [["coordinator", "run", name] for name in PROCESSES]
    assert all(not set(SERVICES[name]["depends_on"]) & set(PROCESSES) for name in PROCESSES)


def test_what_holds_the_address_waits_and_ends_when_told() -> None:
    program, *words = SERVICES["coordinator"]["entrypoint"]
    assert program == "python"
    with subprocess.Popen([sys.executable, *words]) as waiting:
        time.sleep(0.5)
        assert waiting.poll() is None
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(10) == 0


# ---- the databases' first start, on a real server


def started(postgres: str, script: str, **passwords: str) -> None:
    """Run an SQL file as the image does: psql as the owner, stopping at the first error."""
    text = (TOP / "docker" / "postgres" / script).read_text("utf-8")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))
    psql = str(programs[-1]) if programs else str(shutil.which("psql"))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # for the server, which is another user
        for name, password in passwords.items():
            file = Path(folder) / name
            file.write_text(password)
            assert f"/run/secrets/{name}" in text
            text = text.replace(f"/run/secrets/{name}", str(file))
        command = [psql, postgres, "-v", "ON_ERROR_STOP=1", "--no-password", "--no-psqlrc", "-q"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_nodes_account_reads_and_cannot_write(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as owner:
        owner.execute("CREATE TABLE before_it (id int)")
        started(postgres, "node.sql", reader="it's a \\ secret")
        owner.execute("CREATE TABLE records (id int)")
        owner.execute("INSERT INTO records VALUES (1)")
        stored = owner.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'reader'").fetchone()
        assert stored
        assert stored[0].startswith("SCRAM-SHA-256$")
    address = sqlalchemy.make_url(postgres).set(username="reader").render_as_string()
    with psycopg.connect(address, autocommit=True) as reader:
        assert reader.execute("SELECT id FROM records").fetchall() == [(1,)]
        reader.execute("SELECT * FROM before_it")
        for statement in (
            "INSERT INTO records VALUES (2)",
            "SET default_transaction_read_only = off; INSERT INTO records VALUES (2)",
            "SET default_transaction_read_only = off; CREATE TABLE mine (id int)",
            "SELECT pg_read_file('/etc/hostname')",
        ):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
                reader.execute(statement)


def test_the_coordinators_account_owns_its_database_only(postgres: str) -> None:
    started(postgres, "coordinator.sql", coordinator="secret")
    address = sqlalchemy.make_url(postgres).set(username="coordinator", database="coordinator").render_as_string()
    with psycopg.connect(address, autocommit=True) as own:
        own.execute("CREATE TABLE mine (id int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            own.execute("CREATE ROLE another")
