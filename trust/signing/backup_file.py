"""The file of a node's backup: a tar of public files and one member `secrets`, closed under a passphrase.

`secrets` is `datatrust-backup-1\\n`, 16 bytes of salt, 12 of nonce, and a tar under AES-256-GCM whose key scrypt
(N = 2^14, r = 8, p = 5, as in `key_files.py`) makes from the passphrase.  What is authenticated beside it are names and
digests of the public files, so that none can be changed without its being noticed.
Source: RFC 7914 (scrypt), NIST SP 800-38D (GCM).
"""

from __future__ import annotations

import hashlib
import io
import secrets
import tarfile
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from trust.canonical import canonical
from trust.errors import InvalidInput
from trust.files import write_new, writing

__all__ = ["read_backup", "write_backup"]

_MAGIC = b"datatrust-backup-1\n"
_SECRETS = "secrets"
_SALT_BYTES, _NONCE_BYTES = 16, 12
_LARGEST_BYTES = 1 << 28


def write_backup(out: Path, public: Mapping[str, bytes], secret: Mapping[str, bytes], passphrase: str) -> None:
    """Write the file, mode 0600; never over another.  Raises: InvalidInput."""
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, _tar(secret), _beside(public))
    with writing(out, "name another file"):
        write_new(out, _tar({**public, _SECRETS: _MAGIC + salt + nonce + sealed}), 0o600)


def read_backup(file: Path, passphrase: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Public and secret files, by name; nothing is written anywhere.

    Raises: InvalidInput for a file that is not a backup, another passphrase, or one that was changed.
    """
    try:
        with file.open("rb") as stream:
            public = _untar(stream.read(_LARGEST_BYTES))
    except OSError as wrong:
        raise InvalidInput(f"{str(file)!r} cannot be read ({wrong.strerror})", expected="a backup") from None
    sealed = public.pop(_SECRETS, b"")
    if not sealed.startswith(_MAGIC):
        raise InvalidInput(
            f"{str(file)!r} is not a backup of a node", expected="what `datatrust node backup` has written"
        )
    salt, rest = sealed[len(_MAGIC) :][:_SALT_BYTES], sealed[len(_MAGIC) + _SALT_BYTES :]
    try:
        raw = AESGCM(_key(passphrase, salt)).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _beside(public))
    except (InvalidTag, ValueError):
        raise InvalidInput(
            f"the passphrase does not open {str(file)!r}, or the file was changed",
            expected="the passphrase that it was made with",
            remedy="try again, or take another copy of the file",
        ) from None
    return public, _untar(raw)


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt, 32, 1 << 14, 8, 5).derive(unicodedata.normalize("NFC", passphrase).encode("utf-8"))


def _beside(public: Mapping[str, bytes]) -> bytes:
    return _MAGIC + canonical({name: hashlib.sha256(content).hexdigest() for name, content in public.items()})


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o600
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _untar(raw: bytes) -> dict[str, bytes]:
    """Regular files by name; nothing is extracted to the disk.  Raises: InvalidInput.

    None is larger than the archive: a sparse one, which this format's files never are, could claim any size.
    """
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
                if content is None or member.name in members:
                    raise InvalidInput(f"a backup with a member {member.name[:80]!r} that is not a file")
                members[member.name] = content.read()
    except (tarfile.TarError, EOFError, ValueError):
        raise InvalidInput("a file that is not a tar", expected="what `datatrust node backup` has written") from None
    return members
