"""Key files: encrypted, closed to others, never overwritten, and silent about what they hold."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trust.errors import InvalidInput
from trust.signing import key_files
from trust.signing.envelope import Signer
from trust.signing.key_files import (
    KeyKind,
    PublicKey,
    new_key,
    public_of,
    read_public,
    read_seal,
    read_signer,
    write_key,
)

PASSPHRASE = "correct horse battery"
KINDS: list[KeyKind] = ["sign", "seal"]
SIGNER = Signer()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def read(kind: KeyKind, path: Path, passphrase: Callable[[], str] | str | None) -> PublicKey:
    return public_of(read_signer(path, passphrase) if kind == "sign" else read_seal(path, passphrase))


# ---- what is written is read


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE, "mot de passe à accents", "eight888"])
def test_a_key_is_read_back(tmp_path: Path, kind: KeyKind, passphrase: str | None) -> None:
    path = tmp_path / "key"
    written = write_key(path, new_key(kind), passphrase)
    assert written.kind == kind
    assert read(kind, path, passphrase) == written
    assert read_public(path) == read_public(tmp_path / "key.pub") == written


def test_only_its_owner_can_read_it_and_everybody_the_public_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "key"
    write_key(path, SIGNER, None)
    assert (mode(path), mode(path.parent), mode(path.parent.parent)) == (0o600, 0o700, 0o700)
    assert mode(tmp_path / "new" / "folder" / "key.pub") == 0o644
    assert sorted(p.name for p in path.parent.iterdir()) == ["key", "key.pub"]


def test_a_wide_open_umask_opens_nothing(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_key(tmp_path / "folder" / "key", SIGNER, PASSPHRASE)
    finally:
        os.umask(before)
    assert (mode(tmp_path / "folder" / "key"), mode(tmp_path / "folder")) == (0o600, 0o700)


def test_the_public_file_is_a_small_closed_document(tmp_path: Path) -> None:
    write_key(tmp_path / "key", SIGNER, PASSPHRASE)
    assert json.loads((tmp_path / "key.pub").read_text()) == {
        "schema": "datatrust/key/1",
        "kind": "sign",
        "id": SIGNER.key_id,
        "public": SIGNER.public.hex(),
    }


def test_an_encrypted_file_holds_no_byte_of_the_key_in_the_clear(tmp_path: Path) -> None:
    write_key(tmp_path / "key", SIGNER, PASSPHRASE)
    raw = (tmp_path / "key").read_text()
    assert raw.startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert max(map(len, raw.splitlines())) == 64
    body = "".join(raw.splitlines()[1:-1])
    assert SIGNER.private.private_bytes_raw() not in base64.b64decode(body)


def test_two_files_of_one_key_and_passphrase_differ(tmp_path: Path) -> None:
    """Salt and initialisation vector are fresh."""
    for name in ("a", "b"):
        write_key(tmp_path / name, SIGNER, PASSPHRASE)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here")
@pytest.mark.parametrize("kind", KINDS)
def test_openssl_reads_what_is_written(tmp_path: Path, kind: KeyKind) -> None:
    """An independent reader of PBES2, scrypt and AES; and the parameters are those that the module states."""
    path = tmp_path / "key"
    public = write_key(path, new_key(kind), PASSPHRASE)
    told = subprocess.run(
        ["openssl", "pkey", "-in", str(path), "-passin", f"pass:{PASSPHRASE}", "-pubout", "-outform", "DER"],
        capture_output=True,
        check=True,
    )
    assert told.stdout.endswith(bytes.fromhex(public.public))
    parsed = subprocess.run(["openssl", "asn1parse", "-in", str(path)], capture_output=True, check=True, text=True)
    for part in (":PBES2", ":scrypt", "INTEGER           :4000", "INTEGER           :05", ":aes-256-cbc"):
        assert part in parsed.stdout


def test_a_file_that_openssl_or_another_tool_has_encrypted_is_read(tmp_path: Path) -> None:
    """PBKDF2, as cryptography writes it."""
    scheme = BestAvailableEncryption(PASSPHRASE.encode())
    (tmp_path / "key").write_bytes(SIGNER.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, scheme))
    (tmp_path / "key").chmod(0o600)
    assert read_signer(tmp_path / "key", PASSPHRASE).key_id == SIGNER.key_id


def test_one_passphrase_whichever_keyboard_types_it(tmp_path: Path) -> None:
    """é as one character or as e and an accent."""
    write_key(tmp_path / "key", SIGNER, "caf\u00e9 au lait")
    assert read_signer(tmp_path / "key", "cafe\u0301 au lait").key_id == SIGNER.key_id


def test_a_passphrase_is_asked_for_only_where_it_is_needed(tmp_path: Path) -> None:
    def never() -> str:
        raise AssertionError("asked")

    write_key(tmp_path / "open", SIGNER, None)
    assert read_signer(tmp_path / "open", never).key_id == SIGNER.key_id
    write_key(tmp_path / "closed", SIGNER, PASSPHRASE)
    assert read_signer(tmp_path / "closed", lambda: PASSPHRASE).key_id == SIGNER.key_id


# ---- nothing is overwritten, nothing is half written


@pytest.mark.parametrize("taken", ["key", "key.pub"])
def test_no_file_is_ever_overwritten(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(InvalidInput, match="never overwritten"):
        write_key(tmp_path / "key", SIGNER, None)
    assert [p.name for p in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "mine"


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="exists"):
        write_key(tmp_path / "key", SIGNER, None)
    assert not (tmp_path / "elsewhere").exists()


def test_two_that_write_the_same_name_at_once_cannot_both_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is taken between the look and the link."""
    link = Path.hardlink_to

    def late(self: Path, target: Path) -> None:
        if not self.exists():
            self.write_text("first")
        link(self, target)

    monkeypatch.setattr(Path, "hardlink_to", late)
    with pytest.raises(InvalidInput, match="File exists"):
        write_key(tmp_path / "key", SIGNER, None)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"key": "first"}


