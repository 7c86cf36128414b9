"""A node's own keys: made here, never sent, and replaced by a trust root that names the next ones.

keys/sign.pem (Ed25519), keys/seal.pem (X25519), connection/node.pem (P-256, for Flower), each in PEM, not encrypted,
mode 0600: a node starts by itself.  `partner.json` is their public half, for the person who drafts the trust root.

Rotation: new keys in keys/next/, and a new `partner.json` with `partner.json.sig`, a signature of the key in use, so
that the members can see who asks.  Until a root names them the node goes on with those in use; then, at its start, they
take their place, and the ones before go to keys/old/.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import Field

from trust.canonical import Model, read_model
from trust.documents.root import Key, Name, Partner, TrustRoot
from trust.errors import InvalidInput, Refused
from trust.files import replace_whole, write_new
from trust.signing.connection_key import connection_hex
from trust.signing.envelope import Signer, key_id, valid
from trust.signing.json_text import read_json
from trust.signing.read import read_curve, read_sealing, read_signing

__all__ = ["NodeKeys", "PartnerFile", "check_rotation", "named", "next_keys", "rotate", "take_next"]

_PLACES = ("keys/sign.pem", "keys/seal.pem", "connection/node.pem")
_NEXT = ("keys/next/sign.pem", "keys/next/seal.pem", "keys/next/node.pem")
_CONTEXT = b"datatrust partner.json rotation 1\n"
"""What a rotation's signature is over, before the file's bytes: it fits nothing else."""
_LARGEST_BYTES = 1 << 14


class PartnerFile(Model):
    """partner.json: public halves; `flower` is a SubjectPublicKeyInfo in PEM."""

    schema_: Literal["datatrust/partner/1"] = Field(default="datatrust/partner/1", alias="schema")
    name: Name
    sign: Key
    seal: Key
    flower: str = Field(max_length=1000)

    def file(self) -> bytes:
        """The file's bytes."""
        return json.dumps(self.document(), indent=2).encode("ascii") + b"\n"


@dataclass(frozen=True)
class NodeKeys:
    """A node's private keys; their repr shows nothing."""

    sign: Ed25519PrivateKey
    seal: X25519PrivateKey
    connection: EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return "<a node's keys>"

    @classmethod
    def make(cls) -> NodeKeys:
        """Fresh ones."""
        return cls(Ed25519PrivateKey.generate(), X25519PrivateKey.generate(), generate_private_key(SECP256R1()))

    @classmethod
    def read(cls, home: Path, places: tuple[str, str, str] = _PLACES) -> NodeKeys:
        """Raises: InvalidInput for a file that is missing, open to others or of another kind."""
        sign, seal, connection = (home / place for place in places)
        return cls(read_signing(sign), read_sealing(seal), read_curve(connection))

    def write(self, home: Path, places: tuple[str, str, str] = _PLACES) -> None:
        """Each in its file, for the owner only; never over another.  Raises: OSError."""
        keys: list[Ed25519PrivateKey | X25519PrivateKey | EllipticCurvePrivateKey] = [self.sign, self.seal]
        for place, key in zip(places, [*keys, self.connection], strict=True):
            (home / place).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_new(home / place, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)

    def public(self, name: str) -> PartnerFile:
        """Their public halves."""
        pem = self.connection.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        sign, seal = self.sign.public_key().public_bytes_raw(), self.seal.public_key().public_bytes_raw()
        return PartnerFile(name=name, sign=sign.hex(), seal=seal.hex(), flower=pem.decode("ascii"))

    def partner(self, name: str) -> Partner:
        """The same, as a trust root has it."""
        file = self.public(name)
        return Partner(sign=file.sign, seal=file.seal, flower=connection_hex(file.flower.encode()))


