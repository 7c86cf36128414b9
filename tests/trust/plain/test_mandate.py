"""The words of a mandate: about nothing but the signed bytes, silent on no field of them, and nobody's to forge."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sizes import FULL
from trust.analyses import AnyAnalysis, Glm
from trust.analyses.terms import Category
from trust.canonical import canonical
from trust.dataset.dataset import Dataset
from trust.dataset.expressions import Apply, Calculate, Compare, Name, Number
from trust.documents.mandate import Mandate
from trust.documents.study import Study
from trust.errors import CohortInvalid, InvalidInput, MessageInvalid, Refused, StudyInvalid
from trust.plain import Page, mandate_page
from trust.privacy.protections import Protections
from trust.signing.envelope import sha256
from trust.words.language import LANGUAGES

COLUMNS: list[dict[str, Any]] = [
    {"name": "age", "type": "integer", "minimum": 0, "maximum": 120, "unit": "years"},
    {"name": "bmi", "type": "number", "minimum": 5, "label": "body mass index", "unit": "kg/m2"},
    {"name": "income", "type": "number", "magnitude": True, "unit": "crowns", "description": "of a year"},
    {"name": "sex", "type": "string", "levels": [{"value": "F", "label": "woman"}, {"value": "M", "label": "man"}]},
    {"name": "grade", "type": "integer", "levels": [{"value": v, "label": w} for v, w in enumerate(("none", "mild"))]},
    {"name": "region", "type": "integer", "levels": [{"value": v} for v in (1, 2, 3)]},
    {"name": "smoker", "type": "boolean"},
    {"name": "visit", "type": "date"},
    {"name": "town", "type": "string"},
    {"name": "before", "type": "number", "label": "pulse"},
    {"name": "after", "type": "number", "label": "pulse", "maximum": 250},
    {"name": "ill", "type": "boolean", "derived": "num > 0 and age >= 40", "sources": ["num"]},
    {"name": "log_bmi", "type": "number", "derived": "log(bmi)"},
]
FIELDS = {"id": "people", "name": "made-up people", "version": "1.0.0", "person": "pid", "rows_per_person": 2}
AGE, BMI = {"column": "age"}, {"column": "bmi"}


def dataset(**changes: Any) -> Dataset:
    return Dataset.model_validate({**FIELDS, "columns": COLUMNS, **changes})


DATASET = dataset()
TABLE = {"kind": "describe", "columns": ["age", "bmi"], "by": ["sex"]}
STUDY: dict[str, Any] = {
    "schema": "datatrust/study/1",
    "id": "age-7k3f",
    "title": "Age and health",
    "summary": {"en": "Does age go with illness?", "fr": "L'âge va-t-il avec la maladie ?"},
    "purpose": "AcademicResearch",
    "researcher": "lab-1",
    "cohort": "age >= 40",
    "analyses": {"table": TABLE},
    "protections": Protections().document(),
    "not_before": "2026-11-24T00:00:00Z",
    "expires": "2027-02-22T00:00:00Z",
}
MANDATE: dict[str, Any] = {
    "schema": "datatrust/mandate/1",
    "id": "2026-0001",
    "plan": "sha256:" + 64 * "1",
    "charter": "sha256:" + 64 * "2",
    "root": 1,
    "partners": ["albi", "rodez", "tarbes"],
    "participation": "joined",
    "m": 3,
    "c": 1,
    "sums": 42,
    "bytes": 4000000,
    "audit": "nodes",
    "conditions": [],
    "not_before": "2026-11-24T00:00:00Z",
    "expires": "2027-02-22T00:00:00Z",
}


def written(lang: str, study: Any = None, mandate: Any = None, of: Dataset = DATASET) -> tuple[Page, str]:
    """The page, and its text without the digests of study and mandate, which change with every byte."""
    names = {"dataset": of.id, "dataset_digest": of.digest()}
    raw = canonical({**names, **STUDY, **(study or {})})
    signed = canonical({"study": sha256(raw), "dataset": of.digest(), **MANDATE, **(mandate or {})})
    page = mandate_page(raw, signed, of, lang=lang)
    return page, page.text().replace(sha256(raw), "").replace(sha256(signed), "")


def body(lang: str, *args: Any, **named: Any) -> str:
    return written(lang, *args, **named)[1]


# ---- about nothing else than what is signed


def test_words_about_another_study_than_the_mandates_are_refused() -> None:
    with pytest.raises(Refused) as error:
        written("en", mandate={"study": sha256(b"another")})
    assert error.value.rule == "mandate-study"


@pytest.mark.parametrize(
    ("study", "mandate"),
    [({}, {"dataset": "sha256:" + 64 * "0"}), ({"dataset_digest": "sha256:" + 64 * "0"}, {}), ({"dataset": "x"}, {})],
)
def test_words_about_another_dataset_are_refused(study: Any, mandate: Any) -> None:
    with pytest.raises(Refused) as error:
        written("en", study, mandate)
    assert error.value.rule == "dataset"


@pytest.mark.parametrize(
    ("study", "mandate", "error"),
    [
        ({}, {"charter": "sha256:2\n"}, MessageInvalid),
        ({}, {"note": 1}, MessageInvalid),
        ({"note": 1}, {}, StudyInvalid),
        ({"cohort": "height > 1"}, {}, CohortInvalid),
        ({"analyses": {"t": {"kind": "histogram", "column": "num", "edges": ["0.0", "1.0"]}}}, {}, StudyInvalid),
        ({"analyses": {"t": {"kind": "glm", "outcome": AGE, "link": "log", "terms": [[
            {"function": "C", "column": "sex", "reference": "X"}]]}}}, {}, StudyInvalid),
    ],
)  # fmt: skip
def test_bytes_that_say_nothing_clear_have_no_words(study: Any, mandate: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        written("en", study, mandate)


def test_bytes_that_are_not_canonical_and_another_language_have_no_words() -> None:
    with pytest.raises(MessageInvalid):
        mandate_page(b"{ }", b"{}", DATASET, lang="en")
    with pytest.raises(InvalidInput, match="'fr', perhaps"):
        mandate_page(b"{}", b"{}", DATASET, lang="fra")


# ---- silent on no field

CHANGED_STUDY = {
    "id": "age-7k3g",
    "title": "Age and wealth",
    "summary": {"en": "Does age go with illness?", "fr": "L'âge va-t-il avec la richesse ?"},
    "purpose": "Marketing",
    "researcher": "lab-2",
    "dataset": "persons",
    "dataset_digest": {"version": "1.0.1"},
    "cohort": "age >= 41",
    "analyses": {"tables": TABLE},
    "protections": {**STUDY["protections"], "persons": 12},
    "not_before": "2026-11-24T00:00:01Z",
    "expires": "2027-02-22T00:00:01Z",
}
CHANGED_PROTECTIONS = {
    "persons": 1,
    "organisations": 4,
    "dominance_percent": 84,
    "glm_parameters_per_person": "0.34",
    "residual_df": 1,
    "zero_is_small": False,
    "participation": "all",
    "colluders": 2,
}
CHANGED_MANDATE = {
    "id": "2026-0002",
    "plan": "sha256:" + 64 * "3",
    "charter": "sha256:" + 64 * "3",
    "root": 2,
    "partners": ["albi", "rodez", "tarn"],
    "participation": "all",
    "m": 2,
    "c": 2,
    "sums": 1,
    "bytes": 4000001,
    "conditions": ["Results are shown to the patients first."],
    "not_before": "2026-11-24T00:00:01Z",
    "expires": "2027-02-21T23:59:00Z",
}
GLM = {"kind": "glm", "outcome": {"column": "ill"}, "terms": [[AGE]], "family": "poisson", "link": "log"}
ANALYSES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "describe": (TABLE, {"columns": ["bmi", "age"], "by": ["sex", "region"], "weights": AGE}),
    "histogram": (
        {"kind": "histogram", "column": "age", "edges": ["0.0", "1.0"]},
        {"column": "bmi", "edges": ["0.0", "2.0"]},
    ),
    "quantiles": ({"kind": "quantiles", "columns": ["age"], "q": ["0.5"]}, {"columns": ["bmi"], "q": ["0.51"]}),
    "crosstab": (
        {"kind": "crosstab", "rows": "sex", "columns": "region"},
        {"rows": "smoker", "columns": "partner", "weights": BMI},
    ),
    "correlation": (
        {"kind": "correlation", "columns": ["age", "bmi"]},
        {"columns": ["age", "income"], "missing": "pairwise"},
    ),
    "ttest": ({"kind": "ttest", "value": "bmi", "group": "sex"}, {"value": "age", "group": "ill", "equal_var": True}),
    "anova": (
        {"kind": "anova", "value": "bmi", "group": ["sex"]},
        {"value": "age", "group": ["sex", "ill"], "interaction": False, "typ": 2},
    ),
    "glm": (
        GLM,
        {"outcome": {"column": "sex"}, "terms": [[AGE], [BMI]], "intercept": False, "family": "gamma"}
        | {"link": "identity", "weights": BMI, "weights_are": "precision", "offset": BMI, "ridge": "0.5"}
        | {"robust": "HC1", "scale": "X2"},
    ),
}  # fmt: skip


def changes() -> list[Any]:
    """Study and mandate before, the same with one field changed, and that field's name."""
    found: list[Any] = [(f"study.{f}", {}, {f: value}, {}) for f, value in CHANGED_STUDY.items()]
    found += [(f"mandate.{f}", {}, {}, {f: value}) for f, value in CHANGED_MANDATE.items()]
    for field, value in CHANGED_PROTECTIONS.items():
        changed = {"protections": {**STUDY["protections"], field: value}}
        found.append((f"protections.{field}", {}, changed, {}))
    for kind, (base, changed) in ANALYSES.items():
        for field, value in changed.items():
            before, after = {"analyses": {"a": base}}, {"analyses": {"a": {**base, field: value}}}
            found.append((f"{kind}.{field}", before, after, {}))
    return [pytest.param(*rest, id=name) for name, *rest in found]


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(("before", "after", "mandate"), changes())
def test_a_changed_field_changes_the_words(before: Any, after: Any, mandate: Any, lang: str) -> None:
    of = DATASET
    if "dataset" in after:
        of, after = dataset(id=after["dataset"]), {}
    if "dataset_digest" in after:
        of, after = dataset(**after["dataset_digest"]), {}
    assert body(lang, after, mandate, of=of) != body(lang, before)


