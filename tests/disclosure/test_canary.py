"""Values planted in the partners' sources are looked for in everything that leaves a node, and in every result.

Bytes of both directions, uploads, logs, standard output, texts of errors, results in each form, and the state file.
The dataset's own levels are public and are no canaries.
"""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import duckdb
import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from datatrust.research import questions as ask
from nodes.rows.source import Source
from nodes.study.egress import Egress
from tests.support.example import small_trust
from tests.support.planted_values import (
    CANARIES,
    COHORT,
    COLUMN,
    DATASET,
    ENVIRONMENT,
    FOLDER,
    MAPPED,
    NAME,
    NUMBERS,
    PASSWORD,
    PERSON,
    POSTCODE,
    REAL,
    TEXT,
    WHOLE,
    found_in,
    table,
)
from tests.support.trust_parts import TrustParts
from trust import analyses
from trust.analyses import AnyAnalysis
from trust.analyses.base import Analysis, Arrays, Ask, Run, Scope, Sum, count, real
from trust.dataset.rows import Rows
from trust.errors import DataTrustError
from trust.privacy.protections import Protections
from trust.protocol.messages import RefusalMessage
from trust.secure_sum import decode_sum, encode_sum


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(FOLDER)


@pytest.fixture(scope="module")
def sources(folder: Path) -> dict[str, Source]:
    """A CSV file, a DataFrame, an SQLite database and a Parquet file."""
    table("a").to_csv(folder / "people.csv", index=False)
    with sqlite3.connect(folder / "people.db") as database:
        table("c").to_sql("people", database, index=False)
    database.close()
    parquet = folder / "people.parquet"
    with duckdb.connect() as engine:
        engine.register("people", table("d").astype({"born": object}))
        engine.execute(f"COPY people TO '{parquet}' (FORMAT parquet)")
    places: dict[str, Any] = {
        "a": folder / "people.csv",
        "b": table("b"),
        "c": f"sqlite:///{folder / 'people.db'}#people",
        "d": parquet,
    }
    return {name: Source(place, **MAPPED) for name, place in places.items()}


@pytest.fixture(scope="module")
def trust(sources: dict[str, Source]) -> Any:
    return small_trust(sources, DATASET)


