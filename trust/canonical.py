"""Canonical JSON: one text for one value, so that a digest or a signature has one meaning.

Keys sorted, no spaces, ASCII, objects, arrays, strings, booleans and integers below 2^53.  No floats (a real
number is the string of its shortest repr, `Real`), no null, no duplicate keys.  See docs/formats.md, 1.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from trust.errors import InvalidInput, MessageInvalid, nearest

__all__ = ["LARGEST_INTEGER", "Model", "Real", "canonical", "digest", "parse", "read_document", "read_model"]

LARGEST_INTEGER = 2**53
_DEEPEST = 64
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A JSON string, or what is left of one: it matches at every quote, so that the search is linear."""
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
M = TypeVar("M", bound=BaseModel)


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a real number is needed")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError("a real number is needed") from None
    if not math.isfinite(number):
        raise ValueError("a finite number is needed")
    return number


Real = Annotated[float, BeforeValidator(_real), PlainSerializer(repr, return_type=str)]
"""A float that is written as the string of its shortest repr, and read back exactly."""


class Model(BaseModel):
    """Base of every document: frozen and closed, an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

    def document(self) -> dict[str, Any]:
        """The model as the JSON value that is digested: reals as strings, absent fields left out."""
        return self.model_dump(mode="json", exclude_none=True, by_alias=True)

    def canonical(self) -> bytes:
        """The canonical bytes of `document()`."""
        return canonical(self.document())

    def digest(self) -> str:
        """`sha256:<hex>` of the canonical bytes."""
        return digest(self.document())


def canonical(value: Any) -> bytes:
    """The one JSON text of `value`, as ASCII bytes.

    Raises: ValueError for what has no canonical form: a float, null, a large integer, a key that is not a string, a
    text that is not Unicode.
    """
    _check_value(value, 0)
    return _ENCODER.encode(value).encode("ascii")


def _check_value(value: Any, depth: int) -> None:
    """Raises: ValueError.  Texts come first: nearly every value is one."""
    if isinstance(value, str):
        if not value.isascii():
            value.encode("utf-8")  # half of a surrogate pair has no UTF-8
    elif depth > _DEEPEST:
        raise ValueError("nested too deeply for canonical JSON")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError("an object's keys are strings")
            _check_value(key, depth + 1)
            _check_value(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_value(inner, depth + 1)
    elif not isinstance(value, int):
        raise ValueError(f"{type(value).__name__} has no canonical form")
    elif abs(value) >= LARGEST_INTEGER:
        raise ValueError("an integer of 2^53 or more has no canonical form; write it as a string")


def digest(value: Any) -> str:
    """`sha256:<hex>` of the canonical bytes of `value`."""
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()


def parse(raw: bytes, *, largest: int = 1 << 20) -> Any:
    """Read canonical JSON from untrusted bytes.  Size and nesting are bounded before anything is built.

    Raises: MessageInvalid for bytes that are not exactly the canonical text of a value.
    """
    if len(raw) > largest:
        raise MessageInvalid(f"a document of {len(raw)} bytes", expected=f"at most {largest}")
    if _nesting(raw) > _DEEPEST:
        raise MessageInvalid("a document nested too deeply", expected=f"at most {_DEEPEST} levels")
    try:
        value = json.loads(raw)
        canonical_bytes = canonical(value) == raw
    except (ValueError, RecursionError):
        raise MessageInvalid(
            "bytes that are not canonical JSON", expected="sorted keys, no spaces, no floats"
        ) from None
    if not canonical_bytes:
        raise MessageInvalid("JSON that is not in canonical form", expected="sorted keys, no spaces, no floats")
    return value


def read_document(model: type[M], raw: bytes, error: type[InvalidInput], subject: str) -> M:
    """A signed document from its bytes, which must be written exactly as a `model` writes what it was given.

    So a number that stands as a text, or a document that does not name its schema, is refused rather than understood.

    Raises: MessageInvalid for bytes that are not canonical; `error`.
    """
    value = parse(raw)
    read = read_model(model, value, error, subject)
    if "schema_" in model.model_fields and "schema" not in value:
        raise error(f"{subject} has no field 'schema'", expected="the kind and version of the document")
    if canonical(read.model_dump(mode="json", exclude_none=True, exclude_unset=True, by_alias=True)) != raw:
        raise error(f"{subject} has a field of another type", expected="numbers and texts as the format says")
    return read


def _nesting(raw: bytes) -> int:
    """How deep brackets nest outside strings: found without building anything."""
    depth = deepest = 0
    for bracket in re.findall(rb"[][{}]", _STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def read_model(model: type[M], value: Any, error: type[InvalidInput], subject: str) -> M:
    """`value` as a `model`, or `error` naming the first field that is wrong, with the nearest known name."""
    try:
        return model.model_validate(value)
    except ValidationError as wrong:
        raise explained(wrong, model, error, subject) from None
    except RecursionError:
        raise error(f"{subject} is nested too deeply") from None


def explained(wrong: ValidationError, model: type[BaseModel], error: type[InvalidInput], subject: str) -> InvalidInput:
    """One complaint of pydantic in our words: an unknown key first, with the nearest name."""
    complaints = wrong.errors(include_url=False, include_input=False)
    first = next((c for c in complaints if c["type"] == "extra_forbidden"), complaints[0])
    path = ".".join(str(p) for p in first["loc"])
    if first["type"] == "extra_forbidden":
        suggestion = nearest(str(first["loc"][-1]), _field_names(model))
        return error(f"{subject} has an unknown field {path!r}", expected=suggestion, remedy="correct the name")
    if first["type"] == "missing":
        return error(f"{subject} has no field {path!r}", expected="it to be given")
    place = f"{subject}, field {path!r}" if path else subject
    return error(f"{place}: {first['msg'].removeprefix('Value error, ')}")


def _field_names(annotation: Any) -> set[str]:
    """Every field name of the models that an annotation reaches."""
    names: set[str] = set()
    waiting, names_seen = [annotation], set()
    while waiting:
        current = waiting.pop()
        if id(current) in names_seen:
            continue
        names_seen.add(id(current))
        if isinstance(current, type) and issubclass(current, BaseModel):
            names |= {f.alias or name for name, f in current.model_fields.items()}
            waiting += [f.annotation for f in current.model_fields.values()]
        waiting += getattr(current, "__args__", ())
    return names
