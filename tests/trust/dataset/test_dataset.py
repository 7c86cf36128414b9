"""A dataset is closed: a misspelt key, wherever it stands, is an error with the nearest name, never a lost bound."""

from __future__ import annotations

import re
from pathlib import Path
from time import perf_counter

import pytest
import yaml

from tests.conftest import DATA
from trust.dataset.dataset import Dataset
from trust.errors import DatasetInvalid, StudyInvalid

HEART = (DATA / "heart.yaml").read_text()
HEAD = "apiVersion: v3.1.0\nkind: DataContract\nid: heart\nname: heart\nversion: 1.0.0\nstatus: active\n"
TABLE = "schema:\n  - name: patients\n    logicalType: object\n    properties:\n"


def with_column(column: str) -> str:
    return f"{HEAD}{TABLE}      - {{name: age, logicalType: number}}\n      - {{{column}}}\n"


X = "name: x, logicalType: number"
S = "name: x, logicalType: string"
B = "name: x, logicalType: boolean"

COLUMNS = {
    f"{X}, logicalTypeOptions: {{minimun: 3}}": (
        "logicalTypeOptions of column 'x' has an unknown key 'minimun'; expected 'minimum', perhaps"
    ),
    f"{X}, logicalTypeOption: {{minimum: 3}}": (
        "column 'x' has an unknown key 'logicalTypeOption'; expected 'logicalTypeOptions'"
    ),
    f"{S}, enumm: [{{value: F}}]": "column 'x' has an unknown key 'enumm'; expected 'enum', perhaps",
    f"{S}, enum: [{{valeu: F}}]": "enum of column 'x' has an unknown key 'valeu'; expected 'value', perhaps",
    f"{X}, customProperties: [{{property: unitt, value: a}}]": (
        "has an unknown property 'unitt'; expected 'unit', perhaps"
    ),
    f"{X}, customProperties: [{{propertie: unit, value: a}}]": (
        "has an unknown key 'propertie'; expected 'property', perhaps"
    ),
    f"{X}, customProperties: [{{property: unit, value: a}}, {{property: unit, value: b}}]": (
        "has 'unit' twice; expected it once"
    ),
    f"{X}, customProperties: [{{property: grid, value: {{unit: d, stepp: 30, until: 90}}}}]": (
        "unknown field 'grid.stepp'; expected 'step'"
    ),
    f"{X}, customProperties: [{{property: magnitude, value: ture}}]": (
        "column 'x', field 'magnitude': Input should be a valid boolean"
    ),
    f"{S}, customProperties: [{{property: magnitude, value: true}}]": (
        "column 'x': only a numeric column can be a magnitude"
    ),
    "name: x, logicalType: numbre": "column 'x' has the logicalType 'numbre'; expected 'number', perhaps",
    "name: x": "column 'x' has the logicalType ''; expected one of: boolean, date, integer, number, string",
    "name: 3x, logicalType: number": "a column's name is letters, digits, _ and . (at most 63)",
    "name: partner, logicalType: number": "'partner' is reserved: it is the partner that holds a row",
    "name: age, logicalType: number": "column 'age' stands twice",
    "name: AGE, logicalType: number": "columns 'age' and 'AGE' have the same name but for capitals",
    f"{X}, logicalTypeOptions: {{minimum: a}}": "column 'x', field 'minimum': a real number is needed",
    f"{X}, logicalTypeOptions: {{minimum: .nan}}": "column 'x', field 'minimum': a finite number is needed",
    f"{X}, logicalTypeOptions: {{minimum: 1e400}}": "column 'x', field 'minimum': a finite number is needed",
    f"{X}, logicalTypeOptions: {{minimum: 5, maximum: 3}}": "column 'x': minimum is above maximum",
    f"{S}, logicalTypeOptions: {{minimum: 5}}": "column 'x': only a number has a minimum and a maximum",
    f"{S}, enum: [{{value: yes}}]": (
        "neither a whole number nor a text; expected such as value: 1, or value: F; to fix it: quote yes, no"
    ),
    f"{S}, enum: [{{value: 2020-01-01}}]": "neither a whole number nor a text",
    f"{S}, enum: [{{value: 1}}]": "column 'x': each value of its enum must be of its type, string",
    f"{S}, enum: [{{value: F}}, {{value: F}}]": "column 'x': a value stands twice in its enum",
    f"{X}, enum: [{{value: 1}}]": "column 'x': only an integer or a string has an enum",
    f"{S}, enum: [F]": "not an Open Data Contract, at 'schema.0.properties.1.enum.0'",
    f"{X}, name: y": "not valid YAML at line 12: the key 'name' stands twice",
    f"{B}, transformLogic: agee > 1": (
        "transformLogic of 'x': 'agee' is not a column of dataset 'heart'; expected 'age', perhaps"
    ),
    f"{B}, transformLogic: lower(age) > 1": "transformLogic of 'x': a function call in a cohort",
    f"{X}, transformLogic: log(age)": (
        "transformLogic of 'x': log(age) needs values above 0, and the dataset allows others"
    ),
    f"{X}, transformLogic: age ** 0.5": "needs values of 0 or more, and the dataset allows others",
    f"{S}, transformLogic: age > 1": "column 'x' is derived, a string; expected boolean or number",
    f"{B}, transformLogic: age > 1, transformSourceObjects: [zz]": (
        "'x' names 'zz' in transformSourceObjects, never read"
    ),
    f"{B}, transformLogic: age > 1, transformSourceObjects: ['a b']": (
        "'x' cannot read 'a b'; expected names of columns of the table"
    ),
    f"{B}, transformLogic: x, transformSourceObjects: [x]": "'x' cannot read 'x'",
    f"{B}, transformSourceObjects: [num]": "'x' has transformSourceObjects, but no transformLogic",
}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_faulty_column(column: str) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        Dataset.parse(with_column(column))
    assert COLUMNS[column] in str(caught.value)


