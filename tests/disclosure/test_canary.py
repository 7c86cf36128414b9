"""Values planted in the partners' sources are looked for in everything that leaves a node, and in every result.

Bytes of both directions, uploads, logs, standard output, texts of errors, results in each form, and the state file.
The dataset's own levels are public and are no canaries.
"""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
import struct
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from datatrust import ask
from nodes.egress import Egress
from nodes.sources import Source
from tests.federation import World
from trust import analyses
from trust.analyses import AnyAnalysis
from trust.analyses.base import Analysis, Arrays, Ask, Run, Scope, Sum, count, real
from trust.errors import DataTrustError, Fault
from trust.protections import Protections
from trust.rows import Rows
from trust.secure_sum import Upload, decode_sum, encode_sum

DATASET = """
apiVersion: v3.1.0
kind: DataContract
id: planted
name: planted
version: 1.0.0
status: active
customProperties:
  - {property: person, value: pid}
  - {property: rowsPerPerson, value: 2}
schema:
  - name: people
    logicalType: object
    properties:
      - {name: age, logicalType: integer, logicalTypeOptions: {minimum: 0, maximum: 120}}
      - {name: income, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 1000000}}
      - {name: units, logicalType: integer, logicalTypeOptions: {minimum: 0, maximum: 1000000000}}
      - {name: sex, logicalType: string, enum: [{value: F}, {value: M}]}
      - {name: region, logicalType: string, enum: [{value: north}, {value: south}, {value: west}]}
      - {name: smoker, logicalType: boolean}
      - {name: surname, logicalType: string}
      - {name: note, logicalType: string}
      - {name: postcode, logicalType: string}
      - {name: born, logicalType: date}
"""
REAL, WHOLE = 73918.4625813, 918273645
PASSWORD = "kwvPASSWORDzx81"
TEXTS = {
    "a person's name": "Quixotzky",
    "a free text": "saw a heffalump",
    "a person's id": "PIDzq7",
    "a postcode": "ZZ98 7QX",
    "a password in a connection string": PASSWORD,
    "a folder of a file": "folderJ4WX",
    "the source's text of a level": "weiblichQ6",
    "the source's name of a column": "alterspalteV2",
    "a value of the environment": "environmentH3K",
}
NUMBERS = {"a rare number": REAL, "a rare whole number": WHOLE}
COHORT = "age >= 0 and surname is not null and note is not null and postcode is not null and born > '1900-01-01'"


def forms(canary: str | float) -> list[bytes]:
    """How a value may stand in bytes: as text, in UTF-16, in hexadecimal, in base64; a number in eight bytes."""
    found = [str(canary).encode()]
    if isinstance(canary, float):
        found += [struct.pack("<d", canary), struct.pack(">d", canary)]
    if isinstance(canary, int):
        found += [struct.pack(code, canary) for code in ("<q", ">q", "<d", ">d")] + [f"{canary:,}".encode()]
    texts = [found[0], str(canary).encode("utf-16-le")]
    found += [texts[1], *(text.hex().encode() for text in texts)]
    for text in texts:
        for start in range(3):  # where in a group of three bytes it begins
            found.append(base64.b64encode(b"\0" * start + text)[4 if start else 0 : -4])
    return found


CANARIES: dict[str, str | float] = TEXTS | NUMBERS


def found_in(*places: Any) -> list[str]:
    """The canaries that occur in bytes or texts."""
    raw = [place if isinstance(place, bytes) else str(place).encode() for place in places]
    return [what for what, canary in CANARIES.items() if any(form in place for place in raw for form in forms(canary))]


# ---- four partners, and what is planted at each


