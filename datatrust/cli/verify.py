"""`datatrust verify RESULT.json`: each step of the verification in a sentence, and what it comes to."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from textwrap import wrap
from typing import Any

import typer

from datatrust.person.pins import pin as keep
from datatrust.person.pins import pinned, read_pin_file, read_root
from trust.decision import Decision
from trust.documents.root import TrustRoot
from trust.documents.verification import NOT_CHECKED, Verified
from trust.documents.verification import verify as judge
from trust.errors import InvalidInput, sentence
from trust.words.speech import speech

__all__ = ["report", "verify_file"]


def verify_file(result: Path, *, root: Path | None, pin: bool, as_json: bool, lang: str) -> int:
    """Print what is found; the exit code: 0 verified, 1 not verified, 2 no result file.

    Raises: InvalidInput for an unknown language, a pin without a root, a file that cannot be read.
    """
    say = speech("verification", lang)
    if pin and root is None:
        raise InvalidInput("--pin without a root", expected="--root ROOT.json, the root that you trust")
    raw, now = read_pin_file(result), datetime.now(UTC)
    root_given = read_root(root) if root is not None else None
    verified = _verified(raw, root_given, now)
    pin_written = _pinned(raw, root_given, now) if pin and root_given is not None and verified.ok else None
    if as_json:
        typer.echo(json.dumps(_object(verified, pin_written), ensure_ascii=False, indent=2))
    else:
        typer.echo(report(verified, lang))
        if pin_written is not None:
            typer.echo(say("pinned", value=str(pin_written)), err=True)
    return 0 if verified.ok else 1 if verified.readable else 2


def report(verified: Verified, lang: str = "en") -> str:
    """One line a step, what the fingerprint is where the root was not pinned, and the verdict."""
    say, lines = speech("verification", lang), []
    for number, decision in enumerate(verified.decisions, 1):
        mark = say("mark_skipped" if _skipped(decision) else "mark_ok" if decision.ok else "mark_failed")
        lines.append(f"{number} {mark:<7} {decision.rule:<9} {_sentence(decision, lang)}".rstrip())
        if lang == "en" and decision.remedy and not decision.ok:
            lines.append(f"{'':<20}to fix it: {decision.remedy}")
    if not verified.pinned and verified.fingerprint:
        lines += ["", *wrap(say("unpinned"), 100), say("fingerprint", value=verified.fingerprint)]
    return "\n".join([*lines, "", say("verified" if verified.ok else "not_verified")])


def _verified(raw: bytes, root_given: TrustRoot | None, now: datetime) -> Verified:
    """From the root that was given, else from the pinned one of the trust that the file names, else from its own."""
    verified = judge(raw, pinned=root_given, now=now)
    if root_given is not None or verified.root is None:
        return verified
    pinned_root = pinned(verified.root.root.trust)
    return judge(raw, pinned=pinned_root, now=now) if pinned_root is not None else verified


def _pinned(raw: bytes, root_given: TrustRoot, now: datetime) -> Path:
    """Pin the root; in place of another one only where the file shows that it follows from that one."""
    pinned_before = pinned(root_given.root.trust)
    newer = pinned_before is not None and pinned_before.root.version < root_given.root.version
    return keep(root_given, replace=newer and judge(raw, pinned=pinned_before, now=now).ok)


def _sentence(decision: Decision, lang: str) -> str:
    """In French the step's sentence, and for a no the exact words in English after it."""
    say = speech("verification", lang)
    if lang == "en" or _skipped(decision):
        return decision.text if lang == "en" else say("skipped")
    if decision.ok:
        return say(f"step_{decision.rule}_yes")
    return f"{say(f'step_{decision.rule}_no')} ({sentence(decision.text, remedy=decision.remedy)})"


def _skipped(decision: Decision) -> bool:
    return not decision.ok and decision.text == NOT_CHECKED


def _object(verified: Verified, pin_written: Path | None) -> dict[str, Any]:
    """For programs."""
    register = verified.document.register_ if verified.document else None
    return {
        "schema": "datatrust/verified/1",
        "ok": verified.ok,
        "pinned": verified.pinned,
        "fingerprint": verified.fingerprint,
        "trust": verified.root.root.trust if verified.root else None,
        "root": verified.root.root.version if verified.root else None,
        "mandate": verified.mandate.id if verified.mandate else None,
        "study": verified.study.id if verified.study else None,
        "released": register.at if register else None,
        "steps": [{"number": n, **vars(decision)} for n, decision in enumerate(verified.decisions, 1)],
        **({"pin": str(pin_written)} if pin_written else {}),
    }
