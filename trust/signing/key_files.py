"""Files of private keys: PKCS#8 in PEM, one key a file, and beside each a small public file that may go to others.

With a passphrase a file is encrypted by PBES2: scrypt (N = 2^14, r = 8, p = 5, one of the settings that OWASP names)
makes the key of AES-256-CBC.  cryptography itself writes PBKDF2 with 2048 rounds only, so the few bytes of structure
around its scrypt and its AES are written here; cryptography reads them back, and so does OpenSSL.  Without one, for a
daemon, a file is as safe as its folder: who can read it can sign.  No message holds a passphrase or a private key.
Source: RFC 5958 (PKCS#8), RFC 8018 (PBES2), RFC 7914 (scrypt).
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import textwrap
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import Field, model_validator

from trust.canonical import Model, read_model
from trust.errors import InvalidInput
from trust.files import check_closed_to_others, write_new, writing
from trust.signing.envelope import Signer, key_id

__all__ = [
    "SHORTEST_PASSPHRASE",
    "KeyKind",
    "Passphrase",
    "PrivateKey",
    "PublicKey",
    "check_new_passphrase",
    "new_key",
    "public_file",
    "public_of",
    "read_passphrase",
    "read_public",
    "read_seal",
    "read_signer",
    "write_key",
]

KeyKind: TypeAlias = Literal["sign", "seal"]
PrivateKey: TypeAlias = Signer | X25519PrivateKey
Passphrase: TypeAlias = Callable[[], str] | str | None
"""A passphrase, or what asks for one: it is called only where the file turns out to be encrypted."""

SHORTEST_PASSPHRASE = 8
_LARGEST_BYTES = 1 << 16
_N, _R, _P = 1 << 14, 8, 5
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_OF_KIND = {"sign": "an Ed25519 key, which signs", "seal": "an X25519 key, which messages are sealed to"}
# object identifiers, in DER
_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_AES_256_CBC = bytes.fromhex("060960864801650304012a")


class PublicKey(Model):
    """What a `.pub` file holds: the public half, with its id (SHA-256 of the raw public key, hex)."""

    schema_: Literal["datatrust/key/1"] = Field(default="datatrust/key/1", alias="schema")
    kind: KeyKind
    id: str = Field(pattern=r"^[0-9a-f]{64}$")
    public: str = Field(pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _check_kind(self) -> PublicKey:
        if key_id(bytes.fromhex(self.public)) != self.id:
            raise ValueError("the id is not the SHA-256 of the public key")
        return self


def new_key(kind: KeyKind) -> PrivateKey:
    """A fresh key: Ed25519 to sign, X25519 to be sealed to."""
    return Signer() if kind == "sign" else X25519PrivateKey.generate()


def public_of(key: PrivateKey) -> PublicKey:
    """The public half of a key."""
    raw = key.public if isinstance(key, Signer) else key.public_key().public_bytes_raw()
    return PublicKey(kind="sign" if isinstance(key, Signer) else "seal", id=key_id(raw), public=raw.hex())


def public_file(path: Path) -> Path:
    """Where the public file of a private one is: `<name>.pub` beside it."""
    return path if path.suffix == ".pub" else path.with_name(path.name + ".pub")


def write_key(path: str | Path, key: PrivateKey, passphrase: str | None) -> PublicKey:
    """Write a private key (mode 0600) and its `.pub` beside it; folders that are made have mode 0700.

    Neither file is there unless it is whole, and no file is ever replaced.

    Args:
        passphrase: at least 8 characters; None writes the key unencrypted, for a process that starts without anybody.

    Raises: InvalidInput.
    """
    path = Path(path)
    if path.suffix == ".pub":
        raise InvalidInput(f"{path.name!r} for a private key", expected="a name that does not end in .pub")
    private = key.private if isinstance(key, Signer) else key
    if passphrase is None:
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    else:
        pem = _encrypted(
            private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), check_new_passphrase(passphrase)
        )
    public = public_of(key)
    for file in (path, public_file(path)):
        if file.exists() or file.is_symlink():
            raise InvalidInput(f"{str(file)!r} exists; a key is never overwritten", remedy="name another file")
    with writing(path, "name another file"):
        for folder in reversed([path.parent, *path.parent.parents]):
            if not folder.exists():
                folder.mkdir(mode=0o700)
        write_new(path, pem, 0o600)
        try:
            write_new(public_file(path), (json.dumps(public.document(), indent=2) + "\n").encode("ascii"), 0o644)
        except BaseException:
            path.unlink()
            raise
    return public


def read_signer(path: str | Path, passphrase: Passphrase) -> Signer:
    """The signing key of a file.

    Raises: InvalidInput for a file that is missing, open to others, no private key, of another kind, or whose
    passphrase is another.
    """
    key = _read(Path(path), passphrase)
    if not isinstance(key, Ed25519PrivateKey):
        raise _other_kind(Path(path), "sign")
    return Signer(key)


def read_seal(path: str | Path, passphrase: Passphrase) -> X25519PrivateKey:
    """The sealing key of a file.  Raises: InvalidInput, as `read_signer`."""
    key = _read(Path(path), passphrase)
    if not isinstance(key, X25519PrivateKey):
        raise _other_kind(Path(path), "seal")
    return key


def read_public(path: str | Path) -> PublicKey:
    """The public half: from a `.pub` file, or from the one beside a private file; no passphrase is needed.

    Raises: InvalidInput.
    """
    file = public_file(Path(path))
    if not file.exists() and Path(path).exists():
        raise InvalidInput(
            f"{str(path)!r} has no public file beside it",
            expected=str(file),
            remedy="copy it back; it was written with the key",
        )
    raw = _bytes_of(file, private=False)
    try:
        value: Any = json.loads(raw)
    except (ValueError, RecursionError):
        got = "a private key" if b"PRIVATE KEY-----" in raw else "no JSON"
        raise InvalidInput(f"{str(file)!r} holds {got}", expected="the .pub file of a key") from None
    return read_model(PublicKey, value, InvalidInput, f"{str(file)!r}")


def read_passphrase(file: Path) -> str:
    """The passphrase in a file of one line, closed to others as a private key is.  Raises: InvalidInput."""
    try:
        lines = _bytes_of(file, private=True).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InvalidInput(f"{str(file)!r} is not UTF-8 text", expected="the passphrase on one line") from None
    if len(lines) != 1:
        raise InvalidInput(f"{str(file)!r} has {len(lines)} lines", expected="the passphrase on one line")
    return lines[0]


def check_new_passphrase(passphrase: str) -> bytes:
    """The passphrase in UTF-8, where it is long enough to protect a new key.  Raises: InvalidInput."""
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise InvalidInput(
            "the passphrase is too short",
            expected=f"at least {SHORTEST_PASSPHRASE} characters",
            remedy="take several words",
        )
    return _utf8(passphrase)


# ---- reading


def _read(path: Path, passphrase: Passphrase) -> Any:
    if path.suffix == ".pub":
        raise InvalidInput(f"{str(path)!r} is a public file", expected="the private file beside it, without .pub")
    raw = _bytes_of(path, private=True)
    secret = None
    if _ENCRYPTED in raw:
        passphrase_given = passphrase() if callable(passphrase) else passphrase
        if passphrase_given is None:
            raise InvalidInput(f"{str(path)!r} is encrypted", expected="its passphrase")
        secret = _utf8(passphrase_given)
    try:
        return load_pem_private_key(raw, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    if secret is not None:
        raise InvalidInput(
            f"the passphrase does not open {str(path)!r}",
            expected="the one given when the key was made",
            remedy="try again; if the file is damaged, use its copy",
        )
    raise InvalidInput(f"{str(path)!r} holds no private key", expected="a PEM file made by `datatrust key new`")


def _bytes_of(path: Path, *, private: bool) -> bytes:
    """A file's bytes; a private one must be closed to everybody else, as ssh demands."""
    try:
        with path.open("rb") as file:
            if private:
                check_closed_to_others(path, os.fstat(file.fileno()).st_mode)
            raw = file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise InvalidInput(f"there is no file {str(path)!r}", remedy="correct the path") from None
    except (OSError, ValueError) as wrong:
        why = getattr(wrong, "strerror", None) or "no path"
        raise InvalidInput(f"{str(path)!r} cannot be read ({why})", remedy="correct the path") from None
    if len(raw) > _LARGEST_BYTES:
        raise InvalidInput(f"{str(path)!r} is too large for a key", expected=f"at most {_LARGEST_BYTES} bytes")
    return raw


