"""The signed result file: what was asked, who allowed it, what was found, and the proof that it stands in the register.

One envelope that the coordinator signs.  With the trust root that a reader has pinned, it can be checked without asking
anybody (`trust/documents/verification.py`, and `docs/verify.py` without any of this code).  Format: docs/formats.md,
15.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import Field, StrictBool, StrictInt, model_validator

from trust.analyses.base import Values
from trust.canonical import LARGEST_INTEGER, Model, canonical, digest, parse, read_model
from trust.decision import Decision, Decisions
from trust.errors import MessageInvalid
from trust.logs.merkle import Entry
from trust.signing.envelope import Envelope, Signer, sha256, sign
from trust.signing.json_text import read_json
from trust.times import Time

__all__ = [
    "LARGEST_BYTES",
    "Packed",
    "RegisterProof",
    "ResultDocument",
    "Said",
    "hidden_cells",
    "pack_values",
    "read_result",
    "release_entry",
    "result_document",
    "results_digest",
    "signed_result",
    "unpack_values",
    "write_envelope",
]

LARGEST_BYTES = 64 << 20
"""Bytes of a result file, at most."""
_MOST_ENTRIES = 1 << 26
_HIDDEN = "hidden"

Hash: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
AnalysisName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
ArrayName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]


class Packed(Model):
    """One array: its kind, its shape, and its entries one after another, the last axis fastest.

    A real is the text of its shortest repr, `inf` and `-inf` included; a count is a whole number, as a text from 2^53
    on.  In both, an entry that is hidden or undefined is the empty text.
    """

    kind: Literal["real", "count", "text", "truth"]
    shape: tuple[Annotated[StrictInt, Field(ge=0)], ...] = Field(max_length=8)
    values: tuple[Any, ...]

    @model_validator(mode="after")
    def _fits(self) -> Packed:
        if math.prod(n for n in self.shape if n) > _MOST_ENTRIES:
            raise ValueError("an array of too many entries")
        if math.prod(self.shape) != len(self.values):
            raise ValueError("an array whose shape and number of entries differ")
        fits = _FITS[self.kind]
        if not all(map(fits, self.values)):
            raise ValueError(f"an entry that is no {self.kind}")
        return self


def _is_real(entry: Any) -> bool:
    if not isinstance(entry, str):
        return False
    try:
        return entry == "" or (entry != "nan" and repr(float(entry)) == entry)
    except ValueError:
        return False


def _is_count(entry: Any) -> bool:
    if isinstance(entry, str):
        digits = entry.isascii() and entry.isdigit() and len(entry) <= 19
        return entry == "" or (digits and entry[0] != "0" and LARGEST_INTEGER <= int(entry) < 2**63)
    return isinstance(entry, int) and not isinstance(entry, bool) and 0 <= entry < LARGEST_INTEGER


def _is_text(entry: Any) -> bool:
    return isinstance(entry, str) and "\0" not in entry


def _is_truth(entry: Any) -> bool:
    return isinstance(entry, bool)


_FITS = {"real": _is_real, "count": _is_count, "text": _is_text, "truth": _is_truth}


class Said(Model):
    """A decision, as `trust.decision.Decision` has it."""

    rule: str
    ok: StrictBool
    text: str
    remedy: str


class RegisterProof(Model):
    """Where the release stands in the trust's register.

    `at` and `index` are those of its entry; `proof` is that entry's audit path in the tree of the signed `checkpoint`.
    """

    at: Time
    index: Annotated[StrictInt, Field(ge=0, lt=LARGEST_INTEGER)]
    proof: tuple[Hash, ...] = Field(max_length=64)
    checkpoint: str = Field(max_length=16_384)


class ResultDocument(Model):
    """What the coordinator signs.

    Attributes:
        study, mandate: as they were signed.
        root: every version of the trust root, from the founding one to the one in force.
        results: analysis -> array -> its values.
        suppressed: analysis -> number of hidden cells (`hidden_cells`).
        decisions: what was decided on totals and results.
        register_: absent only until the release has its place in the register.
    """

    schema_: Literal["datatrust/result/1"] = Field(alias="schema")
    study: Envelope
    mandate: Envelope
    root: tuple[Envelope, ...] = Field(min_length=1, max_length=1000)
    results: dict[AnalysisName, dict[ArrayName, Packed]] = Field(min_length=1, max_length=50)
    suppressed: dict[AnalysisName, Annotated[StrictInt, Field(ge=0)]]
    decisions: tuple[Said, ...] = Field(max_length=100_000)
    register_: RegisterProof | None = Field(default=None, alias="register")

    def values(self) -> dict[str, Values]:
        """The released arrays of each analysis."""
        return {name: unpack_values(table) for name, table in self.results.items()}

    def taken(self) -> Decisions:
        """The decisions, as they were taken."""
        return Decisions(
            Decision(decision.rule, decision.ok, decision.text, decision.remedy) for decision in self.decisions
        )


# ---- values


def pack_values(values: Values) -> dict[str, Packed]:
    """Arrays of one analysis as they stand in the file; `unpack_values` gives them back bit for bit.

    Args:
        values: name -> array of int64 (counts; -1 is hidden), float64 (NaN is hidden or undefined), texts or booleans.

    Raises: MessageInvalid for an array of another kind, or a negative count.
    """
    return {name: _pack(name, np.asarray(array)) for name, array in values.items()}


def _pack(name: str, array: Any) -> Packed:
    flat: list[Any] = array.ravel().tolist()
    kinds = {"f": "real", "i": "count", "u": "count", "U": "text", "b": "truth"}
    kind = kinds.get(array.dtype.kind, array.dtype.name)
    if kind == "real":
        flat = [repr(x) if x == x else "" for x in flat]
    elif kind == "count":
        flat = ["" if n == -1 else str(n) if n >= LARGEST_INTEGER else n for n in flat]
    document = {"kind": kind, "shape": list(array.shape), "values": flat}
    return read_model(Packed, document, MessageInvalid, f"the array {name!r}")


def unpack_values(table: Mapping[str, Packed]) -> Values:
    """The arrays in memory: float64 with NaN, int64 with -1 where hidden, texts, booleans."""
    return {name: _unpack(array) for name, array in table.items()}


def _unpack(array: Packed) -> Any:
    flat: Sequence[Any] = array.values
    if array.kind == "real":
        array_ = np.array([float(x) if x else math.nan for x in flat], dtype=np.float64)
    elif array.kind == "count":
        array_ = np.array([-1 if n == "" else int(n) for n in flat], dtype=np.int64)
    else:
        array_ = np.array(flat, dtype=np.bool_ if array.kind == "truth" else np.str_)
    return array_.reshape(array.shape)


def hidden_cells(tables: Mapping[str, Packed]) -> int:
    """How many cells of an analysis are hidden: true entries of its arrays `hidden` and `hidden_…`."""
    masks = [array for name, array in tables.items() if array.kind == "truth" and _masks(name)]
    return sum(sum(mask.values) for mask in masks)


def _masks(name: str) -> bool:
    return name == _HIDDEN or name.startswith(f"{_HIDDEN}_")


# ---- documents


def result_document(
    study: Envelope,
    mandate: Envelope,
    root: Sequence[Envelope],
    values: Mapping[str, Values],
    decisions: Decisions,
) -> ResultDocument:
    """The document of a release, which has no place in the register yet.

    Args:
        study, mandate: as they were signed.
        root: every version of the trust root, from the founding one to the one in force.
        values: analysis -> named arrays, small cells hidden.
        decisions: what was decided on totals and results.

    Raises: MessageInvalid for values that cannot be written.
    """
    results = {name: pack_values(arrays) for name, arrays in values.items()}
    fields = {
        "schema": "datatrust/result/1",
        "study": study,
        "mandate": mandate,
        "root": tuple(root),
        "results": results,
        "suppressed": {name: hidden_cells(table) for name, table in results.items()},
        "decisions": tuple(Said(rule=d.rule, ok=d.ok, text=d.text, remedy=d.remedy) for d in decisions),
    }
    return read_model(ResultDocument, fields, MessageInvalid, "the result")


def results_digest(document: ResultDocument) -> str:
    """`sha256:<hex>` of the document without its register: what the register's entry names."""
    return digest({name: value for name, value in document.document().items() if name != "register"})


