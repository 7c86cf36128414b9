"""Every kind of source gives the same edition, and a faulty one a clear error without a value of a row."""

from __future__ import annotations

import contextlib
import gzip
import logging
import sqlite3
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest

from nodes.rows.cohort_rows import check_source, freeze
from nodes.rows.source import Source
from tests.support.people import PEOPLE, as_csv, as_postgres, as_sqlite, people
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import Dataset
from trust.errors import DataTrustError, Fault, SourceInvalid

ALL = ["age", "bmi", "income", "sex", "region", "smoker", "obese", "log_bmi", "high"]
COHORT = "age >= 30 and (sex = 'F' or visit < '2021-06-01') and town <> 'Albi'"
SECRET = "zq7431"


def frozen(source: Any, names: list[str] = ALL, cohort: str = "", dataset: Dataset = PEOPLE) -> dict[str, Any]:
    source = source if isinstance(source, Source) else Source(source)
    edition = freeze(dataset, source, names, Cohort.parse(cohort, dataset) if cohort else None)
    return dict(edition.rows.columns)


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        npt.assert_array_equal(one[name], other[name], err_msg=name, strict=True)


def written(frame: pd.DataFrame, text: str, path: Path) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


# ---- the same rows from every kind of source


@pytest.mark.parametrize("cohort", ["", COHORT], ids=["everybody", "a cohort"])
class TestTheSameRowsGiveTheSameEdition:
    @pytest.fixture
    def rows(self) -> pd.DataFrame:
        return people(80)

    @pytest.fixture
    def expected(self, rows: pd.DataFrame, cohort: str) -> dict[str, Any]:
        """Calculated with pandas alone."""
        if cohort:
            visits = rows["visit"].map(lambda d: str(d) if d is not None else None)
            late = (rows["sex"] == "F") | (visits < "2021-06-01")
            rows = rows[(rows["age"] >= 30) & late & rows["town"].notna() & (rows["town"] != "Albi")]
        levels = {"sex": ["F", "M"], "region": [1, 2, 3], "smoker": [False, True]}
        known: dict[str, Any] = {
            name: np.array([-1 if pd.isna(v) else order.index(v) for v in rows[name]]) for name, order in levels.items()
        }
        known |= {n: rows[n].to_numpy(dtype=float, na_value=np.nan) for n in ("age", "bmi", "income")}
        missing = np.isnan(known["bmi"])
        known["obese"] = np.where(missing, -1, known["bmi"] >= 30)
        known["log_bmi"] = np.log(known["bmi"])
        score = rows["score"].to_numpy(dtype=float, na_value=np.nan)
        known["high"] = np.where(np.isnan(score), -1, score > 5)
        return known

    def test_a_frame_of_nullable_columns(self, rows: pd.DataFrame, expected: dict[str, Any], cohort: str) -> None:
        found = frozen(rows, cohort=cohort)
        assert found.keys() == expected.keys()
        for name in expected:
            npt.assert_allclose(found[name], expected[name], rtol=1e-15, err_msg=name)

    def test_a_frame_of_other_types(self, rows: pd.DataFrame, cohort: str) -> None:
        other = rows.assign(
            bmi=rows["bmi"].astype("float64"),
            income=[None if pd.isna(v) else Decimal(str(v)) for v in rows["income"]],
            sex=rows["sex"].astype("category"),
            region=rows["region"].astype("float64"),
            smoker=rows["smoker"].astype(object),
            visit=pd.to_datetime(rows["visit"]),
            town=rows["town"].astype("str"),
            score=rows["score"].astype(object),
        )
        other.index = pd.Index([0] * len(other))
        same(frozen(other, cohort=cohort), frozen(rows, cohort=cohort))

    @pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "tsv.gz", "txt"])
    def test_a_text_file(self, rows: pd.DataFrame, cohort: str, ending: str, tmp_path: Path) -> None:
        path = as_csv(rows, tmp_path / f"rows.{ending}", sep="\t" if "tsv" in ending else ",")
        same(frozen(path, cohort=cohort), frozen(rows, cohort=cohort))

    def test_a_text_file_with_a_mark_of_utf_8_and_the_line_endings_of_windows(
        self, rows: pd.DataFrame, cohort: str, tmp_path: Path
    ) -> None:
        path = as_csv(rows, tmp_path / "rows.csv", encoding="utf-8-sig", lineterminator="\r\n")
        same(frozen(path, cohort=cohort), frozen(rows, cohort=cohort))

    def test_parquet(self, rows: pd.DataFrame, cohort: str, tmp_path: Path) -> None:
        path = tmp_path / "rows.parquet"
        stored = rows.assign(visit=pd.to_datetime(rows["visit"]))
        assert len(stored)
        duckdb.sql("SELECT * REPLACE (CAST(visit AS DATE) AS visit) FROM stored").write_parquet(str(path))
        same(frozen(path, cohort=cohort), frozen(rows, cohort=cohort))

    def test_sqlite(self, rows: pd.DataFrame, cohort: str, tmp_path: Path) -> None:
        same(frozen(as_sqlite(rows, tmp_path / "rows.sqlite"), cohort=cohort), frozen(rows, cohort=cohort))

    def test_postgresql(self, rows: pd.DataFrame, cohort: str, postgres: str) -> None:
        url = as_postgres(rows, postgres, "people_here")
        same(frozen(url, cohort=cohort), frozen(rows, cohort=cohort))

    def test_a_table_in_a_schema_of_postgresql(self, rows: pd.DataFrame, cohort: str, postgres: str) -> None:
        url = as_postgres(rows, postgres, "clinic.people")
        same(frozen(url, cohort=cohort), frozen(rows, cohort=cohort))
        address = url.partition("#")[0]
        same(frozen(Source(address, table="clinic.people"), cohort=cohort), frozen(rows, cohort=cohort))

    def test_a_database_without_missing_values(self, cohort: str, postgres: str, tmp_path: Path) -> None:
        rows = people(40, seed=5, missing=0)
        expected = frozen(rows, cohort=cohort)
        same(frozen(as_postgres(rows, postgres, "complete"), cohort=cohort), expected)
        same(frozen(as_sqlite(rows, tmp_path / "full.sqlite"), cohort=cohort), expected)


