"""The cohort: which persons a study is about, in a small closed part of SQL.

The text is guarded before it is parsed (length, parentheses, no `;`, no comment), parsed by sqlglot, and held to
a dozen kinds of nodes over the dataset's columns.  Its normalised text is what a plan and a mandate name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlglot
from sqlglot import exp

from trust.canonical import LARGEST_INTEGER
from trust.errors import CohortInvalid, nearest

if TYPE_CHECKING:
    from trust.dataset.dataset import Column, Dataset

__all__ = ["Cohort", "Literal"]

Literal: TypeAlias = bool | int | float | str

_LONGEST_CHARACTERS, _MOST_PARENTHESES, _DEEPEST = 4_000, 20, 120
_ALLOWED_NODES: tuple[type[exp.Expression], ...] = (
    exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In,
    exp.Is, exp.Null, exp.Column, exp.Identifier, exp.Literal, exp.Neg, exp.Boolean,
)  # fmt: skip
_PARTS = frozenset(
    {"this", "expression", "expressions", "low", "high", "quoted", "is_string", "table", "db", "catalog"}
)
"""What an allowed node may be made of: sqlglot keeps words such as `symmetric` beside, which change the meaning."""
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
_QUOTED = re.compile(r"'[^']*'")
_ISO_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")


@dataclass(frozen=True)
class Cohort:
    """A checked condition on rows.  `text` is normalised: equal texts are equal questions."""

    text: str
    columns: tuple[str, ...]
    tree: exp.Expression

    @classmethod
    def parse(cls, text: str, dataset: Dataset) -> Cohort:
        """Read a cohort over the dataset's columns.

        Raises: CohortInvalid, saying what was found, what is allowed and how to fix it.
        """
        _guard(text)
        try:
            statements = sqlglot.parse(text, read="duckdb")
        except (sqlglot.errors.SqlglotError, RecursionError, ValueError, TypeError, AttributeError, LookupError):
            raise CohortInvalid("a cohort that cannot be parsed", expected="such as age >= 40 and sex = 'F'") from None
        if statements in ([], [None]):
            raise CohortInvalid("a cohort without a condition", expected="such as age >= 40, or no cohort: everybody")
        if len(statements) != 1:
            raise CohortInvalid(f"{len(statements)} statements in a cohort", expected="exactly one condition")
        tree: Any = statements[0]
        _only_allowed(tree)
        _check_condition(tree, dataset)
        names: list[str] = []
        for column in tree.find_all(exp.Column):
            name = column_name(column)
            column.replace(exp.Column(this=exp.Identifier(this=name, quoted=True)))
            names.append(name)
        if isinstance(tree, exp.Column):
            tree = exp.Column(this=exp.Identifier(this=names[0], quoted=True))
        return cls(tree.sql(dialect="duckdb", comments=False), tuple(dict.fromkeys(names)), tree)

    def sql(
        self, bind: Callable[[Literal], str], column: Callable[[str], str], absent: Callable[[str], str] | None = None
    ) -> str:
        """The condition as SQL in which every literal is a bound parameter.

        Args:
            bind: takes a literal, returns its placeholder.
            column: takes a column's name, returns it quoted.
            absent: takes a column's name, returns the condition that it is null.
        """
        return _write(self.tree, bind, column, absent or (lambda name: f"({column(name)} IS NULL)"))


def column_name(column: exp.Expression) -> str:
    """`ph.ecog` is parsed as a table and a column; a dataset's names may have dots."""
    return ".".join(part.name for part in column.parts)  # type: ignore[attr-defined]


def literal(node: exp.Expression) -> Literal:
    """The Python value of a literal node."""
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Neg):
        inner = literal(node.this)
        if isinstance(inner, str | bool):
            raise CohortInvalid("a minus before something that is not a number", expected="such as -1.5")
        return -inner
    if isinstance(node, exp.Paren):
        return literal(node.this)
    if not isinstance(node, exp.Literal):
        raise CohortInvalid(
            "a comparison without a literal", expected="a column against a number, a text or true/false"
        )
    if node.is_string:
        return str(node.this)
    number = _finite(node.this)
    return int(node.this) if node.this.isdecimal() and abs(number) < LARGEST_INTEGER else number


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise CohortInvalid("a literal that is not a number", expected="such as 40 or 1.5") from None
    if number - number != 0:
        raise CohortInvalid("a number that is not finite in a cohort", expected="such as 40 or 1.5")
    return number


