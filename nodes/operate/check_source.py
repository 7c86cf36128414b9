"""Checks of a partner's rows: that they are there, are only read, and fulfil the dataset.  No value is ever shown."""

from __future__ import annotations

import os
from pathlib import Path

from nodes.operate.findings import Finding, failure, ok, warning
from nodes.rows.cohort_rows import check_source, freeze
from nodes.rows.from_database import DatabaseTable
from nodes.rows.from_file import FileTable
from nodes.rows.opt_outs import opted_out
from nodes.rows.source import Source, table_of
from nodes.settings import NodeSettings
from trust.charters.partner_policy import floor_of
from trust.dataset.dataset import Dataset

__all__ = ["check_dataset", "check_encryption", "check_optouts", "check_persons", "check_reached", "check_reading"]

_READER = (
    "give the node an account of its own: CREATE ROLE reader LOGIN PASSWORD '…'; GRANT SELECT ON the table TO reader; "
    "and nothing else"
)


def check_reached(settings: NodeSettings) -> Finding:
    """The table is there, with columns."""
    source = _source(settings)
    table = table_of(source)
    return ok("source", f"{table.kind}: reached, {len(table.names())} columns")


def check_encryption(settings: NodeSettings) -> Finding:
    """Rows come from this machine, or over TLS."""
    table = table_of(_source(settings))
    if not isinstance(table, DatabaseTable) or table.is_local:
        return ok("encryption", "the rows are on this machine")
    is_encrypted = table.is_encrypted()
    if is_encrypted:
        return ok("encryption", "the connection with the database is over TLS")
    wording = "is not encrypted" if is_encrypted is False else "may not be encrypted: it cannot be seen from here"
    remedy = "write ?sslmode=verify-full before the # of url in source.toml"
    return warning("encryption", f"the connection with the database {wording}", remedy)


def check_reading(settings: NodeSettings) -> Finding:
    """The node's account cannot write; of a database its rights are asked, and nothing is tried."""
    table = table_of(_source(settings))
    if isinstance(table, FileTable):
        return _file(table.path, "the file")
    if not isinstance(table, DatabaseTable):
        return ok("read-only", "the rows are in memory")
    if table.file is not None:
        return _file(table.file, "the SQLite file")
    rights = table.write_rights()
    if rights is None:
        return warning("read-only", f"not checked: {table.kind} is not asked what the node's account may do", _READER)
    if rights:
        return failure("read-only", f"the database's account may write: {', '.join(rights)}", _READER)
    return ok("read-only", "the database's account has no right to write")


def check_dataset(settings: NodeSettings) -> Finding:
    """Columns, types, levels, one row a person: what the dataset says of the table."""
    decisions = check_source(settings.dataset(), _source(settings))
    if not decisions.ok:
        first = decisions.refusals[0]
        rest_note = f", and {len(decisions.refusals) - 1} more" if len(decisions.refusals) > 1 else ""
        return failure(
            "dataset", f"{first.rule}: {first.text}{rest_note}", f"{first.remedy}; datatrust node check shows all"
        )
    return ok("dataset", f"{len(decisions)} rules on columns, types, levels and persons hold")


def check_persons(settings: NodeSettings) -> Finding:
    """As many persons as the smallest group may have; with fewer no study is answered.  How many is not said."""
    dataset, charter = settings.dataset(), settings.charter()
    k = floor_of(charter, settings.policy(charter)).persons
    frozen = freeze(dataset, _source(settings), [_first(dataset)], None)
    if frozen.persons < k:
        return failure("persons", f"fewer than {k} persons", "every study would be refused here: look at the source")
    return ok("persons", f"{k} or more")


def check_optouts(settings: NodeSettings) -> Finding:
    """The list of who has opted out can be read.  How many are on it is not said."""
    source = settings.source()
    if source.opt_out is None:
        return ok("opt-outs", "no list; set opt_out in source.toml where persons may opt out")
    opted_out(source, settings.dataset())
    return ok("opt-outs", "the list can be read")


def _source(settings: NodeSettings) -> Source:
    return settings.source().checked(settings.dataset())


def _first(dataset: Dataset) -> str:
    """A column that can be frozen: the person's id may be any text."""
    other_columns = [column.name for column in dataset.columns if not column.derived and column.name != dataset.person]
    return next(iter(other_columns), dataset.names[0])


def _file(path: Path, subject: str) -> Finding:
    if not path.is_file():
        return failure("read-only", f"{subject} is not there", "correct url in source.toml")
    if os.geteuid() == 0:
        return warning("read-only", f"the node runs as root, who may write {subject}", "run it as a user of its own")
    if os.access(path, os.W_OK):
        return warning(
            "read-only", f"the node's user may write {subject}", f"chmod a-w {path.name}, or give it to another user"
        )
    return ok("read-only", f"the node's user cannot write {subject}")