@pytest.fixture
def seen(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """What the process itself has said since: logs of every logger from DEBUG on, standard output and error."""
    for name in ("DATATRUST_PASSWORD", "PGPASSWORD", "PGAPPNAME", "SOME_SECRET"):
        monkeypatch.setenv(name, ENVIRONMENT)
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(caplog.handler)

    def said() -> list[str]:
        records = [f"{r.getMessage()} {r.args} {r.exc_text} {vars(r)}" for r in caplog.records]
        return [*records, caplog.text, *capfd.readouterr()]

    yield said
    for logger, level in before:
        logger.removeHandler(caplog.handler)
        logger.setLevel(level)


# ---- every analysis


QUESTIONS: dict[str, list[ask.AnalysisText]] = {
    "Describe": [dt.Describe(["age", "income"], by=["sex"]), dt.Describe(["income"], weights="1 + age")],
    "Histogram": [dt.Histogram("income", np.linspace(0, 100_000, 6)), dt.Histogram("units", [0, 500, 1e9])],
    "Quantiles": [dt.Quantiles(["income", "units"], [0, 0.5, 1])],
    "Crosstab": [dt.Crosstab("sex", "region"), dt.Crosstab("sex", "smoker", weights="income")],
    "Correlation": [dt.Correlation(["age", "income", "units"])],
    "TTest": [dt.TTest("income", "sex")],
    "Anova": [dt.Anova("units", ["sex", "region"], typ=2)],
    "Glm": [
        dt.Glm("smoker ~ age + sex", family="binomial"),
        dt.Glm("income ~ age + C(region)", robust="HC1"),
        dt.Glm("income ~ units + C(sex)*smoker"),
    ],
}


def world(sources: dict[str, Source], **instead: Source) -> TrustParts:
    """A trust of its own, in which some partners' sources have become others since it was founded."""
    of = TrustParts(small_trust(sources, DATASET))
    for name, source in instead.items():
        of.nodes[name] = replace(of.nodes[name], source=source)
    return of


def written(of: Any, question: Any) -> Any:
    questions = question if isinstance(question, dict) else {"a": question}
    return of.study("planted", purpose="AcademicResearch", cohort=COHORT, analyses=questions)


def test_every_analysis_is_looked_at() -> None:
    """A new analysis must be added to `QUESTIONS` before anything is merged."""
    data = dt.Dataset.parse(DATASET)
    asked = {type(q.resolve(data)) for questions in QUESTIONS.values() for q in questions}
    assert asked == set(get_args(get_args(AnyAnalysis)[0]))
    assert set(QUESTIONS) == set(ask.__all__) - {"AnalysisText"} == set(analyses.__all__) - {"AnyAnalysis"}


@pytest.mark.parametrize(
    "question", [pytest.param(q, id=f"{name} {i}") for name, qs in QUESTIONS.items() for i, q in enumerate(qs)]
)
def test_nothing_planted_leaves_a_node_or_stands_in_a_result(trust: Any, question: Any, seen: Any) -> None:
    result = written(trust, question).run()
    of = TrustParts(trust)
    conducted = of.run(written(trust, question).study)
    released = result["a"]
    assert list(conducted.partners) == released.provenance["partners"] == ["a", "b", "c", "d"]
    shown = [json.dumps(result.to_dict()), result._repr_html_(), str(result), repr(result), result.decisions]
    shown += [json.dumps(released.to_dict()), released._repr_html_(), str(released), repr(released)]
    shown += [released.to_frame().to_csv(), trust.exchanged, conducted.decisions, conducted.absent]
    sent = [raw for _, raw in of.channel.up + of.channel.down]
    uploads = [bytes(body) for uploaded in trust.uploads + conducted.uploads for body in uploaded.values()]
    kept = [path.read_bytes() for path in trust._home.rglob("*") if path.is_file()]
    assert len(uploads) >= 4
    assert len(sent) >= 2 * 4 * 4
    assert found_in(*shown, *sent, *uploads, *kept, *seen()) == []


# ---- refusals and errors


@dataclass(frozen=True)
class Trouble:
    """What is wrong with the table of partner b; the code that is told to others."""

    column: str
    value: Any
    code: str = "source-invalid"


TROUBLES = {
    "a number out of bounds": Trouble("income", -REAL),
    "a whole number out of bounds": Trouble("units", -WHOLE),
    "a number that is not whole": Trouble("units", REAL),
    "a text for a number": Trouble("income", TEXT),
    "an unknown level": Trouble("sex", TEXT),
    "a text for a boolean": Trouble("smoker", NAME),
    "a text for a date": Trouble("born", NAME),
    "the same person too often": Trouble("pid", f"{PERSON}b0"),
    "no person": Trouble("pid", None),
}


def with_trouble(trouble: Trouble) -> pd.DataFrame:
    frame = table("b")
    frame[trouble.column] = frame[trouble.column].astype(object)
    frame.loc[[1, 2, 3], trouble.column] = trouble.value
    return frame


def texts_of(error: BaseException) -> list[str]:
    """An error as a person may come to see it."""
    return [str(error), repr(error), *traceback.format_exception(error), json.dumps(vars(error), default=str)]


def told(of: TrustParts, seen: Any) -> list[Any]:
    """All that has left of a study, and what its nodes' own operators are told."""
    sent = [raw for _, raw in of.channel.up + of.channel.down]
    troubles = [session.trouble for session in of.sessions.values() if session.trouble is not None]
    return [*sent, *(text for trouble in troubles for text in texts_of(trouble)), *seen()]


EVERYWHERE = ("a number out of bounds", "an unknown level", "a text for a number")


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [pytest.param(trouble, "frame", id=f"{name}, in a frame") for name, trouble in TROUBLES.items()]
    + [
        pytest.param(TROUBLES[name], kind, id=f"{name}, in {kind}") for name in EVERYWHERE for kind in ("csv", "sqlite")
    ],
)
def test_a_source_that_is_refused_is_not_quoted(
    sources: dict[str, Source], seen: Any, tmp_path: Path, trouble: Trouble, kind: str
) -> None:
    frame = with_trouble(trouble)
    place: Any = frame
    if kind == "csv":
        place = tmp_path / "b.csv"
        frame.to_csv(place, index=False)
    if kind == "sqlite":
        with sqlite3.connect(tmp_path / "b.db") as database:
            frame.to_sql("b", database, index=False)
        database.close()
        place = f"sqlite:///{tmp_path / 'b.db'}#b"
    source = Source(place, **MAPPED)
    of = world(sources, b=source)
    questions = {"a": dt.Describe(["income"], by=["sex", "smoker"]), "b": dt.Histogram("units", [0, 500, 1e9])}
    conducted = of.run(written(of.trust, questions).study)
    assert {name: refused.rule for name, refused in conducted.absent.items()} == {"b": trouble.code}
    with pytest.raises(DataTrustError) as error:
        written(small_trust(sources | {"b": source}, DATASET), questions).run()
    assert found_in(*told(of, seen), *texts_of(error.value), *texts_of(conducted.absent["b"])) == []


