"""The demo's report: one page that stands alone."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from datatrust.demo import pictures, tables
from datatrust.demo.hospitals import SEED
from datatrust.demo.sentences import asked, hidden_means, refused, rule_words, seed_charter
from datatrust.demo.story import Story
from datatrust.report import render
from datatrust.words import Words

__all__ = ["write_page"]

_SECTIONS = (
    ("example", "seed_title"),
    ("study", "study_title"),
    ("refused", "refused"),
    ("sent", "sent"),
    ("checks", "checks"),
)


def write_page(story: Story, words: Words, path: Path) -> Path:
    """Write the report; its path.  Raises: OSError."""
    rows = words.count(sum(story.written.rows.values()))
    fit = story.fit
    page = render(
        "demo.html.j2",
        words,
        title=words("title"),
        version=version("datatrust-federation"),
        seed=SEED,
        sections=_SECTIONS,
        facts=_facts(story, words),
        pictures={
            "seed": pictures.seed(story, words),
            "ages": pictures.ages(story, words),
            "risk": pictures.risk(story, words),
        },
        tables={
            "seed": tables.seed(story, words),
            "sex": tables.by_sex(story, words),
            "pain": tables.by_pain(story, words),
            "risk": tables.coefficients(story, words),
            "traffic": tables.traffic(story, words),
            "checks": tables.checks(story, words),
        },
        seed_charter=seed_charter(story, words),
        asked=asked(story, words),
        hidden=hidden_means(story, words),
        source=words("source_line", partners=len(story.trust.partners), sums=story.result.provenance["sums"]),
        risk_note=words("risk_note", records=words.count(fit.nobs)),
        refused=refused(story, words),
        rule=rule_words(story, words),
        checks=words("checks_1", rows=rows),
        masked=words("sent_2", bytes=words.count(story.masked.bytes)),
        largest=words("largest", value=words.small(story.largest_difference)),
    )
    path.write_text(page, "utf-8")
    return path


def _facts(story: Story, words: Words) -> list[tuple[str, str]]:
    """Four numbers for the top of the page."""
    passed, total = words.count(story.checks.passed()), words.count(story.checks.total())
    return [
        (words("fact_hospitals"), words.count(len(story.trust.partners))),
        (words("fact_rows"), words.count(sum(story.written.rows.values()))),
        (words("fact_bytes"), words.count(sum(t.bytes for t in story.traffic))),
        (words("fact_checked"), words("of", passed=passed, total=total)),
    ]
