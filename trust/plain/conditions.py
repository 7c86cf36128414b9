"""A condition on people as a sentence: every node of a cohort's grammar, with brackets wherever two readings are."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlglot import exp

from trust.dataset.cohort import column_name, literal
from trust.plain.names import Names

__all__ = ["condition", "condition_parts"]

_SIGNS: dict[type[Any], str] = {
    exp.EQ: "eq", exp.NEQ: "ne", exp.GT: "gt", exp.GTE: "ge", exp.LT: "lt", exp.LTE: "le",
}  # fmt: skip
_TURNED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}


def condition_parts(tree: Any, names: Names) -> tuple[str, list[str]]:
    """How the outermost conditions are joined (`and`, `or`, or not at all), and each of them as a sentence.

    The tree is that of a checked `Cohort`.
    """
    tree = _bare(tree)
    for kind, word in ((exp.And, "and"), (exp.Or, "or")):
        if isinstance(tree, kind):
            return word, [condition(part, names) for part in _flat(tree, kind)]
    return "", [condition(tree, names)]


def condition(tree: Any, names: Names) -> str:
    """The whole as one sentence."""
    say = names.speech
    tree = _bare(tree)
    match tree:
        case exp.And() | exp.Or():
            kind, word = (exp.And, "and") if isinstance(tree, exp.And) else (exp.Or, "or")
            return say(word).join(_inner(part, names) for part in _flat(tree, kind))
        case exp.Not():
            return _denied(_bare(tree.this), names)
        case exp.Column():
            return say("answer_is", column=names.column(column_name(tree)), value=say("yes"))
        case exp.Is():
            return say("missing", column=names.column(column_name(tree.this)))
        case exp.In():
            return _among("one_of", tree, names)
        case exp.Between():
            return _between(tree, names)
    return _comparison(tree, names)


def _denied(tree: Any, names: Names) -> str:
    say = names.speech
    match tree:
        case exp.Column():
            return say("answer_is", column=names.column(column_name(tree)), value=say("no"))
        case exp.Is():
            return say("not_missing", column=names.column(column_name(tree.this)))
        case exp.In():
            return _among("none_of", tree, names)
    return say("not_true", text=condition(tree, names))


def _inner(tree: Any, names: Names) -> str:
    """A part of `and` or `or`: one that is itself joined stands in brackets."""
    sentence = condition(tree, names)
    return names.speech("brackets", text=sentence) if isinstance(_bare(tree), exp.And | exp.Or) else sentence


def _bare(tree: Any) -> Any:
    while isinstance(tree, exp.Paren):
        tree = tree.this
    return tree


def _flat(tree: Any, kind: type[Any]) -> list[Any]:
    """`a and (b and c)` as three parts: how they are grouped makes no difference."""
    tree = _bare(tree)
    return [*_flat(tree.this, kind), *_flat(tree.expression, kind)] if isinstance(tree, kind) else [tree]


def _among(key: str, tree: Any, names: Names) -> str:
    name = column_name(tree.this)
    values = names.speech.listed(value_of(name, literal(item), names) for item in tree.expressions)
    return names.speech(key, column=_subject(name, names), values=values)


def _between(tree: Any, names: Names) -> str:
    name = column_name(tree.this)
    low, high = (value_of(name, literal(tree.args[end]), names, ranked=True) for end in ("low", "high"))
    if _kind(name, names) == "boolean":
        sentence = names.speech("number_between", column=_subject(name, names), low=low, high=high)
        return names.speech("answer_ranks", condition=sentence)
    kind = _kind(name, names).replace("level", "number")
    if kind == "number":
        high = measured(name, literal(tree.args["high"]), names)
    return names.speech(f"{kind}_between", column=names.column(name), low=low, high=high)


def _comparison(tree: Any, names: Names) -> str:
    left_side, right, sign = _bare(tree.this), _bare(tree.expression), _SIGNS[type(tree)]
    if not isinstance(left_side, exp.Column):
        left_side, right, sign = right, left_side, _TURNED.get(sign, sign)
    name = column_name(left_side)
    kind, ranked = _kind(name, names), sign not in ("eq", "ne")
    if isinstance(right, exp.Column):
        other_column = column_name(right)
        sentence_key = {"date": "date_of", "boolean": "answer_of"}.get(kind, "value_of")
        value = names.speech(sentence_key, column=names.column(other_column))
    elif kind == "number" or (kind == "level" and ranked):
        value = measured(name, literal(right), names)
    else:
        value = value_of(name, literal(right), names, ranked=ranked)
    if kind == "boolean":
        if not ranked and not isinstance(right, exp.Column):
            key = "answer_is" if sign == "eq" else "answer_is_not"
            return names.speech(key, column=names.column(name), value=value)
        sentence_key = names.speech(f"number_{sign}", column=_subject(name, names), value=value)
        return names.speech("answer_ranks", condition=sentence_key)
    if ranked:
        kind = "number" if kind == "level" else kind
    elif kind == "text":
        kind = "level"
    return names.speech(f"{kind}_{sign}", column=names.column(name), value=value)


def _kind(name: str, names: Names) -> str:
    """How a column is compared: as a `number`, a `date`, a `boolean`, a `text`, or by `level` of whole numbers."""
    column = names.of(name)
    if column.type in ("date", "boolean"):
        return column.type
    return "text" if column.type == "string" else "level" if column.levels else "number"


def _subject(name: str, names: Names) -> str:
    column = names.column(name)
    return names.speech("answer_of", column=column) if names.of(name).type == "boolean" else column


def value_of(name: str, value: Any, names: Names, *, ranked: bool = False) -> str:
    """A literal as its column's kind is said; `ranked`: in an order, where a level is its number or its text."""
    if isinstance(value, bool):
        return names.level(name, value)
    if isinstance(value, str):
        if names.of(name).type == "date":
            return _day(value, names)
        return names.speech.quoted(value) if ranked else names.level(name, value)
    if _kind(name, names) == "level" and not ranked:
        return names.level(name, value)
    return names.speech.number(value)


def measured(name: str, value: Any, names: Names) -> str:
    """A number with its unit, or with what it means where it is a level."""
    number = names.speech.number(value)
    column = names.of(name)
    meaning = {level.value: level.label for level in column.levels}.get(value)
    if meaning:
        return names.speech("level_named", label=number, value=names.speech.quoted(meaning))
    unit = names.unit(name)
    return f"{number}\N{NO-BREAK SPACE}{unit}" if unit else number


def _day(text: str, names: Names) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError:  # such as 31 February: the database refuses it
        return names.speech.quoted(text)
    return names.speech.day(day.year, day.month, day.day)