def test_a_private_file_does_not_stay_without_its_public_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = key_files.write_new

    def full(path: Path, content: bytes, mode_: int) -> None:
        if path.suffix == ".pub":
            raise OSError(28, "No space left on device")
        write(path, content, mode_)

    monkeypatch.setattr(key_files, "write_new", full)
    with pytest.raises(InvalidInput, match="No space left"):
        write_key(tmp_path / "key", SIGNER, None)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(InvalidInput, match="Input/output error"):
        write_key(tmp_path / "key", SIGNER, None)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_links_takes_a_key_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Path, target: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", fails)
    write_key(tmp_path / "key", SIGNER, None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["key", "key.pub"]
    assert read_signer(tmp_path / "key", None).key_id == SIGNER.key_id


def test_without_links_a_name_that_was_taken_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Path, target: Path) -> None:
        self.write_text("first")
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", fails)
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_key(tmp_path / "key", SIGNER, None)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"key": "first"}


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_key(tmp_path / "file" / "key", SIGNER, None)


@pytest.mark.parametrize("passphrase", ["", "short", "seven77"])
def test_a_short_passphrase_makes_no_key(tmp_path: Path, passphrase: str) -> None:
    with pytest.raises(InvalidInput, match="at least 8 characters"):
        write_key(tmp_path / "key", SIGNER, passphrase)
    assert list(tmp_path.iterdir()) == []


def test_a_private_file_is_not_called_pub(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"does not end in \.pub"):
        write_key(tmp_path / "key.pub", SIGNER, None)


# ---- what cannot be read


