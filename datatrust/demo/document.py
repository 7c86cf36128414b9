"""The demo as one JSON object, for programs: what `datatrust demo --json` prints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from datatrust.demo.hospitals import COHORT, SEED
from datatrust.demo.question import SEXES, TITLE
from datatrust.demo.story import COEFFICIENTS, Story

__all__ = ["document"]


def document(story: Story, report: Path) -> dict[str, Any]:
    """The story as JSON; a hidden figure is null."""
    no = story.women.refused
    return {
        "seed": {case.name: {"local": case.local, "federated": case.federated} for case in story.cases},
        "study": _study(story),
        "refused": {"rule": no.rule, "text": no.text, "remedy": no.remedy, "refusing": len(story.women.by)},
        "mended": _mended(story),
        "attack": _attack(story),
        "proof": _proof(story),
        "checked": [story.checks.passed(), story.checks.total()],
        "report": str(report),
    }


def _study(story: Story) -> dict[str, Any]:
    fit = story.fit
    interval = fit.conf_int()
    names = [name for name, key in COEFFICIENTS.items() if key]
    return {
        "title": TITLE,
        "cohort": COHORT,
        "purpose": story.result.study.purpose,
        "charter": story.trust.charter.name,
        "seed": SEED,
        "rows": story.written.rows,
        "table": {sex: _table(story.table, "sex", sex) for sex in SEXES},
        "histogram": {"edges": [int(edge) for edge in story.ages.edges], "counts": story.bins},
        "odds_ratios": {
            name: _exp(odds_ratio=fit.params[name], low=interval[0][name], high=interval[1][name]) for name in names
        },
        "sent": {t.partner: {"messages": t.messages, "sums": t.sums, "bytes": t.bytes} for t in story.traffic},
        "masked": {"bytes": story.masked.bytes, "pvalue": story.masked.pvalue},
        "largest_difference": story.largest_difference,
    }


def _mended(story: Story) -> dict[str, Any]:
    mended = story.mended
    frame = mended.table
    levels = {"smokers": True, "others": False} if len(frame) else {}
    return {
        "purpose": mended.study.purpose,
        "persons": mended.study.protections.persons,
        "reasons": [vars(reason) for reason in mended.explanation.reasons],
        "changes": [{name: _plain(value) for name, value in c.items()} for c in mended.explanation.changes],
        "register": list(mended.kept),
        "answered": mended.result is not None,
        "table": {name: _table(frame, "smoker", level) for name, level in levels.items()},
    }


def _attack(story: Story) -> dict[str, Any]:
    attack = story.attack
    no = attack.refusal.refused
    totals = {"released": attack.released, "without": attack.without, "difference": attack.difference}
    return {
        "cohort": attack.victim.cohort,
        "rule": no.rule,
        "text": no.text,
        "remedy": no.remedy,
        "refusing": len(attack.refusal.by),
        "sums": attack.refusal.sums,
        "would_have_told": {name: {"patients": count, "cholesterol": total} for name, (count, total) in totals.items()},
        "patient": {"hospital": attack.victim.hospital, "cholesterol": attack.victim.cholesterol},
    }


def _proof(story: Story) -> dict[str, Any]:
    proof = story.proof
    _, was, became = proof.count
    number, step = proof.found_at
    return {
        "result": str(proof.result),
        "root": str(proof.root),
        "verified": proof.verified.ok,
        "steps": [decision.rule for decision in proof.verified.decisions],
        "register": {"entries": proof.entries, "verified": proof.register_ok, "checkpoint": proof.checkpoint},
        "changed": {
            "file": str(proof.changed),
            "bytes": proof.bytes_changed,
            "was": was,
            "became": became,
            "verified": proof.verified_changed.ok,
            "step": step,
            "number": number,
        },
    }


def _exp(**values: float) -> dict[str, float]:
    return {name: math.exp(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else str(value)


def _table(table: pd.DataFrame, column_by: str, level: Any) -> dict[str, dict[str, float | None]]:
    """Column -> statistic -> value, of one group."""
    frame = table[table.index.isin([level], level=column_by)].droplevel(column_by)
    return {
        str(name): {str(key): None if pd.isna(value) else float(value) for key, value in column.items()}
        for name, column in frame.items()
    }
