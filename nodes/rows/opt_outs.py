"""Who has opted out: the ids of a partner's list, read again before each study.

The persons in it are removed at once, before anything is counted, from every study from then on, from a kept edition
too.  What was released before is not called back.  A list that cannot be read refuses the study: to go on without it
would count persons who have said no.
"""

from __future__ import annotations

import csv
import numbers
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd

from nodes.rows.columns import columns_of
from nodes.rows.from_database import DatabaseTable, SourceAway
from nodes.rows.source import Source, is_database, open_table, physical_names, scheme, table_of
from nodes.rows.table import database
from trust.dataset.dataset import Dataset
from trust.errors import DataTrustError, Fault, SourceInvalid

__all__ = ["opted_out"]

_REMEDY = "correct opt_out in the source, or the list itself; no study runs before"
_OTHER_SEPARATORS = (";", "\t", "|")


def opted_out(source: Source, dataset: Dataset) -> frozenset[str]:
    """Ids of the persons who have opted out, as the texts that an edition has; empty where the source has no list.

    Raises: SourceInvalid where the list cannot be read, naming the remedy, SourceAway where its database does not
    answer; no message holds an id.
    """
    if source.opt_out is None:
        return frozenset()
    source.checked(dataset)
    try:
        return _texts(_table(source, {dataset.person, source.physical(dataset.person)}))
    except SourceInvalid as wrong:
        raise SourceInvalid(f"the list of opt-outs: {wrong.text}", expected=wrong.expected, remedy=_REMEDY) from None
    except SourceAway:
        raise SourceAway("the list of opt-outs: its database does not answer", remedy=_REMEDY) from None
    except (DataTrustError, OSError, ValueError) as wrong:
        why = type(wrong).__name__ if not isinstance(wrong, Fault) else "the database cannot be read"
        raise SourceInvalid(f"the list of opt-outs cannot be read ({why})", remedy=_REMEDY) from None


def _table(source: Source, names: set[str]) -> Source:
    """The list as a source of one column, `id`; `names` are those that its heading may have."""
    place = source.opt_out
    if isinstance(place, str) and place.startswith("#"):
        table = table_of(source)
        if not isinstance(table, DatabaseTable):
            raise SourceInvalid("a table, and the source is not a database", expected="a path, or a URL with #table")
        place = table.address + place
    if isinstance(place, str) and is_database(place):
        list_source = Source(place)
        present = physical_names(list_source)
        columns = [name for name in present if name in names] or present
        if len(columns) != 1:
            raise SourceInvalid(
                f"a table of {len(present)} columns, none of which is the dataset's id", expected="the id's column"
            )
        return Source(place, columns={"id": columns[0]})
    if isinstance(place, str | Path):
        if scheme(str(place)):
            raise SourceInvalid(f"an address with the scheme {scheme(str(place))!r}", expected="a file or a database")
        return _one_column(_lines(Path(place), names))
    return _one_column([_id_text(value) for value in place])


def _lines(path: Path, names: set[str]) -> list[str]:
    """The ids of a text, one a line; a first line that is the id's name is its heading."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if any(field.strip() for field in row)]
    except OSError as wrong:
        raise SourceInvalid(f"{path.name!r} cannot be read ({wrong.strerror})", expected="a file") from None
    except (UnicodeDecodeError, csv.Error):
        raise SourceInvalid(f"{path.name!r} is not a UTF-8 text", expected="one id a line") from None
    if any(len(row) > 1 or any(mark in row[0] for mark in _OTHER_SEPARATORS) or "\0" in row[0] for row in rows):
        raise SourceInvalid(f"{path.name!r} has a line with several fields", expected="one id a line")
    ids = [row[0] for row in rows]
    return ids[1:] if ids and ids[0].strip() in names else ids


def _id_text(value: Any) -> str:
    """One id of a list in Python: a text or a number."""
    if not isinstance(value, str | numbers.Number | UUID) or isinstance(value, bool | np.bool_) or value != value:
        raise SourceInvalid("a list with something that is not an id", expected="texts or whole numbers")
    return str(value)


def _one_column(ids: Iterable[str]) -> Source:
    return Source(pd.DataFrame({"id": pd.Series(list(ids), dtype=object)}))


def _texts(table: Source) -> frozenset[str]:
    with database() as connection:
        open_table(table, connection, [table.physical("id")])
        person = columns_of(table, connection).person("id")
        rows = connection.execute(f"SELECT DISTINCT {person} AS id FROM raw").fetchall()  # noqa: S608 - quoted
    return frozenset(str(row[0]) for row in rows if row[0] is not None)
