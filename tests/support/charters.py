"""Charters and studies for the tests of policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import datatrust as dt
from tests.support.example import contract, levels, number
from trust.analyses.base import Scope
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset
from trust.decision import Decisions
from trust.documents.study import Study, plan
from trust.policy.decide import Asker, decide
from trust.times import write_time

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ASKER = Asker("ada", "lab", "FR", "university", NOW + timedelta(days=100))
PARTNERS = ("east", "north", "south", "west")
DATASET = Dataset.parse(
    contract(
        number("age", 0, 120, "integer"),
        number("chol", 0, 700),
        levels("sex", "F", "M"),
        levels("town", "a", "b"),
        "name: ill, logicalType: boolean, transformLogic: num > 0, transformSourceObjects: [num]",
        number("postcode", 0, 99999, "integer"),
        name="people",
    )
)
WORDS = '@article("9") @text("A text.") @text_fr("Un texte.")'
MENDED = WORDS + ' @remedy("A remedy.") @remedy_fr("Un remède.")'
PERMIT = f'@id("mine/permit") {WORDS} permit (principal, action, resource);\n'
TOML = """
name = "mine"
version = 1
languages = ["en", "fr"]
title = {en = "Mine", fr = "La mienne"}
contact = "mailto:dpo@example.org"
rights = {en = "You may object.", fr = "Vous pouvez vous opposer."}
partner_may_be_shown = false
[committee]
quorum = 2
[floor]
persons = 11
organisations = 3
dominance_percent = 85
glm_parameters_per_person = "0.33"
residual_df = 10
zero_is_small = true
participation = ["all", "joined"]
longest_days = 90
sums_at_most = 500
bytes_at_most = 100000000
"""
PURPOSES = """
Purpose = []
Research = ["Purpose"]
Academic = ["Research"]
Clinical = ["Research"]
Marketing = ["Purpose"]
"""


def write(folder: Path, cedar: str | None = PERMIT, toml: str = TOML, purposes: str = PURPOSES) -> Path:
    """A charter's folder; without policies where `cedar` is None."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "charter.toml").write_text(toml)
    (folder / "purposes.toml").write_text(purposes)
    if cedar is not None:
        (folder / "policies.cedar").write_text(cedar)
    return folder


def forbid(condition: str, name: str = "rule", whose: str = "mine") -> str:
    """A policy that forbids when the condition holds."""
    return f'@id("{whose}/{name}") {MENDED}\nforbid (principal, action, resource) when {{ {condition} }};\n'


def permit(condition: str, name: str = "permit") -> str:
    return f'@id("mine/{name}") {WORDS}\npermit (principal, action, resource) when {{ {condition} }};\n'


def analyses(**questions: Any) -> dict[str, Any]:
    return {name: question.resolve(DATASET) for name, question in questions.items()}


def study(protections: Mapping[str, Any] | None = None, **fields: Any) -> Study:
    """A study that the charter above allows, but for what is given."""
    begins = fields.pop("begins", NOW)
    days = fields.pop("days", 90)
    charter_defaults = {"persons": 11, **(protections or {})}
    made = {
        "id": "a-study-7k3f",
        "title": "A study",
        "summary": {"en": "A study"},
        "purpose": "Academic",
        "researcher": "ada",
        "dataset": DATASET.id,
        "dataset_digest": DATASET.digest(),
        "analyses": analyses(table=dt.Describe(["age"])),
        "protections": charter_defaults,
        "not_before": write_time(begins),
        "expires": write_time(begins + timedelta(days=days)),
    }
    return Study.model_validate({**made, **fields})


def scope_of(asked: Study, partners: tuple[str, ...] = PARTNERS) -> Scope:
    return Scope(DATASET, partners, asked.protections)


def decided(asked: Study, charter: Charter, partners: tuple[str, ...] = PARTNERS, **more: Any) -> Decisions:
    """What `decide` says, by ASKER at NOW if not said otherwise."""
    scope = scope_of(asked, partners)
    return decide(asked, charter, scope, plan(asked, scope), **{"now": NOW, "asker": ASKER, **more})


def refusals(asked: Study, charter: Charter, **more: Any) -> list[str]:
    return [d.rule for d in decided(asked, charter, **more).refusals]


def with_floor(charter: Charter, **floor: Any) -> Charter:
    return charter.model_copy(update={"floor": charter.floor.model_copy(update=floor)})


def asker(**fields: Any) -> Asker:
    return replace(ASKER, **fields)


def charter(folder: Path, cedar: str | None = PERMIT, **more: Any) -> Charter:
    return Charter.load(write(folder, cedar, **more))


FLOORS: dict[str, tuple[Any, Any, Any]] = {
    "persons": (10, 11, 12),
    "organisations": (3, 4, 4),
    "dominance_percent": (86, 85, 84),
    "glm_parameters_per_person": (0.34, 0.33, 0.00001),
    "residual_df": (9, 10, 11),
    "zero_is_small": (False, True, True),
    "participation": ("joined", "all", "all"),
}
"""field -> laxer than the floor, the floor itself, stricter."""


def strict(folder: Path) -> Charter:
    """A charter whose every floor can be undercut."""
    return with_floor(charter(folder), organisations=4, participation=("all",))
