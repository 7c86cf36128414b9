"""What the demo says about its figures; the screen and the report say the same."""

from __future__ import annotations

from datatrust.demo.hospitals import COHORT, EDGES
from datatrust.demo.question import SMALL, WOMEN
from datatrust.demo.seed import ALLOWED, REFUSING
from datatrust.demo.story import Story
from datatrust.demo.words import Words
from trust.policy.explain import Reason, Without

__all__ = [
    "ages_title",
    "asked",
    "attack_rule",
    "attacked",
    "change",
    "change_said",
    "hidden_means",
    "mended",
    "outcome",
    "overview",
    "proved",
    "reasons",
    "refused",
    "rule_words",
    "seed_charter",
]

_FIELDS = {"purpose": "field_purpose", "persons": "field_persons"}
"""Words for the fields of a study that a change may name; others stand as they are."""

Pairs = list[tuple[str, str]]


def overview(story: Story, words: Words) -> str:
    """How many studies were asked of the four hospitals, answered and refused."""
    no = sum(1 for rules in story.outcomes if rules)
    return words("overview_title", all=len(story.outcomes), answered=len(story.outcomes) - no, refused=no)


def outcome(story: Story, words: Words, index: int) -> str:
    """What was asked in the study `at`, in short."""
    return words(f"outcome_{index + 1}", persons=SMALL)


def seed_charter(story: Story, words: Words) -> str:
    """Under which charter the worked example runs, and which one refuses it."""
    sizes = [size for case in story.cases for size in case.sizes]
    rules = ", ".join(sorted({case.refused_by for case in story.cases}))
    return words("seed_charter", allowed=ALLOWED, refusing=REFUSING, least=min(sizes), most=max(sizes), rule=rules)


def asked(story: Story, words: Words) -> Pairs:
    """What was asked, in words."""
    study, charter = story.result.study, story.trust.charter
    yes = sum(decision.ok for decision in story.decisions)
    return [
        (words("asked_question"), words("asked_question_is")),
        (words("asked_purpose"), words("asked_purpose_is", code=study.purpose)),
        (words("asked_cohort"), words("asked_cohort_is", code=COHORT)),
        (words("asked_partners"), words("asked_partners_is", names=", ".join(story.trust.partners))),
        (words("asked_analyses"), words("asked_analyses_is")),
        (words("asked_rules"), words("asked_rules_is", persons=story.persons, fewest=story.fewest)),
        (
            words("asked_charter"),
            words("asked_charter_is", name=charter.name, version=charter.version, yes=yes, all=len(story.decisions)),
        ),
    ]


# ---- women alone


def refused(story: Story, words: Words) -> list[str]:
    """Why the study of women alone was refused, in sentences."""
    partner_count = len(story.trust.partners)
    refusing = len(story.women.by)
    return [
        words("refused_1", code=WOMEN, refusing=refusing, named=partner_count, persons=story.persons),
        words("refused_2", remaining=partner_count - refusing),
        words("refused_3"),
    ]


def rule_words(story: Story, words: Words) -> Pairs:
    """The rule that refused, what it says, and how to fix it."""
    no = story.women.refused
    partner_count = len(story.trust.partners)
    text = words(
        "rule_text_is",
        text=no.text,
        fewest=story.fewest,
        named=partner_count,
        remaining=partner_count - len(story.women.by),
    )
    return [
        (words("rule"), no.rule),
        (words("rule_text"), text),
        *([] if words.lang == "en" else [(words("rule_original"), no.text)]),
        (words("remedy"), words("remedy_is", remedy=no.remedy)),
    ]


# ---- a forbidden purpose


def mended(story: Story, words: Words) -> list[str]:
    """What was asked for a purpose that the charter forbids, and what the refusal cost."""
    return [words("mended_1", persons=SMALL), words("mended_2"), words("mended_3")]


def reasons(story: Story, words: Words) -> list[Pairs]:
    """Each rule that refused it: its place in the charter, what it says, how to fix it."""
    return [
        [
            (words("rule"), reason.rule),
            (words("rule_text"), reason.text),
            *_place(story, words, reason),
            *([(words("remedy"), reason.remedy)] if reason.remedy else []),
        ]
        for reason in story.mended.explanation.reasons
    ]


def _place(story: Story, words: Words, reason: Reason) -> Pairs:
    """Its article; a floor has none; for `no-permit` the articles that permit, none of which does."""
    place_words = words("in_charter")
    if reason.article:
        return [(place_words, words("article", article=reason.article))]
    if reason.rule.startswith("floor/"):
        return [(place_words, words("in_floors"))]
    permits = [policy for policy in story.trust.charter.rules if policy.effect == "permit"]
    articles = [(words("article_title", article=policy.article), policy.words[words.lang]) for policy in permits]
    return [(place_words, words("in_no_article")), *articles]


def change(story: Story, words: Words) -> list[tuple[str, str, str]]:
    """Each field of the proposed change: its name in words, what was asked, what would pass."""
    return [
        (
            words(_FIELDS[name]) if name in _FIELDS else name,
            str(story.mended.asked(name)),
            value.said(words.lang) if isinstance(value, Without) else str(value),
        )
        for name, value in story.mended.change.items()
    ]


def change_said(story: Story) -> str:
    """The proposed change in the study's own words."""
    return "; ".join(f"{name} = {value}" for name, value in story.mended.change.items())


# ---- one patient left out


def attacked(story: Story, words: Words) -> list[str]:
    """What the attacker knows and asks."""
    victim = story.attack.victim
    return [
        words("attack_1", age=victim.age, systolic=victim.systolic),
        words("attack_2", code=victim.cohort),
    ]


def attack_rule(story: Story, words: Words) -> Pairs:
    """The rule that refused it, and what its public words are."""
    no = story.attack.refusal.refused
    return [
        (words("rule"), no.rule),
        (words("rule_text"), words("differencing_is", text=no.text, persons=story.persons)),
        *([] if words.lang == "en" else [(words("rule_original"), no.text)]),
        (words("remedy"), words("differencing_remedy_is", remedy=no.remedy, persons=story.persons)),
    ]


# ---- the proof


def proved(story: Story, words: Words) -> str:
    """Which byte was changed, and which step found it."""
    place, was, became = story.proof.count
    number, step = story.proof.found_at
    values = {"low": EDGES[place], "high": EDGES[place + 1], "was": words.count(was), "became": words.count(became)}
    if not number:
        return words("proof_not_found", **values)
    return words("proof_found", **values, number=number, step=words(f"step_{step}"))


# ---- figures


def ages_title(story: Story, words: Words) -> str:
    """A sentence that the histogram bears out: the shortest stretch of bins with more than half of the patients.

    Of several as short, the fullest.
    """
    counts = [count or 0 for count in story.bins]
    half = sum(counts) / 2
    size, _, first = min(
        (end - start, -sum(counts[start:end]), start)
        for start in range(len(counts))
        for end in range(start + 1, len(counts) + 1)
        if sum(counts[start:end]) > half
    )
    return words("ages", low=EDGES[first], high=EDGES[first + size])


def hidden_means(story: Story, words: Words) -> str:
    """What a hidden cell is."""
    return words("hidden_means", persons=story.persons, fewest=story.fewest)
