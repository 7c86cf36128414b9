"""What a node's process says of itself: events of a closed list, with fields of a closed list, never a value.

A field that is not listed is dropped, and so is a text that is more than a name: what a table or a message holds cannot
come out this way.  Lines of JSON where standard error is not a terminal.  What other libraries log
is kept to their name and the level; a failure that nobody caught to its class.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, Protocol

import structlog

from nodes.events import NAMES

__all__ = ["EVENTS", "FIELDS", "Log", "node_log", "only_listed"]

FIELDS = frozenset(
    {
        "event", "level", "timestamp", "node", "study", "mandate", "kind", "answer", "rule", "code", "check", "state",
        "host", "port", "pid", "signal", "count", "version", "days", "seconds", "library",
    }
)  # fmt: skip
EVENTS = frozenset(
    {
        "starting", "stopping", "stopped", "message", "told", "ready", "not-ready", "root-accepted",
        "roots-not-fetched", "keys-switched", "restarting", "library", "failure", "late",
    }
) | NAMES  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,79}")


class Log(Protocol):
    """Says one event."""

    def __call__(self, event: str, /, *, level: str = "info", **fields: Any) -> None:
        """`event` of EVENTS, fields of FIELDS."""


def only_listed(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """structlog's processor: drop every field that is not listed, and every text that is not a name."""
    fields = {}
    for name, value in event.items():
        is_listed = value in EVENTS if name == "event" else name == "timestamp" or (name in FIELDS and _plain(value))
        if is_listed:
            fields[name] = value
    return {"event": "told", **fields}


def _plain(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and _NAME.fullmatch(value) is not None)


def node_log(node: str, *, stream: Any = None) -> Log:
    """The log of a node's process; what others log and what nobody catches goes there too, as its class alone."""
    out = stream or sys.stderr
    terminal = bool(getattr(out, "isatty", lambda: False)())
    logger = structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            only_listed,
            structlog.dev.ConsoleRenderer(colors=terminal)
            if terminal
            else structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    ).bind(node=node)

    def say(event: str, /, *, level: str = "info", **fields: Any) -> None:
        getattr(logger, level if level in ("info", "warning", "error") else "info")(event, **fields)

    _take_over(say)
    return say


class _OtherLoggers(logging.Handler):
    """What libraries log: their name and the level; the text may hold anything."""

    def __init__(self, say: Log) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises."""
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._say("library", level=level, library=record.name)


def _take_over(say: Log) -> None:
    logging.captureWarnings(True)
    for name in ("", *logging.root.manager.loggerDict):
        logger = logging.getLogger(name or None)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
    logging.getLogger().addHandler(_OtherLoggers(say))
    flower = logging.getLogger("flwr")  # it does not hand on to the root
    flower.addHandler(_OtherLoggers(say))
    flower.propagate = False

    def uncaught(kind: type[BaseException], wrong: BaseException, trace: TracebackType | None) -> None:
        say("failure", level="error", code=kind.__name__)
        if os.environ.get("DATATRUST_DEBUG") == "1":
            sys.__excepthook__(kind, wrong, trace)

    sys.excepthook = uncaught
    threading.excepthook = lambda args: uncaught(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)
