"""What a program writes as TOML says what was meant, whatever the text holds."""

from __future__ import annotations

import tomllib

from hypothesis import example, given
from hypothesis import strategies as st

from coordinator.operate.home import settings_toml
from coordinator.settings import File
from nodes.operate.enrolment import node_toml
from nodes.settings import NodeToml
from trust.files import parse_toml, toml_value

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(ANY_TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False))
@example("pass\N{KEY}word")
@example('quote " and \\ and \x7f and \n line')
def test_a_value_comes_back(value: str | bool | int | float) -> None:
    raw = f"x = {toml_value(value)}\ny = 1\n"
    assert tomllib.loads(raw) == {"x": value, "y": 1}


@given(st.lists(ANY_TEXT, min_size=5, max_size=5), st.booleans())
@example(["\N{KEY}"] * 5, True)
def test_a_node_s_settings_come_back(texts: list[str], metrics: bool) -> None:
    fields = dict(zip(("name", "coordinator", "superlink", "proxy", "health"), texts, strict=True))
    toml = NodeToml.model_construct(**fields, metrics=metrics)
    assert parse_toml(node_toml(toml), "node.toml") == {**fields, "metrics": metrics}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
@example("postgresql://trust:\N{KEY}@host/name")
def test_a_coordinator_s_settings_come_back(database: str) -> None:
    file = File.model_construct(**{**File().model_dump(), "database": database})
    assert parse_toml(settings_toml(file), "coordinator.toml") == file.model_dump()
