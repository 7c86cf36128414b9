"""The closed tree of arithmetic that terms, weights, offsets and derived columns are made of.

Text is read by Python's own parser into a syntax tree, which is then copied node by node into this closed one;
nothing is ever compiled or evaluated as code.  Allowed: columns, numbers, `+ - * / **`, comparison with a
number, `log log1p exp sqrt`.

An expression has a finite value for every value that its columns may have, by the dataset's bounds alone: `interval`
refuses any other.  Were it not so, a row could be made to count as missing: `0 / (age - 97)` drops one person.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from trust.canonical import Model, Real
from trust.errors import FormulaInvalid, nearest

if TYPE_CHECKING:
    from trust.dataset.dataset import Dataset

__all__ = [
    "Apply",
    "Calculate",
    "Compare",
    "Expression",
    "Name",
    "Number",
    "dotted",
    "expressions_in",
    "from_syntax",
    "parse_expression",
    "written",
]

Floats: TypeAlias = npt.NDArray[np.float64]
Interval: TypeAlias = tuple[float, float]
"""The smallest and the largest value over all that the columns may hold (Moore, Interval Analysis, 1966)."""
_LONGEST_CHARACTERS, _DEEPEST = 4_000, 40
_LARGEST = 1e300
"""Beyond it a value counts as not finite, so that what `exp` and `pow` round differently elsewhere stays finite too."""
_OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
_FUNCTIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "log": (np.log, "ln({})"),
    "log1p": (np.log1p, "ln(1.0 + {})"),
    "exp": (np.exp, "exp({})"),
    "sqrt": (np.sqrt, "sqrt({})"),
}


class Name(Model):
    """A numeric column."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def text(self) -> str:
        return self.column

    def evaluate(self, read: Callable[[str], Floats]) -> Floats:
        return read(self.column)

    def interval(self, dataset: Dataset) -> Interval:
        return dataset.column(self.column).span

    def sql(self) -> str:
        return '"' + self.column.replace('"', '""') + '"'


class Number(Model):
    """A constant."""

    number: Real

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    def text(self) -> str:
        return repr(self.number).removesuffix(".0")

    def evaluate(self, read: Callable[[str], Floats]) -> Any:
        return np.float64(self.number)

    def interval(self, dataset: Dataset) -> Interval:
        return self.number, self.number

    def sql(self) -> str:
        return f"CAST({self.number!r} AS DOUBLE)"


class Calculate(Model):
    """`left + right` and its kind."""

    op: Literal["+", "-", "*", "/", "**"]
    left: Expression
    right: Expression

    @model_validator(mode="after")
    def _power(self) -> Calculate:
        if self.op == "**" and not isinstance(self.right, Number):
            raise ValueError("a power is a number, such as x**2")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return self.left.columns + self.right.columns

    def text(self) -> str:
        return f"({self.left.text()} {self.op} {self.right.text()})"

    def evaluate(self, read: Callable[[str], Floats]) -> Floats:
        result: Floats = _calculate(self.op, self.left.evaluate(read), self.right.evaluate(read))
        return result

    def interval(self, dataset: Dataset) -> Interval:
        left_interval, right = self.left.interval(dataset), self.right.interval(dataset)
        if self.op == "/":
            _require_divisor(self, self.right.text(), right, dataset)
        if self.op == "**":
            power = right[0]
            if not power.is_integer() and left_interval[0] < 0:
                raise FormulaInvalid(
                    f"{self.text()} needs values of 0 or more, and the dataset allows others",
                    remedy="declare a minimum in the dataset, or use a whole power",
                )
            if power < 0:
                _require_divisor(self, self.left.text(), left_interval, dataset)
            return _require_finite(self, _power_range(left_interval, power), dataset)
        with np.errstate(all="ignore"):
            ends = [float(_calculate(self.op, np.float64(a), np.float64(b))) for a in left_interval for b in right]
        return _require_finite(self, (min(ends), max(ends)), dataset)

    def sql(self) -> str:
        if self.op == "**":
            return f"pow({self.left.sql()}, {self.right.sql()})"
        return f"({self.left.sql()} {self.op} {self.right.sql()})"


