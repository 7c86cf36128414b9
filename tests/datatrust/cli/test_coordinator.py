"""`datatrust coordinator …`: a home is made from a trust root, renewed, and looked at."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from coordinator.operate.certificates import names_of
from coordinator.operate.home import root_fingerprint
from coordinator.settings import CoordinatorSettings
from tests.support.command import Run
from tests.support.founding import FOUNDING, ident
from trust.documents.invitation import Invitation
from trust.documents.root import TrustRoot
from trust.signing.json_text import read_envelopes
from trust.signing.key_files import new_key, write_key

DATASET = Path(__file__).parents[3] / "datatrust" / "demo" / "data" / "hospitals.yaml"
PASSPHRASE = "correct horse battery"
Init = Callable[..., tuple[int, str, str]]


@pytest.fixture
def init(run: Run, signed: Path, keys: Path) -> Init:
    """`coordinator init` of the folder `h` with all that it needs, but for what is given; None leaves an option out."""

    def call(**changes: Any) -> tuple[int, str, str]:
        given = {"home": "h", "root": signed, "dataset": DATASET, "charter": "research", "key": keys / "coordinator"}
        given |= {"host": "trust.example"} | changes
        options = [[f"--{name.replace('_', '-')}", value] for name, value in given.items() if value is not None]
        return run("coordinator", "init", *(word for option in options for word in option))

    return call


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE)
    path.chmod(0o600)
    return path


# ---- init


def test_a_home_is_made_and_what_comes_next_is_said(init: Init, here: Path, signed: Path) -> None:
    code, out, err = init()
    assert code == 0, err
    root = TrustRoot.founding(read_envelopes(signed.read_bytes())[0])
    assert root_fingerprint(root) in out
    assert "https://trust.example:8443" in out
    assert any(f"{days} days left" in out for days in (396, 397))  # made a moment ago, in whole seconds
    assert "can act as the coordinator" in err
    assert "coordinator run --home" in err
    settings = CoordinatorSettings(here / "h")
    assert settings.identity.key_id == ident("coordinator", here)
    invited = Invitation.read((here / "h" / "invitation.json").read_bytes())
    assert invited.root().payload == root.payload
    assert (invited.url, invited.nodes) == ("https://trust.example:8443", "trust.example:9443")
    assert invited.authority.encode() == settings.secrets().authority
    with closing(settings.docket()) as docket:
        assert [entry.kind for entry in docket.register.entries()] == ["root", "charter"]
    assert DATASET.read_bytes() == (here / "h" / "dataset.yaml").read_bytes()


def test_only_the_owner_can_read_what_is_secret(init: Init, here: Path) -> None:
    assert init()[0] == 0
    public = {"invitation.json", "coordinator.pem.pub"}
    for path in (here / "h").rglob("*"):
        mode = path.stat().st_mode & 0o777
        assert mode == (0o700 if path.is_dir() else 0o644 if path.name in public else 0o600), path


def test_its_certificate_is_for_the_hosts_and_for_this_machine(init: Init, here: Path) -> None:
    assert init(host="192.0.2.7", api="192.0.2.9:443", superlink="127.0.0.1:9000", url="https://trust.example")[0] == 0
    settings = CoordinatorSettings(here / "h")
    assert names_of(settings.certificate) == ["192.0.2.7", "192.0.2.9"]
    authority = x509.load_pem_x509_certificate(settings.secrets().authority)
    settings.certificate.verify_directly_issued_by(authority)
    assert (authority.not_valid_after_utc - settings.certificate.not_valid_before_utc).days > 3600
    assert settings.url == "https://trust.example"
    assert settings.address == "192.0.2.7:9000"


def test_a_key_under_a_passphrase_is_opened_and_kept_without(
    run: Run, init: Init, here: Path, keys: Path, secret: Path
) -> None:
    write_key(here / "closed", new_key("sign"), PASSPHRASE)
    Path("closed.toml").write_text(FOUNDING.replace("coordinator.pub", "closed.pub"))
    run("root", "draft", "closed.toml", "--out", "closed.json")
    for name in ("member-1", "member-2"):
        run("root", "sign", "closed.json", "--key", keys / name, "--yes")
    code, _, err = init(root="closed.json", key="closed", passphrase_file=secret)
    assert code == 0
    assert "is kept without its passphrase" in err
    assert PASSPHRASE not in err
    assert CoordinatorSettings(here / "h").identity.key_id == ident("closed", here)


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("another charter", {"charter": "strict"}, 2, ""),
    ("another ready charter", {"charter": "sandbox"}, 1, "not the one that the trust root names"),
    ("another key", {"key": "KEYS/auditor"}, 2, "not the coordinator's key in this trust root"),
    ("no key", {"key": "KEYS/nobody"}, 2, "there is no file"),
    ("a sealing key", {"key": "KEYS/north-seal"}, 2, "another kind"),
    ("no dataset", {"dataset": "none.yaml"}, 2, "none.yaml"),
    ("no host", {"host": None}, 2, "no --host"),
    ("a host that is none", {"host": "a b"}, 2, "the host 'a b'"),
    ("one port for two", {"superlink": "0.0.0.0:8443"}, 2, "the same port"),
    ("a place that is none", {"api": "here"}, 2, "address:port"),
    ("an address that is none", {"url": "http://trust.example"}, 2, "https://host:port"),
    ("no database", {"database": "mysql://a:hunter2@b/c"}, 2, "not an address of a database"),
    ("a database that does not answer", {"database": "postgresql://a:hunter2@127.0.0.1:1/c"}, 3, "cannot be reached"),
]


@pytest.mark.parametrize(("changes", "code", "said"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_what_does_not_fit_makes_nothing(
    init: Init, here: Path, keys: Path, changes: dict[str, Any], code: int, said: str
) -> None:
    before = sorted(path.name for path in here.iterdir())
    given = {name: v.replace("KEYS", str(keys)) if isinstance(v, str) else v for name, v in changes.items()}
    left, out, err = init(**given)
    assert (left, out) == (code, "")
    assert said in err
    assert "hunter2" not in err
    assert sorted(path.name for path in here.iterdir()) == before


def test_a_root_that_too_few_have_signed_makes_nothing(run: Run, init: Init, here: Path, keys: Path) -> None:
    run("root", "draft", "founding.toml", "--out", "unsigned.json")
    run("root", "sign", "unsigned.json", "--key", keys / "member-1", "--yes")
    code, _, err = init(root="unsigned.json")
    assert code == 1
    assert "signed by 1 of 3 keys" in err
    assert not Path("h").exists()


def test_every_version_of_the_root_is_needed(run: Run, init: Init, signed: Path, keys: Path) -> None:
    run("root", "draft", "--from", signed, "--out", "root-2.json")
    for name in ("member-1", "member-2"):
        run("root", "sign", "root-2.json", "--from", signed, "--key", keys / name, "--yes")
    code, _, err = init(root="root-2.json")
    assert code == 2
    assert "first version of the trust root is missing" in err
    both = ["--root", "root-2.json", "--root", signed, "--dataset", DATASET, "--charter", "research"]
    code, out, err = run(
        "coordinator", "init", *both, "--home", "h", "--key", keys / "coordinator", "--host", "a.example"
    )
    assert code == 0, err
    assert "version 2 of its root" in out
    assert Invitation.read(Path("h/invitation.json").read_bytes()).root().root.version == 2


def test_a_folder_with_something_in_it_is_left_alone(init: Init, here: Path) -> None:
    (here / "h").mkdir()
    assert init()[0] == 0  # an empty one is taken
    before = (here / "h" / "keys" / "authority.pem").read_bytes()
    code, _, err = init()
    assert code == 2
    assert "is not empty" in err
    assert (here / "h" / "keys" / "authority.pem").read_bytes() == before
    assert not list(here.glob(".h.*"))


# ---- certify, invitation, status


def test_a_certificate_is_renewed_by_the_same_authority(run: Run, init: Init, here: Path) -> None:
    init()
    settings = CoordinatorSettings(here / "h")
    before, authority = settings.certificate, settings.secrets().authority
    code, out, _ = run("coordinator", "certify", "--home", "h")
    assert (code, "for trust.example" in out) == (0, True)
    after = settings.certificate
    assert before.serial_number != after.serial_number
    assert before.public_key() == after.public_key()
    assert settings.secrets().authority == authority
    code, out, _ = run("coordinator", "certify", "--home", "h", "--host", "new.example")
    assert names_of(settings.certificate) == ["new.example"]
    (here / "h" / "keys" / "authority.pem").write_bytes((here / "h" / "coordinator/engine/server.key").read_bytes())
    code, _, err = run("coordinator", "certify", "--home", "h")
    assert (code, "not that of its certificate" in err) == (2, True)


def test_an_invitation_has_the_root_that_was_accepted_meanwhile(run: Run, init: Init, signed: Path, keys: Path) -> None:
    init()
    run("root", "draft", "--from", signed, "--out", "root-2.json")
    for name in ("member-1", "member-2"):
        run("root", "sign", "root-2.json", "--from", signed, "--key", keys / name, "--yes")
    with closing(CoordinatorSettings(Path("h")).docket()) as docket:
        docket.accept_root(read_envelopes(Path("root-2.json").read_bytes())[0])
    code, out, _ = run("coordinator", "invitation", "--home", "h")
    assert code == 0
    assert Invitation.read(out.encode()).root().root.version == 2
    assert Path("h/invitation.json").read_text() == out


def test_how_it_stands_is_said_without_its_interface(run: Run, init: Init) -> None:
    init(database="")
    code, out, _ = run("coordinator", "status", "--home", "h", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["trust"], found["version"], found["register"]["size"]) == ("heart", 1, 2)
    assert (found["states"], found["running"], found["pids"]) == ({}, [], {})
    assert found["partners"]["north"] == {"online": None, "since": ""}
    assert found["certificate"]["days_left"] in (396, 397)
    assert found["register"]["checkpoint"].startswith("datatrust/heart/register\n2\n")
    code, out, _ = run("coordinator", "status", "--home", "h")
    assert code == 0
    assert "processes    none: it does not run here" in out
    assert "the worker has not looked yet" in out


@pytest.mark.parametrize("command", ["run", "status", "certify", "invitation"])
def test_without_a_home_nothing_is_done(run: Run, command: str, tmp_path: Path) -> None:
    code, out, err = run("coordinator", command, "--home", tmp_path)
    assert (code, out) == (2, "")
    assert "is not a coordinator's home" in err
