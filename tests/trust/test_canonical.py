"""One text for one value; what has none is refused, and untrusted bytes cost no more than their length."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest

from trust.canonical import Model, Real, canonical, parse, read_model
from trust.errors import MessageInvalid, StudyInvalid


@pytest.mark.parametrize(
    "value",
    [1.5, None, 2**53, -(2**53), {1: "a"}, {"a": {1: 2}}, "\ud800", {"\udfff": 1}, b"x", [1.0], {"a": [None]}, {1, 2}],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - unicode errors are value errors too
        canonical(value)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b"1.0", b"1e3", b"-0", b"01", b"null", b"NaN",
        b"Infinity", b"9007199254740992", b'"\\u0041"', b'"\xc3\xa9"', b'"\\ud800"', b"[1,]", b"1 2", b"\xff\xfe1\x00",
        b'"', b'"\\', b"\xef\xbb\xbf1",
        b"1" * 5_000,
    ],
)  # fmt: skip
def test_bytes_that_are_not_the_one_text_are_refused(raw: bytes) -> None:
    with pytest.raises(MessageInvalid, match="canonical"):
        parse(raw)


def test_size_and_nesting_are_bounded_before_anything_is_built() -> None:
    with pytest.raises(MessageInvalid, match="a document of 1048577 bytes; expected at most 1048576"):
        parse(b" " * (2**20 + 1))
    with pytest.raises(MessageInvalid, match="nested too deeply; expected at most 64 levels"):
        parse(b"[" * 500_000)
    assert parse(b'"' + b"[" * 1_000 + b'"') == "[" * 1_000


@pytest.mark.parametrize("piece", [b'\\"', b'"', b'"[', b"\\", b'[""', b'"\\\\'])
def test_a_megabyte_of_quotes_takes_linear_time(piece: bytes) -> None:
    began = perf_counter()
    with pytest.raises(MessageInvalid):
        parse((b'"' + piece * 2**20)[: 2**20])
    assert perf_counter() - began < 20


class Inner(Model):
    minimum: Real
    count: int = 0


class Outer(Model):
    name: str
    inner: Inner


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"name": "a", "inner": {"minimum": 1, "cuont": 2}},
            "the thing has an unknown field 'inner.cuont'; expected 'count', perhaps",
        ),
        (
            {"name": "a", "inner": {"minimun": 1}},
            "the thing has an unknown field 'inner.minimun'; expected 'minimum', perhaps",
        ),
        ({"name": "a", "inner": {}}, "the thing has no field 'inner.minimum'; expected it to be given"),
        ({"name": 3, "inner": {"minimum": 1}}, "the thing, field 'name': Input should be a valid string"),
        ({"name": "a", "inner": {"minimum": "x"}}, "the thing, field 'inner.minimum': a real number is needed"),
        ({"name": "a", "inner": {"minimum": True}}, "a real number is needed"),
        ({"name": "a", "inner": {"minimum": "inf"}}, "a finite number is needed"),
        ([], "the thing: Input should be a valid dictionary"),
    ],
)
def test_a_model_says_which_field_is_wrong_and_what_was_expected(document: Any, expected: str) -> None:
    with pytest.raises(StudyInvalid) as caught:
        read_model(Outer, document, StudyInvalid, "the thing")
    assert expected in str(caught.value)


@pytest.mark.parametrize("number", [0.1, 1 / 3, 1e300, 5e-324, -0.0, 2.0**60])
def test_a_real_is_read_back_exactly(number: float) -> None:
    inner = Inner(minimum=number)
    assert Inner.model_validate(parse(inner.canonical())).minimum == number