def release_entry(document: ResultDocument, study: str, time: str, index: int) -> Entry:
    """The register's entry of a release at its place: the study's id, and the digests of mandate and content."""
    body = {"mandate": sha256(document.mandate.unverified_payload), "result": results_digest(document)}
    return Entry.of("release", study, time, body, seq=index)


def signed_result(document: ResultDocument, register: RegisterProof, *signers: Signer) -> Envelope:
    """The envelope that the coordinator signs, with the release's place in the register."""
    return sign("result", document.model_copy(update={"register_": register}).document(), *signers)


def write_envelope(envelope: Envelope) -> bytes:
    """The file of an envelope: one line of JSON."""
    return canonical(envelope.document()) + b"\n"


def read_result(raw: bytes) -> tuple[Envelope, ResultDocument, RegisterProof]:
    """Envelope, document and place in the register of a result file; nothing in them is verified.

    Raises: MessageInvalid for bytes that are no closed, canonical result of at most 64 MiB.
    """
    envelope = Envelope.read(read_json(raw, largest=LARGEST_BYTES))
    document = read_model(
        ResultDocument, parse(envelope.unverified_payload, largest=LARGEST_BYTES), MessageInvalid, "the result"
    )
    if document.register_ is None:
        raise MessageInvalid("the result has no field 'register'", expected="its place in the register")
    return envelope, document, document.register_