def test_whole_numbers_that_lost_their_type_to_missing_values_keep_their_texts(postgres: str, tmp_path: Path) -> None:
    rows = people(30).assign(town=pd.array([None, *range(29)], dtype="Int64"))
    expected = frozen(as_csv(rows, tmp_path / "towns.csv"), ["age"], "town = '7' or town = '8'")
    assert len(expected["age"]) == 2
    for source in (
        rows,
        rows.assign(town=rows["town"].astype("float64")),
        rows.assign(town=rows["town"].astype(object)),
        as_sqlite(rows, tmp_path / "towns.sqlite"),
        as_postgres(rows, postgres, "towns", {"town": "bigint"}),
    ):
        same(frozen(source, ["age"], "town = '7' or town = '8'"), expected)


def test_large_ids_of_whole_numbers_stay_different_persons() -> None:
    rows = people(12).assign(pid=pd.array([2**60 + i for i in range(12)], dtype="Int64"))
    assert len(frozen(rows, ["age"])["age"]) == 12


def test_a_file_name_is_no_pattern(tmp_path: Path) -> None:
    as_csv(people(20, seed=1), tmp_path / "data1.csv")
    other = as_csv(people(30, seed=2), tmp_path / "data[1].csv")
    star = as_csv(people(40, seed=3), tmp_path / "data*.csv")
    assert len(frozen(other, ["age"])["age"]) == 30
    assert len(frozen(star, ["age"])["age"]) == 40


def test_folders_of_the_path_add_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "age=3"
    folder.mkdir()
    path = as_csv(people(20).drop(columns="age"), folder / "rows.csv")
    with pytest.raises(SourceInvalid, match="no column 'age'"):
        frozen(path)


