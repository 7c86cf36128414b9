"""What is said while somebody waits: in a terminal, in a notebook, and where neither is."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from datatrust.research import progress
from datatrust.research.progress import saying

SAYS = """
import time
from datatrust.research.progress import saying
with saying(True) as say:
    for number in (1, 2, 3):
        say(f"{number} of 3 signatures [red]")
        time.sleep(0.3)
print("end")
"""


def test_a_plain_line_each_five_seconds_and_none_for_what_is_over_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with saying(True) as say:
        for second in range(13):
            clock[0] = 1000.0 + second
            say(f"at {second}")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "at 2\nat 7\nat 12\n")
    with saying(False) as say:
        clock[0] += 100
        say("nothing")
    assert capsys.readouterr().err == ""


def test_in_a_terminal_one_line_changes() -> None:
    """In a pseudo-terminal; what stands there at the end is only what the program prints."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.Popen([sys.executable, "-c", SAYS], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert done.wait(30) == 0
    text = said.decode("utf-8", "replace")
    assert "1 of 3 signatures [red]" in text  # words are not markup
    assert "3 of 3 signatures" in text
    assert text.count("\n") < 10 + text.count("\x1b")
    assert text.rstrip().endswith("end")


@pytest.mark.slow
def test_in_a_notebook_one_display_changes() -> None:
    """In a real kernel."""
    client = pytest.importorskip("jupyter_client.manager")
    manager, kernel = client.start_new_kernel(
        kernel_name="python3", env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    )
    displayed: list[tuple[str, str]] = []

    def hear(message: dict[str, object]) -> None:
        content = message["content"]
        if message["msg_type"] in ("display_data", "update_display_data"):
            displayed.append((str(message["msg_type"]), content["data"]["text/html"]))  # type: ignore[index]

    try:
        kernel.execute_interactive(SAYS, timeout=60, output_hook=hear)
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    assert displayed == [
        ("display_data", "<code>1 of 3 signatures [red]</code>"),
        ("update_display_data", "<code>2 of 3 signatures [red]</code>"),
        ("update_display_data", "<code>3 of 3 signatures [red]</code>"),
    ]
