"""Writing a dataset: the inverse of `Dataset.parse`, as a person would lay the document out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from trust.dataset.dataset import Column, Dataset

__all__ = ["write_yaml"]

_LONGEST, _WRAP = 150, 110


def write_yaml(dataset: Dataset, comments: Mapping[str, Sequence[str]] | None = None) -> str:
    """The ODCS document: one line a column, or one line a level where that is too long.

    Args:
        comments: column -> sentences that stand above it; under "" those at the top.
    """
    notes = comments or {}
    head: dict[str, Any] = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": dataset.id,
        "name": dataset.name,
        "version": dataset.version,
        "status": "active",
    }
    lines = [*_comment(notes.get("", ()), ""), *(_line({key: value}) for key, value in head.items())]
    if dataset.description:
        lines.append("description: " + _flow({"purpose": dataset.description}))
    lines += [
        "customProperties:",
        "  - " + _flow({"property": "person", "value": dataset.person}),
        "  - " + _flow({"property": "rowsPerPerson", "value": dataset.rows_per_person}),
        "schema:",
        "  - " + _line({"name": dataset.id}),
        "    logicalType: object",
        "    properties:",
    ]
    for column in dataset.columns:
        lines += _comment(notes.get(column.name, ()), " " * 6)
        lines += _property(column)
    return "\n".join(lines) + "\n"


def _comment(sentences: Sequence[str], indent: str) -> list[str]:
    start = indent + "# "
    wrapped = (textwrap.wrap(text, _WRAP, initial_indent=start, subsequent_indent=start) for text in sentences)
    return [line for lines in wrapped for line in lines]


def _property(column: Column) -> list[str]:
    document = _document(column)
    line = "      - " + _flow(document)
    levels = document.pop("enum", [])
    if len(line) <= _LONGEST or not levels:
        return [line]
    first, *rest = (_line({key: value}) for key, value in document.items())
    block = ["      - " + first, *("        " + text for text in rest), "        enum:"]
    return [*block, *("          - " + _flow(level) for level in levels)]


def _document(column: Column) -> dict[str, Any]:
    """The ODCS property; what is empty is left out."""
    bounds = {"minimum": _short(column.minimum), "maximum": _short(column.maximum)}
    grid = column.grid
    extra: dict[str, Any] = {
        "unit": column.unit,
        "magnitude": column.magnitude,
        "grid": {"unit": grid.unit, "step": _short(grid.step), "until": _short(grid.until)} if grid else None,
    }
    fields: dict[str, Any] = {
        "name": column.name,
        "logicalType": column.type,
        "required": column.required,
        "businessName": column.label,
        "description": column.description,
        "enum": [{"value": v.value, **({"description": v.label} if v.label else {})} for v in column.levels],
        "logicalTypeOptions": {k: v for k, v in bounds.items() if v is not None},
        "transformLogic": column.derived,
        "transformSourceObjects": list(column.sources),
        "customProperties": [{"property": k, "value": v} for k, v in extra.items() if v],
    }
    return {k: v for k, v in fields.items() if v}


def _short(value: float | None) -> float | int | None:
    """A whole number without its `.0`."""
    return int(value) if value is not None and value.is_integer() and abs(value) < 2**53 else value


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1_000_000).strip()


def _line(value: dict[str, Any]) -> str:
    """`key: value` on one line."""
    (key,) = value
    return f"{key}: {_flow(value)[len(key) + 3 : -1]}"
