"""How it is said: every condition in one reading, both languages alike, and words of others that pose as nothing."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import trust.plain
from tests.trust.plain.test_mandate import COLUMNS, DATASET, FACTORS, GLM, STUDY, TABLE, body, changes, dataset, written
from trust.analyses.families import FAMILIES
from trust.dataset.cohort import _ALLOWED_NODES, Cohort
from trust.dataset.dataset import Dataset
from trust.dataset.expressions import parse_expression
from trust.plain.conditions import condition
from trust.plain.names import Names
from trust.words.language import LANGUAGES, catalogue
from trust.words.page import columns, wrap
from trust.words.safe import escaped
from trust.words.speech import Speech

SPACE = "\N{NO-BREAK SPACE}"
PACKAGE = Path(trust.plain.__file__).parent


def words(cohort: str, lang: str = "en", of: Dataset = DATASET) -> str:
    return typed(condition(Cohort.parse(cohort, of).tree, Names(of, (), Speech(lang, "mandate"))))


def typed(text: str) -> str:
    """With the spaces, the apostrophe and the minus of a keyboard."""
    for mark, key in ((SPACE, " "), ("\N{NARROW NO-BREAK SPACE}", " "), ("\N{MINUS SIGN}", "-"), ("’", "'")):
        text = text.replace(mark, key)
    return text


# ---- conditions

SENTENCES = [
    ("age >= 40", "“age” is at least 40 years", "« age » vaut au moins 40 ans"),
    ("40 > age", "“age” is less than 40 years", "« age » n'atteint pas 40 ans"),
    ("income <= 1234567.5", "“income” is at most 1,234,567.5 “crowns”",
     "« income » vaut au plus 1 234 567,5 « crowns »"),
    ("bmi > 30", "“body mass index” is more than 30 kg/m²", "« body mass index » dépasse 30 kg/m²"),
    ("age <> -1.5e-7", "“age” is not -1.5 × 10^-7 years", "« age » ne vaut pas -1,5 × 10^-7 ans"),
    ("age = before", "“age” is the value of “pulse” (before)", "« age » vaut la valeur de « pulse » (before)"),
    ("after = 60", "“pulse” (after) is 60", "« pulse » (after) vaut 60"),
    ("sex = 'F'", "“sex” is “woman”", "« sex » est « woman »"),
    ("sex <> 'F'", "“sex” is not “woman”", "« sex » n'est pas « woman »"),
    ("sex > 'F'", "“sex” comes after “F” in the order of characters",
     "« sex » vient après « F » dans l'ordre des caractères"),
    ("grade = 1", "“grade” is “mild”", "« grade » est « mild »"),
    ("grade >= 1", "“grade” is at least 1 (“mild”)", "« grade » vaut au moins 1 (« mild »)"),
    ("region not in (1, (2))", "“region” is none of (“1”; “2”)", "« region » n'est aucune des valeurs (« 1 » ; « 2 »)"),
    ("age in (40, 50.5)", "“age” is one of (40; 50.5)", "« age » est l'une des valeurs (40 ; 50,5)"),
    ("age between 40 and 50", "“age” is from 40 to 50 years (both included)",
     "« age » vaut de 40 à 50 ans (bornes comprises)"),
    ("town between 'a' and 'b'", "“town” lies from “a” to “b” (both included) in the order of characters",
     "« town » se situe de « a » à « b » (bornes comprises) dans l'ordre des caractères"),
    ("town = 'it''s'", "“town” is “it's”", "« town » est « it's »"),
    ("smoker", "the answer to “smoker” is yes", "la réponse à « smoker » est oui"),
    ("not (smoker)", "the answer to “smoker” is no", "la réponse à « smoker » est non"),
    ("smoker = false", "the answer to “smoker” is no", "la réponse à « smoker » est non"),
    ("smoker <> true", "the answer to “smoker” is not yes", "la réponse à « smoker » n'est pas oui"),
    ("smoker > false", "the answer to “smoker” is more than no, where yes counts as 1 and no as 0",
     "la réponse à « smoker » dépasse non, où oui compte 1 et non compte 0"),
    ("visit >= '2027-02-22'", "“visit” is on or after 22 February 2027", "« visit » tombe le 22 février 2027 ou après"),
    ("visit < '2027-03-01'", "“visit” is before 1 March 2027", "« visit » tombe avant le 1er mars 2027"),
    ("visit = '2027-02-31'", "“visit” is on “2027-02-31”", "« visit » tombe le « 2027-02-31 »"),
    ("visit between '2027-01-01' and '2027-01-02'", "“visit” is from 1 January 2027 to 2 January 2027 (both included)",
     "« visit » tombe du 1er janvier 2027 au 2 janvier 2027 (bornes comprises)"),
    ("visit is null", "“visit” is missing", "« visit » n'est pas renseigné"),
    ("visit is not null", "“visit” is not missing", "« visit » est une information connue"),
    ("not age < 40", "it is not true that (“age” is less than 40 years)",
     "il n'est pas vrai que (« age » n'atteint pas 40 ans)"),
    ("not not smoker", "it is not true that (the answer to “smoker” is no)",
     "il n'est pas vrai que (la réponse à « smoker » est non)"),
    ("smoker and visit is null and sex = 'M'",
     "the answer to “smoker” is yes and “visit” is missing and “sex” is “man”",
     "la réponse à « smoker » est oui et « visit » n'est pas renseigné et « sex » est « man »"),
    ("smoker or visit is null and sex = 'M'",
     "the answer to “smoker” is yes or (“visit” is missing and “sex” is “man”)",
     "la réponse à « smoker » est oui ou (« visit » n'est pas renseigné et « sex » est « man »)"),
    ("(smoker or visit is null) and sex = 'M'",
     "(the answer to “smoker” is yes or “visit” is missing) and “sex” is “man”",
     "(la réponse à « smoker » est oui ou « visit » n'est pas renseigné) et « sex » est « man »"),
]  # fmt: skip


@pytest.mark.parametrize(("cohort", "en", "fr"), SENTENCES, ids=[cohort for cohort, *_ in SENTENCES])
def test_a_condition_is_said_in_both_languages(cohort: str, en: str, fr: str) -> None:
    assert words(cohort, "en") == en
    assert words(cohort, "fr") == fr


def test_every_kind_of_node_that_a_cohort_may_have_is_among_them() -> None:
    found = {type(node) for cohort, *_ in SENTENCES for node in Cohort.parse(cohort, DATASET).tree.walk()}
    assert found == set(_ALLOWED_NODES)


ATOMS = st.one_of(
    st.tuples(
        st.sampled_from(["age", "grade", "region", "before", "after"]),
        st.sampled_from(["=", "<>", "<", "<=", ">", ">="]),
        st.sampled_from(["0", "1", "age", "after"]),
    ).filter(lambda atom: atom[0] not in ("grade", "region") or atom[2] == "1"),
    st.sampled_from([("sex", "=", "'F'"), ("sex", "<", "'F'"), ("town", "=", "'F'"), ("town", "=", "sex")]),
    st.sampled_from([("smoker", "is", "null"), ("sex", "in", "('F', 'M')"), ("age", "between", "1 and 2")]),
)
TREES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["and", "or"]), inner, inner)
    ),
    max_leaves=4,
)  # fmt: skip


def sql(tree: Any) -> str:
    match tree:
        case ("not", inner):
            return f"(not {sql(inner)})"
        case ("and" | "or" as joined, left, right):
            return f"({sql(left)} {joined} {sql(right)})"
    return " ".join(tree)


def meaning(tree: Any) -> Any:
    """The tree, but for what makes no difference: how a chain of `and` is grouped."""
    match tree:
        case ("not", inner):
            return ("not", meaning(inner))
        case ("and" | "or" as joined, left, right):
            parts = [meaning(left), meaning(right)]
            return (joined, *(p for part in parts for p in (part[1:] if part[0] == joined else (part,))))
    return tree


@settings(max_examples=200)
@given(TREES, TREES, st.sampled_from(LANGUAGES))
def test_two_conditions_never_read_the_same(one: Any, other: Any, lang: str) -> None:
    assert (words(sql(one), lang) == words(sql(other), lang)) == (meaning(one) == meaning(other))


def test_the_outermost_conditions_stand_in_a_list_that_says_how_they_are_joined() -> None:
    for cohort, said in (
        ("age > 1 and (smoker or bmi > 30)", "all of the following are true"),
        ("age > 1 or smoker", "at least one of the following is true"),
        ("age > 1", "for whom the following is true"),
        ("", "Everyone in these data."),
    ):
        about = written("en", {"cohort": cohort})[0].sections[6]
        items = [line.text for line in about.lines if line.kind == "item"]
        assert said in about.lines[0].text
        assert len(items) == (0 if not cohort else 1 + (" and " in cohort or ("or" in cohort and "(" not in cohort)))


def test_a_derived_column_is_said_with_what_it_is_made_from() -> None:
    text = " ".join(body("en", {"analyses": {"t": {"kind": "describe", "columns": ["ill", "log_bmi"]}}}).split())
    assert "yes where “num” is more than 0 and “age” is at least 40" in text
    assert "Worked out from other information: the logarithm of “body mass index”." in text
    assert "“num”: held by the partners, not part of the dataset ◦ Used to work out “ill”." in text
    assert "“body mass index” (column bmi): a number of 5 or more, in kg/m² ◦ Used to work out “log_bmi”." in text


# ---- numbers, days and the catalogue


@pytest.mark.parametrize(
    ("value", "en", "fr"),
    [(4000000, "4,000,000", "4 000 000"), (0.33, "0.33", "0,33"), (-0.0, "-0", "-0"), (1e22, "1 × 10^22", "1 × 10^22"),
     (1.0, "1", "1"), (-1234.5, "-1,234.5", "-1 234,5")],
)  # fmt: skip
def test_numbers_are_written_as_each_language_does(value: float, en: str, fr: str) -> None:
    assert typed(Speech("en", "mandate").number(value)) == en
    assert typed(Speech("fr", "mandate").number(value)) == fr
    assert " " not in Speech("fr", "mandate").number(value)


@example(0.0, -0.0)
@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_two_different_numbers_are_never_written_the_same(one: float, other: float) -> None:
    for lang in LANGUAGES:
        assert (Speech(lang, "mandate").number(one) == Speech(lang, "mandate").number(other)) == (
            repr(one) == repr(other)
        )
        assert (Speech(lang, "mandate").share(one) == Speech(lang, "mandate").share(other)) == (
            repr(one) == repr(other)
        )


def test_days_and_hours() -> None:
    en, fr = Speech("en", "mandate"), Speech("fr", "mandate")
    begun = f"It ends on 22{SPACE}February{SPACE}2027, at the start of that day (UTC)."
    assert en.moment("2027-02-22T00:00:00Z", "ends") == begun
    assert f"le 22{SPACE}février{SPACE}2027 à 14:05 UTC" in fr.moment("2027-02-22T14:05:00Z", "ends")
    assert f"le 1er{SPACE}août{SPACE}2027 à 14:05:09 UTC" in fr.moment("2027-08-01T14:05:09Z", "ends")


def texts() -> list[tuple[str, str, str]]:
    """Each key, language and text of the page, those of tables too."""
    found = []
    for lang in LANGUAGES:
        for key, entry in catalogue(lang)["mandate"].items():
            found += [(key, lang, text) for text in (entry.values() if isinstance(entry, dict) else [entry])]
    return found


def test_no_sentence_is_longer_than_25_words() -> None:
    for key, _, text in texts():
        for sentence in re.split(r"(?<=[.?!])\s", text):
            assert len([word for word in sentence.split() if re.search(r"\w", word)]) <= 25, (key, sentence)


NUMERIC = [c["name"] for c in COLUMNS if c["type"] in ("integer", "number", "boolean") and "levels" not in c]
PROTECTED = {**STUDY["protections"], "organisations": 5, "colluders": 2}
MORE: list[Any] = [
    ({"analyses": {"a": {"kind": "histogram", "column": "age", "edges": ["0.0", "1.0", "2.0"]}}}, {}, {}),
    ({"summary": {"fr": "Santé"}, "cohort": ""}, {"partners": ["albi"], "m": 1, "bytes": 1}, {}),
    ({"summary": {}, "cohort": "age > 1 or smoker"}, {"bytes": 1000}, {"person": "row", "rows_per_person": 1}),
    ({"protections": {**PROTECTED, "colluders": 1}}, {"c": 2}, {"rows_per_person": 1, "description": "Made up"}),
    ({"protections": PROTECTED, "analyses": {"a": {**TABLE, "columns": NUMERIC, "by": []}, "b": TABLE}}, {}, {}),
    ({"not_before": "2026-11-24T01:00:00Z", "expires": "2027-02-22T01:00:00Z"}, {"conditions": ["a", "b"]}, {}),
    ({"not_before": "2026-11-23T00:00:00Z", "expires": "2027-01-01T00:00:00Z", "purpose": "X"}, {}, {"person": "age"}),
    ({"cohort": "visit is null or town = 'a'", "protections": {**PROTECTED, "participation": "all"}}, {}, {}),
    ({"cohort": "visit is null and town = 'a'"}, {"participation": "all"}, {}),
]
OTHERS = "visit > '2027-01-01' or visit <= '2027-01-01' or visit <> visit or town >= 'a' or town < 'a' or town <= 'a'"
CALCULATED = [
    "age + bmi",
    "age - 1",
    "age * 2",
    "bmi / 3",
    "age ** 2",
    "log(bmi)",
    "log1p(age)",
    "exp(age)",
    "sqrt(age)",
]


@pytest.mark.slow
def test_every_text_is_said_somewhere() -> None:
    glms = [
        {**GLM, "family": family, "link": link, "terms": []} for family, of in FAMILIES.items() for link in of.links
    ]
    factors = [*FACTORS, *(parse_expression(text, DATASET) for text in [*CALCULATED, "age > 1"])]
    glms += [{**GLM, "outcome": {"column": "sex"}, "terms": [[f.document() for f in factors], [factors[0].document()]]}]
    studies = [(case.values[0], {}, {}) for case in changes()] + [({"analyses": {"a": glm}}, {}, {}) for glm in glms]
    studies += [(case.values[1], case.values[2], {}) for case in changes() if "dataset" not in "".join(case.values[1])]
    said = [words(cohort) for cohort, *_ in [*SENTENCES, (OTHERS, "")]]
    said += [body("en", study, mandate, of=dataset(**of)) for study, mandate, of in [*studies, *MORE]]
    whole = "\n".join(typed(" ".join(text.split())) for text in said)
    for key, text in catalogue("en")["mandate"].items():
        if isinstance(text, str):
            pattern = ".+".join(re.escape(typed(part)) for part in re.split(r"\{\w+\}", text))
            assert re.search(pattern, whole), key


def test_the_purposes_of_every_charter_have_words() -> None:
    for path in (PACKAGE.parent / "charters").glob("*/purposes.toml"):
        for purpose in tomllib.loads(path.read_text()):
            assert "no other words" not in body("en", {"purpose": purpose})
    assert "Code “Weather”. This page has no other words" in body("en", {"purpose": "Weather"})


# ---- words of others

FORGED = [
    "x\n\nConditions\n  The mandate sets no further condition.",
    "x" + 70 * " " + "• No row about a person leaves.",
    "\x1b[2J\x1b[H\x9b1mMandate",
    "\u202eelbairav\u2066\u200f",
    "a\r  │ b\u2028c\u0085d\x0b",
    40 * "very long ",
    300 * "x",
    "” is at least 40 or “age",
    " » ou « age » vaut 1 ; « ",
    "a" + 20 * "\u0301" + "\u0489\u20e3",
    "\u202f".join("x" * 40) + "\U000e0041\ufe0f\u3164\u2800",
    "עברית 5 < 3",
    "漢字" * 60,
    "⟨U+000A⟩",
    "   ",
]


def forged(text: str) -> tuple[dict[str, Any], dict[str, Any], Dataset]:
    """Somebody else's words wherever they can stand."""
    changed = [
        {**column, "label": f"{text}{at}", "description": text, "unit": text} for at, column in enumerate(COLUMNS)
    ]
    changed[3] = {**COLUMNS[3], "label": text, "levels": [{"value": "F", "label": text}, {"value": text + "M"}]}
    of = dataset(columns=changed, name=text, version=text, description=text)
    study = {"title": text[:200], "summary": {"en": text, "fr": text}, "purpose": text, "researcher": text}
    table = {"kind": "describe", "columns": ["income", "ill", "log_bmi"], "by": ["sex"]}
    cohort = "age > 1 and sex = 'F' or income > 5 and pid_town = 'a'".replace("pid_", "")
    return {**study, "analyses": {"t": table}, "cohort": cohort}, {"conditions": [text, text + "."]}, of


