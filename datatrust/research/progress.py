"""Saying what is waited for: a line that changes in a terminal or a notebook, else a plain line each 5 seconds."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

__all__ = ["LINE_SECONDS", "Say", "saying"]

Say: TypeAlias = Callable[[str], None]
"""Takes the words to show; they must be safe to show already."""

LINE_SECONDS = 5.0
"""Seconds between two plain lines."""
_QUIET_SECONDS = 2.0
"""Seconds before the first of them: what is over by then needs no words."""


@contextmanager
def saying(show: bool) -> Iterator[Say]:
    """What words are shown by, on standard error or in the notebook's cell; nothing where `shown` is false."""
    if not show:
        yield lambda words: None
    elif _in_notebook():
        yield _cell()
    elif sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status("") as status:
            yield lambda words: status.update(Text(words))
    else:
        yield _plain()


def _in_notebook() -> bool:
    """Whether a kernel runs this, and can show one display that changes."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return getattr(shell, "kernel", None) is not None


def _cell() -> Say:
    import IPython.display

    shows: Any = IPython.display  # it has no types
    handles: list[Any] = []

    def say(words: str) -> None:
        handle_ = shows.HTML(f"<code>{html.escape(words)}</code>")
        if handles:
            handles[0].update(handle_)
        else:
            handles.append(shows.display(handle_, display_id=True))

    return say


def _plain() -> Say:
    last = time.monotonic() - LINE_SECONDS + _QUIET_SECONDS

    def say(words: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS and sys.stderr is not None:
            last = time.monotonic()
            print(words, file=sys.stderr, flush=True)

    return say
