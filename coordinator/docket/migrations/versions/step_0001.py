"""The state of datatrust 0.1.0: register and docket.  One that such a version has made is left as it is."""

from __future__ import annotations

from coordinator.docket.migrations.statements import run

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make what is missing."""
    run(
        "CREATE TABLE IF NOT EXISTS log ("
        "seq {integer} PRIMARY KEY, leaf {blob} NOT NULL, body {blob} NOT NULL){strict}",
        "CREATE TABLE IF NOT EXISTS head ("
        "one {integer} PRIMARY KEY CHECK (one = 0), size {integer} NOT NULL, peaks {blob} NOT NULL){strict}",
        "INSERT INTO head VALUES (0, 0, {empty}) ON CONFLICT DO NOTHING",
        "CREATE TABLE IF NOT EXISTS checkpoint (one {integer} PRIMARY KEY CHECK (one = 0), note TEXT NOT NULL){strict}",
        "CREATE TABLE IF NOT EXISTS journal_head (partner TEXT PRIMARY KEY, seq {integer} NOT NULL){strict}",
        "CREATE TABLE IF NOT EXISTS study ("
        "id TEXT PRIMARY KEY, number TEXT NOT NULL UNIQUE, state TEXT NOT NULL, study TEXT NOT NULL, "
        "mandate TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, at TEXT NOT NULL, ended TEXT NOT NULL DEFAULT ''){strict}",
        "CREATE TABLE IF NOT EXISTS used (id TEXT PRIMARY KEY){strict}",
        "CREATE TABLE IF NOT EXISTS revoked (digest TEXT NOT NULL, envelope TEXT NOT NULL){strict}",
        "CREATE TABLE IF NOT EXISTS against ("
        "digest TEXT NOT NULL, member TEXT NOT NULL, envelope TEXT NOT NULL, PRIMARY KEY (digest, member)){strict}",
        "CREATE TABLE IF NOT EXISTS told (kind TEXT NOT NULL, digest TEXT NOT NULL){strict}",
    )
