"""`datatrust key new|show`: what is printed, what is asked, and what is never an argument."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from datatrust.person.passphrase import ENVIRONMENT
from tests.support.command import Run
from trust.signing.key_files import read_public, read_seal, read_signer

PASSPHRASE = "correct horse battery"


@pytest.fixture(autouse=True)
def passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, PASSPHRASE)


def test_a_new_key_to_sign(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "member"
    code, out, err = run("key", "new", path)
    found = read_signer(path, PASSPHRASE)
    assert code == 0
    assert out.splitlines() == [
        f"id       {found.key_id}",
        f"public   {found.public.hex()}",
        f"private  {path}",
        f"share    {path}.pub",
    ]
    assert "is encrypted and must never leave this machine" in err
    assert PASSPHRASE not in out + err
    assert found.private.private_bytes_raw().hex() not in out + err


def test_a_new_key_to_be_sealed_to(run: Run, tmp_path: Path) -> None:
    assert run("key", "new", tmp_path / "seal", "--kind", "seal")[0] == 0
    assert read_public(tmp_path / "seal").kind == "seal"
    read_seal(tmp_path / "seal", PASSPHRASE)


def test_a_daemon_s_key_is_not_encrypted_and_that_is_said(run: Run, tmp_path: Path) -> None:
    code, _, err = run("key", "new", tmp_path / "node", "--no-passphrase")
    assert code == 0
    assert "is not encrypted" in err
    read_signer(tmp_path / "node", None)
    assert stat.S_IMODE((tmp_path / "node").stat().st_mode) == 0o600


def test_a_passphrase_from_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("another passphrase\n")
    file.chmod(0o600)
    assert run("key", "new", tmp_path / "key", "--passphrase-file", file)[0] == 0
    read_signer(tmp_path / "key", "another passphrase")


@pytest.mark.parametrize("name", ["key", "key.pub"])
def test_show_needs_no_passphrase(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    made = run("key", "new", tmp_path / "key")[1]
    monkeypatch.delenv(ENVIRONMENT)
    code, out, err = run("key", "show", tmp_path / name)
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == "kind     sign"
    assert out.splitlines()[::2] == made.splitlines()[:2]


def test_a_file_that_exists_is_left_before_anything_is_asked(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("mine")
    monkeypatch.delenv(ENVIRONMENT)
    code, out, err = run("key", "new", tmp_path / "key")
    assert (code, out) == (2, "")
    assert "never overwritten" in err
    assert (tmp_path / "key").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["new"], "Missing argument", id="no file"),
        pytest.param(["new", "k", "--kind", "seel"], "--kind seel; expected 'seal', perhaps", id="an unknown kind"),
        pytest.param(["new", "k", "--no-passphrase", "--passphrase-file", "x"], "one of them", id="with and without"),
        pytest.param(["new", "k", "--passphrase-file", "none"], "no file 'none'", id="no passphrase file"),
        pytest.param(["new", "k", "--passphrase", "x"], "No such option", id="a passphrase as an argument"),
        pytest.param(["new", "k.pub"], "does not end in .pub", id="a private key called pub"),
        pytest.param(["show", "none"], "no file 'none.pub'", id="no key"),
        pytest.param(["nw"], "Did you mean 'new'", id="a misspelt command"),
    ],
)
def test_bad_input(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("key", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("key",), ("key", "new"), ("key", "show")])
def test_help(run: Run, words: tuple[str, ...]) -> None:
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert "Usage: datatrust key" in out
    assert "\\[" not in out


def test_a_short_passphrase(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "short")
    code, _, err = run("key", "new", tmp_path / "key")
    assert code == 2
    assert "too short; expected at least 8 characters" in err
    assert "'short'" not in err


@pytest.mark.slow
def test_in_a_process_of_its_own_without_a_terminal(tmp_path: Path) -> None:
    """Nothing waits for an answer that nobody can give."""
    program = "from datatrust.cli.main import main; main()"
    base = [sys.executable, "-c", program, "key"]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd()), "HOME": str(tmp_path)}
    asked = subprocess.run([*base, "new", str(tmp_path / "a")], capture_output=True, env=env, input=b"", timeout=60)
    assert asked.returncode == 2
    assert b"no terminal to ask at" in asked.stderr
    made = subprocess.run([*base, "new", str(tmp_path / "b"), "--no-passphrase"], capture_output=True, env=env)
    assert made.returncode == 0
    shown = subprocess.run([*base, "show", str(tmp_path / "b")], capture_output=True, env=env)
    assert shown.stdout.splitlines()[0] == made.stdout.splitlines()[0]
    assert not (tmp_path / "a").exists()
