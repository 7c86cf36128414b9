"""The result document: arrays go to text and back bit for bit, and nothing else is read as one."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.corpus.honest import COORDINATOR, MEMBERS, ROOT, STUDY
from tests.support.corpus.release import DECISIONS, HONEST, SIGNED, VALUES
from trust.canonical import canonical, digest, parse, read_model
from trust.documents.result import (
    Packed,
    RegisterProof,
    ResultDocument,
    hidden_cells,
    pack_values,
    read_result,
    release_entry,
    result_document,
    results_digest,
    signed_result,
    unpack_values,
    write_envelope,
)
from trust.errors import InvalidInput, MessageInvalid
from trust.signing.envelope import Envelope, sha256, signers_of
from trust.signing.json_text import read_envelopes, read_json

MANDATE = HONEST.mandate
REGISTER = RegisterProof(at="2026-11-24T11:00:00Z", index=0, proof=(), checkpoint="note\n")


def back(array: Any) -> Any:
    """Through the file's text and back."""
    raw = canonical({name: packed.document() for name, packed in pack_values({"x": np.asarray(array)}).items()})
    return unpack_values({"x": read_model(Packed, parse(raw)["x"], MessageInvalid, "an array")})["x"]


def same(one: Any, two: Any) -> bool:
    """Bit for bit; a NaN is a NaN."""
    if one.dtype.kind == "f":
        nan = np.isnan(one)
        return one.shape == two.shape and bool(
            (np.isnan(two) == nan).all() and (one.view(np.int64) == two.view(np.int64))[~nan].all()
        )
    return one.shape == two.shape and one.dtype == two.dtype and bool((one == two).all())


# ---- arrays


@given(st.lists(st.floats(), max_size=20))
def test_reals_come_back_bit_for_bit(numbers: list[float]) -> None:
    array = np.array(numbers, dtype=np.float64)
    assert same(array, back(array))


@given(st.lists(st.one_of(st.integers(-1, 100), st.integers(2**53 - 2, 2**63 - 1)), max_size=20))
def test_counts_come_back_the_hidden_ones_included(numbers: list[int]) -> None:
    array = np.array(numbers, dtype=np.int64)
    assert same(array, back(array))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8), max_size=8))
def test_texts_come_back(texts: list[str]) -> None:
    array = np.array(texts, dtype=np.str_)
    assert same(array, back(array))


@given(st.lists(st.booleans(), max_size=20))
def test_truths_come_back(truths: list[bool]) -> None:
    array = np.array(truths, dtype=np.bool_)
    assert same(array, back(array))


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3), (2, 0, 3), (1, 2, 1, 2)])
def test_a_shape_comes_back(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float64).reshape(shape)
    assert same(array, back(array))
    assert same(np.asfortranarray(array), back(np.asfortranarray(array)))


def test_how_numbers_are_written() -> None:
    packed = pack_values(
        {
            "reals": np.array([0.1, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1e22]),
            "counts": np.array([0, -1, 2**53 - 1, 2**53]),
            "texts": np.array(["âge", ""]),
            "truths": np.array([[True], [False]]),
        }
    )
    assert packed["reals"].document() == {
        "kind": "real",
        "shape": [7],
        "values": ["0.1", "-0.0", "inf", "-inf", "", "5e-324", "1e+22"],
    }
    assert packed["counts"].document()["values"] == [0, "", 9007199254740991, "9007199254740992"]
    assert packed["texts"].document() == {"kind": "text", "shape": [2], "values": ["âge", ""]}
    assert packed["truths"].document() == {"kind": "truth", "shape": [2, 1], "values": [True, False]}


@pytest.mark.parametrize("array", [np.array([1j]), np.array([None]), np.array(["2020"], dtype="M8[D]"), np.array(b"x")])
def test_an_array_of_another_kind_cannot_be_written(array: Any) -> None:
    with pytest.raises(MessageInvalid, match="the array 'x'"):
        pack_values({"x": array})