BROKEN = {
    "a wrong password": f"postgresql://someone:{PASSWORD}@127.0.0.1:9/db#people",
    "a password in a URL that cannot be read": f"postgresql://someone:{PASSWORD}@127.0.0.1:port/db#people",
    "a database without a table, and a password": f"postgresql://someone:{PASSWORD}@127.0.0.1:9/db",
    "a scheme that is not known, and a password": f"gopher://someone:{PASSWORD}@127.0.0.1/people",
    "a file that is not there": "{folder}/none.csv",
    "a database that is not there": "sqlite:///{folder}/none.db#people",
    "a database without this table": "sqlite:///{folder}/people.db#others",
    "a line with too many fields": "{folder}/broken.csv",
    "a file that is no Parquet": "{folder}/broken.parquet",
}


@pytest.mark.parametrize("url", BROKEN.values(), ids=BROKEN.keys())
def test_a_source_that_cannot_be_read_is_not_quoted(
    sources: dict[str, Source], folder: Path, seen: Any, url: str
) -> None:
    lines = (folder / "people.csv").read_text().splitlines()
    lines[5] += f",{TEXT},{PASSWORD}"
    (folder / "broken.csv").write_text("\n".join(lines))
    (folder / "broken.parquet").write_text("\n".join(lines))
    source = Source(url.format(folder=folder), **MAPPED)
    of = world(sources, b=source)
    conducted = of.run(written(of.trust, dt.Describe(["income"])).study)
    assert set(conducted.absent) == {"b"}
    with pytest.raises(DataTrustError) as error:
        written(small_trust(sources | {"b": source}, DATASET), dt.Describe(["income"])).run()
    assert found_in(*told(of, seen), *texts_of(error.value), *texts_of(conducted.absent["b"])) == []


def test_the_sources_own_name_of_a_lost_column_stays_at_the_node(sources: dict[str, Source], seen: Any) -> None:
    """The node's operator is told it; nobody else."""
    frame = table("b").drop(columns=COLUMN)
    of = world(sources, b=Source(frame, **MAPPED))
    conducted = of.run(written(of.trust, dt.Describe(["income"])).study)
    assert {name: refused.rule for name, refused in conducted.absent.items()} == {"b": "source-invalid"}
    sent = [raw for _, raw in of.channel.up + of.channel.down]
    assert found_in(*sent, *seen()) == []
    assert found_in(of.sessions["b"].trouble) == ["the source's name of a column"]


