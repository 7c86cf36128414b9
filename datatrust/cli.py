"""The command line: `datatrust demo`, `verify`, and groups of commands, each in a module of its own.

Exit codes: 0 done, 1 a rule said no, 2 bad input, 3 a fault of machine or software, 130 stopped with Ctrl-C,
141 nobody reads standard output any more.
A result goes to standard output, all else to standard error.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import click
import typer

from datatrust.charter_commands import charter
from datatrust.commands import Command, group
from datatrust.coordinator_commands import coordinator
from datatrust.key_commands import key
from datatrust.node_commands import node
from datatrust.register_commands import register
from datatrust.review_commands import review
from datatrust.root_commands import root
from datatrust.study_commands import study
from datatrust.verify_command import verify
from trust.errors import DataTrustError, InvalidInput

__all__ = ["main"]


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    suggest_commands=False,  # click suggests already
    context_settings={"max_content_width": 100},
    help="A data trust: partners answer questions together while no data moves between them.",
    epilog="Begin with `datatrust demo`. `datatrust COMMAND --help` explains a command.",
)
dataset = group("Draft, check or show the description that all partners share.")
app.add_typer(dataset, name="dataset")
app.add_typer(charter, name="charter")
app.add_typer(study, name="study")
app.add_typer(review, name="review")
app.add_typer(register, name="register")
app.add_typer(node, name="node")
app.add_typer(coordinator, name="coordinator")
app.add_typer(key, name="key")
app.add_typer(root, name="root")
app.command("verify", cls=Command)(verify)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"datatrust {installed('datatrust-federation')}")
        raise typer.Exit


@dataset.command("draft", cls=Command)
def dataset_draft(
    source: Annotated[str, typer.Argument(metavar="FILE|URL")],
    person: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column that says whose a row is.")] = None,
    persons: Annotated[int, typer.Option(help="Leave out levels that fewer persons hold.")] = 11,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write here instead of standard output.")] = None,
) -> None:
    """Propose a dataset for a table.

    FILE is a CSV or Parquet file; URL a database's, with #table at its end. Bounds are rounded outward and
    rare levels left out, so that the draft shows no extreme of the data. Correct it by hand: types, bounds,
    units, what the levels mean.
    """
    from nodes.sources import Source, whole_table
    from trust.draft import draft

    text = draft(whole_table(Source(source)), person=person, persons=persons, name=_stem(source)).to_yaml()
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, "utf-8")
    except OSError as wrong:
        raise InvalidInput(f"{str(out)!r} cannot be written ({wrong.strerror})", remedy="name another file") from None
    typer.echo(f"written: {out}", err=True)


def _stem(source: str) -> str:
    """What a table is called: the name behind # in a URL, else the file's."""
    table = source.partition("#")[2] if "://" in source else ""
    return table or Path(source).name.partition(".")[0] or "dataset"


@dataset.command("check", cls=Command)
def dataset_check(
    description: Annotated[Path, typer.Argument(metavar="DATASET.yaml")],
    source: Annotated[str, typer.Argument(metavar="SOURCE")],
) -> None:
    """Hold a partner's table to a dataset.

    SOURCE is a CSV or Parquet file, a database's URL with #table at its end, or a source.toml that maps
    names and levels. Prints one line for each thing that the dataset demands, with a class of counts and never a value.
    Exit code 1 when a rule says no.
    """
    from nodes.edition import check_source
    from nodes.sources import Source
    from trust.dataset import Dataset

    place = Source.load(source) if source.endswith(".toml") else Source(source)
    decisions = check_source(Dataset.load(description), place)
    for decision in decisions:
        typer.echo(str(decision))
    said_no = len(decisions.refusals)
    typer.echo(f"{len(decisions)} rules, {said_no} said no" if said_no else f"{len(decisions)} rules, all said yes")
    if not decisions.ok:
        raise typer.Exit(1)


@dataset.command("show", cls=Command)
def dataset_show(description: Annotated[Path, typer.Argument(metavar="DATASET.yaml")]) -> None:
    """Show a dataset's columns.

    Type, unit, bounds or levels, label, and how a derived column follows from others.
    """
    from datatrust.dataset_table import show
    from trust.dataset import Dataset

    typer.echo(show(Dataset.load(description)), nl=False)


@app.command("demo", cls=Command)
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
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    _printable()
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="datatrust", standalone_mode=False)
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
        # whoever read standard output has gone, as with `| head`; click leaves with SystemExit then, and only then
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
