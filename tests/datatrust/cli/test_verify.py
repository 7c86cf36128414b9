"""`datatrust verify`: its sentences, its exit codes, the pinned root; and the stand-alone verifier's beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from datatrust.cli.main import verify
from datatrust.person import pins
from tests.support.corpus.honest import MEMBERS, ROOT, file_of, replace_key, root_document, set_to, signed_root, text_of
from tests.support.corpus.honest import key as key_of
from tests.support.corpus.release import QUORUM, SIGNED, Release, mandate
from trust.documents.root import TrustRoot
from trust.errors import InvalidInput, Refused
from trust.signing.envelope import sha256

ALONE = Path(__file__).parents[3] / "docs" / "verify.py"
FINGERPRINT = sha256(ROOT.unverified_payload)

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(verify)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own: nothing is pinned."""
    monkeypatch.setenv("DATATRUST_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., str]:
    """`files("result.json", bytes)`: its path."""

    def write(name: str, raw: bytes) -> str:
        (tmp_path / name).write_bytes(raw)
        return str(tmp_path / name)

    return write


@pytest.fixture
def result(files: Callable[..., str]) -> str:
    return files("result.json", file_of(SIGNED))


@pytest.fixture
def root(files: Callable[..., str]) -> str:
    return files("root.json", file_of(ROOT))


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and standard output; what goes wrong is raised."""
    ran = CliRunner().invoke(app, arguments, catch_exceptions=False)
    return ran.exit_code, ran.stdout


# ---- with a root


def test_seven_steps_are_said_and_the_verdict(result: str, root: str) -> None:
    code, out = run(result, "--root", root)
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[:2] for line in lines[:7]] == [[str(n), "ok"] for n in range(1, 8)]
    assert lines[-1] == "verified"
    assert "not pinned" not in out


def test_in_french(result: str, root: str, files: Callable[..., str]) -> None:
    code, out = run(result, "--root", root, "--lang", "fr")
    assert code == 0
    assert out.splitlines()[-1] == "vérifié"
    assert "le coordinateur a signé le résultat" in out
    bad = files("bad.json", file_of(Release(signers=MEMBERS).envelope()))
    code, out = run(bad, "--root", root, "--lang", "fr")
    assert code == 1
    assert out.splitlines()[-1] == "non vérifié"
    assert "non examiné" in out
    assert "le coordinateur n’a pas signé ce résultat (the result is signed by 0 of 1 keys" in out


def test_a_root_may_be_given_as_a_list_of_versions(result: str, files: Callable[..., str]) -> None:
    assert run(result, "--root", files("roots.json", text_of([ROOT.document()])))[0] == 0


def test_a_step_that_fails_is_exit_code_1_and_the_rest_is_not_checked(root: str, files: Callable[..., str]) -> None:
    bad = files("bad.json", file_of(Release(mandate=mandate(lambda d: None, *QUORUM[:2])).envelope()))
    code, out = run(bad, "--root", root)
    assert code == 1
    assert "4 failed  mandate   the mandate is signed by 2 of 5 keys; 3 are needed" in out
    assert "to fix it: get the file again from where it was published" in out
    assert out.count("not checked") == 3
    assert out.splitlines()[-1] == "not verified"


def test_a_result_of_another_trust_is_refused_in_words(result: str, files: Callable[..., str]) -> None:
    other = files("other.json", file_of(signed_root(root_document(1, set_to(trust="other")))))
    code, out = run(result, "--root", other)
    assert code == 1
    assert "this is of the trust 'example'; the trust root that you hold is of 'other'" in out


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"not json", b"\xff\xfe"])
def test_a_file_that_is_no_result_is_exit_code_2(raw: bytes, files: Callable[..., str], root: str) -> None:
    code, out = run(files("bad.json", raw), "--root", root)
    assert code == 2
    assert out.splitlines()[-1] == "not verified"


# ---- without one


def test_without_a_root_it_is_said_what_that_proves(result: str) -> None:
    code, out = run(result)
    assert code == 0
    assert "root not pinned: this proves only that the file agrees with itself." in out
    assert f"fingerprint of its first root: {FINGERPRINT}" in out
    assert out.splitlines()[-1] == "verified"


def test_without_a_root_a_step_that_fails_fails(files: Callable[..., str]) -> None:
    bad = files("bad.json", file_of(Release(signers=MEMBERS).envelope()))
    assert run(bad)[0] == 1


# ---- pins


def test_a_root_is_pinned_and_then_used(result: str, root: str, home: Path, files: Callable[..., str]) -> None:
    code, _ = run(result, "--root", root, "--pin")
    assert code == 0
    assert (home / "pins" / "example.json").read_bytes() == ROOT.unverified_payload
    code, out = run(result)
    assert code == 0
    assert "not pinned" not in out
    stranger = signed_root(root_document(1, set_to(charter=sha256(b"other"))))
    forged = Release(root=(stranger,), mandate=mandate(set_to(charter=sha256(b"other"))))
    code, out = run(files("forged.json", file_of(forged.envelope())))
    assert code == 1
    assert "not the one that was pinned" in out


def test_nothing_is_pinned_where_the_result_is_not_verified(root: str, home: Path, files: Callable[..., str]) -> None:
    bad = files("bad.json", file_of(Release(signers=MEMBERS).envelope()))
    assert run(bad, "--root", root, "--pin")[0] == 1
    assert not home.exists()


def test_pinning_twice_is_as_once(result: str, root: str) -> None:
    assert run(result, "--root", root, "--pin")[0] == run(result, "--root", root, "--pin")[0] == 0


def test_a_later_version_takes_the_place_of_an_earlier_one_where_the_file_shows_that_it_follows(
    result: str, root: str, home: Path, files: Callable[..., str]
) -> None:
    run(result, "--root", root, "--pin")
    two = signed_root(root_document(2))
    later = files("later.json", file_of(Release(root=(ROOT, two), mandate=mandate(set_to(root=2))).envelope()))
    assert run(later, "--root", files("two.json", file_of(two)), "--pin")[0] == 0
    assert (home / "pins" / "example.json").read_bytes() == two.unverified_payload
    code, out = run(result)
    assert code == 1
    assert "version 1" in out


def test_another_root_never_takes_the_place_of_the_pinned_one(
    result: str, root: str, home: Path, files: Callable[..., str]
) -> None:
    run(result, "--root", root, "--pin")

    def others(document: dict[str, Any]) -> None:
        for n, old in enumerate(MEMBERS):
            replace_key(document, old, key_of(f"other-{n}"), "root")

    two = signed_root(root_document(2, others), *(key_of(f"other-{n}") for n in range(5)))
    forged = Release(root=(two,), mandate=mandate(set_to(root=2)))
    with pytest.raises(Refused, match="another trust root of 'example' is pinned") as error:
        run(files("forged.json", file_of(forged.envelope())), "--root", files("two.json", file_of(two)), "--pin")
    assert error.value.rule == "root-pinned"
    assert (home / "pins" / "example.json").read_bytes() == ROOT.unverified_payload


def test_an_older_version_never_takes_the_place_of_the_pinned_one(home: Path) -> None:
    two = TrustRoot.founding(signed_root(root_document(2)))
    pins.pin(two)
    with pytest.raises(Refused, match="version 2"):
        pins.pin(TrustRoot.founding(ROOT))
    assert pins.pinned("example") is not None
    assert pins.pin(two) == home / "pins" / "example.json"


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff"])
def test_a_pin_that_cannot_be_read_is_an_error_and_never_no_pin(raw: bytes, result: str, home: Path) -> None:
    (home / "pins").mkdir(parents=True)
    (home / "pins" / "example.json").write_bytes(raw)
    with pytest.raises(InvalidInput):
        run(result)


def test_a_pin_of_another_trust_is_an_error(result: str, home: Path) -> None:
    (home / "pins").mkdir(parents=True)
    other = signed_root(root_document(1, set_to(trust="other")))
    (home / "pins" / "example.json").write_bytes(other.unverified_payload)
    with pytest.raises(Refused, match="is of the trust 'other'"):
        run(result)


def test_where_pins_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert pins.folder() == tmp_path / "home" / "pins"
    monkeypatch.delenv("DATATRUST_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert pins.folder() == tmp_path / "data" / "datatrust" / "pins"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pins.folder() == tmp_path / ".local" / "share" / "datatrust" / "pins"


def test_a_folder_that_cannot_be_written_is_an_error_of_input(home: Path) -> None:
    home.write_text("a file where the folder should be")
    with pytest.raises(InvalidInput, match="cannot be written"):
        pins.pin(TrustRoot.founding(ROOT))


# ---- bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pin"], "--pin without a root"),
        (["--lang", "de"], "the language 'de'"),
        (["--root", "missing.json"], "cannot be read"),
    ],
)
def test_options_that_do_not_fit(arguments: list[str], said: str, result: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        run(result, *arguments)


def test_a_file_that_is_not_there(root: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        run("missing.json", "--root", root)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", file_of(SIGNED)])
def test_a_root_file_that_holds_no_root(raw: bytes, result: str, files: Callable[..., str]) -> None:
    with pytest.raises(InvalidInput):
        run(result, "--root", files("bad.json", raw))


def test_a_root_without_its_quorum_is_refused(result: str, files: Callable[..., str]) -> None:
    with pytest.raises(Refused, match="signed by 1 of 5 keys"):
        run(result, "--root", files("weak.json", file_of(signed_root(root_document(), MEMBERS[0]))))


# ---- for programs


def test_as_json(result: str, root: str, home: Path) -> None:
    code, out = run(result, "--root", root, "--pin", "--json")
    found = json.loads(out)
    assert code == 0
    steps = found.pop("steps")
    assert found == {
        "schema": "datatrust/verified/1",
        "ok": True,
        "pinned": True,
        "fingerprint": FINGERPRINT,
        "trust": "example",
        "root": 1,
        "mandate": "2026-0001",
        "study": "age-and-disease-7k3f",
        "released": "2026-11-24T11:00:00Z",
        "pin": str(home / "pins" / "example.json"),
    }
    assert [step["number"] for step in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert all(step["ok"] for step in steps)


def test_as_json_what_is_no_result(files: Callable[..., str]) -> None:
    code, out = run(files("bad.json", b"{}"), "--json")
    found = json.loads(out)
    assert code == 2
    assert not found["ok"]
    assert found["trust"] is found["study"] is found["released"] is None


# ---- the stand-alone verifier


def alone(*arguments: str) -> tuple[int, str]:
    """Run without this project on its path."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    command = [sys.executable, "-I", str(ALONE), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=environment)
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


def test_the_stand_alone_verifier_says_the_same_steps(result: str, root: str, files: Callable[..., str]) -> None:
    code, out = alone(result, "--root", root)
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[:7]] == [
        line.split()[:3] for line in run(result, "--root", root)[1].splitlines()[:7]
    ]
    assert out.splitlines()[-1] == "verified"
    bad = files("bad.json", file_of(Release(signers=MEMBERS).envelope()))
    code, out = alone(bad, "--root", root)
    assert code == run(bad, "--root", root)[0] == 1
    assert out.splitlines()[-2:] == [
        "3 failed  result    the result is signed by 0 of 1 keys; 1 are needed",
        "not verified",
    ]


def test_the_stand_alone_verifier_without_a_root(result: str, files: Callable[..., str]) -> None:
    code, out = alone(result)
    assert code == 0
    assert "root not pinned" in out
    assert FINGERPRINT in out
    assert alone(files("bad.json", b"{}"))[0] == 2
    assert alone(result, "--root", files("bad.json", b"{}"))[0] == 2


def test_the_stand_alone_verifier_is_one_short_file_without_this_project() -> None:
    text = ALONE.read_text()
    assert len(text.splitlines()) <= 420
    for package in ("trust", "datatrust", "nodes", "coordinator", "pydantic", "numpy"):
        assert f"import {package}" not in text
        assert f"from {package}" not in text
