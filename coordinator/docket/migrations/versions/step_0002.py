"""Roots that were accepted while the coordinator ran, what running studies keep, and an order of rows of our own."""

from __future__ import annotations

from coordinator.docket.migrations.statements import is_sqlite, run

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """New tables; rows of the old ones keep the order in which they were written."""
    run(
        "CREATE TABLE root (version {integer} PRIMARY KEY, envelope TEXT NOT NULL){strict}",
        "CREATE TABLE kept (study TEXT NOT NULL, name TEXT NOT NULL, raw {blob} NOT NULL, "
        "PRIMARY KEY (study, name)){strict}",
        "CREATE TABLE published (study TEXT NOT NULL, name TEXT NOT NULL, seq {integer} NOT NULL, "
        "PRIMARY KEY (study, name)){strict}",
        "CREATE TABLE lease (study TEXT PRIMARY KEY, holder TEXT NOT NULL, until {integer} NOT NULL){strict}",
        "CREATE TABLE said (study TEXT PRIMARY KEY, words TEXT NOT NULL, at TEXT NOT NULL){strict}",
    )
    run(
        "ALTER TABLE study ADD COLUMN seq {integer} NOT NULL DEFAULT 0",
        "ALTER TABLE against ADD COLUMN seq {integer} NOT NULL DEFAULT 0",
        "ALTER TABLE told ADD COLUMN seq {integer} NOT NULL DEFAULT 0",
    )
    if is_sqlite():
        run(
            "UPDATE study SET seq = rowid",
            "UPDATE against SET seq = rowid",
            "UPDATE told SET seq = rowid",
            "PRAGMA user_version=2",
        )
