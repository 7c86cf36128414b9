"""What the coordinator's processes say: a line an event, JSON where nobody watches, with keys of a list and no others.

What is not in the list is left out, so that no value of a study, no address of a database and no secret gets into a log
because somebody has handed it over.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import structlog

from trust.words.safe import escaped

__all__ = ["KEYS", "Say", "logger", "of_line"]

KEYS = frozenset({"code", "days", "event", "level", "part", "partner", "pid", "rule", "seconds", "study", "time"})
"""All that a line can have."""
_LONGEST_CHARACTERS = 2000
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LEVEL = re.compile(r"(?:\S+Z )?(DEBUG|INFO|WARNING|ERROR)\b(?: \[[\w.]+\]|\s*:)?\s+(.*)")
"""How Flower and uvicorn write a line: a level, after a time or before a colon."""
Say = Callable[..., Any]


def logger(stream: TextIO | None = None, *, as_json: bool | None = None) -> Any:
    """A logger with `info`, `warning` and `error`; JSON unless the stream is a terminal, or as it is said."""
    out = sys.stdout if stream is None else stream
    machine = not out.isatty() if as_json is None else as_json
    return structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%SZ", utc=True, key="time"),
            _allowed_fields,
            _json if machine else _words,
        ],
        wrapper_class=structlog.BoundLogger,
    )


def of_line(line: str) -> dict[str, Any]:
    """A process's line: the keys of one in JSON; or level and text as Flower writes them; or all of it as the event."""
    text = _COLOUR.sub("", line).rstrip()
    if text.startswith("{"):
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            fields = None
        if isinstance(fields, dict) and isinstance(fields.get("event"), str):
            return {key: value for key, value in fields.items() if key in KEYS}
    found_level = _LEVEL.match(text)
    return {"level": found_level[1].lower(), "event": found_level[2]} if found_level else {"event": text}


def _allowed_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _plain(value) for key, value in event.items() if key in KEYS}


def _plain(value: Any) -> Any:
    """A number, or a text without anything that a terminal obeys."""
    if isinstance(value, bool | int | float):
        return value
    text = str(value)
    return escaped(text if len(text) <= _LONGEST_CHARACTERS else text[:_LONGEST_CHARACTERS] + "…")


def _json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    first = {key: event.pop(key) for key in ("time", "level", "event") if key in event}
    return json.dumps({**first, **event}, ensure_ascii=True)


def _words(_: Any, __: str, event_dict: MutableMapping[str, Any]) -> str:
    """`12:00:00 superlink  warning: what; code=1`."""
    time, level, event = (str(event_dict.pop(key, "")) for key in ("time", "level", "event"))
    part = str(event_dict.pop("part", "run"))
    extra = "".join(f" {key}={value}" for key, value in event_dict.items())
    loud = f"{level}: " if level in ("warning", "error") else ""
    return f"{time[11:19]} {part:<9} {loud}{event}{extra}"
