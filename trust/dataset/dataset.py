"""A dataset: the shared, versioned description of what every partner's rows look like.

Written as an Open Data Contract Standard v3 document (bitol-io/open-data-contract-standard), read through its
library, then held to a closed list of keys: that library accepts a misspelt key, a lost bound included.
Format: docs/formats.md, 2.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml
from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import Field, StrictInt, StrictStr, ValidationError, model_validator

from trust.canonical import Model, Real, read_model
from trust.dataset.cohort import Cohort
from trust.dataset.expressions import Expression, parse_expression
from trust.errors import DatasetInvalid, DataTrustError, StudyInvalid, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LARGEST_VALUE", "PARTNER", "Column", "Dataset", "Level", "TimeGrid"]

PARTNER = "partner"
"""Reserved: the partner that holds a row.  Its levels are the roster; no dataset declares it."""

LARGEST_VALUE = 1e27
"""The largest size of a number in a column without bounds: a secure sum takes no larger ones (below 2^93)."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,62}")
_LARGEST_BYTES, _DEEPEST = 1 << 20, 20
_TOP = {"apiVersion", "kind", "id", "name", "version", "status", "description", "domain", "tenant", "tags"} | {
    "dataProduct", "customProperties", "schema",
}  # fmt: skip
_OBJECT = {"name", "logicalType", "physicalName", "businessName", "description", "tags", "properties"}
_PROPERTY = {"name", "logicalType", "required", "unique", "businessName", "description", "tags", "enum"} | {
    "logicalTypeOptions", "customProperties", "transformLogic", "transformSourceObjects", "primaryKey",
}  # fmt: skip
_KEYS: dict[str, set[str]] = {
    "enum": {"value", "description"},
    "logicalTypeOptions": {"minimum", "maximum"},
    "customProperties": {"property", "value"},
    "description": {"purpose", "usage", "limitations"},
}

Type = Literal["integer", "number", "string", "boolean", "date"]


class Level(Model):
    """One value of a categorical column, and what it means."""

    value: StrictInt | StrictStr
    label: str = ""


class TimeGrid(Model):
    """The public grid of times on which survival is counted."""

    unit: str
    step: Real = Field(gt=0)
    until: Real = Field(gt=0)


