"""`datatrust register show|verify`: what the trust's public log says, and whether it holds.

They read a trust's folder and change nothing in it, or fetch the register of a coordinator, for which nobody needs a
key.  Exit codes: 0 all is as it was written, 1 something is not, 2 the folder or a file cannot be used, 3 the
coordinator cannot be reached.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from coordinator.docket.migrations import check_file
from coordinator.docket.roots import with_accepted
from datatrust.cli.command import Command, Invited, TrustLocation, Url, end, group, print_decisions
from datatrust.in_process.folder import TrustFolder
from datatrust.remote.register_copy import copied, keep_checkpoint, kept_checkpoint
from datatrust.remote.verified_trust import VerifiedTrust, meet
from nodes.state.read_only import opened
from trust.documents.register_checks import check_register, latest_note
from trust.errors import InvalidInput, nearest
from trust.files import writing
from trust.logs.kinds import REGISTER as KINDS
from trust.logs.logbook import Logbook
from trust.logs.merkle import Entry
from trust.plain.register import register_line
from trust.signing.envelope import Envelope
from trust.words.language import check_language

__all__ = ["register"]

Folder = Annotated[Path | None, typer.Option("--state", metavar="DIR", help='The folder of dt.local(…, state="DIR").')]

register = group()

_LONGEST_NOTE_BYTES = 1 << 14


@register.command("show", cls=Command)
def register_show(
    state: Folder = None,
    url: Url = None,
    invitation: Invited = None,
    study: Annotated[str, typer.Option(metavar="ID", help="Only the entries of this study.")] = "",
    lang: Annotated[str, typer.Option(metavar="en|fr", help="Language of the lines.")] = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print each entry's bytes, a line each.")] = False,
) -> None:
    """Print the register, a line an entry: number, date (UTC), kind, study, what.

    A refusal shows its rule and its public text. With --json, a line is what the entry's hash is taken of.
    """
    check_language(lang)
    with _read(TrustLocation(state, url, invitation)) as (db, _, _):
        for entry in _chosen(Logbook(db, "register", KINDS).entries(), study):
            typer.echo(entry.canonical().decode("ascii") if as_json else register_line(entry, lang))


def _chosen(entries: Iterator[Entry], study: str) -> Iterator[Entry]:
    """Those of a study, or all.  Raises: InvalidInput where there is none."""
    has_entry, known_names = False, set()
    for entry in entries:
        known_names.add(entry.study)
        if not study or entry.study == study:
            has_entry = True
            yield entry
    if study and not has_entry:
        raise InvalidInput(f"no study {study!r} is in the register", expected=nearest(study, known_names - {""}))


@register.command("verify", cls=Command)
def register_verify(
    state: Folder = None,
    url: Url = None,
    invitation: Invited = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A checkpoint kept earlier: it must still be contained.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the checkpoint here, if all is well, for the next time.")
    ] = None,
) -> None:
    """Check the register: every entry, every signature, the coordinator's checkpoint.

    A line a check. Only an earlier checkpoint shows whether the whole register was rewritten or cut off:
    keep one with --out, away from the coordinator, and give it with --checkpoint the next time. With --url the last
    one is kept by itself, beside the pins.
    """
    earlier = _note(checkpoint) if checkpoint else None
    with _read(TrustLocation(state, url, invitation)) as (db, roots, verified):
        checkpoint_before = kept_checkpoint(verified) if verified and earlier is None else earlier
        ok = print_decisions(check_register(db, roots, checkpoint_before))
        note = latest_note(db) if ok else ""
        if ok and verified:
            keep_checkpoint(verified, note)
    if ok and out:
        _write(out, note)
    end(ok)


@contextmanager
def _read(location: TrustLocation) -> Iterator[tuple[sqlite3.Connection, Sequence[Envelope], VerifiedTrust | None]]:
    """The register's database, a folder's or a copy of a coordinator's; the root's versions; where it came from."""
    if location.url is not None:
        verified = meet(location.url, invitation=location.invitation)
        try:
            with copied(verified) as db:
                yield db, verified.roots, verified
        finally:
            verified.link.close()
        return
    state = TrustFolder(location.folder)
    with opened(state.folder / "coordinator", "the coordinator", check_file) as db:
        yield db, with_accepted(db, state.roots), None


def _note(file: Path) -> str:
    try:
        with file.open("rb") as opened_file:
            return opened_file.read(_LONGEST_NOTE_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise InvalidInput(
            f"{str(file)!r} cannot be read ({type(wrong).__name__})", expected="a checkpoint that --out has written"
        ) from None


def _write(file: Path, note: str) -> None:
    with writing(file, "name another file"):
        file.write_text(note, "utf-8", newline="")