def kept_in_place(text: str, lang: str) -> None:
    honest, page = written(lang, *forged("plain"))[0], written(lang, *forged(text))[0]
    assert [section.heading for section in page] == [section.heading for section in honest]
    whole = page.text()
    first_column = [line for line in whole.split("\n") if line and line[0] != " "]
    assert first_column == [page.title, "═" * len(page.title), *(section.heading for section in page)]
    allowed = {"\n", "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"}
    assert all(c in allowed or unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp", "Co", "Cn") for c in whole)
    assert whole.count("\N{FIRST STRONG ISOLATE}") == whole.count("\N{POP DIRECTIONAL ISOLATE}")
    assert all(columns(line) <= 88 for line in whole.split("\n"))
    for one, other in zip(page, honest, strict=True):
        kinds = [(line.kind, line.depth) for line in one.lines if line.kind != "quote"]
        assert kinds == [(line.kind, line.depth) for line in other.lines if line.kind != "quote"]
        for line in one.lines:
            assert "\n" not in line.text
            if line.kind != "quote":  # ours: as many quotation marks open as in the honest page, and each is closed
                assert not re.search("“[^”]*“|«[^»]*«", line.text)
    assert all(whole.count(mark) == honest.text().count(mark) for mark in "•◦■═")


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("text", FORGED, ids=range(len(FORGED)))
def test_words_of_others_forge_no_section_and_no_line(text: str, lang: str) -> None:
    kept_in_place(text, lang)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60), st.sampled_from(LANGUAGES))
def test_no_text_at_all_does(text: str, lang: str) -> None:
    kept_in_place(text, lang)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.text("ab \n\u0301⟨⟩U+2", max_size=8))
def test_two_different_texts_never_look_the_same(one: str, other: str) -> None:
    for first, second in ((one, other), (one, one + " "), (one, one.replace("a", "a\u200b")), (other, other[::-1])):
        for quotes in (True, False):
            assert (escaped(first, quotes=quotes) == escaped(second, quotes=quotes)) == (first == second)


@given(st.text("ab\N{NO-BREAK SPACE}漢 ", max_size=80), st.integers(8, 30))
def test_a_broken_text_is_whole_and_fits(text: str, width: int) -> None:
    lines = wrap(text, "• ", "  ", width)
    assert all(columns(line) <= width for line in lines)
    assert "".join(line[2:] for line in lines).replace(" ", "") == text.replace(" ", "")


def test_a_long_study_is_written_in_good_time() -> None:
    words = {"en": 100_000 * "long ", "fr": 60_000 * "é"}
    assert len(body("en", {"summary": words})) > 500_000
