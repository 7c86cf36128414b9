"""Each analysis in sentences.  A field of an analysis that is not said here would fail a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never

from trust.analyses import Anova, AnyAnalysis, Correlation, Crosstab, Describe, Glm, Histogram, Quantiles, TTest
from trust.dataset.dataset import PARTNER
from trust.dataset.expressions import Expression, Name
from trust.plain.calculations import calculation, factor
from trust.plain.names import Names
from trust.words.page import Line

__all__ = ["computed"]


def computed(name: str, analysis: AnyAnalysis, names: Names) -> Iterator[Line]:
    """What an analysis is, in a line, and under it what follows from its fields."""
    first, *rest = _sentences(analysis, names)
    yield Line(names.speech("analysis", name=name, what=first.text), "item")
    yield from rest
    if PARTNER in analysis.reads():
        yield Line(names.speech("shows_partner"), "warning", 1)


def _sentences(analysis: AnyAnalysis, names: Names) -> Iterator[Line]:
    match analysis:
        case Describe():
            return _describe(analysis, names)
        case Histogram():
            return _histogram(analysis, names)
        case Quantiles():
            return _quantiles(analysis, names)
        case Crosstab():
            return _crosstab(analysis, names)
        case Correlation():
            return _correlation(analysis, names)
        case TTest():
            return _ttest(analysis, names)
        case Anova():
            return _anova(analysis, names)
        case Glm():
            return _glm(analysis, names)
    assert_never(analysis)


def _line(names: Names, key: str, **values: Any) -> Line:
    return Line(names.speech(key, **values), "item", 1)


def _describe(analysis: Describe, names: Names) -> Iterator[Line]:
    yield _line(names, "describe", columns=names.columns(analysis.columns))
    yield _line(names, "describe_gives")
    if analysis.by:
        key = "by" if len(analysis.by) == 1 else "by_several"
        yield _line(names, key, columns=names.columns(analysis.by))
    yield from _weights(analysis.weights, names)


def _histogram(analysis: Histogram, names: Names) -> Iterator[Line]:
    yield _line(names, "histogram", column=names.column(analysis.column), count=len(analysis.edges) - 1)
    yield _line(names, "edges", values=names.speech.listed(map(names.speech.number, analysis.edges)))


def _quantiles(analysis: Quantiles, names: Names) -> Iterator[Line]:
    yield _line(names, "quantiles", columns=names.columns(analysis.columns))
    yield _line(names, "shares", values=names.speech.listed(map(names.speech.share, analysis.q)))


def _crosstab(analysis: Crosstab, names: Names) -> Iterator[Line]:
    yield _line(names, "crosstab", rows=names.column(analysis.rows), columns=names.column(analysis.columns))
    yield _line(names, "crosstab_gives")
    yield from _weights(analysis.weights, names)


def _correlation(analysis: Correlation, names: Names) -> Iterator[Line]:
    yield _line(names, "correlation", columns=names.columns(analysis.columns))
    yield _line(names, analysis.missing)


def _ttest(analysis: TTest, names: Names) -> Iterator[Line]:
    yield _line(names, "ttest", value=names.column(analysis.value), group=names.column(analysis.group))
    yield _line(names, "ttest_student" if analysis.equal_var else "ttest_welch")


def _anova(analysis: Anova, names: Names) -> Iterator[Line]:
    yield _line(names, "anova", value=names.column(analysis.value), group=names.columns(analysis.group))
    yield _line(names, "anova_interaction" if analysis.interaction else "anova_no_interaction")
    yield _line(names, "anova_type", typ=analysis.typ)


def _glm(analysis: Glm, names: Names) -> Iterator[Line]:
    say = names.speech
    yield _line(names, "glm", outcome=_outcome(analysis.outcome, names))
    yield _line(names, "explained" if analysis.terms else "explained_nothing")
    for term in analysis.terms:
        factors = [factor(term_factor, names) for term_factor in term]
        whole = factors[0] if len(factors) == 1 else say("product", factors=say.listed(factors))
        yield Line(whole, "item", 2)
    yield _line(names, "intercept" if analysis.intercept else "no_intercept")
    yield _line(names, f"family_{analysis.family}")
    yield _line(names, "link", link=say(f"link_{analysis.link}"))
    yield from _weights(analysis.weights, names)
    if analysis.weights_are == "precision":
        yield _line(names, "weights_precision")
    if analysis.offset is not None:
        yield _line(names, "offset", expression=calculation(analysis.offset, names))
    if analysis.ridge:
        yield _line(names, "ridge", value=analysis.ridge)
    if analysis.robust is not None:
        yield _line(names, "robust", kind=analysis.robust)
    if analysis.scale is not None:
        yield _line(names, "scale", kind=analysis.scale)


def _outcome(outcome: Expression, names: Names) -> str:
    """A column of two levels is said as its event, which is the second."""
    if not isinstance(outcome, Name):
        return calculation(outcome, names)
    column = names.of(outcome.column)
    if column.type == "boolean":
        return names.speech("outcome_answer", column=names.column(column.name))
    if len(column.levels) == 2:
        level = names.level(column.name, column.values[1])
        return names.speech("outcome_level", column=names.column(column.name), level=level)
    return names.column(column.name)


def _weights(weights: Expression | None, names: Names) -> Iterator[Line]:
    if weights is not None:
        yield _line(names, "weights", expression=calculation(weights, names))