def _guard(text: str) -> None:
    if len(text) > _LONGEST_CHARACTERS:
        raise CohortInvalid(f"a cohort of {len(text)} characters", expected=f"at most {_LONGEST_CHARACTERS}")
    bare = _QUOTED.sub("''", text)
    if bare.count("(") > _MOST_PARENTHESES:
        problem = f"{bare.count('(')} opening parentheses in a cohort"
        raise CohortInvalid(problem, expected=f"at most {_MOST_PARENTHESES}", remedy="use in (…), or fewer groups")
    if len(re.findall(r"\b(and|or|not)\b", bare, re.IGNORECASE)) > _DEEPEST or bare.count("-") > _DEEPEST:
        raise CohortInvalid("a cohort with too many conditions", expected=f"at most {_DEEPEST}", remedy="use in (…)")
    if ";" in bare:
        raise CohortInvalid("a semicolon in a cohort", expected="one condition, such as age >= 40")
    if "--" in bare or "/*" in bare or "#" in bare:
        raise CohortInvalid(
            "a comment in a cohort", expected="the condition alone", remedy="put words into the summary"
        )
    if not text.isprintable() and any(not c.isprintable() and c not in "\n\t" for c in text):
        raise CohortInvalid("a character in a cohort that cannot be printed", expected="plain text")


def _only_allowed(tree: exp.Expression) -> None:
    for node in tree.walk():
        if isinstance(node, exp.Cast):
            remedy = "write a date as a text, such as birth >= '2020-01-01'"
            raise CohortInvalid("a cast in a cohort", expected="a column against a literal", remedy=remedy)
        if type(node) not in _ALLOWED_NODES:
            kind = "a sub-query" if isinstance(node, exp.Query) else f"{type(node).__name__.lower()}"
            kind = "a function call" if isinstance(node, exp.Func) and not isinstance(node, exp.And | exp.Or) else kind
            raise CohortInvalid(
                f"{kind} in a cohort",
                expected="columns compared with literals, and, or, not, between, in (…), is null",
                remedy="leave it out; a value that must be computed can be a derived column of the dataset",
            )
        extra = sorted(name for name, value in node.args.items() if value and name not in _PARTS)
        if extra:
            construct = "a sub-query" if extra[0] == "query" else f"the word {extra[0]}"
            raise CohortInvalid(f"{construct} in a cohort", expected="plain comparisons")


def _check_condition(node: Any, dataset: Dataset) -> None:
    """Check that a node is a condition, and that each comparison fits the column's type."""
    match node:
        case exp.And() | exp.Or():
            _check_condition(node.this, dataset)
            _check_condition(node.expression, dataset)
        case exp.Not() | exp.Paren():
            _check_condition(node.this, dataset)
        case exp.Column():
            column = _column(node, dataset)
            if column.type != "boolean":
                raise CohortInvalid(
                    f"column {column.name!r} alone is not a condition", expected=f"such as {column.name} = …"
                )
        case exp.Is():
            _column(node.this, dataset)
            if not isinstance(node.expression, exp.Null):
                raise CohortInvalid("'is' with something other than null", expected="is null, or is not null")
        case exp.In():
            if not node.expressions or node.args.get("query") is not None or node.args.get("unnest") is not None:
                raise CohortInvalid("'in' without a list of literals", expected="such as cp in (1, 2)")
            for item in node.expressions:
                _fits(_column(node.this, dataset), item)
        case exp.Between():
            column = _column(node.this, dataset)
            _fits(column, node.args["low"])
            _fits(column, node.args["high"])
        case _ if isinstance(node, _COMPARISONS):
            _comparison(node, dataset)
        case _:
            raise CohortInvalid("a cohort that is not a condition", expected="such as age >= 40 and sex = 'F'")


