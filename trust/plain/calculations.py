"""Arithmetic in words: the closed tree of `trust.expressions`, with brackets around every part that has parts."""

from __future__ import annotations

from typing import assert_never

from trust.analyses.terms import Category, Factor
from trust.dataset.dataset import PARTNER
from trust.dataset.expressions import Apply, Calculate, Compare, Expression, Name, Number
from trust.errors import StudyInvalid
from trust.plain.names import Names

__all__ = ["calculation", "factor"]

_OPERATIONS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "**": "power"}
_SIGNS = {">": "gt", ">=": "ge", "<": "lt", "<=": "le", "==": "eq", "!=": "ne"}


def calculation(expression: Expression, names: Names) -> str:
    """An expression in words."""
    say = names.speech
    match expression:
        case Name():
            return names.column(expression.column)
        case Number():
            return say.number(expression.number)
        case Calculate():
            left_words, right = _operand(expression.left, names), _operand(expression.right, names)
            return say(_OPERATIONS[expression.op], left=left_words, right=right)
        case Compare():
            value, column = say.number(expression.number), _operand(expression.left, names)
            return say("one_if", condition=say(f"number_{_SIGNS[expression.op]}", column=column, value=value))
        case Apply():
            return say(expression.function, of=_operand(expression.of, names))
    assert_never(expression)


def _operand(expression: Expression, names: Names) -> str:
    operand = calculation(expression, names)
    simple = isinstance(expression, Name) or (
        isinstance(expression, Number) and operand[0].isdigit() and "×" not in operand
    )
    return operand if simple else names.speech("brackets", text=operand)


def factor(term_factor: Factor, names: Names) -> str:
    """A factor of a model: a category with its reference, or an expression."""
    say = names.speech
    if isinstance(term_factor, Category):
        column = names.column(term_factor.column)
        if term_factor.reference is None:
            return say(
                "reference_first",
                column=column,
                level=names.level(term_factor.column, _levels(term_factor.column, names)[0]),
            )
        return say("reference", column=column, level=_reference(term_factor.column, term_factor.reference, names))
    if isinstance(term_factor, Name) and term_factor.column == PARTNER:
        return say("groups_of", column=names.column(term_factor.column))
    if isinstance(term_factor, Name) and names.of(term_factor.column).categorical:
        boolean = names.of(term_factor.column).type == "boolean"
        return say("answer_of" if boolean else "groups_of", column=names.column(term_factor.column))
    return calculation(term_factor, names)


def _reference(name: str, value: int | str, names: Names) -> str:
    levels = _levels(name, names)
    if value not in levels:
        raise StudyInvalid(f"{value!r} is not a level of column {name!r}", expected=f"one of {list(levels)}")
    return names.level(name, levels[levels.index(value)])


def _levels(name: str, names: Names) -> tuple[bool | int | str, ...]:
    levels = names.partners if name == PARTNER else names.of(name).values
    if not levels:
        raise StudyInvalid(f"column {name!r} is not a category", expected="a column with an enum, or a boolean")
    return levels