def test_lines_that_begin_with_a_hash_are_rows(tmp_path: Path) -> None:
    rows = people(20).assign(pid=[f"#{i}" for i in range(20)])
    assert len(frozen(as_csv(rows, tmp_path / "rows.csv"), ["age"])["age"]) == 20


def test_quoted_separators_quotes_and_line_breaks_are_part_of_a_field(tmp_path: Path) -> None:
    rows = people(20).assign(town=['a,b\n"c"\r\nd'] * 20)
    assert len(frozen(as_csv(rows, tmp_path / "rows.csv"), ["age"], "town is not null")["age"]) == 20


# ---- names, levels and missing values


def test_names_and_levels_are_mapped() -> None:
    rows = people(30, missing=0)
    other = rows.rename(columns={"age": "years", "sex": "gender"}).assign(gender=rows["sex"].map({"F": 0, "M": 1}))
    source = Source(other, columns={"age": "years", "sex": "gender"}, levels={"sex": {0: "F", 1: "M"}})
    same(frozen(source, cohort="sex = 'F'"), frozen(rows, cohort="sex = 'F'"))


@pytest.mark.parametrize("stored", ["int64", "float64", "Int64", "object", "str", "category"])
def test_mapped_levels_are_found_whatever_the_type_of_the_column(stored: str) -> None:
    rows = people(30, missing=0)
    codes = rows["sex"].map({"F": 0, "M": 1}).astype("int64").astype(stored)
    source = Source(rows.assign(sex=codes), levels={"sex": {"0": "F", "1": "M"}})
    same(frozen(source), frozen(rows))


@pytest.mark.parametrize("stored", ["bool", "boolean", "object", "str", "int64"])
def test_a_boolean_may_be_mapped_and_stored_in_any_way(stored: str) -> None:
    rows = people(30, missing=0)
    keys = {"1": True, "0": False} if stored == "int64" else {"True": True, "False": False}
    source = Source(rows.assign(smoker=rows["smoker"].astype("bool").astype(stored)), levels={"smoker": keys})
    same(frozen(source), frozen(rows))
    same(frozen(Source(source.url)), frozen(rows))


def test_levels_that_are_equal_as_numbers_stay_apart() -> None:
    document = PEOPLE.model_dump()
    column = next(c for c in document["columns"] if c["name"] == "sex")
    column["levels"] = [{"value": "1", "label": ""}, {"value": "01", "label": ""}]
    dataset = Dataset.model_validate(document)
    rows = people(24, missing=0).assign(sex=["1", "01"] * 12)
    npt.assert_array_equal(frozen(rows, ["sex"], dataset=dataset)["sex"], [0, 1] * 12)
    with pytest.raises(SourceInvalid, match="level-known: column 'sex'"):
        frozen(rows.assign(sex=["1", "1.0"] * 12), ["sex"], dataset=dataset)


def test_a_level_of_whole_numbers_may_be_stored_as_text_or_double(tmp_path: Path) -> None:
    rows = people(30)
    same(frozen(rows.assign(region=rows["region"].astype("float64"))), frozen(rows))
    same(frozen(as_csv(rows.assign(region=rows["region"].astype("float64")), tmp_path / "r.csv")), frozen(rows))


@pytest.mark.parametrize("kind", ["csv", "frame", "sqlite", "postgresql"])
def test_texts_that_stand_for_missing_values_are_missing(kind: str, tmp_path: Path, postgres: str) -> None:
    rows = people(40)
    marked = rows.assign(bmi=rows["bmi"].fillna(-9), town=rows["town"].fillna("NA"))
    made = {
        "csv": lambda: as_csv(marked, tmp_path / "m.csv"),
        "frame": lambda: marked,
        "sqlite": lambda: as_sqlite(marked, tmp_path / "m.sqlite"),
        "postgresql": lambda: as_postgres(marked, postgres, "marked"),
    }
    source = Source(made[kind](), missing=("NA", "-9"))
    for cohort in ("", "bmi < 30", "town is null", "age > 40 and bmi is not null"):
        same(frozen(source, cohort=cohort), frozen(rows, cohort=cohort))