def test_no_field_of_what_is_signed_is_left_out_above() -> None:
    """Of a field that can have one value only, that value is said."""
    assert CHANGED_STUDY.keys() | {"schema_"} == Study.model_fields.keys()
    assert CHANGED_MANDATE.keys() | {"schema_", "study", "dataset", "audit"} == Mandate.model_fields.keys()
    assert CHANGED_PROTECTIONS.keys() | {"noise"} == Protections.model_fields.keys()
    union = get_args(get_args(AnyAnalysis)[0])
    assert {model.model_fields["kind"].default for model in union} == ANALYSES.keys()
    for model in union:
        _, changed = ANALYSES[model.model_fields["kind"].default]
        assert changed.keys() | {"kind"} == model.model_fields.keys(), model
    single = [Study.model_fields["schema_"], Mandate.model_fields["schema_"], Mandate.model_fields["audit"]]
    assert [get_args(field.annotation) for field in [*single, Protections.model_fields["noise"]]] == [
        ("datatrust/study/1",), ("datatrust/mandate/1",), ("nodes",), (False,),
    ]  # fmt: skip
    text = " ".join(body("en").split())
    for said in ("(datatrust/study/1)", "(datatrust/mandate/1)", "adds them up again", "No noise is added"):
        assert said in text


def test_the_digests_of_everything_signed_stand_in_full_at_the_end() -> None:
    for lang in LANGUAGES:
        page = written(lang)[0]
        codes = [line.text for line in page.sections[-1].lines if line.kind == "code"]
        assert len(codes) == 5
        assert {MANDATE["plan"], MANDATE["charter"], DATASET.digest()} < set(codes)
        assert all(f"  {code}\n" in page.text() for code in codes)