def table(partner: str, n: int = 60) -> pd.DataFrame:
    """As a source has it: its own names and levels; the person in row 7 holds what must never be seen."""
    rng = np.random.default_rng(ord(partner))
    age = rng.integers(20, 90, n)
    frame = pd.DataFrame(
        {
            "pid": [f"{TEXTS["a person's id"]}{partner}{i}" for i in range(n)],
            TEXTS["the source's name of a column"]: age,
            "income": rng.uniform(1_000, 60_000, n).round(2),
            "units": rng.integers(1, 1_000, n),
            "sex": np.resize([TEXTS["the source's text of a level"], "herr"], n),
            "region": np.resize(["north", "south", "west"], n),
            "smoker": rng.random(n) < 1 / (1 + np.exp(-(age - 55) / 20)),
            "surname": [f"{TEXTS["a person's name"]} {i}" for i in range(n)],
            "note": [f"{TEXTS['a free text']} {i}" for i in range(n)],
            "postcode": TEXTS["a postcode"],
            "born": "1970-02-03",
            "never_asked_for": TEXTS["a free text"],
        }
    )
    frame.loc[7, ["income", "units"]] = [REAL, WHOLE]
    return frame


MAPPED: dict[str, Any] = {
    "columns": {"age": TEXTS["the source's name of a column"]},
    "levels": {"sex": {TEXTS["the source's text of a level"]: "F", "herr": "M"}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(TEXTS["a folder of a file"])


@pytest.fixture(scope="module")
def sources(folder: Path) -> dict[str, Source]:
    """A CSV file, a DataFrame, an SQLite database and a Parquet file."""
    table("a").to_csv(folder / "people.csv", index=False)
    with sqlite3.connect(folder / "people.db") as database:
        table("c").to_sql("people", database, index=False)
    database.close()
    table("d").to_parquet(folder / "people.parquet")
    places: dict[str, Any] = {
        "a": folder / "people.csv",
        "b": table("b"),
        "c": f"sqlite:///{folder / 'people.db'}#people",
        "d": folder / "people.parquet",
    }
    return {name: Source(place, **MAPPED) for name, place in places.items()}


@pytest.fixture(scope="module")
def trust(sources: dict[str, Source]) -> Any:
    return dt.local(sources, dt.Dataset.parse(DATASET))


@pytest.fixture
def seen(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """What the process itself has said since: logs of every logger from DEBUG on, standard output and error."""
    for name in ("DATATRUST_PASSWORD", "PGPASSWORD", "PGAPPNAME", "SOME_SECRET"):
        monkeypatch.setenv(name, TEXTS["a value of the environment"])
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.disabled = False
        logger.addHandler(caplog.handler)

    def said() -> list[str]:
        records = [f"{r.getMessage()} {r.args} {r.exc_text} {vars(r)}" for r in caplog.records]
        return [*records, caplog.text, *capfd.readouterr()]

    yield said
    for logger, level, disabled in before:
        logger.removeHandler(caplog.handler)
        logger.setLevel(level)
        logger.disabled = disabled


# ---- every analysis


QUESTIONS: dict[str, list[ask.Question]] = {
    "Describe": [dt.Describe(["age", "income", "units"], by=["sex"]), dt.Describe(["income"], weights="1 + units")],
    "Histogram": [dt.Histogram("income", np.linspace(0, 100_000, 6)), dt.Histogram("units", [0, 500, 1e9])],
    "Quantiles": [dt.Quantiles(["income", "units"], [0, 0.5, 1])],
    "Crosstab": [dt.Crosstab("sex", "region"), dt.Crosstab("sex", "smoker", weights="income")],
    "Correlation": [dt.Correlation(["age", "income", "units"])],
    "TTest": [dt.TTest("income", "sex")],
    "Anova": [dt.Anova("units", ["sex", "region"], typ=2)],
    "Glm": [
        dt.Glm("smoker ~ age + sex", family="binomial"),
        dt.Glm("income ~ age + C(region)", robust="HC1"),
        dt.Glm("units ~ age", family="poisson", offset="log1p(income)"),
    ],
}


def written(of: Any, question: Any) -> Any:
    return of.study("planted", purpose="AcademicResearch", cohort=COHORT, analyses={"a": question})


def test_every_analysis_is_looked_at() -> None:
    """A new analysis must be added to `QUESTIONS` before anything is merged."""
    data = dt.Dataset.parse(DATASET)
    asked = {type(q.resolve(data)) for questions in QUESTIONS.values() for q in questions}
    assert asked == set(get_args(get_args(AnyAnalysis)[0]))
    assert set(QUESTIONS) == set(ask.__all__) - {"Question"} == set(analyses.__all__) - {"AnyAnalysis"}


@pytest.mark.parametrize(
    "question", [pytest.param(q, id=f"{name} {i}") for name, qs in QUESTIONS.items() for i, q in enumerate(qs)]
)
def test_nothing_planted_leaves_a_node_or_stands_in_a_result(trust: Any, question: Any, seen: Any) -> None:
    result = written(trust, question).run()
    of = World(trust)
    conducted = of.run(written(trust, question).study)
    assert conducted.partners == result["a"].provenance["partners"] == ["a", "b", "c", "d"] or len(
        conducted.partners
    ) == len(result["a"].provenance["partners"])
    released = result["a"]
    shown = [json.dumps(result.to_dict()), result._repr_html_(), str(result), repr(result), result.decisions]
    shown += [json.dumps(released.to_dict()), released._repr_html_(), str(released), repr(released)]
    shown += [released.to_frame().to_csv(), trust.exchanged, conducted.decisions, conducted.absent]
    sent = [raw for _, raw in of.channel.up + of.channel.down]
    uploads = [bytes(body) for uploaded in trust.uploads + conducted.uploads for body in uploaded.values()]
    kept = [path.read_bytes() for path in trust._state.rglob("*") if path.is_file()]
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
    "a text for a number": Trouble("income", TEXTS["a free text"]),
    "an unknown level": Trouble("sex", TEXTS["a free text"]),
    "a text for a boolean": Trouble("smoker", TEXTS["a person's name"]),
    "a text for a date": Trouble("born", TEXTS["a person's name"]),
    "the same person too often": Trouble("pid", f"{TEXTS["a person's id"]}b0"),
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


def told(of: World, seen: Any) -> list[Any]:
    """All that has left of a study, and what its nodes' own operators are told."""
    sent = [raw for _, raw in of.channel.up + of.channel.down]
    troubles = [session.trouble for session in of.sessions.values() if session.trouble is not None]
    return [*sent, *(text for trouble in troubles for text in texts_of(trouble)), *seen()]


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
@pytest.mark.parametrize("kind", ["frame", "csv", "sqlite"])
def test_a_source_that_is_refused_is_not_quoted(
    trust: Any, sources: dict[str, Source], seen: Any, tmp_path: Path, trouble: Trouble, kind: str
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
    of = World(trust)
    of.nodes["b"] = replace(of.nodes["b"], source=source)
    question = dt.Describe(["income", "units"], by=["sex", "smoker"])
    conducted = of.run(
        of.trust.study("planted", purpose="AcademicResearch", cohort=COHORT, analyses={"a": question}).study
    )
    assert {name: refused.rule for name, refused in conducted.absent.items()} == {"b": trouble.code}
    with pytest.raises(DataTrustError) as error:
        written(dt.local(sources | {"b": source}, dt.Dataset.parse(DATASET)), question).run()
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
    trust: Any, sources: dict[str, Source], folder: Path, seen: Any, url: str
) -> None:
    lines = (folder / "people.csv").read_text().splitlines()
    lines[5] += f",{TEXTS['a free text']},{PASSWORD}"
    (folder / "broken.csv").write_text("\n".join(lines))
    (folder / "broken.parquet").write_text("\n".join(lines))
    source = Source(url.format(folder=folder), **MAPPED)
    of = World(trust)
    of.nodes["b"] = replace(of.nodes["b"], source=source)
    conducted = of.run(written(trust, dt.Describe(["income"])).study)
    assert set(conducted.absent) == {"b"}
    with pytest.raises((DataTrustError, Fault)) as error:
        written(dt.local(sources | {"b": source}, dt.Dataset.parse(DATASET)), dt.Describe(["income"])).run()
    assert found_in(*told(of, seen), *texts_of(error.value), *texts_of(conducted.absent["b"])) == []


def test_the_sources_own_name_of_a_lost_column_stays_at_the_node(trust: Any, seen: Any) -> None:
    """The node's operator is told it; nobody else."""
    frame = table("b").drop(columns=TEXTS["the source's name of a column"])
    of = World(trust)
    of.nodes["b"] = replace(of.nodes["b"], source=Source(frame, **MAPPED))
    conducted = of.run(written(trust, dt.Describe(["income"])).study)
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
    of = World(trust)
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
    raw = egress.send({"kind": "refusal", "name": "b", "rule": "source-invalid", "text": text, "remedy": ""})
    assert found_in(raw) == [what]
    assert found_in(f"x{base64.b64encode(text.encode()).decode()}y") == [what]
    assert found_in(text.encode("utf-16-le")) == [what]


def test_what_is_logged_or_printed_would_be_found(seen: Any, capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("datatrust.anything").debug("read %s", TEXTS["a free text"])
    logging.getLogger("sqlalchemy.engine").info("connect with %r", {"password": PASSWORD})
    print(TEXTS["a postcode"])
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
    frame = table("b").rename(columns={TEXTS["the source's name of a column"]: "age"})
    given = leak.local(scope, leak.prepare(scope, Rows.from_frame(data, frame, leak.reads())), Ask("row"))
    blocks = leak.plan(scope)["row"].gives
    counts = encode_sum(blocks[:1], {"units": given["units"]}, n=4)
    upload = Upload(0, b"\0" * 32, "b", b"\0" * 32, b"\0" * 64, counts.tobytes()) if False else counts.tobytes()
    assert found_in(upload) == ["a rare whole number"]
    words = encode_sum(blocks, given, n=4)
    nothing = encode_sum(blocks, {"units": np.array(0), "income": np.array(0.0)}, n=4)
    total = decode_sum(blocks, words + 3 * nothing, n=4)
    assert found_in(np.asarray(total["income"]).tobytes(), np.asarray(total["units"]).tobytes()) == list(NUMBERS)
    run = leak.run(scope)
    next(run)
    with pytest.raises(StopIteration) as end:
        run.send(total)
    assert found_in(json.dumps({name: float(value) for name, value in end.value.value.items()})) == list(NUMBERS)
