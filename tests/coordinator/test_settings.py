"""coordinator.toml as a closed file, and what a coordinator reads from its folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from coordinator.operate.certificates import Authority, certify, new_server_key
from coordinator.settings import CoordinatorSettings
from tests.support.committee import CHARTER, DATASET, KEYS, NOW, rotated
from trust.canonical import canonical
from trust.errors import Fault, InvalidInput
from trust.signing.connection_key import connection_hex
from trust.signing.envelope import Envelope
from trust.signing.key_files import write_key

PARTNERS = ("east", "north", "south")
SECRET = "hunter2-hunter2"


def home(folder: Path, *roots: Envelope, toml: str | None = "") -> CoordinatorSettings:
    """A coordinator's folder; without a text for coordinator.toml, one of a demo."""
    for name in ("charter", "roots", "results", "keys"):
        (folder / name).mkdir(parents=True)
    (folder / "dataset.yaml").write_text(DATASET.to_yaml())
    for name, raw in CHARTER.files.items():
        (folder / "charter" / name).write_bytes(raw)
    for number, envelope in enumerate(roots or (KEYS.envelope,), 1):
        (folder / "roots" / f"{number}.json").write_bytes(canonical(envelope.document()))
    write_key(folder / "keys" / "coordinator.pem", KEYS.coordinator, None)
    for name in PARTNERS:
        (folder / "nodes" / name).mkdir(parents=True)
    certify(folder, PARTNERS)
    if toml is not None:
        (folder / "coordinator.toml").write_text(toml)
        (folder / "coordinator.toml").chmod(0o600)
    return CoordinatorSettings(folder)