def named(root: TrustRoot, name: str, keys: NodeKeys) -> list[str]:
    """In what the root differs from these keys, in words; empty where it names all three.

    A root of a trust on one machine names no key for the connection.
    """
    theirs, own_entry = root.root.partners.get(name), keys.partner(name)
    if theirs is None:
        return [f"version {root.root.version} of the trust root has no partner {name!r}"]
    differences = []
    for purpose, field in (("signs with", "sign"), ("receives under", "seal"), ("connects with", "flower")):
        if getattr(theirs, field) not in (getattr(own_entry, field), *([""] if field == "flower" else [])):
            differences.append(f"version {root.root.version} of the trust root names another key that {name} {purpose}")
    return differences


# ---- rotation


def next_keys(home: Path) -> NodeKeys | None:
    """The keys that were made for the next root; None where there are none.  Raises: InvalidInput."""
    return NodeKeys.read(home, _NEXT) if any((home / place).exists() for place in _NEXT) else None


def rotate(home: Path, name: str) -> PartnerFile:
    """Make the next keys, and write a new partner.json with a signature of the key in use.

    A second call writes the two files again, with the keys that the first has made.
    Raises: InvalidInput, OSError.
    """
    using = Signer(read_signing(home / _PLACES[0]))
    if not all((home / place).exists() for place in _NEXT):
        for place in _NEXT:  # of a call that ended half-way: nobody was told of these
            (home / place).unlink(missing_ok=True)
        NodeKeys.make().write(home, _NEXT)
    file = NodeKeys.read(home, _NEXT).public(name)
    signature = {"keyid": using.key_id, "sig": base64.b64encode(using.sign(_CONTEXT + file.file())).decode("ascii")}
    replace_whole(home / "partner.json", file.file(), 0o644)
    replace_whole(home / "partner.json.sig", json.dumps(signature, indent=2).encode("ascii") + b"\n", 0o644)
    return file


def check_rotation(partner: bytes, signature: bytes, earlier: Mapping[str, Partner]) -> PartnerFile:
    """The partner.json, when the key that the root before it names for this partner has signed it.

    Raises: Refused (`signature`), InvalidInput, MessageInvalid.
    """
    file = read_model(PartnerFile, read_json(partner, largest=_LARGEST_BYTES), InvalidInput, "partner.json")
    document = read_json(signature, largest=_LARGEST_BYTES)
    public = bytes.fromhex(earlier[file.name].sign) if file.name in earlier else b""
    try:
        ok = document["keyid"] == key_id(public) and valid(
            public, base64.b64decode(document["sig"]), _CONTEXT + partner
        )
    except (KeyError, TypeError, ValueError):
        ok = False
    if not ok:
        text = f"the new keys of {file.name!r} are not signed with the key that the trust root names for it"
        raise Refused("signature", text, remedy="ask the partner, by telephone, whether it has asked for new keys")
    return file


def take_next(home: Path, name: str, root: TrustRoot) -> bool:
    """Put the next keys in place where the root names them; whether any was.  To be called before the node starts.

    Each file goes by itself, the key before it first into keys/old/: after a stop half-way the next call goes on.
    Raises: InvalidInput, OSError.
    """
    theirs = root.root.partners.get(name)
    if theirs is None or not (home / "keys" / "next").is_dir():
        return False
    done = False
    for place, coming, field in zip(_PLACES, _NEXT, ("sign", "seal", "flower"), strict=True):
        if not (home / coming).exists() or _public(home / coming, field) != getattr(theirs, field):
            continue
        old = home / "keys" / "old"
        old.mkdir(mode=0o700, exist_ok=True)
        if (home / place).exists():
            (home / place).replace(old / f"{key_id(bytes.fromhex(_public(home / place, field)))[:16]}-{field}.pem")
        (home / coming).replace(home / place)
        done = True
    if done:
        (home / "partner.json.sig").unlink(missing_ok=True)
        (home / "connection" / "node_id").unlink(missing_ok=True)  # of the key before
        if not any((home / "keys" / "next").iterdir()):
            (home / "keys" / "next").rmdir()
    return done


def _public(path: Path, field: str) -> str:
    """Hex of a private file's public half.  Raises: InvalidInput."""
    if field == "sign":
        return read_signing(path).public_key().public_bytes_raw().hex()
    if field == "seal":
        return read_sealing(path).public_key().public_bytes_raw().hex()
    key = read_curve(path).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()
