"""The demo's tables in words and numbers of a language; the screen and the report lay them out."""

from __future__ import annotations

import math

import pandas as pd

from datatrust.demo.hospitals import PAINS
from datatrust.demo.question import COLUMNS
from datatrust.demo.report import Cell, ReportTable
from datatrust.demo.seed import REFUSING
from datatrust.demo.sentences import change, outcome
from datatrust.demo.story import COEFFICIENTS, Answered, Story
from datatrust.demo.words import Words
from trust.documents.verification import NOT_CHECKED, STEPS, Verified

__all__ = [
    "by_pain",
    "by_sex",
    "by_smoking",
    "changes",
    "checks",
    "coefficients",
    "outcomes",
    "seed_table",
    "subtraction",
    "traffic",
    "verification",
]

_SEXES = {"F": "women", "M": "men"}
_SMALLEST = 0.0001


def outcomes(story: Story, words: Words) -> ReportTable:
    """Each study on the four hospitals, what became of it, and the rules that refused it."""
    rows = [
        (outcome(story, words, index), words("refused_word" if rules else "answered_word"), ", ".join(rules) or "–")
        for index, rules in enumerate(story.outcomes)
    ]
    head = tuple(words(key) for key in ("outcome", "became", "by_rule"))
    return ReportTable(words("outcomes_table"), head, tuple(rows), texts=True)


def seed_table(story: Story, words: Words) -> ReportTable:
    """The worked example: correlation from averages, and federated."""
    rows = [
        (
            words("case_n", n=n),
            ", ".join(map(str, case.sizes)),
            ("; " if words.lang == "fr" else ", ").join(words.number(mean, 2) for mean in case.means),
            words("undefined") if case.local is None else words.number(case.local, 4),
            words.number(case.federated, 4),
        )
        for n, case in enumerate(story.cases, 1)
    ]
    head = (words("case"), words("places"), words("means"), words("local"), words("federated"))
    return ReportTable(words("seed_table"), head, tuple(rows))


def by_sex(story: Story, words: Words) -> ReportTable:
    """Known and missing values, mean and standard deviation of each measurement."""
    frame = story.table
    rows = []
    for name in COLUMNS:
        for sex, label in _SEXES.items():
            values = frame.xs(sex)[name]
            counts = tuple(_cell(values[key], words, 0) for key in ("count", "missing"))
            rows.append(
                (words(name), words(label), *counts, *(_cell(values[key], words, 1) for key in ("mean", "std")))
            )
    head = tuple(words(key) for key in ("measure", "group", "known", "missing", "mean", "std"))
    return ReportTable(words("table_sex"), head, tuple(rows), labels=2)


def by_pain(story: Story, words: Words) -> ReportTable:
    """How many, and their mean age, for each kind of chest pain."""
    frame = story.pain["age"]
    rows = []
    for pain in PAINS:
        values = frame.xs(pain)
        cells = [_cell(values.xs(sex)[key], words, d) for key, d in (("count", 0), ("mean", 1)) for sex in _SEXES]
        rows.append((words(pain), *cells))
    means = tuple(words("mean_age", group=words(label)) for label in _SEXES.values())
    head = (words("chest_pain"), *(words(label) for label in _SEXES.values()), *means)
    return ReportTable(words("table_pain"), head, tuple(rows))


def coefficients(story: Answered, words: Words) -> ReportTable:
    """Odds ratios with intervals and p-values, the intercept apart."""
    fit = story.fit
    interval = fit.conf_int()
    rows = []
    for name, key in COEFFICIENTS.items():
        if not key:
            continue
        low, high = (words.number(math.exp(interval[side][name]), 2) for side in (0, 1))
        p = float(fit.pvalues[name])
        p_words = words("below", value=words.number(_SMALLEST, 4)) if p < _SMALLEST else words.number(p, 4)
        rows.append(
            (words(key), words.number(math.exp(fit.params[name]), 2), words("interval_is", low=low, high=high), p_words)
        )
    head = tuple(words(key) for key in ("factor", "odds_ratio", "interval", "p_value"))
    return ReportTable(words("risk"), head, tuple(rows))


