"""Honest documents of one made-up trust, with keys and times that are always the same, and ways to spoil them."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trust.canonical import canonical
from trust.signing.envelope import Envelope, Signature, Signer, distinct, payload_type, sha256, sign

Document = dict[str, Any]
Files = dict[str, bytes]
Change = Callable[[Document], object]

NOW = "2026-11-24T12:00:00Z"
ISSUED, EXPIRES = "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"
BEGINS, ENDS = "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"
ACCREDITED = "2026-12-15T00:00:00Z"
CHARTER, DATASET, PLAN = (sha256(word.encode()) for word in ("charter", "dataset", "plan"))


@dataclass(frozen=True)
class Case:
    """A folder of the corpus.  `said`: one sentence for `case.txt`."""

    kind: str
    name: str
    said: str
    files: Files

    @property
    def folder(self) -> str:
        """Its place below tests/conformance."""
        return f"{self.kind}/{self.name}"


class Cases(list[Case]):
    """The cases of one kind, in the order in which they are added."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def good(self, name: str, said: str, files: Files) -> None:
        """A case that must be accepted."""
        self.append(Case(self.kind, name, said, files))

    def fail(self, name: str, said: str, files: Files) -> None:
        """A case that must be refused."""
        self.append(Case(self.kind, f"{name}_fail", said, files))


# ---- keys


def key(role: str) -> Signer:
    """The key of a role, made of its name alone."""
    seed = hashlib.sha256(f"datatrust conformance {role}".encode()).digest()
    return Signer(Ed25519PrivateKey.from_private_bytes(seed))


MEMBERS = [key(f"member-{n}") for n in range(1, 6)]
COORDINATOR, AUDITOR, RESEARCHER, STRANGER = (key(n) for n in ("coordinator", "auditor", "researcher", "stranger"))
PARTNERS = {name: (key(f"{name}-sign"), key(f"{name}-seal")) for name in ("east", "north", "south", "west")}


def ids(*signers: Signer) -> list[str]:
    return [signer.key_id for signer in signers]


# ---- documents


def root_document(version: int = 1, change: Change = lambda d: None) -> Document:
    """Five members of whom three are a quorum; the first two are lay, of whom one must sign a mandate."""
    document = {
        "schema": "datatrust/root/1",
        "trust": "example",
        "version": version,
        "issued": ISSUED,
        "expires": EXPIRES,
        "charter": CHARTER,
        "keys": {k: v.hex() for k, v in distinct([*MEMBERS, COORDINATOR, AUDITOR, RESEARCHER]).items()},
        "roles": {
            "root": {"keys": ids(*MEMBERS), "threshold": 3},
            "committee": {"keys": ids(*MEMBERS), "threshold": 3},
            "coordinator": {"keys": ids(COORDINATOR), "threshold": 1},
            "auditor": {"keys": ids(AUDITOR), "threshold": 1},
            "lay": {"keys": ids(*MEMBERS[:2]), "threshold": 1},
        },
        "partners": {n: {"sign": s.public.hex(), "seal": e.public.hex()} for n, (s, e) in PARTNERS.items()},
        "researchers": {"lab": {"key": RESEARCHER.key_id, "organisation": "lab", "accredited_until": ACCREDITED}},
    }
    change(document)
    return document


def add_key(document: Document, signer: Signer, *roles: str) -> None:
    document["keys"][signer.key_id] = signer.public.hex()
    for role in roles:
        document["roles"][role]["keys"].append(signer.key_id)


def drop_key(document: Document, signer: Signer, *roles: str) -> None:
    for role in roles:
        document["roles"][role]["keys"].remove(signer.key_id)
    if not any(signer.key_id in role["keys"] for role in document["roles"].values()):
        del document["keys"][signer.key_id]


def replace_key(document: Document, old: Signer, new: Signer, *roles: str) -> None:
    add_key(document, new, *roles)
    drop_key(document, old, *roles)


def study_document(change: Change = lambda d: None) -> Document:
    document = {
        "schema": "datatrust/study/1",
        "id": "age-and-disease-7k3f",
        "title": "Age and disease",
        "summary": {"en": "Does age go with disease?", "fr": "L'âge va-t-il avec la maladie ?"},
        "purpose": "AcademicResearch",
        "researcher": "lab",
        "dataset": "heart",
        "dataset_digest": DATASET,
        "cohort": "age >= 40",
        "analyses": {
            "ages": {"kind": "histogram", "column": "age", "edges": ["40.0", "50.0", "60.0", "70.0"]},
            "table": {"kind": "describe", "columns": ["age"], "by": ["sex"]},
        },
        "protections": {},
        "not_before": BEGINS,
        "expires": ENDS,
    }
    change(document)
    return document