def damaged(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[120] = ord("A") if raw[120] != ord("A") else ord("B")
    path.write_bytes(raw)


def p256(path: Path) -> None:
    key = generate_private_key(SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def sealing(path: Path) -> None:
    key = X25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


UNREADABLE: list[tuple[str, Callable[[Path], object], str]] = [
    ("missing", Path.unlink, "there is no file"),
    ("a folder", lambda p: (p.unlink(), p.mkdir(0o700)), "cannot be read"),
    ("empty", lambda p: p.write_bytes(b""), "no private key"),
    ("no PEM", lambda p: p.write_bytes(b"secret"), "no private key"),
    ("PEM of something else", lambda p: p.write_bytes(b"-----BEGIN X-----\nAAAA\n-----END X-----\n"), "no private key"),
    ("a P-256 key", p256, "another kind; expected an Ed25519 key"),
    ("a sealing key", sealing, "another kind; expected an Ed25519 key"),
    ("damaged", damaged, "does not open|no private key"),
    ("readable by its group", lambda p: p.chmod(0o640), r"open to others \(mode 0640\).*chmod 600"),
    ("readable by all", lambda p: p.chmod(0o604), "open to others"),
    ("writable by its group", lambda p: p.chmod(0o620), "open to others"),
    ("very large", lambda p: p.write_bytes(b"A" * 70000), "too large"),
]


@pytest.mark.parametrize(("change", "said"), [c[1:] for c in UNREADABLE], ids=[c[0] for c in UNREADABLE])
def test_a_file_that_is_no_key(tmp_path: Path, change: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "key"
    write_key(path, SIGNER, PASSPHRASE)
    change(path)
    with pytest.raises(InvalidInput, match=said) as error:
        read_signer(path, PASSPHRASE)
    assert PASSPHRASE not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_signing_key_seals_nothing(tmp_path: Path) -> None:
    write_key(tmp_path / "key", SIGNER, None)
    with pytest.raises(InvalidInput, match="another kind; expected an X25519 key"):
        read_seal(tmp_path / "key", None)


def test_a_wrong_passphrase_is_said_and_not_repeated(tmp_path: Path) -> None:
    write_key(tmp_path / "key", SIGNER, PASSPHRASE)
    with pytest.raises(InvalidInput, match="the passphrase does not open") as error:
        read_signer(tmp_path / "key", "incorrect horse")
    assert "incorrect horse" not in str(error.value)
    assert error.value.__cause__ is None


def test_an_encrypted_key_without_a_passphrase(tmp_path: Path) -> None:
    write_key(tmp_path / "key", SIGNER, PASSPHRASE)
    with pytest.raises(InvalidInput, match="is encrypted; expected its passphrase"):
        read_signer(tmp_path / "key", None)


def test_a_public_file_is_no_private_one(tmp_path: Path) -> None:
    write_key(tmp_path / "key", SIGNER, None)
    with pytest.raises(InvalidInput, match="is a public file"):
        read_signer(tmp_path / "key.pub", None)


def test_a_path_that_is_none() -> None:
    with pytest.raises(InvalidInput, match="no path"):
        read_signer("a\0b", None)


def test_no_repr_shows_a_private_key(tmp_path: Path) -> None:
    write_key(tmp_path / "key", SIGNER, None)
    key = read_signer(tmp_path / "key", None)
    raw = key.private.private_bytes_raw()
    assert raw.hex() not in repr(key)
    assert repr(raw) not in repr(key)


# ---- public files


def other(**changes: str) -> bytes:
    return json.dumps({**public_of(SIGNER).document(), **changes}).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "no JSON", id="empty"),
        pytest.param(b"[" * 60000, "no JSON", id="nested"),
        pytest.param(b"[]", "valid dict", id="a list"),
        pytest.param(b"\xff", "no JSON", id="not UTF-8"),
        pytest.param(b"-----BEGIN PRIVATE KEY-----\nAAAA\n", "holds a private key", id="a private key"),
        pytest.param(other(id="0" * 64), "not the SHA-256", id="an id that is not its key's"),
        pytest.param(other(kind="vote"), "kind", id="an unknown kind"),
        pytest.param(other(publik="x"), "'public', perhaps", id="an unknown field"),
        pytest.param(other(public="AA" * 32), "public", id="capitals"),
        pytest.param(other(schema="datatrust/key/2"), "schema", id="another schema"),
        pytest.param(b"{" + b" " * 70000 + b"}", "too large", id="very large"),
    ],
)
def test_a_public_file_that_is_none(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "key.pub").write_bytes(content)
    with pytest.raises(InvalidInput, match=said):
        read_public(tmp_path / "key.pub")


def test_a_private_file_whose_public_one_is_lost(tmp_path: Path) -> None:
    write_key(tmp_path / "key", SIGNER, None)
    (tmp_path / "key.pub").unlink()
    with pytest.raises(InvalidInput, match="no public file beside it"):
        read_public(tmp_path / "key")


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no file .*key\.pub"):
        read_public(tmp_path / "key")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_a_key_or_bad_input(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "any").write_bytes(raw)
    (tmp_path / "any").chmod(0o600)
    (tmp_path / "any.pub").write_bytes(raw)
    for call in (lambda: read_signer(tmp_path / "any", PASSPHRASE), lambda: read_public(tmp_path / "any")):
        with pytest.raises(InvalidInput):
            call()
