"""`datatrust dataset`: the description that all partners share is drafted, held to a table, and shown."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datatrust.cli.command import Command, group
from trust.files import writing

if TYPE_CHECKING:
    from trust.dataset.dataset import Column, Dataset

__all__ = ["dataset"]

_WIDEST_CELL = 36
_HEAD = ("column", "type", "unit", "bounds or levels", "label", "derived")

dataset = group()


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
    from nodes.rows.source import Source, whole_table
    from trust.dataset.draft import draft_dataset

    text = draft_dataset(whole_table(Source(source)), person=person, persons=persons, name=_stem(source)).to_yaml()
    if out is None:
        typer.echo(text, nl=False)
        return
    with writing(out, "name another file"):
        out.write_text(text, "utf-8")
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
    from nodes.rows.cohort_rows import check_source
    from nodes.rows.source import Source
    from trust.dataset.dataset import Dataset

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
    from trust.dataset.dataset import Dataset

    typer.echo(_table(Dataset.load(description)), nl=False)


def _table(dataset: Dataset) -> str:
    """One row a column of the dataset; long cells go on below."""
    person = (
        "each row is one person" if dataset.person == "row" else f"a row belongs to the person in {dataset.person!r}"
    )
    rows = [[textwrap.wrap(cell, _WIDEST_CELL) or [""] for cell in _cells(column)] for column in dataset.columns]
    used = [index for index, name in enumerate(_HEAD) if index < 2 or any(row[index] != [""] for row in rows)]
    widths = {index: max(len(_HEAD[index]), *(len(line) for row in rows for line in row[index])) for index in used}

    def line(cells: dict[int, str]) -> str:
        return "  ".join(cells[index].ljust(widths[index]) for index in used).rstrip()

    lines = [f"{dataset.name} {dataset.version}: {person}", dataset.digest(), ""]
    lines += [line({index: _HEAD[index] for index in used}), line({index: "-" * widths[index] for index in used})]
    for row in rows:
        for depth in range(max(len(cell) for cell in row)):
            lines.append(line({index: row[index][depth] if depth < len(row[index]) else "" for index in used}))
    return "\n".join(lines) + "\n"


def _cells(column: Column) -> tuple[str, ...]:
    kind = column.type + (", required" if column.required else "")
    return column.name, kind, column.unit, _values_in_words(column), column.label, column.derived


def _values_in_words(column: Column) -> str:
    if column.levels:
        return ", ".join(str(v.value) + (f" = {v.label}" if v.label else "") for v in column.levels)
    low, high = column.minimum, column.maximum
    if low is None and high is None:
        return "false, true" if column.type == "boolean" else ""
    if low is None or high is None:
        return f"at most {high:g}" if low is None else f"at least {low:g}"
    return f"{low:g} to {high:g}"