def test_not_a_number_in_a_frame_is_missing_and_a_required_column_says_so() -> None:
    rows = people(30).assign(age=[np.nan, *range(20, 49)])
    with pytest.raises(SourceInvalid, match="required: column 'age': required, no value is missing; fewer than 11"):
        frozen(rows)


def test_values_that_are_not_allowed_count_as_missing_where_the_source_says_so() -> None:
    rows = people(30, missing=0)
    wrong = rows.assign(bmi=[1e300, -1.0, *rows["bmi"][2:]], sex=["X", *rows["sex"][1:]])
    right = rows.assign(bmi=[None, None, *rows["bmi"][2:]], sex=[None, *rows["sex"][1:]])
    same(frozen(Source(wrong, invalid="missing")), frozen(right))
    with pytest.raises(SourceInvalid, match="required: column 'age'"):
        frozen(Source(wrong.assign(age=[-1, *rows["age"][1:]]), invalid="missing"))


def test_a_derived_column_is_held_to_its_own_bounds() -> None:
    document = PEOPLE.model_dump()
    column = next(c for c in document["columns"] if c["name"] == "log_bmi")
    column["maximum"] = 3.5
    dataset = Dataset.model_validate(document)
    rows = people(20, missing=0).assign(bmi=[20.0] * 20)
    assert len(frozen(rows, ["log_bmi"], dataset=dataset)["log_bmi"]) == 20
    with pytest.raises(SourceInvalid, match=r"in-bounds: column 'log_bmi': every value is a finite number up to 3\.5"):
        frozen(rows.assign(bmi=[90.0] * 20), ["log_bmi"], dataset=dataset)


def test_names_of_a_dataset_may_be_any_word_of_ours(tmp_path: Path) -> None:
    from trust.dataset.dataset import Column

    names = ["raw", "typed", "kept", "c0", "_person", "_", "select", "n", "id", "ph.ecog", "row"]
    dataset = Dataset(
        id="words", name="w", version="1", columns=tuple(Column(name=n, type="number", maximum=99) for n in names)
    )
    rows = pd.DataFrame({name: np.arange(20.0) + at for at, name in enumerate(names)})
    cohort = " and ".join(f'"{n}" >= {at + 2}' for at, n in enumerate(names))
    for source in (rows, as_csv(rows, tmp_path / "w.csv"), as_sqlite(rows, tmp_path / "w.sqlite")):
        found = frozen(source, names, cohort, dataset)
        assert [found[n][0] for n in names] == [at + 2 for at in range(len(names))]


# ---- what cannot be used

HEAD = "pid,age,bmi,income,sex,region,smoker,visit,town,score\n"
LINE = f"{SECRET},40,25.5,1000,F,1,true,2020-01-01,{SECRET},3\n"

