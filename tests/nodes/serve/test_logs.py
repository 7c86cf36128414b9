"""A node's log says events and names of a closed list: planted rows do not come out, whoever logs them."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from nodes.serve.logs import node_log, only_listed

CANARY = "Jeanne Martin, 47, 12.345"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root, flower = logging.getLogger(), logging.getLogger("flwr")
    kept = list(root.handlers), list(flower.handlers), flower.propagate, sys.excepthook, threading.excepthook
    try:
        yield io.StringIO()
    finally:
        root.handlers[:], flower.handlers[:] = kept[0], kept[1]
        flower.propagate, sys.excepthook, threading.excepthook = kept[2:]
        logging.captureWarnings(False)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_event_is_a_line_of_json(out: io.StringIO) -> None:
    say = node_log("north", stream=out)
    say("message", kind="ask", mandate="0a1b2c3d", study="pressure-by-age", answer="upload", seconds=0.25)
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "message", "level": "info", "node": "north", "kind": "ask", "mandate": "0a1b2c3d",
        "study": "pressure-by-age", "answer": "upload", "seconds": 0.25,
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"rows": 12.345},
        {"value": "47"},
        {"rule": CANARY},
        {"study": CANARY},
        {"code": "Jeanne Martin"},
        {"node": CANARY},
        {"kind": ["Jeanne"]},
        {"check": {"a": CANARY}},
        {"exc_info": ValueError(CANARY)},
        {"stack_info": True},
    ],
)
def test_what_is_not_listed_or_no_name_is_dropped(fields: dict[str, Any], out: io.StringIO) -> None:
    node_log("north", stream=out)("message", **fields)
    (line,) = lines(out)
    assert set(line) - {"node"} == {"event", "level", "timestamp"}
    assert not any(word in out.getvalue() for word in ("Jeanne", "12.345", "47,"))


def test_an_event_that_is_not_listed_loses_its_words() -> None:
    assert only_listed(None, "info", {"event": CANARY, "port": 1}) == {"event": "told", "port": 1}


def test_what_libraries_log_is_their_name_alone(out: io.StringIO) -> None:
    node_log("north", stream=out)
    logging.getLogger("sqlalchemy.engine").error("row %s", CANARY)
    logging.getLogger("flwr").warning(CANARY)
    logging.getLogger("other").info(CANARY)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(CANARY, stacklevel=1)
    assert [(line["event"], line.get("library")) for line in lines(out)] == [
        ("library", "sqlalchemy.engine"),
        ("library", "flwr"),
        ("library", "py.warnings"),
    ]
    assert "Jeanne" not in out.getvalue()


def test_what_nobody_catches_is_its_class_alone(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATATRUST_DEBUG", raising=False)
    node_log("north", stream=out)

    def fails() -> None:
        raise ValueError(CANARY)

    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
    try:
        fails()
    except ValueError:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    assert [(line["event"], line["code"], line["level"]) for line in lines(out)] == [
        ("failure", "ValueError", "error")
    ] * 2
    assert "Jeanne" not in out.getvalue()
