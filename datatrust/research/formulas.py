"""Formulas as researchers write them, read into typed terms at the client.

formulaic gives the list of terms and is never asked to evaluate one; what it marks as Python code goes through the
closed tree of `trust.expressions`.  Nodes never see a formula, nor import formulaic.
"""

from __future__ import annotations

import ast
import math
from typing import Any

from formulaic.errors import FormulaicError
from formulaic.parser import DefaultFormulaParser
from formulaic.parser.types import ASTNode

from trust.analyses.terms import Category, Term
from trust.dataset.dataset import PARTNER, Dataset
from trust.dataset.expressions import Name, dotted, from_syntax
from trust.errors import FormulaInvalid, nearest

__all__ = ["parse_formula"]

_LONGEST_CHARACTERS, _MOST_PARENTHESES, _MOST_TERMS = 4_000, 40, 1_000
_NEED_DATA = {"poly", "bs", "cr", "cc", "cs", "te", "center", "scale", "standardize", "hashed", "lag"}


def parse_formula(text: str, dataset: Dataset) -> tuple[Any, tuple[Term, ...], bool]:
    """Outcome, terms and whether there is an intercept.

    Raises: FormulaInvalid, saying what was found and what is allowed.
    """
    _guard(text)
    parser = DefaultFormulaParser()
    try:
        if _terms_at_most(parser.get_ast(text)) > _MOST_TERMS:
            raise FormulaInvalid(
                f"a formula that may have more than {_MOST_TERMS:,} terms",
                expected="fewer",
                remedy="use smaller products",
            )
        parsed: Any = parser.get_terms(text)
    except (FormulaicError, SyntaxError, ValueError, RecursionError, TypeError, AttributeError, KeyError, IndexError):
        raise FormulaInvalid(
            "a formula that cannot be parsed", expected="such as disease ~ age + sex + C(cp)"
        ) from None
    if not hasattr(parsed, "lhs") or not hasattr(parsed, "rhs"):
        raise FormulaInvalid("a formula without an outcome", expected="such as disease ~ age + sex")
    left_side, right = list(parsed.lhs), list(parsed.rhs)
    if len(left_side) != 1 or isinstance(left_side[0], list | tuple) or len(left_side[0].factors) != 1:
        raise FormulaInvalid("a formula with several outcomes", expected="one, such as disease ~ age")
    if any(isinstance(term, list | tuple) or not hasattr(term, "factors") for term in right):
        raise FormulaInvalid("a formula with several parts", expected="one right-hand side")
    outcome = _factor(left_side[0].factors[0], dataset)
    if isinstance(outcome, Category):
        outcome = Name(column=outcome.column)
    terms: list[Term] = []
    intercept = False
    for term in sorted(right, key=lambda t: len(t.factors)):
        factors = [_factor(f, dataset) for f in term.factors if not _is_one(f)]
        if factors:
            terms.append(tuple(factors))
        else:
            intercept = True
    return outcome, tuple(terms), intercept


def _guard(text: str) -> None:
    if len(text) > _LONGEST_CHARACTERS or text.count("(") > _MOST_PARENTHESES:
        raise FormulaInvalid(f"a formula of {len(text)} characters", expected="at most 4,000, and 40 parentheses")
    if text.count("~") != 1:
        raise FormulaInvalid(f"{text.count('~')} times '~' in a formula", expected="one: outcome ~ terms")
    for mark, construct in (("{", "quoted code"), ("[", "a bracket"), ("|", "a second part"), ("\\", "a backslash")):
        if mark in text:
            raise FormulaInvalid(
                f"{construct} in a formula", expected="columns, + - : * / ** and log log1p exp sqrt C I"
            )


def _terms_at_most(tree: Any) -> int:
    """How many terms a formula may have, by its operators: known before a product is written out.

    Raises: FormulaInvalid for a power that is not a small whole number.
    """
    if not isinstance(tree, ASTNode):
        return 1
    inner = [min(_terms_at_most(part), _MOST_TERMS + 1) for part in tree.args]
    match tree.operator.symbol:
        case "**" | "^":
            power = str(tree.args[-1])
            if not (power.isdecimal() and len(power) == 1):
                raise FormulaInvalid("a power of terms that is not a digit", expected="such as (a + b)**2, or I(x**2)")
            return int((1 + inner[0]) ** int(power))
        case "+" | "-" | "~":
            return sum(inner)
    return math.prod(1 + terms for terms in inner)


def _is_one(factor: Any) -> bool:
    return factor.eval_method.name == "LITERAL" and str(factor.expr).strip() == "1"


def _factor(factor: Any, dataset: Dataset) -> Any:
    """One factor: a column, `C(column)`, or an expression."""
    method, text = factor.eval_method.name, str(factor.expr)
    if method == "LOOKUP":
        return Name(column=_require_known(text, dataset))
    if method != "PYTHON":
        raise FormulaInvalid("a number as a term", expected="a column; 1 or 0 for the intercept")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FormulaInvalid("a term that cannot be parsed", expected="such as log(chol)") from None
    match tree:
        case ast.Call(func=ast.Name(id="C")):
            return _category(tree, dataset)
        case ast.Call(func=ast.Name(id="I"), args=[inner], keywords=[]):
            expression = from_syntax(inner, dataset)
        case ast.Call(func=ast.Name(id=name)) if name in _NEED_DATA:
            raise FormulaInvalid(
                f"{name}() needs the data to be defined", expected="terms that follow from the dataset alone",
                remedy="use powers, such as x + I(x**2), or a derived column",
            )  # fmt: skip
        case ast.Call(func=ast.Name(id="offset")):
            raise FormulaInvalid("offset() in a formula", expected="the argument offset='log(time)' of the model")
        case _:
            expression = from_syntax(tree, dataset)
    expression.interval(dataset)
    return expression


def _category(call: ast.Call, dataset: Dataset) -> Category:
    """`C(cp)` or `C(cp, Treatment(2))`."""
    if not call.args or call.keywords or len(call.args) > 2:
        raise FormulaInvalid("C() with other arguments", expected="C(column) or C(column, Treatment(level))")
    name = _require_known(dotted(call.args[0]), dataset)
    if name != PARTNER and not dataset.column(name).categorical:
        raise FormulaInvalid(
            f"C({name}): the column has no levels in the dataset",
            expected="a column with an enum, or a boolean",
            remedy="give it an enum in the dataset",
        )
    if len(call.args) == 1:
        return Category(function="C", column=name)
    match call.args[1]:
        case ast.Call(func=ast.Name(id="Treatment"), args=[ast.Constant(value=level)], keywords=[]):
            return _referenced(name, level)
        case ast.Call(func=ast.Name(id="Treatment"), args=[], keywords=[ast.keyword("reference", ast.Constant(level))]):
            return _referenced(name, level)
    raise FormulaInvalid("C() with another contrast", expected="C(column, Treatment(level))")


def _referenced(name: str, level: object) -> Category:
    if isinstance(level, bool) or not isinstance(level, int | str):
        raise FormulaInvalid("Treatment() of something that is not a level", expected="a whole number or a text")
    return Category(function="C", column=name, reference=level)


def _require_known(name: str, dataset: Dataset) -> str:
    if name != PARTNER and name not in dataset:
        raise FormulaInvalid(
            f"column {name!r} is not in dataset {dataset.id!r}",
            expected=nearest(name, dataset.names),
            remedy="`datatrust dataset show` lists the columns",
        )
    return name
