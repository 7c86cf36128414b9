"""Asking for a passphrase: from a file, the environment or a terminal without echo; never short, never shown."""

from __future__ import annotations

import io
from getpass import GetPassWarning
from pathlib import Path

import pytest

from datatrust.person.passphrase import ENVIRONMENT, ask_passphrase
from trust.errors import InvalidInput
from trust.signing.envelope import Signer
from trust.signing.key_files import write_key

PASSPHRASE = "correct horse battery"
SIGNER = Signer()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What will be typed, in order."""
    answers: list[str] = []
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: answers.pop(0))
    return answers


def closed(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_passphrase_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    monkeypatch.setenv(ENVIRONMENT, "another one")
    file = closed(tmp_path / "secret", b" two  words " + end)
    assert ask_passphrase(file) == " two  words "


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "0 lines"), (b"a\nb\n", "2 lines"), (b"\xff", "not UTF-8"), (b"a" * 70000, "too large")]
)
def test_a_passphrase_file_that_is_none(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        ask_passphrase(closed(tmp_path / "secret", content))


def test_a_passphrase_file_that_others_can_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(PASSPHRASE)
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(InvalidInput, match="open to others") as error:
        ask_passphrase(tmp_path / "secret")
    assert PASSPHRASE not in str(error.value)


def test_a_passphrase_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, PASSPHRASE)
    assert ask_passphrase() == PASSPHRASE


def test_no_passphrase_and_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(InvalidInput, match="no terminal to ask at; expected --passphrase-file FILE"):
        ask_passphrase()
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InvalidInput, match="no terminal"):
        ask_passphrase()


def test_it_is_typed_once_to_open_and_twice_to_make(typed: list[str]) -> None:
    typed += [PASSPHRASE]
    assert ask_passphrase() == PASSPHRASE
    typed += [PASSPHRASE, PASSPHRASE]
    assert ask_passphrase(new=True) == PASSPHRASE
    assert typed == []


def test_two_that_differ(typed: list[str]) -> None:
    typed += [PASSPHRASE, "incorrect horse"]
    with pytest.raises(InvalidInput, match="the two passphrases differ"):
        ask_passphrase(new=True)


@pytest.mark.parametrize("given_", ["", "short"])
def test_a_new_one_is_not_short(typed: list[str], given_: str) -> None:
    typed += [given_, given_]
    with pytest.raises(InvalidInput, match="too short"):
        ask_passphrase(new=True)


@pytest.mark.parametrize("wrong", [EOFError(), GetPassWarning("echo")])
def test_a_terminal_that_would_show_it(typed: list[str], monkeypatch: pytest.MonkeyPatch, wrong: BaseException) -> None:
    def getpass(prompt: str) -> str:
        raise wrong

    monkeypatch.setattr("getpass.getpass", getpass)
    with pytest.raises(InvalidInput, match="cannot be typed unseen"):
        ask_passphrase(key_name="member-1")


def test_a_passphrase_that_is_no_text(tmp_path: Path) -> None:
    """Bytes of another encoding, as Python reads them from an environment."""
    with pytest.raises(InvalidInput, match="not Unicode text"):
        write_key(tmp_path / "key", SIGNER, "abcdefg\udcff")
