"""`datatrust register show|verify` and `datatrust node journal verify`: what the logs say, and whether they hold.

They read a trust's folder and change nothing in it.  Exit codes: 0 all is as it was written, 1 something is not, 2 the
folder or a file cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from coordinator.register import KINDS
from datatrust.commands import Command, group
from datatrust.logs import opened
from datatrust.register_checks import chain, check_register, last_heads, latest_note
from datatrust.register_words import line
from datatrust.state import State
from nodes.journal import Journal
from trust.checkpoint import journal_origin, read_checkpoint
from trust.decision import Decision
from trust.errors import InvalidInput, Refused, nearest
from trust.log import Entry
from trust.logbook import Logbook
from trust.phrases import check_language
from trust.root import TrustRoot
from trust.secure_sum.errors import NodeRefused

__all__ = ["node", "register"]

Folder = Annotated[Path, typer.Option("--state", metavar="DIR", help='The folder of dt.local(…, state="DIR").')]

register = group("Read the trust's public log, and check that nobody has changed it.")
node = group("What a partner's operator does.")
journal = group("A node's own log of every decision and of everything that left.")
node.add_typer(journal, name="journal")

_LONGEST_NOTE = 1 << 14


@register.command("show", cls=Command)
def register_show(
    state: Folder,
    study: Annotated[str, typer.Option(metavar="ID", help="Only the entries of this study.")] = "",
    lang: Annotated[str, typer.Option(metavar="en|fr", help="Language of the lines.")] = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print each entry's bytes, a line each.")] = False,
) -> None:
    """Print the register, a line an entry: number, date (UTC), kind, study, what.

    A refusal shows its rule and its public text. With --json, a line is what the entry's hash is taken of.
    """
    check_language(lang)
    with opened(State(state).folder / "coordinator", "the coordinator") as db:
        for entry in _chosen(Logbook(db, "register", KINDS).entries(), study):
            typer.echo(entry.canonical().decode("ascii") if as_json else line(entry, lang))


def _chosen(entries: Iterator[Entry], study: str) -> Iterator[Entry]:
    """Those of a study, or all.  Raises: InvalidInput where there is none."""
    found, known = False, set()
    for entry in entries:
        known.add(entry.study)
        if not study or entry.study == study:
            found = True
            yield entry
    if study and not found:
        raise InvalidInput(f"no study {study!r} is in the register", expected=nearest(study, known - {""}))


@register.command("verify", cls=Command)
def register_verify(
    state: Folder,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A checkpoint kept earlier: it must still be contained.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the checkpoint here, if all is well, for the next time.")
    ] = None,
) -> None:
    """Check the register: every entry, every signature, the coordinator's checkpoint.

    A line a check. Only an earlier checkpoint shows whether the whole register was written anew or cut off:
    keep one with --out, away from the coordinator, and give it with --checkpoint the next time.
    """
    earlier = _note(checkpoint) if checkpoint else None
    folder = State(state)
    with opened(folder.folder / "coordinator", "the coordinator") as db:
        ok = _print(check_register(db, folder.roots, earlier))
        note = latest_note(db) if ok else ""
    if ok and out:
        _write(out, note)
    _end(ok)


@journal.command("verify", cls=Command)
def journal_verify(
    state: Folder,
    partner: Annotated[str, typer.Option(metavar="NAME", help="Only this partner's node.")] = "",
) -> None:
    """Check each node's journal, and that it still contains what the register has of it.

    A line a node. A node restored from a backup is behind the register: state-rolled-back.
    """
    folder = State(state)
    if partner and partner not in folder.partners:
        raise InvalidInput(f"no partner {partner!r}", expected=nearest(partner, folder.partners))
    versions = chain(folder.roots)
    with opened(folder.folder / "coordinator", "the coordinator") as db:
        heads = last_heads(db)
    names = [partner] if partner else folder.partners
    _end(_print(_journal(folder, name, versions, heads.get(name)) for name in names))


def _journal(folder: State, name: str, versions: list[TrustRoot], note: str | None) -> Decision:
    with opened(folder.node(name), f"the node of {name}") as db:
        held = Journal(db, make=False)
        try:
            held.verify()
            size, _ = held.head()
            if note is None:
                return Decision(name, True, f"{size} entries; the register has no head of it yet")
            keys = [v.root.verify_keys()[name] for v in reversed(versions) if name in v.root.partners]
            head = read_checkpoint(note, journal_origin(versions[-1].root.trust, name), keys)
            held.extends(head)
        except NodeRefused as wrong:
            return Decision(name, False, f"{wrong.code}: {wrong.got}; expected {wrong.expected}", wrong.remedy)
        except Refused as wrong:
            return Decision(name, False, f"{wrong.rule}: {wrong.text}", wrong.remedy)
    return Decision(name, True, f"{size} entries, with the {head.size} that the register has the head of")


def _print(decisions: Iterable[Decision]) -> bool:
    """A line a check; whether all said yes."""
    ok = True
    for decision in decisions:
        ok = ok and decision.ok
        mend = f"; to mend it: {decision.remedy}" if decision.remedy and not decision.ok else ""
        typer.echo(f"{'ok' if decision.ok else 'no'}  {decision.rule}: {decision.text}{mend}")
    return ok


def _end(ok: bool) -> None:
    typer.echo("ok" if ok else "not ok")
    if not ok:
        raise typer.Exit(1)


def _note(file: Path) -> str:
    try:
        with file.open("rb") as opened_file:
            return opened_file.read(_LONGEST_NOTE).decode("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise InvalidInput(
            f"{str(file)!r} cannot be read ({type(wrong).__name__})", expected="a checkpoint that --out has written"
        ) from None


def _write(file: Path, note: str) -> None:
    try:
        file.write_text(note, "utf-8", newline="")
    except OSError as wrong:
        raise InvalidInput(f"{str(file)!r} cannot be written ({wrong.strerror})", remedy="name another file") from None
