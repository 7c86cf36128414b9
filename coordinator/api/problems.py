"""Errors as RFC 9457 has them: one shape, whatever went wrong, and never what only our own logs may say.

A text of ours says got, expected and remedy; of an error that we did not foresee, nothing but that there was one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from trust.errors import AnalysisFailed, DataTrustError, Fault, InvalidInput, Refused

__all__ = ["DESCRIPTION", "PROBLEMS", "Http", "problem_of", "respond", "status_of", "titles"]

MEDIA_TYPE: Final = "application/problem+json"

PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "not-found": (404, "there is nothing at this address"),
    "method": (405, "this address is asked in another way"),
    "timeout": (408, "the request took too long to arrive"),
    "conflict": (409, "something else stands there already"),
    "too-large": (413, "the request is larger than this address takes"),
    "media-type": (415, "the body is of another type"),
    "request": (422, "the request is not one that this address takes"),
    "too-many": (429, "too many requests in a short time"),
    "not-ready": (503, "the coordinator cannot answer now"),
}
"""Code -> status and title of what only HTTP knows; the others are `trust.errors`' codes."""

_RULES: Final[Mapping[str, int]] = {
    "request-signature": 401,
    "request-expired": 401,
    "request-replayed": 401,
    "study-state": 409,
    "mandate-study": 409,
    "mandate-expired": 409,
    "mandate-missing": 409,
    "mandate-revoked": 409,
    "root-version": 409,
    "vote-against": 409,
    "log-corrupt": 503,
}
"""Status of a refusal by its rule; 403 of every other."""


class Http(DataTrustError):
    """What only HTTP knows: a code of `PROBLEMS`, what was got, what would fix it, and the seconds after which asking
    again makes sense.
    """

    def __init__(self, code: str, detail: str, *, expected: str = "", remedy: str = "", retry_after: int = 0) -> None:
        self.code = code  # type: ignore[misc]  # of the object, not of the class
        self.after = retry_after
        super().__init__(detail, expected=expected, remedy=remedy)


_TEXTS = ("type", "title", "detail", "rule", "text", "got", "expected", "remedy", "explanation")
_DESCRIBED: Final[dict[str, Any]] = {
    "description": "What is wrong, as RFC 9457 has it",
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {"status": {"type": "integer"}, **{name: {"type": "string"} for name in _TEXTS}},
            }
        }
    },
}
DESCRIPTION: Final[dict[int | str, dict[str, Any]]] = {"4XX": _DESCRIBED, 503: _DESCRIBED}
"""Of every address, for its description for machines: no other error is ever answered."""


def titles() -> dict[str, str]:
    """Every code that can stand in a problem's type, and its title."""
    titles_by_code = {code: title for code, (_, title) in PROBLEMS.items()}
    waiting: list[type[DataTrustError]] = [DataTrustError]
    while waiting:
        kind = waiting.pop()
        words = re.split(r"\.\s|\.?\n|\.?$", kind.__doc__ or "", maxsplit=1)[0]
        titles_by_code.setdefault(kind.code, f"{words[:1].lower()}{words[1:]}")
        waiting += [sub for sub in kind.__subclasses__() if sub is not Http]
    return titles_by_code | {"fault": "the coordinator cannot answer now"}


def status_of(wrong: DataTrustError) -> int:
    """The HTTP status of one of our errors."""
    if isinstance(wrong, Http):
        return PROBLEMS[wrong.code][0]
    if isinstance(wrong, Refused):
        return _RULES.get(wrong.rule, 403)
    if isinstance(wrong, InvalidInput):
        return 422
    return 409 if isinstance(wrong, AnalysisFailed) else 503


def problem_of(wrong: DataTrustError, **extra: str) -> dict[str, Any]:
    """The problem's document.  A fault's own words stay here: they name files of this machine."""
    status = status_of(wrong)
    if status == 503:
        wrong = Fault("the coordinator cannot answer now", remedy="try again later, or tell its operator")
    document: dict[str, Any] = {
        "type": f"/errors/{wrong.code}",
        "title": titles()[wrong.code],
        "status": status,
        "detail": str(wrong),
    }
    parts = {"expected": wrong.expected, "remedy": wrong.remedy}
    if isinstance(wrong, InvalidInput | Http):
        parts["got"] = wrong.text
    else:
        parts |= {"text": wrong.text} | ({"rule": wrong.rule} if isinstance(wrong, Refused) else {})
    return document | {name: text for name, text in parts.items() if text} | extra


def respond(wrong: DataTrustError, headers: Mapping[str, str] | None = None, **members: str) -> Response:
    """The problem as a response."""
    status, extra = status_of(wrong), dict(headers or {})
    if status == 401:
        extra["WWW-Authenticate"] = 'Signature realm="datatrust"'  # RFC 9110, section 11.6.1, asks for one
    if isinstance(wrong, Http) and wrong.after:
        extra["Retry-After"] = str(wrong.after)
    content = json.dumps(problem_of(wrong, **members), ensure_ascii=True).encode("ascii")
    return Response(content, status, extra, MEDIA_TYPE)
