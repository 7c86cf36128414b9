"""What the demo says about its figures; the screen and the report say the same."""

from __future__ import annotations

from datatrust.demo.hospitals import COHORT, EDGES
from datatrust.demo.seed import ALLOWED, REFUSING
from datatrust.demo.story import WOMEN, Story
from datatrust.words import Words

__all__ = ["ages_title", "asked", "hidden_means", "refused", "rule_words", "seed_charter"]


def seed_charter(story: Story, words: Words) -> str:
    """Under which charter the worked example runs, and which one refuses it."""
    sizes = [size for case in story.cases for size in case.sizes]
    rules = ", ".join(sorted({case.refused_by for case in story.cases}))
    return words("seed_charter", allowed=ALLOWED, refusing=REFUSING, least=min(sizes), most=max(sizes), rule=rules)


def asked(story: Story, words: Words) -> list[tuple[str, str]]:
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


def refused(story: Story, words: Words) -> list[str]:
    """Why the study of women alone was refused, in sentences."""
    named = len(story.trust.partners)
    refusing = story.refusal.refusing
    return [
        words("refused_1", code=WOMEN, refusing=refusing, named=named, persons=story.persons),
        words("refused_2", remaining=named - refusing),
        words("refused_3"),
    ]


def rule_words(story: Story, words: Words) -> list[tuple[str, str]]:
    """The rule that refused, what it says, and how to mend it."""
    no = story.refusal.refused
    named = len(story.trust.partners)
    text = words(
        "rule_text_is", text=no.text, fewest=story.fewest, named=named, remaining=named - story.refusal.refusing
    )
    return [
        (words("rule"), no.rule),
        (words("rule_text"), text),
        *([] if words.lang == "en" else [(words("rule_original"), no.text)]),
        (words("remedy"), words("remedy_is", remedy=no.remedy)),
    ]


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