def test_a_negative_count_cannot_be_written() -> None:
    with pytest.raises(MessageInvalid, match="no count"):
        pack_values({"x": np.array([3, -2])})


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("a real that is a number", {"kind": "real", "values": [1]}),
    ("a real with a space", {"kind": "real", "values": [" 1.0"]}),
    ("a real that is not the shortest", {"kind": "real", "values": ["1.50"]}),
    ("a real in another spelling", {"kind": "real", "values": ["Infinity"]}),
    ("a real that is nan", {"kind": "real", "values": ["nan"]}),
    ("a real that is a word", {"kind": "real", "values": ["one"]}),
    ("a count that is a truth", {"kind": "count", "values": [True]}),
    ("a count below 0", {"kind": "count", "values": [-1]}),
    ("a small count as a text", {"kind": "count", "values": ["5"]}),
    ("a count with a leading zero", {"kind": "count", "values": ["09007199254740992"]}),
    ("a count of other digits", {"kind": "count", "values": ["９００７１９９２５４７４０９９２"]}),  # noqa: RUF001
    ("a count of 2^63", {"kind": "count", "values": [str(2**63)]}),
    ("a text with NUL", {"kind": "text", "values": ["a\0"]}),
    ("a text that is a number", {"kind": "text", "values": [1]}),
    ("a truth that is 1", {"kind": "truth", "values": [1]}),
    ("a list in a list", {"kind": "text", "values": [["a"]]}),
    ("another kind", {"kind": "complex", "values": ["1"]}),
    ("a shape of another size", {"kind": "text", "values": ["a"], "shape": [2]}),
    ("a shape that is a text", {"kind": "text", "values": ["a"], "shape": ["1"]}),
    ("a shape that is a truth", {"kind": "text", "values": ["a"], "shape": [True]}),
    ("a negative shape", {"kind": "text", "values": ["a"], "shape": [-1, -1]}),
    ("a huge shape of nothing", {"kind": "text", "values": [], "shape": [0, 2**40]}),
    ("a shape of nine axes", {"kind": "text", "values": ["a"], "shape": [1] * 9}),
    ("an unknown field", {"kind": "text", "values": ["a"], "note": "x"}),
]


@pytest.mark.parametrize(("name", "fields"), WRONG, ids=[name for name, _ in WRONG])
def test_what_is_no_array(name: str, fields: dict[str, Any]) -> None:
    with pytest.raises(MessageInvalid):
        read_model(Packed, {"shape": [1], **fields}, MessageInvalid, "an array")
    right = {"kind": "text", "shape": [1], "values": ["a"]}
    assert read_model(Packed, right, MessageInvalid, "an array").document() == right


def test_hidden_cells_are_those_of_the_masks() -> None:
    masks = {"hidden": np.array([[True, False]]), "hidden_groups": np.array([True]), "hiddenness": np.array([True])}
    assert hidden_cells(pack_values({**masks, "other": np.array([True])})) == 2
    assert hidden_cells(pack_values({"counts": np.array([-1])})) == 0


# ---- the document


def test_a_document_reads_back_and_has_the_values_that_went_in() -> None:
    document = result_document(STUDY, MANDATE, [ROOT], VALUES, DECISIONS)
    envelope = signed_result(document, REGISTER, COORDINATOR)
    read, found, register = read_result(write_envelope(envelope))
    assert (read, register) == (envelope, REGISTER)
    assert found.document() == json.loads(envelope.unverified_payload)
    assert found.taken() == DECISIONS
    assert found.suppressed == {"ages": 2, "table": 0}
    for name, arrays in found.values().items():
        assert arrays.keys() == VALUES[name].keys()
        assert all(same(VALUES[name][key], array) for key, array in arrays.items())
    keys = {COORDINATOR.key_id: COORDINATOR.public}
    assert signers_of("result", envelope, keys) == set(keys)