def _other_kind(path: Path, kind: KeyKind) -> InvalidInput:
    return InvalidInput(f"{str(path)!r} holds a key of another kind", expected=_OF_KIND[kind])


# ---- writing


def _utf8(passphrase: str) -> bytes:
    """One spelling of the same letters on every keyboard (Unicode's form C)."""
    try:
        return unicodedata.normalize("NFC", passphrase).encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInput("a passphrase that is not Unicode text", expected="UTF-8") from None


def _encrypted(pkcs8: bytes, secret: bytes) -> bytes:
    """An EncryptedPrivateKeyInfo in PEM (RFC 5958, section 3; RFC 8018, appendix A.4; RFC 7914, section 7)."""
    salt, iv = secrets.token_bytes(16), secrets.token_bytes(16)
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(Scrypt(salt, 32, _N, _R, _P).derive(secret)), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padder.update(pkcs8) + padder.finalize()) + encryptor.finalize()
    kdf = _sequence(_SCRYPT, _sequence(_octets(salt), _integer(_N), _integer(_R), _integer(_P)))
    scheme = _sequence(_PBES2, _sequence(kdf, _sequence(_AES_256_CBC, _octets(iv))))
    text = base64.b64encode(_sequence(scheme, _octets(sealed))).decode("ascii")
    lines = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", *textwrap.wrap(text, 64), "-----END ENCRYPTED PRIVATE KEY-----"]
    return ("\n".join(lines) + "\n").encode("ascii")


def _der(tag: int, content: bytes) -> bytes:
    """A DER element of at most 65535 bytes (X.690, section 8.1.3)."""
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x81, size]) if size < 256 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, b"".join(parts))


def _octets(raw: bytes) -> bytes:
    return _der(0x04, raw)


def _integer(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))