class Compare(Model):
    """`of >= number`, as 1 or 0."""

    op: Literal[">", ">=", "<", "<=", "==", "!="]
    left: Expression
    number: Real

    @property
    def columns(self) -> tuple[str, ...]:
        return self.left.columns

    def text(self) -> str:
        return f"({self.left.text()} {self.op} {Number(number=self.number).text()})"

    def evaluate(self, read: Callable[[str], Floats]) -> Floats:
        left_value = np.asarray(self.left.evaluate(read))
        functions = {">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal}
        functions |= {"==": np.equal, "!=": np.not_equal}
        return np.where(np.isnan(left_value), np.nan, functions[self.op](left_value, self.number).astype(float))

    def interval(self, dataset: Dataset) -> Interval:
        self.left.interval(dataset)
        return 0.0, 1.0

    def sql(self) -> str:
        op = {"==": "=", "!=": "<>"}.get(self.op, self.op)
        return f"CAST({self.left.sql()} {op} {self.number!r} AS DOUBLE)"


class Apply(Model):
    """`function(of)`."""

    function: Literal["log", "log1p", "exp", "sqrt"]
    of: Expression

    @property
    def columns(self) -> tuple[str, ...]:
        return self.of.columns

    def text(self) -> str:
        inner = self.of.text()
        return f"{self.function}({inner[1:-1] if inner.startswith('(') and inner.endswith(')') else inner})"

    def evaluate(self, read: Callable[[str], Floats]) -> Floats:
        with np.errstate(all="ignore"):
            result: Floats = _FUNCTIONS[self.function][0](self.of.evaluate(read))
        return result

    def interval(self, dataset: Dataset) -> Interval:
        low, high = self.of.interval(dataset)
        least = {"log": 0.0, "log1p": -1.0, "sqrt": -math.ulp(0.0)}.get(self.function, -math.inf)
        if low <= least and self.function != "exp":
            need = {"log": "above 0", "log1p": "above -1", "sqrt": "of 0 or more"}[self.function]
            raise FormulaInvalid(
                f"{self.text()} needs values {need}, and the dataset allows others",
                remedy="declare a minimum in the dataset, or add a constant, as in log(x + 1)",
            )
        with np.errstate(all="ignore"):
            function = _FUNCTIONS[self.function][0]
            ends = float(function(max(low, least))), float(function(high))
        return _require_finite(self, ends, dataset)

    def sql(self) -> str:
        return _FUNCTIONS[self.function][1].format(self.of.sql())


Expression: TypeAlias = Annotated[Name | Number | Calculate | Compare | Apply, Field(union_mode="left_to_right")]
for _model in (Calculate, Compare, Apply):
    _model.model_rebuild()


def parse_expression(text: str, dataset: Dataset) -> Name | Number | Calculate | Compare | Apply:
    """Read an arithmetic expression over the dataset's numeric columns.

    Raises: FormulaInvalid for anything outside the closed tree, an unknown column, or log of what may be 0.
    """
    if len(text) > _LONGEST_CHARACTERS or text.count("(") > _DEEPEST:
        raise FormulaInvalid(f"an expression of {len(text)} characters", expected="at most 4,000, 40 parentheses")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FormulaInvalid("an expression that cannot be parsed", expected="such as 1 + age / 10") from None
    expression = from_syntax(tree, dataset)
    expression.interval(dataset)
    return expression


def written(expression: Name | Number | Calculate | Compare | Apply) -> str:
    """The expression as a researcher writes it, without needless parentheses."""
    return ast.unparse(ast.parse(expression.text(), mode="eval"))


def from_syntax(tree: ast.expr, dataset: Dataset, depth: int = 0) -> Name | Number | Calculate | Compare | Apply:
    """Copy Python's syntax tree into the closed one.  Raises: FormulaInvalid."""
    if depth > _DEEPEST:
        raise FormulaInvalid("an expression nested too deeply", expected=f"at most {_DEEPEST} levels")
    inner: Callable[[ast.expr], Any] = lambda node: from_syntax(node, dataset, depth + 1)  # noqa: E731
    match tree:
        case ast.Name() | ast.Attribute():
            return Name(column=_numeric(dotted(tree), dataset))
        case ast.Constant(value=bool() | str() | bytes() | None | complex()):
            raise FormulaInvalid(
                "a text or a constant that is not a number in an expression", expected="numbers and columns"
            )
        case ast.Constant(value=value) if isinstance(value, int | float) and abs(value) < 1e300:
            return Number(number=float(value))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() as operand):
            negative = inner(operand)
            return Number(number=-negative.number)
        case ast.UnaryOp(op=ast.USub()):
            return Calculate(op="-", left=Number(number=0.0), right=inner(tree.operand))
        case ast.BinOp() if type(tree.op) in _OPERATORS:
            op: Any = _OPERATORS[type(tree.op)]
            right = inner(tree.right)
            if op == "**" and not isinstance(right, Number):
                raise FormulaInvalid("a power that is not a number", expected="such as x**2")
            return Calculate(op=op, left=inner(tree.left), right=right)
        case ast.Compare(ops=[operator], comparators=[comparator]) if type(operator) in _COMPARISONS:
            number = inner(comparator)
            if not isinstance(number, Number):
                raise FormulaInvalid("a comparison with something that is not a number", expected="such as age > 60")
            return Compare(op=_COMPARISONS[type(operator)], left=inner(tree.left), number=number.number)  # type: ignore[arg-type]
        case ast.Call(func=ast.Name(id=function), args=[argument], keywords=[]) if function in _FUNCTIONS:
            return Apply(function=function, of=inner(argument))  # type: ignore[arg-type]
        case ast.Call():
            construct = dotted(tree.func) if isinstance(tree.func, ast.Name | ast.Attribute) else "something"
            raise FormulaInvalid(f"a call of {construct!r} in an expression", expected="only log, log1p, exp, sqrt")
    raise FormulaInvalid(
        "an expression outside what is allowed", expected="columns, numbers, + - * / ** and comparisons"
    )


