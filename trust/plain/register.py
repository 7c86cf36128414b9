"""A line of the register in words, in English and French.

Words that others chose (titles, reasons) are shown as `trust/words/safe.py` makes them safe.  Nothing here has been
verified: `trust/documents/register_checks.py` does that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trust.canonical import parse
from trust.errors import InvalidInput
from trust.logs.merkle import Entry
from trust.signing.envelope import Envelope
from trust.words.language import catalogue
from trust.words.safe import escaped
from trust.words.speech import Speech, speech

__all__ = ["register_line"]

_DIGITS_SHOWN = 19
"""Characters of a digest: `sha256:` and 12 more."""
_STUDY = 24
"""Characters of a study's id that stand in line; a longer one moves the rest of its line."""


def register_line(entry: Entry, lang: str = "en") -> str:
    """Number, date, kind, study and what, on one line.  Raises: InvalidInput for a language that is not there."""
    say = speech("register", lang)
    width = max(len(text) for key, text in catalogue(lang)["register"].items() if key.startswith("kind_"))
    kind = say(f"kind_{entry.kind}")
    when = f"{entry.at[:10]} {entry.at[11:19]}"
    try:
        sentence_of = _WHATS[entry.kind](entry.body, say)
    except (InvalidInput, LookupError, TypeError, AttributeError):
        sentence_of = say("line_unreadable")
    return f"{entry.seq:>6}  {when}  {kind:<{width}}  {escaped(entry.study) or '-':<{_STUDY}}  {sentence_of}".rstrip()


def _payload(body: dict[str, Any]) -> dict[str, Any]:
    """The signed document in the body's envelope.  Raises: MessageInvalid, KeyError."""
    document: dict[str, Any] = parse(Envelope.read(body["envelope"]).unverified_payload)
    return document


def _root(body: dict[str, Any], say: Speech) -> str:
    root = _payload(body)
    return say("line_root", version=int(root["version"]), expires=escaped(root["expires"][:10]))


def _charter(body: dict[str, Any], say: Speech) -> str:
    return say(
        "line_charter",
        name=escaped(body["name"]),
        version=int(body["version"]),
        digest=escaped(body["digest"][:_DIGITS_SHOWN]),
    )


def _study(body: dict[str, Any], say: Speech) -> str:
    study = _payload(body)
    return say("line_study", title=escaped(study["title"]), purpose=escaped(study["purpose"]))


def _mandate(body: dict[str, Any], say: Speech) -> str:
    mandate = _payload(body)
    partners = ", ".join(escaped(name) for name in mandate["partners"])
    return say("line_mandate", id=escaped(mandate["id"]), expires=escaped(mandate["expires"][:10]), partners=partners)


def _vote(body: dict[str, Any], _: Speech) -> str:
    return "; ".join(escaped(reason) for reason in _payload(body)["reasons"])


def _refusal(body: dict[str, Any], _: Speech) -> str:
    """The rule and its public text; never who, since that may say how few."""
    return f"{escaped(body['rule'])}: {escaped(body['text'])}"


def _sum_record(body: dict[str, Any], say: Speech) -> str:
    return say("line_sum-record", r=int(body["record"]["r"]), n=len(body["record"]["U"]))


def _release(body: dict[str, Any], say: Speech) -> str:
    return say("line_release", digest=escaped(body["result"][:_DIGITS_SHOWN]))


def _revocation(body: dict[str, Any], _: Speech) -> str:
    return escaped(_payload(body)["reason"])


def _journal_head(body: dict[str, Any], say: Speech) -> str:
    return say("line_journal-head", partner=escaped(body["partner"]), size=escaped(body["note"].split("\n")[1]))


_WHATS: dict[str, Callable[[dict[str, Any], Speech], str]] = {
    "root": _root,
    "charter": _charter,
    "study": _study,
    "mandate": _mandate,
    "vote": _vote,
    "refusal": _refusal,
    "sum-record": _sum_record,
    "release": _release,
    "revocation": _revocation,
    "journal-head": _journal_head,
}
