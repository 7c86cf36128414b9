"""JSON files that people keep: any spacing, but one meaning.

A signed payload is canonical (`trust/canonical.py`).  The envelope around it may be indented or end with a line feed,
and its meaning must still not depend on who reads it: no key twice, no float, no NaN.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from trust.errors import MessageInvalid
from trust.signing.envelope import Envelope

__all__ = ["read_envelopes", "read_json"]

_MOST_DIGITS = 20


def read_json(raw: bytes, *, largest: int) -> Any:
    """The value of a JSON text in UTF-8.

    Raises: MessageInvalid for more than `largest` bytes, a text that is not JSON, a key that stands twice, a float.
    """
    if len(raw) > largest:
        raise MessageInvalid(f"a file of {len(raw)} bytes", expected=f"at most {largest}")
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_once,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            parse_int=_whole,
        )
    except (ValueError, RecursionError):
        raise MessageInvalid("a file that is not JSON", expected="JSON in UTF-8, nested a few levels") from None


def read_envelopes(raw: bytes, *, largest: int = 1 << 24) -> tuple[Envelope, ...]:
    """The envelope of a file, or the envelopes where the file is a list of them.  Raises: MessageInvalid."""
    value = read_json(raw, largest=largest)
    return tuple(Envelope.read(item) for item in (value if isinstance(value, list) else [value]))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MessageInvalid("an object in which a key stands twice", expected="each key once")
    return fields


def _refuse_number(text: str) -> NoReturn:
    raise MessageInvalid("a number that is not whole", expected="no floats, no NaN")


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise MessageInvalid("a number that is too large", expected=f"at most {_MOST_DIGITS} digits")
    return int(text)
