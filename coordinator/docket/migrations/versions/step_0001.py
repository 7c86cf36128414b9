"""The first version of the tables: register, docket, roots, and what running studies keep."""

from __future__ import annotations

from coordinator.docket.migrations.statements import is_sqlite, run_statements

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    run_statements(
        "CREATE TABLE log (seq {integer} PRIMARY KEY, leaf {blob} NOT NULL, body {blob} NOT NULL){strict}",
        "CREATE TABLE head ("
        "one {integer} PRIMARY KEY CHECK (one = 0), size {integer} NOT NULL, peaks {blob} NOT NULL){strict}",
        "INSERT INTO head VALUES (0, 0, {empty})",
        "CREATE TABLE checkpoint (one {integer} PRIMARY KEY CHECK (one = 0), note TEXT NOT NULL){strict}",
        "CREATE TABLE journal_head (partner TEXT PRIMARY KEY, seq {integer} NOT NULL){strict}",
        "CREATE TABLE published (study TEXT NOT NULL, name TEXT NOT NULL, seq {integer} NOT NULL, "
        "PRIMARY KEY (study, name)){strict}",
    )
    run_statements(
        "CREATE TABLE study ("
        "id TEXT PRIMARY KEY, number TEXT NOT NULL UNIQUE, state TEXT NOT NULL, study TEXT NOT NULL, "
        "mandate TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, at TEXT NOT NULL, ended TEXT NOT NULL DEFAULT '', "
        "seq {integer} NOT NULL){strict}",
        "CREATE TABLE used (id TEXT PRIMARY KEY){strict}",
        "CREATE TABLE revoked (digest TEXT NOT NULL, envelope TEXT NOT NULL){strict}",
        "CREATE TABLE against (digest TEXT NOT NULL, member TEXT NOT NULL, envelope TEXT NOT NULL, "
        "seq {integer} NOT NULL, PRIMARY KEY (digest, member)){strict}",
        "CREATE TABLE told (kind TEXT NOT NULL, digest TEXT NOT NULL, seq {integer} NOT NULL){strict}",
        "CREATE TABLE root (version {integer} PRIMARY KEY, envelope TEXT NOT NULL){strict}",
    )
    run_statements(
        "CREATE TABLE kept (study TEXT NOT NULL, name TEXT NOT NULL, raw {blob} NOT NULL, "
        "PRIMARY KEY (study, name)){strict}",
        "CREATE TABLE lease (study TEXT PRIMARY KEY, holder TEXT NOT NULL, until {integer} NOT NULL){strict}",
        "CREATE TABLE said (study TEXT PRIMARY KEY, words TEXT NOT NULL, at TEXT NOT NULL){strict}",
    )
    if is_sqlite():
        run_statements("PRAGMA user_version=1")
