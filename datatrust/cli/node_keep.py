"""`datatrust node backup|restore|keys rotate`: what is kept of a node, and how its keys are replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from datatrust.cli.command import Command, group
from datatrust.cli.node_home import Home, home_of, settings_of
from datatrust.person.program import program
from trust.files import writing
from trust.signing.backup_file import read_backup, write_backup
from trust.signing.envelope import key_id
from trust.signing.key_files import ask_passphrase

__all__ = ["keys", "node_backup", "node_restore"]

keys = group("This node's own keys.")

PassphraseFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Read the passphrase from a file instead of asking for it.")
]


def node_backup(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.tar", help="Where to write it; never over another file.")],
    home: Home = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write settings, keys, trust root, policy and the journal's entries to one file, secrets under a passphrase.

    Never state.sqlite, uploads or editions, and nothing else may copy those either: a node put back from a copy of
    its state would give sums again under masks that it has used.
    """
    from nodes.operate.backup import collect

    settings = settings_of(home)
    public, secret = collect(settings)
    write_backup(out, public, secret, ask_passphrase(passphrase_file, key_name="the backup", new=True))
    typer.echo(
        f"written: {out}, {len(public) + len(secret)} files; without state.sqlite, uploads and editions", err=True
    )


def node_restore(
    backup: Annotated[Path, typer.Argument(metavar="FILE.tar", help="What `node backup` has written.")],
    home: Home = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put a backup into an empty folder. The node does not serve yet.

    A backup holds no state, so a restored node does not know which cohorts it has answered and what it has spent; to
    serve as if nothing had been would give both back. Therefore `node run` refuses (state-rolled-back) until a next
    trust root names other keys for this partner: `node keys rotate` makes them, the quorum signs the root, `node
    enrol` takes it. That signature is the committee's consent to a new history. The committee should then sign no
    study of the same dataset that, subtracted from an earlier one, would tell of few persons: the node cannot see it
    any more. Studies that were open at the old machine are over.
    """
    from nodes.operate.backup import put_back

    public, secret = read_backup(backup, ask_passphrase(passphrase_file, key_name="the backup"))
    settings = put_back(home_of(home), public, secret)
    home_option = f" --home {home}" if home else ""
    typer.echo(f"restored {settings.name} to {settings.own}")
    typer.echo(
        f"it does not serve yet; next: {program()} node keys rotate{home_option},\n"
        f"      then the next trust root with the new keys,\n"
        f"      then {program()} node enrol invitation.json{home_option}: the quorum's consent to a new history",
        err=True,
    )


@keys.command("rotate", cls=Command)
def keys_rotate(home: Home = None) -> None:
    """Make the next keys, and a partner.json for the next trust root, signed with the key in use.

    The node goes on with the keys in use until it learns of a root that names the next ones; it then takes them. A
    second call makes no others. The members see by partner.json.sig that the partner itself asks.
    """
    from nodes.keys import rotate

    settings = settings_of(home)
    with writing(settings.own, "mend it"):
        file = rotate(settings.own, settings.name)
    typer.echo(f"will sign with {key_id(bytes.fromhex(file.sign))}")
    typer.echo(f"share          {settings.own / 'partner.json'} and {settings.own / 'partner.json.sig'}")
    typer.echo(
        "next: hand both to who drafts the next trust root; when it is signed, a running node takes the keys by\n"
        "      itself, and any other with `node enrol`",
        err=True,
    )
