"""Condition: data do not move between actors.  Only masked vectors, rules' words and results leave a node.

Values are planted at four partners, in rows, ids, names, levels and addresses, and looked for in all that left them.
What a partner's own node keeps of its own rows (`editions/`) stays at that partner and is not searched.
"""

from __future__ import annotations

import json
import sqlite3
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

import datatrust as dt
from nodes.rows.source import Source
from tests.support.example import small_trust
from tests.support.outside_view import Wire, command, watched
from tests.support.planted_values import (
    CANARIES,
    COHORT,
    COLUMN,
    DATASET,
    FOLDER,
    MAPPED,
    PASSWORD,
    REAL,
    found_in,
    table,
)
from tests.support.trust_parts import TrustParts
from trust.errors import DataTrustError
from trust.protocol.messages import pack_signed
from trust.signing.envelope import Signer

AT_A_PARTNER = [what for what in CANARIES if what != "a value of the environment"]
QUESTIONS = {
    "table": dt.Describe(["age", "income"], by=["sex"]),
    "middle": dt.Quantiles(["income"], [0.5]),
    "cross": dt.Crosstab("region", "smoker"),
    "model": dt.Glm("smoker ~ age + sex", family="binomial"),
}


@dataclass(frozen=True)
class Planted:
    """A trust over four planted sources that has answered one study, and all that was said meanwhile."""

    sources: dict[str, Source]
    folder: Path
    state: Path
    wire: Wire
    result: Any


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder, state = tmp_path_factory.mktemp(FOLDER), tmp_path_factory.mktemp("kept") / "trust"
    table("a").to_csv(folder / "people.csv", index=False)
    with sqlite3.connect(folder / "people.db") as database:
        table("c").to_sql("people", database, index=False)
    database.close()
    with duckdb.connect() as engine:
        engine.register("people", table("d").astype({"born": object}))
        engine.execute(f"COPY people TO '{folder / 'people.parquet'}' (FORMAT parquet)")
    places: dict[str, Any] = {
        "a": folder / "people.csv",
        "b": table("b"),
        "c": f"sqlite:///{folder / 'people.db'}#people",
        "d": folder / "people.parquet",
    }
    sources = {name: Source(place, **MAPPED) for name, place in places.items()}
    trust = small_trust(sources, DATASET, state=state)
    with watched() as wire:
        result = trust.study("planted", purpose="AcademicResearch", cohort=COHORT, analyses=QUESTIONS).run()
    return Planted(sources, folder, state, wire, result)


def texts_of(error: BaseException) -> list[str]:
    return [str(error), repr(error), *traceback.format_exception(error), json.dumps(vars(error), default=str)]


def test_nothing_planted_is_in_any_byte_between_the_coordinator_and_the_nodes(planted: Planted) -> None:
    assert planted.result.provenance["partners"] == ["a", "b", "c", "d"]
    assert {len(planted.wire.sent(name)) for name in "abcd"} == {len(planted.wire.down) // 4}
    assert len(planted.wire.uploads()) >= 4 * 4
    assert found_in(*planted.wire.everything()) == []


def test_nothing_planted_is_in_a_journal_the_register_or_another_file_that_is_kept(planted: Planted) -> None:
    kept = [path for path in planted.state.rglob("*") if path.is_file() and "editions" not in path.parts]
    names = {path.relative_to(planted.state).as_posix() for path in kept}
    assert {"coordinator/state.sqlite", "nodes/a/state.sqlite"} <= names
    assert any(name.startswith("results/") for name in names)
    assert found_in(*(path.read_bytes() for path in kept)) == []


def test_nothing_planted_is_in_the_result_as_people_see_it(planted: Planted) -> None:
    shown = [json.dumps(planted.result.to_dict()), planted.result._repr_html_(), repr(planted.result)]
    shown += [
        form for one in planted.result.values() for form in (str(one), one._repr_html_(), one.to_frame().to_csv())
    ]
    code, said = command("register", "show", "--state", planted.state, "--json")
    assert code == 0
    assert found_in(*shown, said, planted.result.decisions) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [("income", -REAL), ("sex", "weiblichQ6t, quite another"), ("pid", None), ("age", "PIDzq7Lmm4")],
    ids=["a number out of bounds", "an unknown level", "no person", "a text for a number"],
)
def test_a_row_that_a_node_refuses_is_not_quoted(planted: Planted, column: str, value: Any) -> None:
    frame = table("b")
    name = COLUMN if column == "age" else column
    frame[name] = frame[name].astype(object)
    frame.loc[[1, 2, 3], name] = value
    trust = small_trust({**planted.sources, "b": Source(frame, **MAPPED)}, DATASET)
    with watched() as wire, pytest.raises(DataTrustError) as error:
        trust.study("bad rows", purpose="AcademicResearch", analyses={"t": QUESTIONS["table"]}).run()
    assert wire.sent("b") == ["refusal"]
    register = [entry.canonical() for entry in trust.docket.register.entries()]
    assert found_in(*wire.everything(), *register, *texts_of(error.value)) == []