BAD_FILES = {
    "a declared column is absent": (HEAD.replace("bmi,", "") + LINE.replace("25.5,", ""), "no column 'bmi'"),
    "two columns are absent": (
        "pid,age,income\n1,2,3\n",
        "no column 'bmi' and 4 more; expected it among the table's 3 columns; to fix",
    ),
    "an absent column has a near name": (
        HEAD.replace("bmi", "bmi2") + LINE,
        "no column 'bmi'; expected 'bmi2', perhaps",
    ),
    "a column stands twice": (HEAD.replace("town", "bmi") + LINE, "two columns named 'bmi'; to fix it: rename one"),
    "a number is a word": (
        HEAD + LINE.replace("25.5", SECRET),
        "in-bounds: column 'bmi': every value is a finite number",
    ),
    "a number has a decimal comma": (HEAD + LINE.replace("25.5", '"25,5"'), "in-bounds: column 'bmi'"),
    "a whole number is none": (
        HEAD + LINE.replace(",40,", ",40.5,"),
        "in-bounds: column 'age': every value is a whole",
    ),
    "a number is out of bounds": (HEAD + LINE.replace("25.5", "743100"), "between 5 and 100; fewer than 11 do not"),
    "a number is not finite": (HEAD + LINE.replace("1000", "inf"), "in-bounds: column 'income'"),
    "a number is the text nan": (HEAD + LINE.replace("1000", "nan"), "in-bounds: column 'income'"),
    "a level is unknown": (
        HEAD + LINE.replace(",F,", f",{SECRET},"),
        "level-known: column 'sex': every value is a level",
    ),
    "a level differs in capitals": (HEAD + LINE.replace(",F,", ",f,"), "level-known: column 'sex'"),
    "a boolean is neither": (
        HEAD + LINE.replace("true", SECRET),
        "boolean: column 'smoker': every value is true or false",
    ),
    "a required value is missing": (HEAD + LINE.replace(",40,", ",,"), "required: column 'age': required, no value"),
    "an id is missing": (HEAD + LINE[len(SECRET) :], "person-known: person 'pid': every row says whose it is"),
    "an id stands twice": (
        HEAD + LINE + LINE,
        "person-repeated: person 'pid': at most 1 row a person; fewer than 11 do not",
    ),
    "only a header": (HEAD, "rows-present: the table has rows"),
    "only a header without an end": (HEAD.strip(), "rows-present: the table has rows"),
    "empty": ("", "'bad.csv' is empty; expected a header line and rows"),
    "blank lines": ("\n\n\n", "'bad.csv' has no header line"),
    "a line is too short": (
        HEAD + LINE + f"{SECRET},40\n",
        "'bad.csv' has a line with too few or too many fields, line 3",
    ),
    "a line is too long": (HEAD + LINE + LINE.strip() + f",{SECRET}\n", "too few or too many fields, line 3"),
    "a line before the header": (f"{SECRET}\n" + HEAD + LINE, "no column 'age'"),
    "a quote without its end": (
        HEAD + LINE.replace("F,", f'"{SECRET},'),
        "has a quoted field that does not end as one",
    ),
    "two kinds of line ending": (HEAD + LINE.strip() + "\r\n" + LINE, "'bad.csv' cannot be read as a table"),
    "semicolons": ((HEAD + LINE).replace(",", ";"), "'bad.csv' is not separated by a comma"),
    "not UTF-8": ((HEAD + LINE.replace("F,", "é,")).encode("latin-1"), "'bad.csv' is not UTF-8 text"),
    "not UTF-8 far down": (
        (HEAD + LINE * 20_000).encode() + b"x\xe9,",
        "'bad.csv' is not UTF-8 text; to fix it: save it",
    ),
    "UTF-16": ((HEAD + LINE).encode("utf-16"), "'bad.csv' is not UTF-8 text"),
    "bytes": (bytes(range(256)) * 20, "'bad.csv' is not UTF-8 text"),
}


