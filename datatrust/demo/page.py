"""The demo's report: one page that stands alone."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from datatrust.demo import pictures, sentences, tables
from datatrust.demo.hospitals import SEED
from datatrust.demo.report import render
from datatrust.demo.story import Story
from datatrust.demo.words import Words
from datatrust.person.program import program
from trust.documents.verification import STEPS

__all__ = ["write_page"]


def write_page(story: Story, words: Words, path: Path) -> Path:
    """Write the report; its path.  Raises: OSError."""
    titles = _titles(story, words)
    page = render(
        "demo.html.j2",
        words,
        title=words("title"),
        version=version("datatrust-federation"),
        seed=str(SEED),
        titles=titles,
        facts=_facts(story, words),
        pictures={
            "seed": pictures.seed_picture(story, words),
            "ages": pictures.ages(story, words),
            "risk": pictures.risk(story, words),
        },
        tables={
            "outcomes": tables.outcomes(story, words),
            "seed": tables.seed_table(story, words),
            "sex": tables.by_sex(story, words),
            "pain": tables.by_pain(story, words),
            "risk": tables.coefficients(story, words),
            "changes": tables.changes(story, words),
            "smoking": tables.by_smoking(story, words),
            "subtraction": tables.subtraction(story, words),
            "steps": tables.verification(story, words),
            "traffic": tables.traffic(story, words),
            "checks": tables.checks(story, words),
        },
        **_study(story, words),
        **_refusals(story, words),
        **_proof(story, words),
    )
    path.write_text(page, "utf-8")
    return path


def _titles(story: Story, words: Words) -> dict[str, str]:
    """Section -> its title."""
    mended = "mended_title" if story.mended.result else "mended_open_title"
    attack = "attack_title" if story.attack.refusal.refused.rule else "attack_open_title"
    return {
        "outcomes": sentences.overview(story, words),
        "example": words("seed_title"),
        "study": words("study_title"),
        "refused": words("refused_title"),
        "mended": words(mended),
        "attack": words(attack),
        "proof": words("proof_title"),
        "sent": words("sent"),
        "checks": words("checks"),
    }


def _facts(story: Story, words: Words) -> list[tuple[str, str]]:
    """Four numbers for the top of the page."""
    passed, total = words.count(story.checks.passed()), words.count(story.checks.total())
    return [
        (words("fact_hospitals"), words.count(len(story.trust.partners))),
        (words("fact_rows"), words.count(sum(story.written.rows.values()))),
        (words("fact_bytes"), words.count(sum(t.bytes for t in story.traffic))),
        (words("fact_checked"), words("of", passed=passed, total=total)),
    ]


def _study(story: Story, words: Words) -> dict[str, object]:
    rows = words.count(sum(story.written.rows.values()))
    return {
        "seed_charter": sentences.seed_charter(story, words),
        "asked": sentences.asked(story, words),
        "hidden": sentences.hidden_means(story, words),
        "source": words("source_line", partners=len(story.trust.partners), sums=story.result.provenance["sums"]),
        "risk_note": words("risk_note", records=words.count(story.fit.nobs)),
        "checks": words("checks_1", rows=rows),
        "masked": words("sent_2", bytes=words.count(story.masked.bytes)),
        "largest": words("largest", value=words.small(story.largest_difference)),
    }


def _refusals(story: Story, words: Words) -> dict[str, object]:
    attack = story.attack
    return {
        "refused": sentences.refused(story, words),
        "rule": sentences.rule_words(story, words),
        "mended": sentences.mended(story, words),
        "reasons": sentences.reasons(story, words),
        "tried": words("change_1", tried=story.mended.explanation.tried),
        "answered": story.mended.result is not None,
        "attacked": sentences.attacked(story, words),
        "attack_refused": bool(attack.refusal.refused.rule),
        "attack_rule": sentences.attack_rule(story, words),
        "told": words("told_2", value=words.number(attack.victim.cholesterol, 0)),
    }


def _proof(story: Story, words: Words) -> dict[str, object]:
    proof = story.proof
    return {
        "proof": [
            words("proof_1", steps=len(STEPS)),
            words("proof_2", entries=words.count(proof.entries)),
            sentences.proved(story, words),
        ],
        "commands": [
            f"{program(absolute=True)} verify {file.name} --root {proof.root.name}"
            for file in (proof.result, proof.changed)
        ],
        "checkpoint": words("proof_checkpoint"),
    }