FACTORS = [
    Name(column="sex"), Name(column="smoker"), Name(column="age"), Name(column="partner"),
    Category(function="C", column="sex"), Category(function="C", column="sex", reference="F"),
    Category(function="C", column="sex", reference="M"), Category(function="C", column="grade", reference=1),
    Category(function="C", column="partner"),
]  # fmt: skip
leaves = st.one_of(
    st.sampled_from([Name(column="age"), Name(column="bmi"), Name(column="before"), Name(column="after")]),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.1, 1e22, 1e-7, 1234567.5]).map(lambda x: Number(number=x)),
)
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Calculate, op=st.sampled_from(["+", "-", "*", "/"]), left=inner, right=inner),
        st.builds(Calculate, op=st.just("**"), left=inner, right=st.builds(Number, number=st.sampled_from([2.0, 0.5]))),
        st.builds(Compare, op=st.sampled_from([">", ">=", "<", "<=", "==", "!="]), left=inner, number=st.just(1.0)),
        st.builds(Apply, function=st.sampled_from(["log", "log1p", "exp", "sqrt"]), of=inner),
    ),
    max_leaves=4,
)
factors = expressions.filter(lambda expression: not isinstance(expression, Number))
terms = st.lists(st.lists(st.one_of(st.sampled_from(FACTORS), factors), min_size=1, max_size=3), max_size=3)
models = st.builds(
    Glm, outcome=st.one_of(leaves, expressions), terms=terms,
    link=st.just("log"), offset=st.none() | expressions,
)  # fmt: skip