def changes(story: Story, words: Words) -> ReportTable:
    """The change with which the study for a forbidden purpose passes."""
    head = tuple(words(key) for key in ("field", "was_asked", "proposed"))
    return ReportTable(words("change_table"), head, tuple(change(story, words)), texts=True)


def by_smoking(story: Story, words: Words) -> ReportTable:
    """Age of smokers and of others, where the mended study was answered."""
    frame = story.mended.table
    rows = []
    for level, key in ((True, "smokers"), (False, "non_smokers")) if len(frame) else ():
        values = frame.xs(level)["age"]
        rows.append(
            (words(key), _cell(values["count"], words, 0), *(_cell(values[k], words, 1) for k in ("mean", "std")))
        )
    head = (words("group"), *(words(key) for key in ("patients", "mean_age_all", "std")))
    return ReportTable(words("smoking_table"), head, tuple(rows))


def subtraction(story: Story, words: Words) -> ReportTable:
    """What the attacker would have computed: two totals, and their difference."""
    attack = story.attack
    rows_found = (
        ("released_total", attack.released),
        ("attempted_total", attack.without),
        ("total_difference", attack.difference),
    )
    rows = [(words(key), words.count(count), words.number(total, 0)) for key, (count, total) in rows_found]
    head = (words("subtraction"), words("patients"), words("cholesterol_sum"))
    caption = words("subtraction_table", group=words(_SEXES[attack.victim.sex]))
    return ReportTable(caption, head, tuple(rows), total=True)


def verification(story: Story, words: Words) -> ReportTable:
    """Each step of the verification, of the released file and of the one with a byte changed."""
    proof = story.proof
    step_pairs = zip(_steps(proof.verified, words), _steps(proof.verified_changed, words), strict=True)
    rows = [
        (f"{n}. {words(f'step_{step}')}", *step_words)
        for (n, step), step_words in zip(enumerate(STEPS, 1), step_pairs, strict=True)
    ]
    head = tuple(words(key) for key in ("step", "as_released", "as_changed"))
    return ReportTable(words("steps_table"), head, tuple(rows), texts=True)


def _steps(verified: Verified, words: Words) -> list[str]:
    return [words("yes" if d.ok else "not_reached" if d.text == NOT_CHECKED else "no") for d in verified.decisions]


def traffic(story: Story, words: Words) -> ReportTable:
    """What each hospital sent, and in all."""
    sent: dict[str, tuple[int, ...]] = {t.partner: (t.rows, t.messages, t.sums, t.bytes) for t in story.traffic}
    sent[words("total")] = tuple(map(sum, zip(*sent.values(), strict=True)))
    rows = [(name, *map(words.count, counts)) for name, counts in sent.items()]
    head = tuple(words(key) for key in ("hospital", "rows_kept", "messages", "sums", "bytes"))
    return ReportTable(words("sent_table"), head, tuple(rows), total=True)


def checks(story: Story, words: Words) -> ReportTable:
    """How many comparisons of each kind held, and the largest difference."""
    story_checks = story.checks
    rows = []
    for group in story_checks.groups:
        largest = story_checks.largest(group)
        agree = words(
            "of", passed=words.count(story_checks.passed(group)), total=words.count(story_checks.total(group))
        )
        name = words(group, persons=story.persons, name=REFUSING)
        rows.append((name, agree, "–" if largest is None else words.small(largest)))
    return ReportTable(
        words("checks_table"), tuple(words(key) for key in ("compared", "agree", "difference")), tuple(rows)
    )


def _cell(value: object, words: Words, digits: int) -> Cell:
    return None if pd.isna(value) else words.number(float(value), digits)  # type: ignore[call-overload, arg-type]