def _comparison(node: Any, dataset: Dataset) -> None:
    left_side, right = node.this, node.expression
    if isinstance(left_side, exp.Column) and isinstance(right, exp.Column):
        left_column, right_column = _column(left_side, dataset), _column(right, dataset)
        if _kind(left_column) != _kind(right_column):
            raise CohortInvalid(
                f"{left_column.name!r} is compared with {right_column.name!r}", expected="columns of the same type"
            )
    elif isinstance(left_side, exp.Column):
        _fits(_column(left_side, dataset), right)
    elif isinstance(right, exp.Column):
        _fits(_column(right, dataset), left_side)
    else:
        raise CohortInvalid("a comparison without a column", expected="such as age >= 40")


def _column(node: Any, dataset: Dataset) -> Column:
    if not isinstance(node, exp.Column):
        raise CohortInvalid("a condition that is not on a column", expected="such as age >= 40")
    name = column_name(node)
    if name not in dataset:
        quoted = any(part.args.get("quoted") for part in node.parts)
        remedy = f"write a text in single quotes: '{name}'" if quoted else "`datatrust dataset show` lists the columns"
        if name == "partner":
            remedy = "a cohort cannot name a partner: each node answers for its own rows"
        raise CohortInvalid(
            f"{name!r} is not a column of dataset {dataset.id!r}", expected=nearest(name, dataset.names), remedy=remedy
        )
    return dataset.column(name)


def _kind(column: Column) -> str:
    return {"integer": "number", "date": "string"}.get(column.type, column.type)


def _fits(column: Column, node: Any) -> None:
    """A literal must be of the column's type, and a level must be one that the dataset knows."""
    if isinstance(node, exp.Column):
        quoted = any(part.args.get("quoted") for part in node.parts)
        name = column_name(node)
        remedy = f"write a text in single quotes: {column.name} = '{name}'" if quoted else ""
        raise CohortInvalid(f"{name!r} where a literal is needed", expected=f"a {_kind(column)}", remedy=remedy)
    value = literal(node)
    kind = "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
    if kind != _kind(column):
        hint = {"boolean": "true or false", "string": "a text in single quotes", "number": "a number"}[_kind(column)]
        raise CohortInvalid(f"column {column.name!r} is compared with a {kind}", expected=hint)
    if column.type == "date" and not _ISO_DATE.fullmatch(str(value)):
        raise CohortInvalid(
            f"column {column.name!r} is compared with a text that is not a date", expected="'YYYY-MM-DD'"
        )
    if column.levels and value not in column.values and isinstance(node.parent, exp.EQ | exp.NEQ | exp.In):
        suggestion = nearest(str(value), map(str, column.values))
        raise CohortInvalid(f"{value!r} is not a level of column {column.name!r}", expected=suggestion)


def _write(
    node: Any, bind: Callable[[Literal], str], column: Callable[[str], str], absent: Callable[[str], str]
) -> str:
    """SQL of a checked tree: only shapes that `_condition` has passed reach this."""
    write: Callable[[Any], str] = lambda inner: _write(inner, bind, column, absent)  # noqa: E731
    match node:
        case exp.And():
            return f"({write(node.this)} AND {write(node.expression)})"
        case exp.Or():
            return f"({write(node.this)} OR {write(node.expression)})"
        case exp.Not():
            return f"(NOT {write(node.this)})"
        case exp.Paren(this=exp.Literal() | exp.Neg() | exp.Boolean()):
            return bind(literal(node))
        case exp.Paren():
            return f"({write(node.this)})"
        case exp.Column():
            return column(column_name(node))
        case exp.Is():
            return absent(column_name(node.this))
        case exp.In():
            return f"({write(node.this)} IN ({', '.join(bind(literal(item)) for item in node.expressions)}))"
        case exp.Between():
            return f"({write(node.this)} BETWEEN {write(node.args['low'])} AND {write(node.args['high'])})"
        case exp.Literal() | exp.Neg() | exp.Boolean():
            return bind(literal(node))
    signs = {exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<="}
    return f"({write(node.this)} {signs[type(node)]} {write(node.expression)})"