def pem() -> bytes:
    key = generate_private_key(SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


# ---- coordinator.toml


@pytest.mark.parametrize("toml", [None, ""])
def test_what_is_not_said_is_as_usual(tmp_path: Path, toml: str | None) -> None:
    settings = home(tmp_path / "h", toml=toml)
    assert (settings.api, settings.superlink) == ("0.0.0.0:8443", "0.0.0.0:9443")
    assert (settings.api_here, settings.superlink_here) == ("127.0.0.1:8443", "127.0.0.1:9443")
    assert (settings.said.patience, settings.said.studies, settings.url, settings.address) == (600, 4, "", "")
    assert settings.place == tmp_path / "h" / "coordinator"
    assert settings.database == "SQLite"


def test_what_is_said_counts(tmp_path: Path) -> None:
    text = 'api = "[::]:1"\nsuperlink = "[::1]:2"\nurl = "https://t.example"\nnodes = "t.example:2"\n'
    text += "patience = 5\nstudies = 9"
    settings = home(tmp_path / "h", toml=text)
    assert (settings.api, settings.api_here, settings.superlink_here) == ("[::]:1", "[::1]:1", "[::1]:2")
    assert (settings.url, settings.address, settings.said.patience, settings.said.studies) == (
        "https://t.example",
        "t.example:2",
        5,
        9,
    )


BAD: list[tuple[str, str, str]] = [
    ("an unknown name", 'databse = ""', "'database', perhaps"),
    ("no TOML", "api = ", "is not valid TOML"),
    ("a place without a port", 'api = "0.0.0.0"', "address:port"),
    ("a port that is none", 'api = "0.0.0.0:65536"', "address:port"),
    ("a SuperLink that this machine does not reach", 'superlink = "10.0.0.1:9443"', "from this machine only"),
    ("no patience", "patience = 0", "patience"),
    ("patience as a text", 'patience = "long"', "patience"),
    ("no studies", "studies = 0", "studies"),
]


@pytest.mark.parametrize(("text", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        home(tmp_path / "h", toml=text).said  # noqa: B018
    assert said in str(error.value)
    assert "coordinator.toml" in str(error.value)


# ---- the database


def by_literal(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return url


def by_environment(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HEART_DATABASE", url)
    return "env:HEART_DATABASE"


def by_file(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "url").write_text(url + "\n")
    (folder / "url").chmod(0o600)
    return f"file:{folder / 'url'}"


Way = Callable[[Path, str, pytest.MonkeyPatch], str]
WAYS = [by_literal, by_environment, by_file]


@pytest.mark.parametrize("way", WAYS)
def test_a_database_is_named_in_three_ways_and_shown_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    url = f"postgresql://heart:{SECRET}@db.example:5433/trust"
    settings = home(tmp_path / "h", toml=f'database = "{way(tmp_path, url, monkeypatch)}"')
    assert settings.place == url
    assert settings.database == "PostgreSQL, trust at db.example:5433"
    assert SECRET not in repr(settings) + repr(settings.said) + settings.database


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("url", [f"mysql://heart:{SECRET}@db/trust", SECRET, f"postgresql://x:{SECRET}@h:port/d"])
def test_no_address_of_a_database_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Way, url: str
) -> None:
    settings = home(tmp_path / "h", toml=f'database = "{way(tmp_path, url, monkeypatch)}"')
    for read in (lambda: settings.place, lambda: settings.database, settings.docket):
        with pytest.raises(InvalidInput, match="not an address of a database") as error:
            read()
        assert SECRET not in str(error.value)


def test_a_password_is_not_read_from_a_file_that_others_can_read(tmp_path: Path) -> None:
    settings = home(tmp_path / "h", toml=f'database = "postgresql://heart:{SECRET}@db/trust"')
    settings.file.chmod(0o644)
    with pytest.raises(InvalidInput, match="open to others"):
        settings.place  # noqa: B018
    (tmp_path / "url").write_text("postgresql://h/d")
    other = home(tmp_path / "i", toml=f'database = "file:{tmp_path / "url"}"')
    with pytest.raises(InvalidInput, match="open to others"):
        other.place  # noqa: B018


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEART_DATABASE", raising=False)
    with pytest.raises(InvalidInput, match="variable 'HEART_DATABASE'"):
        home(tmp_path / "h", toml='database = "env:HEART_DATABASE"').place  # noqa: B018


def test_the_docket_is_where_it_is_said(tmp_path: Path) -> None:
    settings = home(tmp_path / "h")
    settings.docket().close()
    with sqlite3.connect(tmp_path / "h" / "coordinator" / "state.sqlite") as db:
        assert db.execute("SELECT count(*) FROM log").fetchone() == (2,)
    db.close()


# ---- nodes


def flower(key: bytes, *names: str) -> Callable[[dict[str, Any]], None]:
    def change(root: dict[str, Any]) -> None:
        for name in names:
            root["partners"][name]["flower"] = connection_hex(key)

    return change


def test_in_a_demo_s_folder_nodes_are_known_by_its_files(tmp_path: Path) -> None:
    settings = home(tmp_path / "h", toml=None)
    assert settings.nodes() == {name: (settings.engine / "nodes" / f"{name}.pem").read_bytes() for name in PARTNERS}
    (settings.engine / "nodes" / "north.pem").unlink()
    with pytest.raises(InvalidInput, match=r"north\.pem"):
        settings.nodes()


def test_deployed_they_are_known_by_the_trust_root(tmp_path: Path) -> None:
    key = pem()
    settings = home(tmp_path / "h", *rotated(flower(key, "north")))
    assert settings.nodes()["north"] == key
    assert settings.nodes()["east"] == (settings.engine / "nodes" / "east.pem").read_bytes()
    (settings.engine / "nodes" / "east.pem").unlink()
    assert settings.nodes().keys() == {"north", "south"}


# ---- certificate and results


def test_an_expired_certificate_is_found_and_how_to_mend_it_is_said(tmp_path: Path) -> None:
    settings = home(tmp_path / "h")
    now = datetime.now(UTC)
    assert settings.days_left(now) in (29, 30)
    with pytest.raises(InvalidInput, match=r"has expired .*datatrust coordinator certify --home"):
        settings.days_left(now + timedelta(days=31))
    (settings.engine / "server.pem").write_text("no certificate")
    with pytest.raises(InvalidInput, match="not a certificate in PEM"):
        settings.days_left(now)


def test_a_certificate_never_outlives_its_authority() -> None:
    authority = Authority.make(NOW, days=10)
    made = authority.server(new_server_key(), ["trust.example"], NOW + timedelta(days=1))
    assert authority.server(new_server_key(), ["192.0.2.1", "2001:db8::1"], NOW) != made
    with pytest.raises(InvalidInput, match="authority's certificate has expired"):
        authority.server(new_server_key(), [], NOW + timedelta(days=10))


@pytest.mark.parametrize("host", ["", "a b", "ä.example", "a..b", "*", "256.1.1.1", "x" * 64, "https://a", "a:8443"])
def test_what_is_no_host_has_no_certificate(host: str) -> None:
    with pytest.raises(InvalidInput, match="the host"):
        Authority.make(NOW).server(new_server_key(), [host], NOW)


def test_a_result_is_kept_once(tmp_path: Path) -> None:
    settings = home(tmp_path / "h")
    settings.keep_result("age-1", b"{}")
    settings.keep_result("age-1", b"{}")
    assert settings.result("age-1").read_bytes() == b"{}"
    with pytest.raises(Fault, match="cannot be written"):
        settings.keep_result("age-1", b"{ }")
    assert settings.result("age-1").read_bytes() == b"{}"


def test_an_invitation_needs_addresses(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not say how the trust is reached"):
        home(tmp_path / "h").invitation()
    given = home(tmp_path / "i", *rotated(), toml='url = "https://t.example:1"\nnodes = "t.example:2"').invitation()
    assert given.root().root.version == 2
    assert (given.url, given.nodes) == ("https://t.example:1", "t.example:2")