def expressions_in(value: Any) -> Iterator[Name | Number | Calculate | Compare | Apply]:
    """Every whole expression in a model's fields, whatever they are called and however deep they stand."""
    if isinstance(value, Name | Number | Calculate | Compare | Apply):
        yield value
    elif isinstance(value, Model):
        for name in type(value).model_fields:
            yield from expressions_in(getattr(value, name))
    elif isinstance(value, Mapping):
        yield from expressions_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from expressions_in(item)


def dotted(tree: ast.expr) -> str:
    """`ph.ecog` from the syntax of an attribute: columns may have dots in their names."""
    parts: list[str] = []
    while isinstance(tree, ast.Attribute):
        parts.append(tree.attr)
        tree = tree.value
    if not isinstance(tree, ast.Name):
        raise FormulaInvalid("an expression outside what is allowed", expected="columns, numbers and operators")
    return ".".join([tree.id, *reversed(parts)])


def _numeric(name: str, dataset: Dataset) -> str:
    if name not in dataset:
        raise FormulaInvalid(f"column {name!r} is not in dataset {dataset.id!r}", expected=nearest(name, dataset.names))
    column = dataset.column(name)
    if not (column.numeric or column.type == "boolean"):
        raise FormulaInvalid(
            f"column {name!r} is a category in an expression", expected=f"a number, or the term C({name})"
        )
    return name


def _calculate(op: str, a: Any, right: Any) -> Any:
    with np.errstate(all="ignore"):
        match op:
            case "+":
                return a + right
            case "-":
                return a - right
            case "*":
                return a * right
            case "/":
                return a / right
        return np.power(a, right)


def _power_range(base: Interval, power: float) -> Interval:
    """Bounds of `base ** power`: a whole power is a function of its own, not a product of independent factors."""
    with np.errstate(all="ignore"):
        ends = [float(np.power(np.float64(end), power)) for end in base]
    if power > 0 and power % 2 == 0 and base[0] < 0 < base[1]:
        ends.append(0.0)
    return min(ends), max(ends)


def _require_divisor(whole: Calculate, divisor: str, interval: Interval, dataset: Dataset) -> None:
    """Raises: FormulaInvalid where a divisor may be 0."""
    if interval[0] <= 0 <= interval[1]:
        raise FormulaInvalid(
            f"{written(whole)} divides by {_plain(divisor)}, which may be 0",
            expected="a divisor that is never 0, by the bounds in the dataset",
            remedy=f"declare bounds that leave out 0{_undeclared(whole, dataset)}, or add a constant: 1 / (1 + x)",
        )


def _require_finite(whole: Calculate | Apply, interval: Interval, dataset: Dataset) -> Interval:
    """The same interval.  Raises: FormulaInvalid where a value may not be a finite number."""
    if not all(abs(end) <= _LARGEST for end in interval):
        raise FormulaInvalid(
            f"{written(whole)} may be too large for a number",
            expected=f"values up to {_LARGEST:g}, by the bounds in the dataset",
            remedy=f"declare narrower bounds{_undeclared(whole, dataset)}, or subtract a constant, as in exp(x - 50)",
        )
    return interval


def _undeclared(expression: Calculate | Apply, dataset: Dataset) -> str:
    """The columns whose bounds to declare, in words; none where all of them have both."""
    names = [n for n in dict.fromkeys(expression.columns) if not all(map(math.isfinite, dataset.column(n).bounds))]
    return f" for {', '.join(names)}" if names else ""


def _plain(text: str) -> str:
    return ast.unparse(ast.parse(text, mode="eval"))