WHOLE = {
    "a misspelt key": (HEART + "\nnmae: x\n", "the dataset has an unknown key 'nmae'; expected 'name', perhaps"),
    "a misspelt key of a table": (
        HEART.replace("logicalType: object", "logicalTyp: object"),
        "'logicalTyp'; expected 'logicalType'",
    ),
    "a misspelt key of a description": (HEART.replace("purpose:", "purpos:"), "'purpos'; expected 'purpose', perhaps"),
    "a misspelt property": (
        HEART.replace("rowsPerPerson", "rowsPerPerso"),
        "'rowsPerPerso'; expected 'rowsPerPerson', perhaps",
    ),
    "a key twice": (HEART + "\nid: x\n", "the key 'id' stands twice"),
    "an alias": (HEART + "\ntags: [&a b, *a]\n", "an alias, and aliases are not allowed"),
    "a tag": (HEART + "\ntags: !!python/object:os.system x\n", "a tag, and tags are not allowed"),
    "a merge": (HEART + "\n<<: {tags: [a]}\n", "not valid YAML at line"),
    "a key that is a number": (HEART + "\n3: x\n", "a key that is not text"),
    "a tabulator": (HEART + "\n\tx: 1\n", r"found character '\t'"),
    "two documents": (HEART + "\n---\n" + HEART, "not valid YAML"),
    "no columns": (f"{HEAD}schema:\n  - name: p\n", "a dataset without columns; expected schema"),
    "no table": (HEAD, "0 tables in schema; expected exactly one"),
    "two tables": (HEART + "  - {name: other}\n", "2 tables in schema; expected exactly one"),
    "another kind": (
        HEART.replace("DataContract", "DataContrat"),
        "kind is not DataContract; expected kind: DataContract",
    ),
    "another version": (
        HEART.replace("v3.1.0", "v2.2.0"),
        "apiVersion is not of version 3; expected apiVersion: v3.1.0",
    ),
    "capitals in its id": (HEART.replace("id: heart", "id: Heart"), "the dataset, field 'id'"),
    "no row a person": (
        HEART.replace("rowsPerPerson, value: 1", "rowsPerPerson, value: 0"),
        "greater than or equal to 1",
    ),
    "rows a person as yes": (
        HEART.replace("rowsPerPerson, value: 1", "rowsPerPerson, value: true"),
        "field 'rows_per_person'",
    ),
    "rows a person without persons": (
        HEART.replace("rowsPerPerson, value: 1", "rowsPerPerson, value: 2"),
        "needs a column that says",
    ),
    "a list": ("- a\n", "the dataset is not a mapping of keys to values"),
    "nothing": ("", "the dataset is not a mapping of keys to values"),
    "a control character": (HEART + "\x00", "not valid YAML"),
    "deep brackets": ("[" * 100_000, "nested too deeply"),
    "deep dashes": ("- " * 50_000, "nested too deeply"),
    "deep indentation": ("\n".join(" " * i + "a:" for i in range(1_000)), "nested too deeply"),
    "two megabytes": ("a: b\n" * 400_000, "a dataset of 2,000,000 characters; expected at most 1,048,576"),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_faulty_document(case: str) -> None:
    text, expected = WHOLE[case]
    with pytest.raises(DatasetInvalid) as caught:
        Dataset.parse(text)
    assert expected in str(caught.value)


def _keys(value: object) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(k for inner in value.values() for k in _keys(inner))]
    return [k for inner in value for k in _keys(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize("key", sorted(set(_keys(yaml.safe_load(HEART)))))
def test_each_key_that_a_dataset_uses_is_missed_when_it_is_misspelt(key: str) -> None:
    with pytest.raises(DatasetInvalid, match="unknown key"):
        Dataset.parse(re.sub(rf"\b{key}:", f"{key}x:", HEART))


@pytest.mark.slow
def test_sixty_thousand_keys_take_linear_time() -> None:
    began = perf_counter()
    with pytest.raises(DatasetInvalid, match="unknown key 'k0'"):
        Dataset.parse("\n".join(f"k{i}: 1" for i in range(60_000)))
    assert perf_counter() - began < 60


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"name: \xe9", "a dataset that is not UTF-8 text; to fix it: save it as UTF-8"),
        (None, "cannot be read (No such file"),
    ],
)
def test_a_file_that_cannot_be_read(content: bytes | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetInvalid) as caught:
        Dataset.load(path)
    assert expected in str(caught.value)


def test_a_column_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(StudyInvalid, match="column 'thalch' is not in dataset 'heart'; expected 'thalach', perhaps"):
        Dataset.parse(HEART).column("thalch")


def test_the_digest_is_of_what_is_said_and_not_of_how() -> None:
    one = Dataset.parse(HEART)
    assert Dataset.parse(HEART + "\n# a comment\n").digest() == one.digest()
    assert Dataset.parse(HEART.replace("maximum: 110", "maximum: 111")).digest() != one.digest()
    assert Dataset.model_validate(one.document()) == one
