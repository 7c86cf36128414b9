"""Checks of a partner's rows: that they are there, are only read, and fulfil the dataset.  No value is ever shown."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy

from nodes.operate.findings import Finding, failure, ok, warning
from nodes.rows.cohort_rows import check_source, freeze
from nodes.rows.from_database import encrypted, is_here, writes_allowed
from nodes.rows.opt_outs import opted_out
from nodes.rows.source import Source, is_database, physical_names, scheme
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
    return ok("source", f"{_kind(source)}: reached, {len(physical_names(source))} columns")


def check_encryption(settings: NodeSettings) -> Finding:
    """Rows come from this machine, or over TLS."""
    source = _source(settings)
    url = str(source.url)
    if not is_database(source.url) or is_here(url):
        return ok("encryption", "the rows are on this machine")
    is_encrypted = encrypted(url)
    if is_encrypted:
        return ok("encryption", "the connection with the database is over TLS")
    wording = "is not encrypted" if is_encrypted is False else "may not be encrypted: it cannot be seen from here"
    remedy = "write ?sslmode=verify-full before the # of url in source.toml"
    return warning("encryption", f"the connection with the database {wording}", remedy)


def check_reading(settings: NodeSettings) -> Finding:
    """The node's account cannot write: on a database each write is tried, on no row, and undone."""
    source = _source(settings)
    url = str(source.url)
    if scheme(url) == "sqlite":
        name = sqlalchemy.make_url(url.rpartition("#")[0] or url).database or ""
        return _file(Path(name), "the SQLite file")
    if not is_database(source.url):
        return _file(Path(url), "the file")
    rights = writes_allowed(url, source.table)
    if rights:
        return failure("read-only", f"the database's account may write: {', '.join(rights)}", _READER)
    return ok("read-only", "every attempt to write was refused by the database")


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
    edition = freeze(dataset, _source(settings), [_first(dataset)], None)
    if edition.persons < k:
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


def _kind(source: Source) -> str:
    return scheme(str(source.url)).partition("+")[0] or Path(str(source.url)).suffix.removeprefix(".") or "file"


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