def public(wrong: BaseException) -> str:
    """All that a person may get to see of an error."""
    return "".join(traceback.format_exception(wrong))


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_faulty_file_says_what_is_wrong_and_shows_no_value(case: str, tmp_path: Path) -> None:
    content, expected = BAD_FILES[case]
    path = tmp_path / "bad.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SourceInvalid) as caught:
        frozen(path)
    assert expected in str(caught.value)
    for value in (SECRET, "743100", "25,5", "40.5"):
        assert value not in public(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("absent.csv", "no file 'absent.csv'; expected a CSV or Parquet file; to fix it: check the path"),
        ("", "no file "),
        ("rows.xlsx", "a file with the ending '.xlsx'; expected .csv, .tsv or .parquet"),
        ("rows.parquet", "'rows.parquet' is not a Parquet file"),
        ("rows.csv.gz", "'rows.csv.gz' has no header line that can be read"),
        ("ftp://host/rows.csv", "a source with the scheme 'ftp'; expected a file, or postgresql"),
    ],
)
def test_a_file_of_another_kind(name: str, expected: str, tmp_path: Path) -> None:
    for ending in ("xlsx", "parquet", "csv.gz"):
        (tmp_path / f"rows.{ending}").write_text(SECRET)
    with pytest.raises(SourceInvalid) as caught:
        frozen(name if "://" in name else tmp_path / name)
    assert expected in str(caught.value)
    assert SECRET not in public(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"bmi": [np.inf] * 20},
            "in-bounds: column 'bmi': every value is a finite number between 5 and 100; 11 to 100 do not",
        ),
        (
            {"income": [-np.inf] * 20},
            "in-bounds: column 'income': every value is a finite number of at most 1e+27 in size; 11 to 100",
        ),
        ({"bmi": [1e300] * 20}, "in-bounds: column 'bmi'"),
        ({"sex": [SECRET] * 20}, "level-known: column 'sex'"),
        ({"sex": [3.5] * 20}, "level-known: column 'sex'"),
        ({"bmi": [{SECRET: 1}] * 20}, "in-bounds: column 'bmi'"),
        ({"bmi": [1 + 2j] * 20}, "in-bounds: column 'bmi'"),
        ({"bmi": pd.to_datetime(["2020-01-01"] * 20)}, "in-bounds: column 'bmi'"),
        ({"smoker": [2] * 20}, "boolean: column 'smoker'"),
        ({"pid": [None] * 20}, "person-known: person 'pid'"),
        ({"pid": [np.nan] * 20}, "person-known: person 'pid'"),
        ({"pid": pd.array([None] * 20, dtype="Int64")}, "person-known: person 'pid'"),
        ({"pid": [1.5] * 20}, "person-repeated: person 'pid'"),
    ],
)
def test_a_faulty_frame(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(SourceInvalid) as caught:
        frozen(people(20, missing=0).assign(**change))
    assert expected in str(caught.value)
    assert SECRET not in public(caught.value)


def test_a_date_that_is_none_is_found_where_a_cohort_reads_it() -> None:
    rows = people(20, missing=0).assign(visit=[SECRET] * 20)
    with pytest.raises(SourceInvalid, match="readable: column 'visit': every value is a date") as caught:
        frozen(rows, ["age"], "visit >= '2020-01-01'")
    assert SECRET not in public(caught.value)


def test_two_columns_of_a_frame_with_one_name() -> None:
    rows = people(20)
    with pytest.raises(SourceInvalid, match="two columns named 'age'"):
        frozen(pd.concat([rows, rows[["age"]]], axis=1))
    other = rows.assign(AGE=1)
    with pytest.raises(SourceInvalid, match="two columns of the table differ only in capitals"):
        frozen(Source(other, columns={"bmi": "AGE"}))


def test_a_frame_whose_names_are_numbers_is_read_by_their_texts() -> None:
    rows = people(20)
    same(frozen(Source(rows.rename(columns={"age": 7}), columns={"age": "7"})), frozen(rows))


def test_ten_rows_are_frozen_and_left_to_the_rules() -> None:
    assert len(frozen(people(10))["age"]) == 10


# ---- the source itself


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"colums": {"age": "x"}}, "the source has an unknown field 'colums'; expected 'columns', perhaps"),
        ({"columns": {"agee": "x"}}, "the source maps 'agee', no column of the dataset; expected 'age', perhaps"),
        ({"columns": ["x"]}, "the source, field 'columns': Input should be a valid dictionary"),
        (
            {"levels": {"age": {"0": "F"}}},
            "the source maps levels of 'age', which has none; expected a column with an enum",
        ),
        ({"levels": {"sex": {"0": "female"}}}, "the source maps to 'female', no level of 'sex'; expected one of: F, M"),
        ({"levels": {"smoker": {"0": 1}}}, "the source maps to 1, no level of 'smoker'"),
        ({"levels": {"sex": "F"}}, "the source, field 'levels.sex': Input should be a valid dictionary"),
        ({"invalid": "ignore"}, "the source, field 'invalid': Input should be 'refuse' or 'missing'"),
        ({"missing": "NA"}, "the source, field 'missing': Input should be a valid tuple"),
    ],
)
def test_a_source_is_closed_and_names_only_what_the_dataset_has(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(SourceInvalid) as caught:
        frozen(Source(people(20), **fields))
    assert expected in str(caught.value)


def test_a_source_shows_nothing_of_itself() -> None:
    source = Source(f"postgresql://user:{SECRET}@host/db#table", columns={"age": SECRET}, missing=(SECRET,))
    assert SECRET not in repr(source) + str(source) + f"{source!r}"


def test_source_toml_is_read_beside_its_file(tmp_path: Path) -> None:
    rows = people(30)
    as_csv(rows.rename(columns={"age": "years"}).assign(sex=rows["sex"].map({"F": 0, "M": 1})), tmp_path / "rows.csv")
    (tmp_path / "source.toml").write_text(
        'url = "rows.csv"\ncolumns = {age = "years"}\ninvalid = "refuse"\nmissing = ["NA"]\n'
        '[levels]\nsex = {"0" = "F", "1" = "M"}\n'
    )
    same(frozen(Source.load(tmp_path / "source.toml")), frozen(rows))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'url = "rows.csv"\nlevel = {}\n', "the source has an unknown field 'level'; expected 'levels', perhaps"),
        (b'url = "rows.csv"\nurl = "x"\n', "is not valid TOML: Cannot overwrite a value (at line 2"),
        (b"url = \n", "is not valid TOML: Invalid value (at line 1"),
        (b'columns = {age = "x"}\n', "the source has no field 'url'"),
        (b'url = "\xe9"\n', "is not UTF-8 text"),
    ],
)
def test_a_faulty_source_toml(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "source.toml").write_bytes(content)
    with pytest.raises(SourceInvalid) as caught:
        Source.load(tmp_path / "source.toml")
    assert expected in str(caught.value)


