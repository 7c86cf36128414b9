"""`datatrust node journal verify|export`: a node's own log of every decision and of everything that left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from coordinator.docket.migrations import check_file
from coordinator.docket.roots import with_accepted
from datatrust.cli.command import Command, NodeHome, end, group, print_decisions, settings_of
from datatrust.in_process.folder import TrustFolder
from nodes.state.journal import Journal
from nodes.state.read_only import opened
from trust.decision import Decision
from trust.documents.register_checks import chain, last_heads
from trust.documents.root import TrustRoot
from trust.errors import InvalidInput, Refused, nearest
from trust.files import read_file, write_new
from trust.logs.checkpoint import journal_origin, read_checkpoint
from trust.secure_sum.errors import NodeRefused

__all__ = ["journal"]

journal = group("A node's own log of every decision and of everything that left.")
_REGISTER = ("the register has no head of it yet", "that the register has the head of")
_OWN_REASONS = ("nothing earlier was given to compare with", "of the earlier checkpoint")


@journal.command("verify", cls=Command)
def journal_verify(
    home: NodeHome = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A checkpoint that was exported earlier: it must be contained.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", metavar="DIR", help='Of a trust on this machine: the folder of dt.local(…, state="DIR").'
        ),
    ] = None,
    partner: Annotated[str, typer.Option(metavar="NAME", help="With --state: only this partner's node.")] = "",
) -> None:
    """Check a node's journal: every entry, and what was exported of it earlier.

    With --state, each node's journal of a trust on this machine, and that it still contains what the register has
    of it. A node restored from a backup is behind the register: state-rolled-back.
    """
    if state is not None and (home is not None or checkpoint is not None):
        raise InvalidInput("--state with --home or --checkpoint", expected="one of them")
    end(print_decisions(_of_trust(TrustFolder(state), partner) if state else _of_home(home, partner, checkpoint)))


def _of_trust(folder: TrustFolder, partner: str) -> Iterator[Decision]:
    if partner and partner not in folder.partners:
        raise InvalidInput(f"no partner {partner!r}", expected=nearest(partner, folder.partners))
    with opened(folder.folder / "coordinator", "the coordinator", check_file) as db:
        versions, heads = chain(with_accepted(db, folder.roots)), last_heads(db)
    for name in [partner] if partner else folder.partners:
        yield _checked(folder.node(name), name, versions, heads.get(name), _REGISTER)


def _of_home(home: Path | None, partner: str, checkpoint: Path | None) -> Iterator[Decision]:
    settings = settings_of(home)
    if partner and partner != settings.name:
        raise InvalidInput(f"no partner {partner!r} here", expected=repr(settings.name))
    note = read_file(checkpoint).decode("utf-8", errors="replace") if checkpoint else None
    versions = [TrustRoot(envelope.unverified_payload) for envelope in settings.roots()]
    yield _checked(settings.own, settings.name, versions, note, _OWN_REASONS)


def _checked(
    own_folder: Path, name: str, versions: list[TrustRoot], note: str | None, words: tuple[str, str]
) -> Decision:
    """`words`: what is said where there is no note, and of the entries that a note is of."""
    with opened(own_folder, f"the node of {name}") as db:
        journal = Journal(db, make=False)
        try:
            journal.verify()
            size, _ = journal.head()
            if note is None:
                return Decision(name, True, f"{size} entries; {words[0]}")
            keys = [v.root.verify_keys()[name] for v in reversed(versions) if name in v.root.partners]
            head = read_checkpoint(note, journal_origin(versions[-1].root.trust, name), keys)
            journal.extends(head)
        except (NodeRefused, Refused) as wrong:
            return Decision(name, False, f"{wrong.rule}: {wrong.public['text']}", wrong.remedy)
    return Decision(name, True, f"{size} entries, with the {head.size} {words[1]}")


@journal.command("export", cls=Command)
def journal_export(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Entries, a line each; beside it FILE.checkpoint.")
    ],
    home: NodeHome = None,
) -> None:
    """Write the journal's entries in canonical JSON, a line each, and their signed checkpoint.

    The checkpoint is for `node journal verify --checkpoint`: keep it away from this machine. No entry holds a value
    of a row; who sees the file sees which studies were asked and how they were answered.
    """
    from nodes.operate.backup import export

    lines, note, count = export(settings_of(home))
    beside = out.with_name(f"{out.name}.checkpoint")
    for file, content in ((out, lines), (beside, note.encode())):
        try:
            write_new(file, content, 0o600)
        except OSError as wrong:
            why = wrong.strerror or "it exists"
            raise InvalidInput(f"{str(file)!r} cannot be written ({why})", remedy="name another file") from None
    typer.echo(f"written: {out}, {count} {'entry' if count == 1 else 'entries'}; {beside}", err=True)
