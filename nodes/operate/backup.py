"""What a backup of a home holds, and what a home is after it was put back; the file itself:
`trust/signing/backup_file.py`.

It holds the settings, the keys, the trust root's versions, the partner's policy and the journal's entries with a signed
checkpoint.  It never holds state.sqlite, uploads or editions: a node put back from a copy of its state would give sums
again that it has given, under masks that it has used, and would not know what it has answered since.  So a restored
home has no state, closes every study by not knowing it, and serves only with the quorum's consent
(`nodes/state/restored.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from nodes.keys import NodeKeys
from nodes.settings import NodeSettings
from nodes.state.journal import Journal
from nodes.state.read_only import opened
from nodes.state.restored import FILE, Restored, restored
from trust.errors import InvalidInput
from trust.files import write_new, writing
from trust.logs.checkpoint import journal_origin
from trust.times import now, write_time

__all__ = ["JOURNAL", "collect", "export", "put_back"]

JOURNAL, CHECKPOINT = "journal.jsonl", "journal.checkpoint"
_PUBLIC = ("partner.json", "dataset.yaml", "connection/ca.pem", "roots/*.json", "charter/*")
_SECRET = (
    "node.toml", "source.toml", "restored", "policy/*", "keys/*.pem", "keys/next/*.pem", "connection/node.pem",
)  # fmt: skip
_PLACES = frozenset((".", "connection", "roots", "charter", "policy", "keys", "keys/next"))


def export(settings: NodeSettings) -> tuple[bytes, str, int]:
    """The journal's entries, each on a line in canonical form, its signed checkpoint, and how many entries there are.

    Raises: InvalidInput where there is no journal, JournalCorrupt where it is not as it was written.
    """
    with opened(settings.own, "the node") as db:
        journal = Journal(db, make=False)
        journal.verify()
        lines = [entry.canonical() for entry in journal.entries()]
        note = journal.checkpoint(journal_origin(settings.root().root.trust, settings.name), settings.identity())
    return b"".join(line + b"\n" for line in lines), note, len(lines)


def collect(settings: NodeSettings) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Files of a backup by name: those that may be read by others, and those that may not.

    Raises: InvalidInput, JournalCorrupt.
    """
    NodeKeys.read(settings.own)
    public, secret = _files(settings.own, _PUBLIC), _files(settings.own, _SECRET)
    if (settings.own / "state.sqlite").is_file():
        lines, note, _ = export(settings)
        secret |= {JOURNAL: lines}
        public |= {CHECKPOINT: note.encode()}
    return public, secret


def _files(own_folder: Path, patterns: tuple[str, ...]) -> dict[str, bytes]:
    paths = sorted({path for pattern in patterns for path in own_folder.glob(pattern) if path.is_file()})
    return {path.relative_to(own_folder).as_posix(): path.read_bytes() for path in paths}


def put_back(home: Path, public: Mapping[str, bytes], secret: Mapping[str, bytes]) -> NodeSettings:
    """Write a backup's files into an empty home, and mark it as restored.

    Raises: InvalidInput where the home is not empty, or the backup is of no node.
    """
    if home.exists() and any(home.iterdir()):
        raise InvalidInput(f"{str(home)!r} is not empty", expected="a new folder", remedy="name another with --home")
    files = {**public, **secret}
    for name in files:
        path = PurePosixPath(name)
        if path.as_posix() != name or path.parent.as_posix() not in _PLACES or not path.name.strip("."):
            raise InvalidInput(f"a backup with a file {name[:80]!r}", expected="the files of a node")
    with writing(home, "name another folder"):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        for name, content in files.items():
            if name == FILE:
                continue
            (home / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_new(home / name, content, 0o644 if name in public else 0o600)
        size = files.get(JOURNAL, b"").count(b"\n")
        write_new(home / FILE, _mark(home, files.get(FILE), size).canonical(), 0o600)
    return NodeSettings.at(home)


def _mark(home: Path, mark_before: bytes | None, size: int) -> Restored:
    """Raises: InvalidInput."""
    settings = NodeSettings.at(home)
    keys = [settings.identity().public.hex()]
    if mark_before is not None:  # a home that was restored once already
        (home / f"{FILE}.before").write_bytes(mark_before)
        (home / f"{FILE}.before").replace(home / FILE)
        mark = restored(home)
        (home / FILE).unlink()
        keys = [*(mark.keys if mark else ()), *keys]
    enrolled = (home / "roots").is_dir()
    root = settings.root().root.version if enrolled else 0
    return Restored(at=write_time(now()), keys=tuple(dict.fromkeys(keys)), root=root, size=size)
