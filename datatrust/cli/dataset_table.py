"""A dataset as a table to read."""

from __future__ import annotations

import textwrap

from trust.dataset.dataset import Column, Dataset

__all__ = ["show"]

_WIDEST = 36
_HEAD = ("column", "type", "unit", "bounds or levels", "label", "derived")


def show(dataset: Dataset) -> str:
    """One row a column of the dataset; long cells go on below."""
    person = (
        "each row is one person" if dataset.person == "row" else f"a row belongs to the person in {dataset.person!r}"
    )
    rows = [[textwrap.wrap(cell, _WIDEST) or [""] for cell in _cells(column)] for column in dataset.columns]
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
