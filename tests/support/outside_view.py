"""A trust seen from outside: every byte between its coordinator and its nodes, and the command line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from datatrust.cli import main as cli
from datatrust.in_process import local_trust as federation
from trust.errors import DataTrustError, Refused
from trust.protocol.messages import DOWN, UP, unpack

ROOT = Path(__file__).parents[2]
Before = Callable[[dict[str, Any]], object]
"""Is called with the header of a round's messages down before they are sent."""


@dataclass
class Wire:
    """What was said between the coordinator and the nodes: name and bytes of each message, in order."""

    down: list[tuple[str, bytes]] = field(default_factory=list)
    up: list[tuple[str, bytes]] = field(default_factory=list)

    def everything(self) -> list[bytes]:
        return [raw for _, raw in self.down + self.up]

    def sent(self, partner: str) -> list[str]:
        """Kinds of what a partner has sent."""
        return [unpack(raw, UP)[0]["kind"] for name, raw in self.up if name == partner]

    def uploads(self) -> list[tuple[str, int]]:
        """Partner and number of each sum that was given to."""
        headers = [(name, unpack(raw, UP)[0]) for name, raw in self.up]
        return [(name, header["r"]) for name, header in headers if header["kind"] == "upload"]

    def bytes_of(self, partner: str) -> int:
        return sum(len(raw) for name, raw in self.up if name == partner)


@contextmanager
def watched(before: Before = lambda header: None) -> Iterator[Wire]:
    """Listen to every study that is run meanwhile."""
    wire, real = Wire(), federation._channel

    class Channel:
        def __init__(self, sessions: Mapping[str, Any]) -> None:
            self._channel = real(sessions)

        def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> Mapping[str, bytes]:
            for raw in list(messages.values())[:1]:
                before(unpack(raw, DOWN)[0])
            wire.down += messages.items()
            answers = self._channel.exchange(messages, deadline=deadline)
            wire.up += answers.items()
            return answers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(federation, "_channel", Channel)
        yield wire


def command(*arguments: object) -> tuple[int, str]:
    """`datatrust …` in this process: exit code, and all that it said."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    assert "Traceback" not in said.getvalue()
    return int(left.value.code or 0), said.getvalue()


def program(*arguments: object) -> tuple[int, str]:
    """The same in a process of its own, as a citizen would start it."""
    done = subprocess.run(
        [sys.executable, "-c", "from datatrust.cli.main import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def rule_of(call: Callable[[], object]) -> str:
    """`answered`, or the rule that refused."""
    try:
        call()
    except Refused as refused:
        return refused.rule
    except DataTrustError as wrong:
        return wrong.code
    return "answered"