@settings(max_examples=1000 if FULL else 50)
@given(models, models, st.sampled_from(LANGUAGES))
def test_two_models_never_read_the_same(one: Glm, other: Glm, lang: str) -> None:
    texts = [body(lang, {"analyses": {"a": model.document()}}) for model in (one, other)]
    assert (texts[0] == texts[1]) == (canonical(one.document()) == canonical(other.document()))


times = st.sampled_from(["2026-11-24T00:00:00Z", "2026-11-24T00:00:01Z", "2026-11-24T10:30:00Z"])
ends = st.sampled_from(["2027-02-22T00:00:00Z", "2027-02-22T00:01:00Z", "2027-03-01T00:00:00Z"])
free = st.text(st.sampled_from("a b\n\t\r⟨⟩”»|│•\u202e\u0301\u200b\x1b0"), max_size=6)
studies = st.fixed_dictionaries(
    {},
    optional={
        "title": free.filter(bool), "purpose": free, "researcher": free, "not_before": times, "expires": ends,
        "summary": st.dictionaries(st.sampled_from(LANGUAGES), free), "cohort": st.sampled_from(["", "age  > 1"]),
        "protections": st.fixed_dictionaries(
            {}, optional={f: st.just(v) for f, v in CHANGED_PROTECTIONS.items()}
        ).map(lambda changed: {**STUDY["protections"], **changed}),
    },
)  # fmt: skip
mandates = st.fixed_dictionaries(
    {},
    optional={
        **{f: st.just(v) for f, v in CHANGED_MANDATE.items() if f not in ("not_before", "expires", "conditions")},
        "conditions": st.lists(free, max_size=3), "not_before": times, "expires": ends,
        "sums": st.integers(1, 3), "bytes": st.integers(1, 2**53 - 1),
    },
)  # fmt: skip


@settings(max_examples=1000 if FULL else 60)
@given(studies, studies, mandates, mandates, st.sampled_from(LANGUAGES), st.booleans(), st.booleans())
def test_two_different_mandates_never_read_the_same(
    study: Any, other: Any, mandate: Any, second: Any, lang: str, one_study: bool, one_mandate: bool
) -> None:
    other, second = (study if one_study else other), (mandate if one_mandate else second)
    text, as_text = body(lang, study, mandate), body(lang, other, second)
    same = {**STUDY, **study} == {**STUDY, **other} and {**MANDATE, **mandate} == {**MANDATE, **second}
    assert (text == as_text) == same
