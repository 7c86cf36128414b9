# ruff: noqa: E501, SIM905 - word lists
"""Hypothesis strategies for every input that comes from outside: texts, documents, bytes and messages."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from trust.canonical import canonical
from trust.protocol.messages import pack

# ---- values and bytes

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.one_of(
    st.integers(-(2**53) + 1, 2**53 - 1), st.sampled_from([0, 1, -1, 40, 2**53 - 1]), st.floats(allow_nan=True)
)
canonical_values = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Real bytes with a few of them changed, taken out, repeated or cut off."""
    raw = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(raw) - 1, 0)))
        match draw(st.integers(0, 4)):
            case 0:
                raw[at : at + 1] = draw(st.binary(max_size=3))
            case 1:
                del raw[at : at + draw(st.integers(1, 9))]
            case 2:
                raw[at:at] = raw[at : at + draw(st.integers(1, 9))]
            case 3:
                del raw[at:]
            case 4:
                raw[at:at] = draw(
                    st.sampled_from([b'"', b"{", b"[", b"}", b",", b":", b"\\", b"\x00", b"1e999", b"null"])
                )
    return bytes(raw)


@st.composite
def changed(draw: st.DrawFn, whole: st.SearchStrategy[Any]) -> Any:
    """A real document with one of its values, somewhere inside, replaced, renamed or left out."""
    document = json.loads(json.dumps(draw(whole)))
    inner, path = document, []
    while isinstance(inner, dict | list) and inner and (not path or draw(st.booleans())):
        key = draw(st.sampled_from(sorted(inner))) if isinstance(inner, dict) else draw(st.integers(0, len(inner) - 1))
        path.append((inner, key))
        inner = inner[key]
    holder, key = path[-1]
    match draw(st.integers(0, 2)):
        case 0:
            holder[key] = draw(json_values)
        case 1:
            del holder[key]
        case 2 if isinstance(holder, dict):
            holder[draw(st.sampled_from([str(key) + "s", "kind", "unknown"]))] = holder[key]
    return document