def test_no_source_toml(tmp_path: Path) -> None:
    with pytest.raises(SourceInvalid, match="cannot be read"):
        Source.load(tmp_path / "source.toml")


def test_check_source_says_what_is_wrong_with_each_column() -> None:
    rows = people(40, missing=0).assign(sex=["X"] * 40, bmi=[-1.0] * 12 + [20.0] * 28)
    found = {(d.rule, d.ok): d.text for d in check_source(PEOPLE, Source(rows)) if not d.ok}
    assert found == {
        ("level-known", False): "column 'sex': every value is a level of the dataset; 11 to 100 do not",
        ("in-bounds", False): "column 'bmi': every value is a finite number between 5 and 100; 11 to 100 do not",
    }
    assert check_source(PEOPLE, Source(people(40))).ok
    absent = check_source(PEOPLE, Source(people(40).drop(columns=["age", "score"])))
    assert [d.rule for d in absent] == ["column-present", "column-present"]
    assert "column 'age' is not in the table" in absent[0].text


# ---- databases


@pytest.mark.parametrize(
    ("url", "error", "expected"),
    [
        (
            "postgresql://u:{s}@127.0.0.1:1/db#t",
            Fault,
            "the database cannot be reached (OperationalError); to fix it: check",
        ),
        ("postgresql://u:{s}@127.0.0.1:1/db", SourceInvalid, "a database without a table; expected …#table"),
        ("postgresql://u:{s}@[::1/db#t", SourceInvalid, "a database's URL that cannot be read"),
        ("postgresql://u:{s}@host:{s}/db#t", SourceInvalid, "a database's URL that cannot be read"),
        ("postgresql+{s}://u@host/db#t", SourceInvalid, "a database's URL that cannot be read"),
        ("oracle://u:{s}@host/db#t", Fault, "the driver"),
        ("sqlite:///{s}/absent.sqlite#t", SourceInvalid, "no file 'absent.sqlite'; expected an SQLite database"),
        ("postgresql://u:a#{s}@127.0.0.1:1/db#t", Fault, "the database cannot be reached"),
        ("postgresql://u:a#{s}@127.0.0.1:1/db", SourceInvalid, "a database without a table"),
    ],
)
def test_a_database_that_cannot_be_used_never_shows_its_address(
    url: str, error: type[DataTrustError], expected: str, caplog: Any, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(error) as caught:
        frozen(url.format(s=SECRET))
    assert expected in str(caught.value)
    assert SECRET not in public(caught.value) + caplog.text + "".join(capfd.readouterr())


def test_a_database_that_works_logs_neither_address_nor_values(postgres: str, caplog: Any, capfd: Any) -> None:
    caplog.set_level(logging.DEBUG)
    rows = people(30).assign(town=SECRET)
    url = as_postgres(rows, postgres, "silent").replace("tester@", f"tester:{SECRET}@")
    caplog.clear()
    assert len(frozen(url, ALL, f"town = '{SECRET}' and age > 0")["age"]) == 30
    assert SECRET not in caplog.text + "".join(capfd.readouterr())


def test_a_table_that_is_not_there(postgres: str, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "empty.sqlite")):
        pass
    for url in (f"{postgres}#absent", f"{postgres}#clinic2.people", f"sqlite:///{tmp_path}/empty.sqlite#absent"):
        with pytest.raises(SourceInvalid, match="the database has no table"):
            frozen(url)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_text(SECRET * 1000)
    with pytest.raises(Fault, match=r"the database cannot be reached \(DatabaseError\)") as caught:
        frozen(f"sqlite:///{tmp_path}/x.sqlite#t")
    assert SECRET not in public(caught.value)