def test_the_content_is_all_but_the_register() -> None:
    document = result_document(STUDY, MANDATE, [ROOT], VALUES, DECISIONS)
    entered = document.model_copy(update={"register_": REGISTER})
    fields = document.document()
    assert "register" not in fields
    assert results_digest(document) == results_digest(entered) == digest(fields)


def test_the_registers_entry_names_study_mandate_and_content() -> None:
    document = result_document(STUDY, MANDATE, [ROOT], VALUES, DECISIONS)
    assert release_entry(document, "age-and-disease-7k3f", "2026-11-24T11:00:00Z", 4).document() == {
        "at": "2026-11-24T11:00:00Z",
        "body": {"mandate": sha256(MANDATE.unverified_payload), "result": results_digest(document)},
        "kind": "release",
        "seq": 4,
        "study": "age-and-disease-7k3f",
        "v": 1,
    }


@pytest.mark.parametrize("change", [{"note": "x"}, {"schema": "datatrust/result/2"}, {"root": []}])
def test_a_document_is_closed(change: dict[str, Any]) -> None:
    document = {**copy.deepcopy(HONEST.document()), **change}
    with pytest.raises(MessageInvalid, match="the result"):
        read_model(ResultDocument, document, MessageInvalid, "the result")


def test_a_result_without_its_place_in_the_register_is_none() -> None:
    document = HONEST.document()
    del document["register"]
    envelope = Envelope.read({**SIGNED.document()})
    raw = write_envelope(envelope.model_copy(update={"payload": _base64(canonical(document))}))
    with pytest.raises(MessageInvalid, match="no field 'register'"):
        read_result(raw)


def _base64(raw: bytes) -> str:
    import base64

    return base64.b64encode(raw).decode()


def test_a_file_above_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = write_envelope(SIGNED)
    assert read_result(raw)
    monkeypatch.setattr("trust.documents.result.LARGEST_BYTES", len(raw) - 1)
    with pytest.raises(MessageInvalid, match="a file of"):
        read_result(raw)


# ---- files of JSON


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b'{"a":1,"a":1}', b"1.0", b"NaN", b"Infinity", b"[1e3]", b"9" * 30, b"\xff", b"[" * 100_000, b'"' * 3],
)
def test_what_is_no_file_of_json(raw: bytes) -> None:
    with pytest.raises(MessageInvalid):
        read_json(raw, largest=1 << 20)


def test_spacing_says_nothing() -> None:
    assert read_json(b' {"b": [1, true],\n "a": "\xc3\xa9"}\n', largest=100) == {"b": [1, True], "a": "é"}
    with pytest.raises(MessageInvalid, match="at most 5"):
        read_json(b"[1, 2]", largest=5)


def test_a_file_may_hold_one_envelope_or_a_list() -> None:
    one = write_envelope(ROOT)
    assert read_envelopes(one) == (ROOT,)
    assert read_envelopes(b"[" + one + b"," + one + b"]") == (ROOT, ROOT)
    assert read_envelopes(b"[]") == ()
    with pytest.raises(MessageInvalid, match="the envelope"):
        read_envelopes(b"[1]")


@given(st.recursive(st.one_of(st.text(), st.integers(), st.booleans(), st.none()), st.lists, max_leaves=5))
def test_no_value_makes_reading_an_array_raise_anything_else(value: Any) -> None:
    for fields in (
        value,
        {"kind": "real", "shape": value, "values": value},
        {"kind": "count", "shape": [1], "values": [value]},
        {"kind": value, "shape": [], "values": [value]},
    ):
        try:
            packed = read_model(Packed, fields, MessageInvalid, "an array")
            unpack_values({"x": packed})
        except InvalidInput:
            continue


def test_members_keys_are_not_needed_to_write_a_result() -> None:
    """Only the coordinator signs it."""
    envelope = signed_result(result_document(STUDY, MANDATE, [ROOT], VALUES, DECISIONS), REGISTER, COORDINATOR)
    assert {s.keyid for s in envelope.signatures}.isdisjoint(member.key_id for member in MEMBERS)