def wellformed(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Canonical bytes of those values that have any."""

    def encode(value: Any) -> bytes:
        try:
            return canonical(value)
        except (ValueError, RecursionError):
            return json.dumps(value).encode()

    return values.map(encode)


# ---- cohorts, expressions, formulas

_COLUMNS = ("n", "x", "s", "g", "b", "d", "t")


@st.composite
def _atoms(draw: st.DrawFn) -> str:
    sign = draw(st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="]))
    number = st.one_of(
        st.integers(-60, 60).map(str), st.floats(-60, 60).map(repr), st.sampled_from(["1e3", ".5", "-7.25", "0"])
    )
    word = st.sampled_from(["'A'", "'B'", "'C'"])
    day = st.sampled_from(["'2020-01-01'", "'2020-06-15'", "'2021-01-01'"])
    free = st.sampled_from(["'Albi'", "'it''s'", "''", "'Œuf'", "'#; --'"])
    match draw(st.integers(0, 12)):
        case 0:
            return f"{draw(st.sampled_from(['n', 'x']))} {sign} {draw(number)}"
        case 1:
            return f"{draw(number)} {sign} {draw(st.sampled_from(['n', 'x']))}"
        case 2:
            return f"{draw(st.sampled_from(['n', 'x']))} between {draw(number)} and {draw(number)}"
        case 3:
            return f"n in ({', '.join(draw(st.lists(number, min_size=1, max_size=4)))})"
        case 4:
            return f"{draw(st.sampled_from(_COLUMNS))} is {draw(st.sampled_from(['null', 'not null']))}"
        case 5:
            return f"s {draw(st.sampled_from(['=', '<>']))} {draw(word)}"
        case 6:
            return f"s {draw(st.sampled_from(['in', 'not in']))} ({', '.join(draw(st.lists(word, min_size=1, max_size=3)))})"
        case 7:
            return f"g {draw(st.sampled_from(['=', '<>']))} {draw(st.integers(1, 3))}"
        case 8:
            return f"g {draw(st.sampled_from(['<', '>=']))} {draw(number)}"
        case 9:
            return draw(st.sampled_from(["b", "b = true", "b = false", "b <> true", "not b"]))
        case 10:
            return f"d {sign} {draw(day)}"
        case 11:
            return f"t {sign} {draw(free)}"
    return f"n {sign} x"


cohorts = st.recursive(
    _atoms(),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: f"({two[0]} and {two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} or {two[1]})"),
        inner.map(lambda one: f"not ({one})"),
    ),
    max_leaves=5,
)
"""Valid cohorts over `n` (whole number), `x` (number), `s`, `g` (categories), `b`, `d` (date) and `t` (text)."""

_WORDS = st.sampled_from(
    "age sex cp chol exang and or not in is null between ( ) ( ) , = <> < > >= <= 40 1e9 .5 'F' 'M' \"F\" 'a''b' -- /* # ; :: "
    "select from where exists case when then end cast as date '2020-01-01' true false like any ~ + - * / ** % . : ? $1 @x [ ] { } "
    "log exp I C poly Treatment ~ | ^ %in% ` 0x1 1_0 1j lambda x : if else for await yield f'{x}' := != == \\ \n \t é \ud800 "
    "\u0000 limit union collate escape over symmetric interval unnest struct {} [] () __import__('os') Œ".split(" ")
)
word_soup = st.lists(_WORDS, max_size=14).map(" ".join)
"""Words of SQL, Python and formulas in no order."""

_arithmetic = st.recursive(
    st.one_of(
        st.sampled_from(["age", "chol", "oldpeak", "thalach", "exang"]),
        st.integers(0, 99).map(str),
        st.sampled_from(["0.5", "1e10"]),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(inner, st.sampled_from(["2", "0.5", "-1", "300", "0"])).map(lambda p: f"{p[0]}**{p[1]}"),
        st.tuples(st.sampled_from(["log", "log1p", "exp", "sqrt"]), inner).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(inner, st.sampled_from([">", "<=", "=="]), st.integers(0, 99)).map(
            lambda p: f"({p[0]} {p[1]} {p[2]})"
        ),
        inner.map(lambda one: f"-{one}"),
    ),
    max_leaves=6,
)
expressions = st.one_of(_arithmetic, word_soup, st.text(max_size=40))
formulas = st.one_of(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["age", "sex", "C(cp)", "exang", "C(cp, Treatment(2))", "1", "0", "partner", "`age`", ".", "y"]
            ),
            _arithmetic.map(lambda text: f"I({text})"),
            st.sampled_from(
                ["log(age)", "age:sex", "age*sex*chol", "(age + sex)**2", "age/sex", "(age + chol)^2", "poly(age, 2)"]
            ),
        ),
        min_size=1,
        max_size=5,
    ).map(lambda terms: "disease ~ " + " + ".join(terms)),
    word_soup.map(lambda text: f"disease ~ {text}"),
    word_soup,
    st.text(max_size=40),
)


# ---- datasets and charters

_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=True), texts,
    st.sampled_from(["number", "string", "integer", "boolean", "date", "object", "row", "v3.1.0", "DataContract", "age > 1"]),
)  # fmt: skip
_KEYS = st.sampled_from(
    "apiVersion kind id name version status description schema properties logicalType logicalTypeOptions minimum maximum enum "
    "value required customProperties property unit grid magnitude person rowsPerPerson transformLogic transformSourceObjects "
    "businessName step until purpose minimun <<".split()
)
odcs_values = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=5)),
    max_leaves=15,
)
yaml_soup = st.lists(
    st.sampled_from(
        "a: b|- a|- {a: b}|? c|: d|&x y|*x|!!int 3|!!python/object:os.system x|<<: {a: 1}|[|]|{|}|'|\"|# c|---|...|%YAML 9.9|\t|  |"
        "key: |> text|| text|null|~|yes|1:30|0x1f|.inf|.nan|2020-01-01|2020-99-99|!|@|`|kind: DataContract|id: heart".split(
            "|"
        )
    ),
    max_size=12,
).map("\n".join)
toml_soup = st.lists(
    st.sampled_from(
        "name = 'x'\n|version = 1\n|[floor]\n|persons = 11\n|persons = -1\n|[a.b]\n|[[c]]\n|x = [1, \n|]\n|d = 1979-05-27T07:32:00Z\n|'''|"
        "\"|= |# c\n|A = ['B']\n|B = []\n|A = 3\n|A = [[1]]\n|A = {x = 1}\n|inf = inf\n|[committee]\nquorum = 2\n|\x00|é = 1\n".split(
            "|"
        )
    ),
    max_size=12,
).map("".join)


# ---- messages

headers = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(
            ["mandate", "start", "ask", "totals", "close", "ready", "approval", "upload", "refusal", "x"]
        )
    },
    optional={
        "study": st.one_of(canonical_values, st.just("s")),
        "partners": st.one_of(canonical_values, st.lists(names, max_size=4)),
        "plan": st.one_of(canonical_values, texts),
        "r": st.one_of(st.integers(-2, 5), canonical_values),
        "asks": st.one_of(canonical_values, st.dictionaries(names, names, max_size=3)),
        "name": names,
    },
)
messages = st.one_of(
    st.tuples(headers, st.binary(max_size=40)).map(lambda m: pack(*m)),
    st.binary(max_size=200),
    st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=60)).map(lambda m: m[0].to_bytes(4, "big") + m[1]),
)