class Column(Model):
    """One column: a measurement (numeric), a category (`levels`), a boolean, a text or a date."""

    name: str
    type: Type
    required: bool = False
    minimum: Real | None = None
    maximum: Real | None = None
    levels: tuple[Level, ...] = ()
    unit: str = ""
    label: str = ""
    description: str = ""
    derived: str = ""
    sources: tuple[str, ...] = ()
    magnitude: bool = False
    grid: TimeGrid | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Column:
        if not _NAME.fullmatch(self.name):
            raise ValueError("a column's name is letters, digits, _ and . (at most 63), beginning with a letter")
        if self.name == PARTNER:
            raise ValueError("'partner' is reserved: it is the partner that holds a row")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("minimum is above maximum")
        if self.type not in ("integer", "number") and (self.minimum is not None or self.maximum is not None):
            raise ValueError("only a number has a minimum and a maximum")
        if self.levels and self.type not in ("integer", "string"):
            raise ValueError("only an integer or a string has an enum")
        value_type = str if self.type == "string" else int
        if any(type(level.value) is not value_type for level in self.levels):
            raise ValueError(f"each value of its enum must be of its type, {self.type}")
        if len({level.value for level in self.levels}) != len(self.levels):
            raise ValueError("a value stands twice in its enum")
        if self.magnitude and not self.numeric:
            raise ValueError("only a numeric column can be a magnitude")
        return self

    @property
    def numeric(self) -> bool:
        """A measurement: a number without an enum; never a group."""
        return self.type in ("integer", "number") and not self.levels

    @property
    def categorical(self) -> bool:
        """A group: an enum, or a boolean with its two levels."""
        return bool(self.levels) or self.type == "boolean"

    @property
    def values(self) -> tuple[bool | int | str, ...]:
        """The levels in their order, the first is the reference; empty for what is not a group."""
        return (False, True) if self.type == "boolean" else tuple(level.value for level in self.levels)

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value allowed; infinite where none is declared, 0 and 1 for a boolean."""
        if self.type == "boolean":
            return 0.0, 1.0
        low = -math.inf if self.minimum is None else self.minimum
        return low, math.inf if self.maximum is None else self.maximum

    @property
    def span(self) -> tuple[float, float]:
        """Smallest and largest value that a node lets through: the bounds, and 1e27 in size where none is declared."""
        low, high = self.bounds
        return max(low, -LARGEST_VALUE), min(high, LARGEST_VALUE)


class Dataset(Model):
    """The shared description.  Its digest is what studies and mandates name."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    name: str
    version: str
    description: str = ""
    person: str = "row"
    rows_per_person: StrictInt = Field(default=1, ge=1)
    columns: tuple[Column, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Dataset:
        names_by_case: dict[str, str] = {}
        for column in self.columns:
            first_spelling = names_by_case.setdefault(column.name.lower(), column.name)
            if first_spelling == column.name and first_spelling is not column.name:
                raise ValueError(f"column {first_spelling!r} stands twice")
            if first_spelling != column.name:
                raise ValueError(f"columns {first_spelling!r} and {column.name!r} have the same name but for capitals")
        if self.person != "row" and not _NAME.fullmatch(self.person):
            raise ValueError("person is a column's name, or 'row' where each row is one person")
        if self.person == "row" and self.rows_per_person != 1:
            raise ValueError("rowsPerPerson above 1 needs a column that says whose row it is (person)")
        if self.person in names_by_case.values() and self.column(self.person).derived:
            raise ValueError("the person's column cannot be derived")
        return self

    # ---- reading

    @classmethod
    def load(cls, path: str | Path) -> Dataset:
        """Read `dataset.yaml`.  Raises: DatasetInvalid."""
        try:
            raw = Path(path).read_bytes()
        except OSError as wrong:
            raise DatasetInvalid(
                f"the dataset {str(path)!r} cannot be read ({wrong.strerror})",
                remedy="`datatrust dataset draft FILE` writes a first one",
            ) from None
        try:
            return cls.parse(raw.decode("utf-8"))
        except UnicodeDecodeError:
            raise DatasetInvalid("a dataset that is not UTF-8 text", remedy="save it as UTF-8") from None

    @classmethod
    def parse(cls, text: str) -> Dataset:
        """Read the text of an ODCS document.  Raises: DatasetInvalid."""
        document = _yaml(text)
        _only(document, _TOP, "the dataset")
        try:
            OpenDataContractStandard.model_validate(document)
        except ValidationError as wrong:
            first = wrong.errors(include_url=False, include_input=False)[0]
            path = ".".join(map(str, first["loc"]))
            raise DatasetInvalid(f"not an Open Data Contract, at {path!r}: {first['msg']}") from None
        return cls.from_document(document)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Dataset:
        """From the parsed ODCS document, every key held to the closed list.  Raises: DatasetInvalid."""
        if document.get("kind") != "DataContract":
            raise DatasetInvalid("kind is not DataContract", expected="kind: DataContract")
        if not str(document.get("apiVersion", "")).startswith("v3."):
            raise DatasetInvalid("apiVersion is not of version 3", expected="apiVersion: v3.1.0")
        objects = document.get("schema") or []
        if len(objects) != 1:
            raise DatasetInvalid(f"{len(objects)} tables in schema", expected="exactly one")
        table = _mapping(objects[0], "schema")
        _only(table, _OBJECT, f"schema {table.get('name', '')!r}")
        extra = _custom(document, {"person", "rowsPerPerson"}, "the dataset")
        fields = {
            "id": document.get("id"),
            "name": document.get("name") or document.get("id"),
            "version": str(document.get("version", "")),
            "description": (document.get("description") or {}).get("purpose", ""),
            "person": extra.get("person", "row"),
            "rows_per_person": extra.get("rowsPerPerson", 1),
            "columns": [_column(_mapping(p, "a column")) for p in table.get("properties") or []],
        }
        if not fields["columns"]:
            raise DatasetInvalid("a dataset without columns", expected="schema: … properties: …, one entry a column")
        dataset = read_model(cls, fields, DatasetInvalid, "the dataset")
        dataset._check_derived()
        return dataset

    def _check_derived(self) -> None:
        """Derived columns must parse, and read only what is declared or named as a source."""
        plain = {c.name: c for c in self.columns if not c.derived}
        derived = {c.name.lower() for c in self.columns} - {name.lower() for name in plain}
        for column in self.columns:
            if not column.derived:
                if column.sources:
                    raise DatasetInvalid(f"{column.name!r} has transformSourceObjects, but no transformLogic")
                continue
            for name in column.sources:
                if not _NAME.fullmatch(name) or name == PARTNER or name.lower() in derived:
                    raise DatasetInvalid(
                        f"{column.name!r} cannot read {name!r}", expected="names of columns of the table"
                    )
            readable = self._readable(column)
            try:
                used = self._derivation(column, readable).columns
            except DataTrustError as wrong:
                raise DatasetInvalid(f"transformLogic of {column.name!r}: {wrong}") from None
            unread = set(column.sources) - set(used) - plain.keys()
            if unread:
                raise DatasetInvalid(f"{column.name!r} names {min(unread)!r} in transformSourceObjects, never read")

    def _readable(self, column: Column) -> Dataset:
        """What a derived column may read: columns that are not derived, and its own undeclared sources."""
        plain = tuple(c for c in self.columns if not c.derived)
        names = {c.name for c in plain}
        hidden = tuple(Column(name=s, type="number") for s in column.sources if s not in names)
        return self.model_copy(update={"columns": plain + hidden})

    def _derivation(self, column: Column, readable: Dataset) -> Cohort | Expression:
        if column.type == "boolean":
            return Cohort.parse(column.derived, readable)
        if column.type in ("integer", "number") and not column.levels:
            return parse_expression(column.derived, readable)
        raise DatasetInvalid(f"column {column.name!r} is derived, a {column.type}", expected="boolean or number")

    def derivation(self, name: str) -> Cohort | Expression:
        """How a derived column follows from others: a condition (boolean) or an arithmetic expression."""
        column = self.column(name)
        return self._derivation(column, self._readable(column))

    # ---- writing

    @classmethod
    def draft(cls, frame: pd.DataFrame, person: str | None = None, persons: int = 11) -> Dataset:
        """Propose a description of these rows: bounds rounded outward, levels of few persons left out.

        Raises: DatasetInvalid.  `trust.dataset.draft.draft_dataset` also says what it left out and why.
        """
        from trust.dataset.draft import draft_dataset

        return draft_dataset(frame, person=person, persons=persons).dataset

    def to_yaml(self) -> str:
        """The ODCS document, which `parse` reads back equal."""
        from trust.dataset.odcs import write_yaml

        return write_yaml(self)

    # ---- asking

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(c.name for c in self.columns)

    def __contains__(self, name: object) -> bool:
        return any(c.name == name for c in self.columns)

    def column(self, name: str) -> Column:
        """The column of that name.  Raises: StudyInvalid with the nearest name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise StudyInvalid(
            f"column {name!r} is not in dataset {self.id!r}",
            expected=nearest(name, self.names),
            remedy="`datatrust dataset show DATASET.yaml` lists the columns",
        )


def _yaml(text: str) -> dict[str, Any]:
    if len(text) > _LARGEST_BYTES:
        raise DatasetInvalid(f"a dataset of {len(text):,} characters", expected=f"at most {_LARGEST_BYTES:,}")
    try:
        document = yaml.load(text, Loader=_ClosedLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as wrong:
        mark = getattr(wrong, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(wrong, "problem", None) or "it cannot be parsed"
        raise DatasetInvalid(f"a dataset that is not valid YAML{place}: {problem}") from None
    return _mapping(document, "the dataset")


class _ClosedLoader(yaml.SafeLoader):
    """SafeLoader without aliases (they can blow up), tags, deep nesting and duplicate keys (the last one would win)."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        start_mark = event.start_mark
        if isinstance(event, yaml.events.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias, and aliases are not allowed", start_mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(None, None, "a tag, and tags are not allowed", start_mark)
        if self._depth > _DEEPEST:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = set()
        for inner, _ in node.value:
            key = self.construct_object(inner, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, "a key that is not text", inner.start_mark)
            if key in keys:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", inner.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep)


def _mapping(value: Any, subject: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DatasetInvalid(f"{subject} is not a mapping of keys to values")
    return value


def _only(document: dict[str, Any], allowed_keys: set[str], place: str) -> None:
    for key, value in document.items():
        if key not in allowed_keys:
            remedy = "correct the name, or leave it out"
            raise DatasetInvalid(
                f"{place} has an unknown key {key!r}", expected=nearest(key, allowed_keys), remedy=remedy
            )
        if key in _KEYS and not isinstance(value, str):
            for part in value if isinstance(value, list) else [value]:
                _only(_mapping(part, f"{key} of {place}"), _KEYS[key], f"{key} of {place}")


def _custom(document: dict[str, Any], allowed_keys: set[str], place: str) -> dict[str, Any]:
    """customProperties as a dict, each of a known name, none twice."""
    properties: dict[str, Any] = {}
    for item in document.get("customProperties") or []:
        name = str(item.get("property", ""))
        if name not in allowed_keys:
            raise DatasetInvalid(
                f"customProperties of {place} has an unknown property {name!r}", expected=nearest(name, allowed_keys)
            )
        if name in properties:
            raise DatasetInvalid(f"customProperties of {place} has {name!r} twice", expected="it once")
        properties[name] = item.get("value")
    return properties


def _column(document: dict[str, Any]) -> Column:
    """A Column from an ODCS property."""
    name = str(document.get("name", ""))
    place = f"column {name!r}"
    _only(document, _PROPERTY, place)
    extra = _custom(document, {"unit", "magnitude", "grid"}, place)
    options = document.get("logicalTypeOptions") or {}
    kind = str(document.get("logicalType", ""))
    if kind not in get_args(Type):
        raise DatasetInvalid(f"{place} has the logicalType {kind!r}", expected=nearest(kind, get_args(Type)))
    for entry in document.get("enum") or []:
        if type(entry.get("value")) not in (int, str):
            got = f"{place}: its enum has a value that is neither a whole number nor a text"
            raise DatasetInvalid(
                got, expected="such as value: 1, or value: F", remedy="quote yes, no and dates: value: 'no'"
            )
    fields = {
        "name": name,
        "type": kind,
        "required": document.get("required", False),
        "minimum": options.get("minimum"),
        "maximum": options.get("maximum"),
        "levels": [{"value": v.get("value"), "label": v.get("description") or ""} for v in document.get("enum") or []],
        "unit": extra.get("unit", ""),
        "label": document.get("businessName") or "",
        "description": document.get("description") or "",
        "derived": document.get("transformLogic") or "",
        "sources": document.get("transformSourceObjects") or [],
        "magnitude": extra.get("magnitude", False),
        "grid": extra.get("grid"),
    }
    return read_model(Column, {k: v for k, v in fields.items() if v is not None}, DatasetInvalid, place)