def test_a_database_without_a_column(postgres: str) -> None:
    url = as_postgres(people(20).drop(columns="bmi"), postgres, "short")
    with pytest.raises(SourceInvalid, match="the table has no column 'bmi'"):
        frozen(url)


def test_sqlite_keeps_a_text_in_any_column_and_it_is_found(tmp_path: Path) -> None:
    rows = people(20, missing=0)
    wrong = {"age": [SECRET], "smoker": [7], "visit": [SECRET], "bmi": [SECRET]}
    for name, value in wrong.items():
        other = rows.astype(object)
        other.loc[0, name] = value[0]
        url = as_sqlite(other, tmp_path / f"{name}.sqlite")
        for cohort in ("age < 200 and visit is not null", "age > 0 and bmi > 0 and visit > '1900-01-01'", "age < 10"):
            if cohort == "age < 10" and name != "age":
                continue
            with pytest.raises(SourceInvalid, match=f"column '{name}'") as caught:
                frozen(url, cohort=cohort)
            assert SECRET not in public(caught.value)


def test_an_empty_table_is_told_from_a_cohort_without_rows(postgres: str, tmp_path: Path) -> None:
    rows = people(20)
    for url in (as_postgres(rows, postgres, "none"), as_sqlite(rows, tmp_path / "none.sqlite")):
        assert len(frozen(url, cohort="age > 110")["age"]) == 0
    for url in (as_postgres(rows[:0], postgres, "nobody"), as_sqlite(rows[:0], tmp_path / "nobody.sqlite")):
        with pytest.raises(SourceInvalid, match="rows-present: the table has rows"):
            frozen(url, cohort="age > 110")


def test_several_rows_a_person_are_counted_as_one() -> None:
    dataset = PEOPLE.model_copy(update={"rows_per_person": 3})
    rows = pd.concat([people(20)] * 3, ignore_index=True)
    edition = freeze(dataset, Source(rows), ["age"], None)
    assert (edition.rows.n, edition.persons) == (60, 20)
    with pytest.raises(SourceInvalid, match="at most 3 rows a person"):
        freeze(dataset, Source(pd.concat([rows, rows[:1]])), ["age"], None)


def test_gzip_of_nothing(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "rows.csv.gz", "wt") as file:
        file.write("")
    with pytest.raises(SourceInvalid, match="has no header line"):
        frozen(tmp_path / "rows.csv.gz")