def test_what_a_node_tells_its_own_operator_it_tells_nobody_else(planted: Planted) -> None:
    """The column of a partner has gone: its operator is told the column's own name, the coordinator a code."""
    trust = small_trust(planted.sources, DATASET)
    of = TrustParts(trust)
    of.nodes["b"] = replace(of.nodes["b"], source=Source(table("b").drop(columns=COLUMN), **MAPPED))
    study = trust.study("a lost column", purpose="AcademicResearch", analyses={"t": QUESTIONS["table"]}).study
    conducted = of.run(study)
    assert {name: refused.rule for name, refused in conducted.absent.items()} == {"b": "source-invalid"}
    assert found_in(*(raw for _, raw in of.channel.down + of.channel.up)) == []
    assert found_in(of.sessions["b"].trouble) == ["the source's name of a column"]


def test_a_password_in_an_address_is_not_quoted_when_the_database_does_not_answer(planted: Planted) -> None:
    address = f"postgresql://someone:{PASSWORD}@127.0.0.1:9/{FOLDER}#people"
    trust = small_trust(planted.sources, DATASET)
    of = TrustParts(trust)
    of.nodes["b"] = replace(of.nodes["b"], source=Source(address, **MAPPED))
    study = trust.study("no database", purpose="AcademicResearch", analyses={"t": QUESTIONS["table"]}).study
    conducted = of.run(study)
    assert set(conducted.absent) == {"b"}
    said = [raw for _, raw in of.channel.down + of.channel.up]
    assert found_in(*said, *texts_of(conducted.absent["b"]), *texts_of(of.sessions["b"].trouble)) == []


def test_no_partner_can_be_asked_for_rows(planted: Planted) -> None:
    """There is no operation that returns rows: a message of another kind is none, and is answered with a code."""
    trust = small_trust(planted.sources, DATASET)
    of = TrustParts(trust)
    study = trust.study("rows", purpose="AcademicResearch", analyses={"t": QUESTIONS["table"]}).study

    def asks_for_rows(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        return ({**header, "asks": {"t": "rows"}}, body) if header["kind"] == "ask" else (header, body)

    with pytest.raises(DataTrustError):
        of.run(study, change=asks_for_rows)
    assert all("upload" not in [sent.kind for sent in session.egress.sent] for session in of.sessions.values())


# ---- the positive control


def test_the_same_search_finds_all_of_it_where_the_partners_keep_it(planted: Planted) -> None:
    there = [path.read_bytes() for path in planted.folder.iterdir()]
    address = f"postgresql://someone:{PASSWORD}@127.0.0.1/{FOLDER}#people"
    assert found_in(*there, table("b").to_csv(), address) == AT_A_PARTNER


@pytest.mark.parametrize("what", AT_A_PARTNER)
def test_the_same_search_finds_one_of_them_in_a_message(planted: Planted, what: str) -> None:
    raw = pack_signed({"kind": "refusal", "name": "b", "text": f"got {CANARIES[what]}"}, Signer())
    assert found_in(*planted.wire.everything(), raw) == [what]
