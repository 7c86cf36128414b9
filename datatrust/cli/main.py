"""The command line: `datatrust demo`, `verify`, and groups of commands, each in a module of its own.

Exit codes: 0 done, 1 a rule said no, 2 bad input, 3 a fault of machine or software, 130 stopped with Ctrl-C,
141 nobody reads standard output any more.
A result goes to standard output, all else to standard error.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import click
import typer

from datatrust.cli.command import Command, group
from trust.errors import DataTrustError, InvalidInput

__all__ = ["application", "main"]

_GROUPS = {
    "dataset": "Draft, check or show the description that all partners share.",
    "charter": "Read a charter, look for faults in it, run its tests, ask why it refuses a study.",
    "study": "Check, file and follow studies at a coordinator.",
    "review": "Read, sign or refuse the mandates of studies that wait for the committee.",
    "register": "Read the trust's public log, and check that nobody has changed it.",
    "node": "What a partner's engineer does: a node beside the rows, from its keys to its backup.",
    "coordinator": "What a coordinator's operator does.",
    "key": "Make a private key, or show its public half.",
    "root": "Draft, sign or show the trust root: who takes part, with which keys.",
}
"""The commands of `datatrust NAME` stand in datatrust/cli/NAME.py, as NAME."""


def application(arguments: Sequence[str]) -> typer.Typer:
    """All commands.  Of the groups only the one that is called is loaded: all together take a second."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        suggest_commands=False,  # click suggests already
        context_settings={"max_content_width": 100},
        help="A data trust: partners answer questions together while no data moves between them.",
        epilog="Begin with `datatrust demo`. `datatrust COMMAND --help` explains a command.",
    )
    app.callback(invoke_without_command=True)(_top)
    app.command("verify", cls=Command)(verify)
    app.command("demo", cls=Command)(demo)
    called = next((word for word in arguments if not word.startswith("-")), None)
    for name, text in _GROUPS.items():
        commands = getattr(import_module(f"datatrust.cli.{name}"), name) if name == called else group()
        app.add_typer(commands, name=name, help=text)
    return app


def _top(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"datatrust {installed('datatrust-federation')}")
        raise typer.Exit


def verify(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json")],
    root: Annotated[
        Path | None, typer.Option(metavar="ROOT.json", help="The trust root that you trust; else the pinned one.")
    ] = None,
    pin: Annotated[bool, typer.Option("--pin", help="Pin that root if the result is verified.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    lang: Annotated[str, typer.Option(metavar="en|fr", help="Language of the sentences.")] = "en",
) -> None:
    """Verify a result file, from the trust root to the register, without a network.

    Exit code 0 verified, 1 not verified, 2 no result file. With neither --root nor a pinned root, the file is
    held to its own first root, which proves only that it agrees with itself.
    """
    from datatrust.cli import verify as verify_command

    raise typer.Exit(verify_command.verify_file(result, root=root, pin=pin, as_json=as_json, lang=lang))


def demo(
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for report, data and results; otherwise a temporary one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    lang: Annotated[str, typer.Option(metavar="en|fr", help="Language of the screen and of the report.")] = "en",
    show_code: Annotated[
        bool, typer.Option("--show-code", help="Print the study as a Python program that runs.")
    ] = False,
    engine: Annotated[
        str, typer.Option(metavar="local|flower", help="In this process, or as processes over a Flower SuperLink.")
    ] = "local",
    keep: Annotated[
        bool, typer.Option("--keep", help="With --engine flower: leave it running until Ctrl-C, a line an event.")
    ] = False,
) -> None:
    """Answer studies over four hospitals, refuse others, prove it, write a report.

    A whole trust on this machine, without a network. Ends with the number of figures checked against the
    pooled rows and the path of the report, beside which the signed result lies.
    """
    from datatrust.demo import run_demo, run_engine_demo

    if engine not in ("local", "flower"):
        raise InvalidInput(f"the engine {engine!r}", expected="local or flower")
    if engine == "flower":
        if show_code:
            raise InvalidInput("--show-code with --engine flower", expected="one of them")
        raise typer.Exit(run_engine_demo(out=out, as_json=as_json, lang=lang, keep=keep))
    if keep:
        raise InvalidInput("--keep without --engine flower", expected="both", remedy="add --engine flower")
    raise typer.Exit(run_demo(out=out, as_json=as_json, lang=lang, show_code=show_code))


# ---- one handler for whatever goes wrong


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code; no failure shows a traceback."""
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    _printable()
    try:
        code = typer.main.get_command(application(arguments)).main(
            arguments, prog_name="datatrust", standalone_mode=False
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except DataTrustError as wrong:
        return _say(str(wrong), wrong.exit_code)
    except click.exceptions.NoArgsIsHelpError as wrong:
        wrong.show()
        return 2
    except click.ClickException as wrong:
        hint = (
            f"; `{wrong.ctx.command_path} --help` explains" if isinstance(wrong, click.UsageError) and wrong.ctx else ""
        )
        return _say(wrong.format_message().rstrip(".") + hint, 2)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except (BrokenPipeError, SystemExit):
        # the reader of standard output has gone, as with `| head`; click leaves with SystemExit then, and only then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return 141
    except Exception as wrong:  # the one place where the unexpected is met
        if os.environ.get("DATATRUST_DEBUG") == "1":
            traceback.print_exc()
            return 3
        return _say(f"an unexpected failure ({type(wrong).__name__}); run with DATATRUST_DEBUG=1 to see it", 3)


def _say(text: str, code: int) -> int:
    typer.echo(f"datatrust: {text}", err=True)
    return code


def _printable() -> None:
    """No text may fail for the terminal's encoding: files and pipes get UTF-8, a terminal what it can show."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace", **({} if stream.isatty() else {"encoding": "utf-8"}))
