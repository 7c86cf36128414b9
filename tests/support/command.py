"""Running a command as its user does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from datatrust.cli import main as cli

Run: TypeAlias = Callable[..., tuple[int, str, str]]


def command_runner(capsys: pytest.CaptureFixture[str], *first: str) -> Run:
    """`run("key", "show", path)`: exit code, standard output, standard error; never a traceback.

    Args:
        first: words that stand before those of each call, such as the name of a group of commands.
    """

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main([*first, *(str(argument) for argument in arguments)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err

    return call
