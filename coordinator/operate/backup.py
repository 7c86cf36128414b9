"""A coordinator's backup: one tar file, whole under a passphrase, and what puts it back.

about.json                  which trust, when, and how large the register was
dataset.yaml charter/ roots/ results/ policies/NAME/ invitation.json, coordinator/engine/{ca,server}.pem
register.jsonl checkpoint   every entry in canonical JSON, one a line; the head, signed by the coordinator
docket.jsonl                the rows of the docket's tables
secrets                     coordinator.toml, the coordinator's, the authority's and the server's keys, the SuperLink's
                            secrets; under a passphrase, which vouches for all other files too (`backups.py`)

What running studies keep is left out: it holds exact totals, and a study that ran is not taken up again from a copy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from coordinator.docket.database import Database, open_database
from coordinator.operate.home import new_folder, replace_file, settings_toml, write_invitation
from coordinator.settings import CoordinatorSettings
from trust.canonical import Model, canonical, read_model
from trust.documents.register_checks import coordinator_key_history
from trust.documents.root import TrustRoot
from trust.errors import InvalidInput, Refused
from trust.files import read_file, read_secret, write_new
from trust.logs.checkpoint import read_checkpoint, register_origin
from trust.logs.merkle import Tree, leaf_hash
from trust.signing.backup_file import read_backup, write_backup
from trust.signing.envelope import Envelope
from trust.times import Time, write_time

__all__ = ["LEFT_OUT", "TABLES", "About", "backup", "restore"]

TABLES = (
    "head",
    "checkpoint",
    "journal_head",
    "study",
    "used",
    "revoked",
    "against",
    "told",
    "root",
    "published",
    "said",
)
"""Of the database, beside `log`, which is register.jsonl."""
LEFT_OUT = ("kept", "lease")
"""What belongs to running studies."""
_SECRETS = (
    "coordinator.toml",  # a password may stand in it
    "keys/coordinator.pem",
    "keys/authority.pem",
    "coordinator/engine/server.key",
    "coordinator/engine/control",
    "coordinator/engine/executor",
)
_PLAIN = (
    "dataset.yaml",
    "invitation.json",
    "keys/coordinator.pem.pub",
    "coordinator/engine/ca.pem",
    "coordinator/engine/server.pem",
)
_FOLDERS = ("charter", "roots", "results", "coordinator/engine/nodes")
_POLICIES = "policies"
"""What partners publish of their own policies, a folder each."""
_NAME = re.compile(
    rf"(?:{'|'.join(_FOLDERS)}|{_POLICIES}/[a-z0-9][a-z0-9-]{{0,62}})/[A-Za-z0-9][A-Za-z0-9_.-]{{0,200}}"
)


class About(Model):
    """about.json."""

    schema_: Literal["datatrust/backup/1"] = Field(default="datatrust/backup/1", alias="schema")
    trust: str
    at: Time
    root: int
    entries: int = Field(ge=0)


def backup(settings: CoordinatorSettings, out: Path, passphrase: str, now: datetime) -> About:
    """Write a new backup file, whole or not at all, while the coordinator may be running.

    Raises: InvalidInput, Fault; Refused (`log-corrupt`) for a register that was changed.
    """
    with closing(settings.docket()) as docket:  # verifies the register
        roots = docket.trust.roots
    with closing(open_database(settings.place)) as database, database.transaction():  # one state of all tables
        entries = [bytes(body) for (body,) in database.rows("SELECT body FROM log ORDER BY seq")]
        rows = b"".join(_lines(database))
        note = "".join(note for (note,) in database.rows("SELECT note FROM checkpoint"))
    files = {name: read_file(settings.folder / name) for name in _PLAIN if (settings.folder / name).exists()}
    published = sorted((settings.folder / _POLICIES).glob("*"))
    for folder in (
        *_FOLDERS,
        *(f"{_POLICIES}/{policy_folder.name}" for policy_folder in published if policy_folder.is_dir()),
    ):
        files_found = sorted((settings.folder / folder).glob("*"))
        files |= {f"{folder}/{path.name}": read_file(path) for path in files_found if path.is_file()}
    for number, envelope in enumerate(roots, 1):  # those too that came while it ran
        files.setdefault(f"roots/{number}.json", canonical(envelope.document()) + b"\n")
    files |= {
        "register.jsonl": b"".join(body + b"\n" for body in entries),
        "checkpoint": note.encode(),
        "docket.jsonl": rows,
    }
    trust = settings.trust.root.root.trust
    about = About(trust=trust, at=write_time(now), root=len(roots), entries=len(entries))
    files["about.json"] = about.canonical() + b"\n"
    policy_folder = {name: read_secret(settings.folder / name) for name in _SECRETS[1:]}
    policy_folder[_SECRETS[0]] = read_file(settings.file)
    write_backup(out, files, policy_folder, passphrase)
    return about


def _lines(database: Database) -> Iterator[bytes]:
    """Each row of the tables as a line of JSON, bytes as hex."""
    for table in TABLES:
        cursor = database.execute(f"SELECT * FROM {table}")  # noqa: S608 - a name of ours
        names = [column[0] for column in cursor.description]
        for row in cursor.fetchall():
            values = {
                name: {"hex": bytes(value).hex()} if isinstance(value, bytes | memoryview) else value
                for name, value in zip(names, row, strict=True)
            }
            yield canonical({"table": table, "row": values}) + b"\n"


# ---- back again


def restore(
    file: Path, home: Path, passphrase: str, *, checkpoint: str | None = None, database: str | None = None
) -> tuple[CoordinatorSettings, About, tuple[str, ...]]:
    """Put a backup back into a new folder; its settings, what the backup says, and the studies that it broke off.

    Args:
        checkpoint: a checkpoint of the register that somebody has kept, a note: the backup must contain it.
        database: coordinator.toml's `database`, instead of the one in the backup.

    Raises: InvalidInput for what is not a backup, a wrong passphrase, and a folder or a database that is not empty;
    Refused (`state-rolled-back`) where the register is behind the checkpoint or another.
    """
    files, partner_files = read_backup(file, passphrase)
    _check_whole(file, {**files, **partner_files})
    about = read_model(About, _json(files["about.json"]), InvalidInput, f"{str(file)!r}, about.json")
    entries = files["register.jsonl"].splitlines()
    if checkpoint is not None:
        _check_contains(checkpoint, entries, files)
    with new_folder(home) as beside:
        for name, raw in {**files, **partner_files}.items():
            if name in _PLAIN or name in _SECRETS or _NAME.fullmatch(name):
                path = beside / name
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_new(path, raw, 0o600)
        for folder in _FOLDERS[:3]:
            (beside / folder).mkdir(mode=0o700, exist_ok=True)
        settings = CoordinatorSettings(beside)
        if database is not None:
            settings = _at_another(settings, database)
        _fill(settings, entries, files["docket.jsonl"])
        broken = _broken_off(settings)
        write_invitation(settings)
    return CoordinatorSettings(home), about, broken


def _check_whole(file: Path, files: Mapping[str, bytes]) -> None:
    """Raises: InvalidInput for a backup of something else."""
    if lacking := {"about.json", "register.jsonl", "docket.jsonl", *_PLAIN[:1], *_SECRETS} - files.keys():
        raise InvalidInput(f"{str(file)!r} has no {min(lacking)}", expected="a backup of a coordinator")


def _check_contains(note: str, entries: list[bytes], files: Mapping[str, bytes]) -> None:
    """Raises: Refused where the register does not contain what somebody else has seen of it."""
    names = sorted((name for name in files if name.startswith("roots/")), key=lambda name: (len(name), name))
    versions = [TrustRoot(Envelope.read(_json(files[name])).unverified_payload) for name in names]
    checkpoint = read_checkpoint(note, register_origin(versions[0].root.trust), coordinator_key_history(versions))
    if checkpoint.size > len(entries):
        text = f"the backup's register has {len(entries)} entries, and the checkpoint is of one with {checkpoint.size}"
        raise Refused("state-rolled-back", text, remedy="use a later backup: what others have seen must not be denied")
    if Tree(leaf_hash(body) for body in entries[: checkpoint.size]).root() != checkpoint.root:
        text = f"the backup's first {checkpoint.size} entries are not those of the checkpoint"
        raise Refused("state-rolled-back", text, remedy="use another backup, and tell the trust's auditor")


def _fill(settings: CoordinatorSettings, entries: list[bytes], rows: bytes) -> None:
    """Rows into an empty database.  Raises: InvalidInput where it is not, or cannot be written."""
    with closing(open_database(settings.place)) as database, database.transaction():
        if database.rows("SELECT 1 FROM log LIMIT 1") or database.rows("SELECT 1 FROM study LIMIT 1"):
            raise InvalidInput(
                "the database holds a coordinator's state already",
                expected="an empty one",
                remedy="create another, and name it with --database",
            )
        database.execute("DELETE FROM head")
        for seq, body in enumerate(entries):
            database.execute("INSERT INTO log (seq, leaf, body) VALUES (?, ?, ?)", (seq, leaf_hash(body), body))
        for line in rows.splitlines():
            line_fields = _json(line)
            table, row = line_fields["table"], line_fields["row"]
            if table not in TABLES or not all(re.fullmatch(r"[a-z_]+", name) for name in row):
                raise InvalidInput("a backup with a table that is not known", remedy="use a newer datatrust")
            values = tuple(bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for v in row.values())
            places = ", ".join("?" * len(row))
            database.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", values)  # noqa: S608


def _broken_off(settings: CoordinatorSettings) -> tuple[str, ...]:
    """End what ran: nodes have given answers that the copy does not have."""
    with closing(settings.docket()) as docket:
        studies_running = tuple(docket.ids("running"))
        for study in studies_running:
            text = "the study was broken off: the coordinator was restored from a backup"
            docket.refused(study, Refused("fault", text, remedy="file a new study"), "failed")
    return studies_running


def _at_another(settings: CoordinatorSettings, database: str) -> CoordinatorSettings:
    file_fields = settings.said.model_copy(update={"database": database})
    replace_file(settings.file, settings_toml(file_fields), 0o600)
    return CoordinatorSettings(settings.folder)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidInput("a file of the backup is not JSON", expected="a coordinator's backup") from None
