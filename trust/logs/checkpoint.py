"""A checkpoint: a log's size and root, signed.  It is what witnesses and later readers compare.

Source: C2SP tlog-checkpoint and C2SP signed-note, Ed25519 (signature type 0x01); the key's name is the log's origin.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from trust.errors import MessageInvalid, Refused
from trust.signing.envelope import Signer, valid

__all__ = ["Checkpoint", "journal_origin", "read_checkpoint", "register_origin", "sign_checkpoint"]

_LONGEST_BYTES = 16_384
_LINE = re.compile(r"\N{EM DASH} (\S+) ([A-Za-z0-9+/]+={0,2})")
_ED25519 = b"\x01"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What a note may not hold: it is lines of plain text, each ended by a line feed."""


@dataclass(frozen=True)
class Checkpoint:
    """A log (`origin`), how many entries it has, and the Merkle root over them, 32 bytes."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note's text: three lines, each ended by a line feed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def register_origin(trust: str) -> str:
    """The origin of a trust's register."""
    return f"datatrust/{trust}/register"


def journal_origin(trust: str, partner: str) -> str:
    """The origin of one partner's journal."""
    return f"datatrust/{trust}/journal/{partner}"


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> str:
    """The signed note."""
    text = checkpoint.text()
    blob = _key_hash(checkpoint.origin, signer.public) + signer.sign(text.encode())
    return f"{text}\n\N{EM DASH} {checkpoint.origin} {base64.b64encode(blob).decode()}\n"


def read_checkpoint(note: str, origin: str, keys: Iterable[bytes]) -> Checkpoint:
    """The checkpoint of this origin in a note that one of these raw public keys has signed.

    Signatures of other names and keys (witnesses) are passed over, as the specification says.

    Raises: MessageInvalid for a text that is not a checkpoint; Refused (`checkpoint-signature`, `checkpoint-origin`).
    """
    if len(note) > _LONGEST_BYTES or _CONTROL.search(note):
        raise MessageInvalid("a checkpoint that is too long or has control characters", expected="a signed note")
    text, blank, signatures = note.rpartition("\n\n")
    lines = text.split("\n")
    if not blank or len(lines) < 3 or not note.endswith("\n") or not re.fullmatch(r"0|[1-9][0-9]{0,15}", lines[1]):
        raise MessageInvalid("a text that is not a checkpoint", expected="origin, size, root, a blank line, signatures")
    root = _base64(lines[2])
    if root is None or len(root) != 32:
        raise MessageInvalid("a checkpoint's root that is not a hash", expected="32 bytes in base64")
    if lines[0] != origin:
        raise Refused("checkpoint-origin", "the checkpoint is of another log", remedy="use the log of this trust")
    signature_lines = signatures.removesuffix("\n").split("\n")
    signed_text, candidate_keys = f"{text}\n".encode(), list(keys)
    good = [
        _signature_holds(line, origin, candidate_keys, signed_text) for line in signature_lines
    ]  # each line is read: a malformed one spoils the note
    if not any(good):
        raise Refused("checkpoint-signature", "the checkpoint is not signed by its log's key", remedy="fetch it again")
    return Checkpoint(origin, int(lines[1]), root)


def _signature_holds(line: str, origin: str, keys: Iterable[bytes], text: bytes) -> bool:
    """Whether a signature's line is one of these keys' over the text.  Raises: MessageInvalid for no such line."""
    match = _LINE.fullmatch(line)
    blob = _base64(match[2]) if match else None
    if not match or blob is None or len(blob) < 5:
        raise MessageInvalid("a checkpoint with a line that is not a signature", expected="a dash, a name, base64")
    return match[1] == origin and any(blob[:4] == _key_hash(origin, key) and valid(key, blob[4:], text) for key in keys)


def _key_hash(name: str, public: bytes) -> bytes:
    """The first four bytes of SHA-256 over name, line feed, signature type and key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
