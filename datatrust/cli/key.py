"""The commands `datatrust key new|show`: a private key for one person or one daemon, and what others may know of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from datatrust.cli.command import Command, PassphraseFile, group
from datatrust.person.passphrase import ask_passphrase
from trust.errors import InvalidInput, nearest
from trust.signing.key_files import KeyKind, new_key, public_file, read_public, write_key

__all__ = ["key"]

_KINDS: dict[str, KeyKind] = {"sign": "sign", "seal": "seal"}

key = group()


@key.command("new", cls=Command)
def key_new(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    kind: Annotated[
        str, typer.Option(metavar="sign|seal", help="To sign with, or for a partner to be sealed to.")
    ] = "sign",
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Leave it unencrypted, for a daemon that starts by itself.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a private key and its public file.

    FILE is the private key, encrypted with a passphrase; only its owner can read it. FILE.pub, beside it, is for
    the others: it goes into the trust root. No file is ever overwritten.
    """
    if kind not in _KINDS:
        raise InvalidInput(f"--kind {kind}", expected=nearest(kind, _KINDS))
    if no_passphrase and passphrase_file:
        raise InvalidInput("--no-passphrase and --passphrase-file", expected="one of them")
    for path_in_use in (file, public_file(file)):  # before a passphrase is thought of
        if path_in_use.exists():
            raise InvalidInput(f"{str(path_in_use)!r} exists; a key is never overwritten", remedy="name another file")
    passphrase = None if no_passphrase else ask_passphrase(passphrase_file, key_name=str(file), new=True)
    key_made = write_key(file, new_key(_KINDS[kind]), passphrase)
    typer.echo(f"id       {key_made.id}\npublic   {key_made.public}\nprivate  {file}\nshare    {public_file(file)}")
    encryption_words = "not encrypted" if passphrase is None else "encrypted"
    typer.echo(
        f"{file} is {encryption_words} and must never leave this machine; only the .pub file goes to others", err=True
    )


@key.command("show", cls=Command)
def key_show(file: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Show a key's id, its kind and its public half.

    FILE is the .pub file, or the private file beside it. No passphrase is needed.
    """
    public_key = read_public(file)
    typer.echo(f"id       {public_key.id}\nkind     {public_key.kind}\npublic   {public_key.public}")
