"""Which columns a study uses, what each of them is, and what for: also those that a derived column is made from."""

from __future__ import annotations

from collections.abc import Iterator

from trust.dataset.cohort import Cohort
from trust.dataset.dataset import PARTNER, Column
from trust.documents.study import Study
from trust.plain.calculations import calculation
from trust.plain.conditions import condition
from trust.plain.names import Names
from trust.words.page import Line

__all__ = ["information"]


def information(study: Study, cohort: Cohort | None, names: Names) -> Iterator[Line]:
    """A line a column, in the dataset's order.  Raises: StudyInvalid for a column that the dataset does not have."""
    uses = _uses(study, cohort, names)
    yield Line(names.speech("information_only"))
    columns = [name for name in names.dataset.names if name in uses]
    for name in [*columns, *sorted(uses.keys() - set(columns))]:
        hidden = name not in names.dataset
        yield Line(_description(names.of(name), names, hidden=hidden), "item")
        if not hidden:
            yield from _further_lines(names.of(name), names)
        yield Line(names.speech("used_for", uses=names.speech.listed(uses[name])), "item", 1)


def _uses(study: Study, cohort: Cohort | None, names: Names) -> dict[str, list[str]]:
    """`{column: [choose who is included, compute risk, …]}`."""
    dataset, say = names.dataset, names.speech
    for_analyses: dict[str, list[str]] = {}
    for title, analysis in sorted(study.analyses.items()):
        for name in analysis.reads():
            if name != PARTNER:
                for_analyses.setdefault(dataset.column(name).name, []).append(title)
    for_cohort = cohort.columns if cohort is not None else ()
    direct = dict.fromkeys([*for_cohort, *for_analyses])
    for_derived: dict[str, list[str]] = {}
    for name in direct:
        if dataset.column(name).derived:
            for source in dict.fromkeys(dataset.derivation(name).columns):
                for_derived.setdefault(source, []).append(name)
    uses: dict[str, list[str]] = {name: [] for name in [*direct, *for_derived]}
    for name, purposes in uses.items():
        if name in for_cohort:
            purposes.append(say("use_cohort"))
        if name in for_analyses:
            titles = for_analyses[name]
            purposes.append(say("use_analysis", count=len(titles), names=", ".join(titles)))
        if name in for_derived:
            purposes.append(say("use_derived", columns=", ".join(map(names.column, for_derived[name]))))
    if dataset.person in dataset:
        uses.setdefault(dataset.person, []).append(say("use_person"))
    return uses


def _description(column: Column, names: Names, *, hidden: bool) -> str:
    say = names.speech
    kind = say("kind_hidden") if hidden else _kind(column, names)
    if not column.label or column.label == column.name:
        return say("column_bare", label=say.quoted(column.name), kind=kind)
    return say("column", label=say.quoted(column.label), name=column.name, kind=kind)


def _kind(column: Column, names: Names) -> str:
    say = names.speech
    if column.levels:
        return say("kind_levels", levels=names.levels(column.name))
    kind = say(f"kind_{column.type}")
    low, high = column.minimum, column.maximum
    if low is not None and high is not None:
        kind += say("from_to", low=low, high=high)
    elif low is not None:
        kind += say("from", low=low)
    elif high is not None:
        kind += say("to", high=high)
    unit = names.unit(column.name)
    return kind + (say("in_unit", unit=unit) if unit else "")


def _further_lines(column: Column, names: Names) -> Iterator[Line]:
    say = names.speech
    if column.description:
        yield Line(say("described", text=say.quoted(column.description)), "item", 1)
    if column.magnitude:
        yield Line(say("magnitude"), "item", 1)
    if column.derived:
        derivation = names.dataset.derivation(column.name)
        if isinstance(derivation, Cohort):
            text = say("derived_yes", condition=condition(derivation.tree, names))
        else:
            text = say("derived_number", expression=calculation(derivation, names))
        yield Line(text, "item", 1)