@pytest.mark.parametrize(
    "question",
    [
        pytest.param(dt.Glm("I(units > 1000000) ~ age", family="binomial"), id="a group of one"),
        pytest.param(dt.Glm("units ~ age", family="gamma", weights="income"), id="a model that may not settle"),
        pytest.param(dt.Describe(["income"], weights="units**8"), id="weights on one person"),
        pytest.param(dt.Glm("smoker ~ income + I(income * 2)", family="binomial"), id="columns that determine another"),
    ],
)
def test_a_study_that_is_refused_quotes_no_row(trust: Any, seen: Any, question: Any) -> None:
    of = TrustParts(trust)
    with pytest.raises(DataTrustError) as error:
        of.run(written(trust, question).study)
    with pytest.raises(DataTrustError) as local:
        written(trust, question).run()
    assert found_in(*told(of, seen), *texts_of(error.value), *texts_of(local.value)) == []


# ---- the search finds what is there


@pytest.mark.parametrize("what", CANARIES)
def test_a_refusal_that_quotes_a_value_would_be_found(trust: Any, what: str) -> None:
    """A node's message built by hand, signed and packed as nodes do it."""
    egress = Egress(trust._keys.partners["b"].sign)
    text = f"the value {CANARIES[what]} is not allowed"
    raw = egress.send(RefusalMessage(name="b", rule="source-invalid", text=text, remedy=""))
    assert found_in(raw) == [what]
    assert found_in(f"x{base64.b64encode(text.encode()).decode()}y") == [what]
    assert found_in(text.encode("utf-16-le")) == [what]


def test_what_is_logged_or_printed_would_be_found(seen: Any, capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("datatrust.anything").debug("read %s", TEXT)
    logging.getLogger("sqlalchemy.engine").info("connect with %r", {"password": PASSWORD})
    print(POSTCODE)
    assert found_in(*seen()) == ["a free text", "a postcode", "a password in a connection string"]


class Leak(Analysis):
    """Gives the values of one row, and adds them in the clear."""

    title: ClassVar[str] = "leak"
    kind: Literal["leak"] = "leak"

    def reads(self) -> tuple[str, ...]:
        return ("income", "units")

    def plan(self, scope: Scope) -> dict[str, Sum]:
        return {"row": Sum(gives=(count("units"), real("income")))}

    def prepare(self, scope: Scope, rows: Rows) -> Rows:
        return rows

    def local(self, scope: Scope, ready: Rows, ask: Ask) -> Arrays:
        at = int(np.argmax(ready.numeric("units")))
        return {"units": np.array(int(ready.numeric("units")[at])), "income": ready.numeric("income")[at]}

    def run(self, scope: Scope) -> Run:
        return (yield Ask("row"))


def test_an_analysis_that_gives_a_row_in_plain_addition_would_be_found() -> None:
    """In the upload of one partner, in the opened total, and in a released result."""
    data = dt.Dataset.parse(DATASET)
    scope = Scope(data, ("a", "b", "c", "d"), Protections())
    leak = Leak()
    frame = table("b").rename(columns={COLUMN: "age"})
    given = leak.local(scope, leak.prepare(scope, Rows.from_frame(data, frame, leak.reads())), Ask("row"))
    blocks = leak.plan(scope)["row"].gives
    counts = encode_sum(blocks[:1], {"units": given["units"]}, n=4)
    assert found_in(counts.tobytes()) == ["a rare whole number"]
    words = encode_sum(blocks, given, n=4)
    nothing = encode_sum(blocks, {"units": np.array(0), "income": np.array(0.0)}, n=4)
    total = decode_sum(blocks, words + 3 * nothing, n=4)
    assert found_in(np.asarray(total["income"]).tobytes(), np.asarray(total["units"]).tobytes()) == list(NUMBERS)
    run = leak.run(scope)
    next(run)
    with pytest.raises(StopIteration) as end:
        run.send(total)
    assert found_in(json.dumps({name: float(value) for name, value in end.value.value.items()})) == list(NUMBERS)