def mandate_document(study: Envelope, change: Change = lambda d: None) -> Document:
    document = {
        "schema": "datatrust/mandate/1",
        "id": "2026-0001",
        "study": sha256(study.unverified_payload),
        "plan": PLAN,
        "dataset": DATASET,
        "charter": CHARTER,
        "root": 1,
        "partners": sorted(PARTNERS),
        "participation": "joined",
        "m": 3,
        "c": 1,
        "sums": 3,
        "bytes": 4096,
        "audit": "nodes",
        "conditions": [],
        "not_before": BEGINS,
        "expires": ENDS,
    }
    change(document)
    return document


def signed_root(document: Document, *signers: Signer) -> Envelope:
    return sign("root", document, *(signers or MEMBERS[:3]))


def signed_study(change: Change = lambda d: None, *signers: Signer) -> Envelope:
    return sign("study", study_document(change), *(signers or (RESEARCHER,)))


ROOT = signed_root(root_document())
STUDY = signed_study()


# ---- ways to spoil


def changed(document: Mapping[str, Any], **fields: Any) -> Document:
    """A copy with other fields; `None` takes one away."""
    made = {**copy.deepcopy(dict(document)), **fields}
    return {name: value for name, value in made.items() if value is not None}


def set_to(**fields: Any) -> Change:
    return lambda document: document.update(fields)


def without(*names: str) -> Change:
    return lambda document: [document.pop(name) for name in names]


def file_of(envelope: Envelope | Document) -> bytes:
    """The file of an envelope, one line."""
    return canonical(envelope if isinstance(envelope, dict) else envelope.document()) + b"\n"


def text_of(value: Any) -> bytes:
    """JSON that need not be canonical, one line."""
    return json.dumps(value).encode() + b"\n"


def sign_bytes(kind: str, payload: bytes, *signers: Signer) -> Envelope:
    """Any bytes, signed as they are."""
    envelope = Envelope(payload=base64.b64encode(payload).decode(), payloadType=payload_type(kind), signatures=())
    for signer in signers:
        envelope = envelope.with_signature(signer)
    return envelope


def with_payload(envelope: Envelope, payload: bytes) -> Envelope:
    """Another payload under the same signatures."""
    return envelope.model_copy(update={"payload": base64.b64encode(payload).decode()})


def with_document(envelope: Envelope, change: Change) -> Envelope:
    """A changed document under the same signatures."""
    document = json.loads(envelope.unverified_payload)
    change(document)
    return with_payload(envelope, canonical(document))


def with_signatures(envelope: Envelope, *signatures: Signature) -> Envelope:
    return envelope.model_copy(update={"signatures": signatures})


def more(envelope: Envelope, *signatures: Signature) -> Envelope:
    return with_signatures(envelope, *envelope.signatures, *signatures)


def relabelled(signature: Signature, signer: Signer) -> Signature:
    """The same signature under another's key id."""
    return signature.model_copy(update={"keyid": signer.key_id})


def flipped(signature: Signature, byte: int = 40) -> Signature:
    """One bit of it changed."""
    raw = bytearray(base64.b64decode(signature.sig))
    raw[byte] ^= 1
    return signature.model_copy(update={"sig": base64.b64encode(bytes(raw)).decode()})


def odd_texts(document: Document) -> dict[str, tuple[str, bytes]]:
    """Texts of one document that are not its canonical one: name -> what is odd, bytes."""
    right = canonical(document)
    first = next(iter(sorted(document)))
    pair = f'"{first}":'.encode() + canonical(document[first])
    return {
        "space-after-a-comma": ("has a space", right.replace(b",", b", ", 1)),
        "line-feed-at-the-end": ("ends with a line feed", right + b"\n"),
        "keys-not-sorted": ("has its keys in another order", json.dumps(document, separators=(",", ":")).encode()),
        "key-twice": ("has a key twice", b"{" + pair + b"," + right[1:]),
        "null": ("has a field that is null", right[:-1] + b',"zzz":null}'),
        "float": ("has a number with a point", _other(right, (b'"threshold":3', b'"m":3', b'"index":4'), b".0")),
        "other-escape": ("writes a letter as an escape", _other(right, (b'"datatrust',), b"\\u002f", drop=b"/")),
        "not-ascii": (
            "is not ASCII",
            _other(right, (b'"organisation":"lab', b'"id":"2026-0001', b'"text":"y'), b"\xc3\xa9"),
        ),
        "cut-short": ("is cut short", right[:-1]),
        "nested-too-deeply": ("is nested too deeply", right[:-1] + b',"zzz":' + b"[" * 80 + b"]" * 80 + b"}"),
    }  # fmt: skip


def _other(right: bytes, places: tuple[bytes, ...], text: bytes, drop: bytes = b"") -> bytes:
    """`text` after the first of the places that is there, in place of `drop`."""
    place = next(place for place in places if place in right)
    return right.replace(place + drop, place + text, 1)
