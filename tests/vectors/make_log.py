"""Makes the log's test vectors: `python -m tests.vectors.make_log`.

Two files: the Merkle tree with an entry of ours, and checkpoints, good and bad, each with what reading it says.  All
inputs are fixed.  The tree's leaves are those of Certificate Transparency's reference tests, whose roots and proofs
`tests/trust/logs/test_merkle.py` has from there; there too a second implementation, by the words of RFC 6962, computes
all.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trust.errors import DataTrustError, Refused
from trust.logs.checkpoint import Checkpoint, read_checkpoint, register_origin, sign_checkpoint
from trust.logs.merkle import Entry, Tree, leaf_hash
from trust.signing.envelope import Signer

FOLDER = Path(__file__).parent
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ORIGIN = register_origin("heart")
KEY = Signer(Ed25519PrivateKey.from_private_bytes(bytes([0x51]) * 32))
OTHER = Signer(Ed25519PrivateKey.from_private_bytes(bytes([0x52]) * 32))
ROOT = hashlib.sha256(b"root").digest()
ROOT_64 = base64.b64encode(ROOT).decode()
DASH = "\N{EM DASH}"


def log() -> dict[str, Any]:
    """Roots, audit paths and consistency proofs of every size up to 8, and one entry with its leaf hash."""
    tree, sizes = Tree(leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES), range(len(LEAVES) + 1)
    entry = Entry.of(
        "sum-contributed",
        "age-and-disease-7k3f",
        "2026-11-24T12:00:01Z",
        {"asked": "risk/step", "bytes": 1234, "ctx": "62" * 32, "r": 3, "sha256": "ab" * 32},
        seq=41,
    ).canonical()
    return {
        "leaves": LEAVES,
        "leaf_hashes": [tree.leaf(at).hex() for at in range(len(LEAVES))],
        "roots": [tree.root(size).hex() for size in sizes],
        "inclusion": [
            {"index": at, "size": size, "proof": [part.hex() for part in tree.inclusion(at, size)]}
            for size in sizes
            for at in range(size)
        ],
        "consistency": [
            {"old": old, "size": size, "proof": [part.hex() for part in tree.consistency(old, size)]}
            for size in sizes
            for old in range(size + 1)
        ],
        "entry": {"bytes": entry.decode("ascii"), "leaf": leaf_hash(entry).hex()},
    }


def signature(text: str, name: str = ORIGIN, signer: Signer = KEY, *, kind: int = 1) -> str:
    """A line of a signed note, by the words of C2SP signed-note."""
    key_hash = hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + signer.public).digest()[:4]
    return f"{DASH} {name} {base64.b64encode(key_hash + signer.sign(text.encode())).decode()}\n"


def note(size: str = "7", root: str = ROOT_64, origin: str = ORIGIN, more: str = "") -> str:
    """A note of these lines, signed as it is."""
    text = f"{origin}\n{size}\n{root}\n{more}"
    return f"{text}\n{signature(text)}"


def notes() -> dict[str, str]:
    """Good and bad checkpoints, each with what is particular about it."""
    good = sign_checkpoint(Checkpoint(ORIGIN, 7, ROOT), KEY)
    text, line = good.split("\n\n")
    text = f"{text}\n"
    witness = signature(text, "witness.example/w1", OTHER)
    short = base64.b64encode(base64.b64decode(line.split()[2])[:-1]).decode()
    wrong = base64.b64encode(base64.b64decode(line.split()[2])[:4] + bytes(64)).decode()
    return {
        "as signed": good,
        "of an empty log": note("0", base64.b64encode(hashlib.sha256(b"").digest()).decode()),
        "with lines that later versions may add": note(more="more 1\nmore 2\n"),
        "a witness has signed first": f"{text}\n{witness}{line}",
        "a witness has signed last": f"{good}{witness}",
        "a signature of another type under our name": f"{text}\n{signature(text, kind=4)}{line}",
        "signed by a witness only": f"{text}\n{witness}",
        "another key under our name": f"{text}\n{signature(text, signer=OTHER)}",
        "our key under another name": f"{text}\n{signature(text, 'datatrust/heart')}",
        "our key's hash over another's signature": f"{text}\n{DASH} {ORIGIN} {wrong}\n",
        "a signature over another size": good.replace("\n7\n", "\n8\n"),
        "a signature over another root": good.replace(ROOT_64, base64.b64encode(bytes(32)).decode()),
        "a signature of 63 bytes": f"{text}\n{DASH} {ORIGIN} {short}\n",
        "a hyphen for the dash": good.replace(DASH, "-"),
        "text after the signatures": f"{good}\nmore\n",
        "another trust's register": note(origin=register_origin("lungs")),
        "a journal of the same trust": note(origin="datatrust/heart/journal/a"),
        "an origin with a space after it": note(origin=f"{ORIGIN} "),
        "a size with a leading zero": note("07"),
        "a size with a sign": note("+7"),
        "a negative size": note("-7"),
        "a size with a space": note("7 "),
        "a size in other digits": note("\N{ARABIC-INDIC DIGIT SEVEN}"),
        "a size of 17 digits": note("1" * 17),
        "no size": note(""),
        "a root of 31 bytes": note(root=base64.b64encode(bytes(31)).decode()),
        "a root of 33 bytes": note(root=base64.b64encode(bytes(33)).decode()),
        "a root in the other base64": note(root=base64.urlsafe_b64encode(b"\xfb" * 32).decode()),
        "a root without its padding": note(root=ROOT_64.rstrip("=")),
        "line ends of another system": good.replace("\n", "\r\n"),
        "no line end at the end": good.rstrip("\n"),
        "no blank line": good.replace("\n\n", "\n"),
        "no signature": f"{text}\n",
        "two lines": f"{ORIGIN}\n7\n\n{signature(f'{ORIGIN}{chr(10)}7{chr(10)}')}",
        "nothing": "",
    }


def checkpoint() -> dict[str, Any]:
    """Each note with the code or rule that reading it gives, empty where it is good."""
    return {
        "origin": ORIGIN,
        "public": KEY.public.hex(),
        "root": ROOT.hex(),
        "notes": [{"case": case, "note": text, "code": code(text)} for case, text in notes().items()],
    }


def code(text: str) -> str:
    """What reading a note says."""
    try:
        read_checkpoint(text, ORIGIN, [KEY.public])
    except Refused as refused:
        return refused.rule
    except DataTrustError as wrong:
        return wrong.code
    return ""


FILES: dict[str, Callable[[], dict[str, Any]]] = {"log.json": log, "checkpoint.json": checkpoint}


def main() -> None:
    """Write the files."""
    for name, maker in FILES.items():
        (FOLDER / name).write_text(json.dumps(maker(), indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
