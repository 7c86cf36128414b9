"""The commands `datatrust coordinator …`: a coordinator's home is made, run, looked at, saved and put back.

Exit codes: 0 done, 1 a rule said no, 2 bad input, 3 a fault of machine or software.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from coordinator.operate.backup import backup, restore
from coordinator.operate.home import (
    HomeRequest,
    default_home,
    make_home,
    open_home,
    renew_certificate,
    root_fingerprint,
    write_invitation,
)
from coordinator.operate.status import read_status, status_text
from coordinator.serve.processes import run_part
from coordinator.serve.supervisor import supervise
from datatrust.cli.command import Command, PassphraseFile, group
from datatrust.person.passphrase import ask_passphrase
from datatrust.person.program import program
from trust.files import read_file
from trust.times import now

__all__ = ["coordinator"]

Home = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The coordinator's folder; otherwise ~/.local/share/datatrust/coordinator."),
]
Hosts = Annotated[
    list[str] | None,
    typer.Option(
        "--host", metavar="NAME|IP", help="A name or address under which others reach this machine; repeat it."
    ),
]

coordinator = group()


@coordinator.command("init", cls=Command)
def coordinator_init(
    root: Annotated[
        list[Path], typer.Option(metavar="ROOT.json", help="The signed trust root; repeat it for each version.")
    ],
    dataset: Annotated[Path, typer.Option(metavar="DATASET.yaml", help="The description that all partners share.")],
    charter: Annotated[str, typer.Option(metavar="NAME|DIR", help="The charter that the trust root names.")],
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="The coordinator's private key, as the trust root names it.")
    ],
    host: Hosts = None,
    home: Home = None,
    api: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where the interface listens; otherwise 0.0.0.0:8443.")
    ] = "",
    superlink: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where nodes connect to; otherwise 0.0.0.0:9443.")
    ] = "",
    url: Annotated[str, typer.Option(metavar="https://HOST:PORT", help="How others reach the interface.")] = "",
    database: Annotated[
        str,
        typer.Option(
            metavar="URL|env:NAME|file:PATH", help="A PostgreSQL database, or where its address is; otherwise SQLite."
        ),
    ] = "",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a coordinator's home.

    Checks that the trust root is signed by its quorum, and that charter and key are those that it names; then makes an
    authority, a certificate for the given hosts, secrets, the register, and invitation.json for everybody else. The
    folder must be new or empty; after a failure there is none.
    """
    request = HomeRequest(
        roots=tuple(root),
        dataset=dataset,
        charter=charter,
        key=key,
        hosts=tuple(host or ()),
        passphrase=lambda: ask_passphrase(passphrase_file, key_name=str(key)),
        api=api,
        superlink=superlink,
        url=url,
        database=database,
    )
    home_made = make_home((default_home() if home is None else home).absolute(), request, now())
    settings, document = home_made.settings, home_made.root.root
    without = sorted(name for name, partner in document.partners.items() if not partner.flower)
    lines = [
        f"trust        {document.trust}, version {document.version} of its root, {len(document.partners)} partners",
        f"fingerprint  {root_fingerprint(home_made.root)}",
        f"home         {settings.folder}",
        f"interface    listens at {settings.api}; others reach it at {settings.url}",
        f"nodes        connect to {settings.address}; the SuperLink listens at {settings.superlink}",
        f"database     {settings.database}",
        f"certificate  {settings.days_left(now())} days left",
        f"invitation   {settings.folder / 'invitation.json'}",
    ]
    typer.echo("\n".join(lines))
    typer.echo(_next_steps(settings.folder, home_made.encrypted, without), err=True)


def _next_steps(home: Path, encrypted: bool, without: list[str]) -> str:
    was = "is kept without its passphrase" if encrypted else "is kept unencrypted"
    lines = [
        "",
        f"The coordinator's key {was} in keys/coordinator.pem (mode 0600), since the coordinator starts by itself:",
        "who can read this folder can act as the coordinator.  keys/authority.pem can speak for this machine.",
        "",
        "Next:",
        "  1. compare the fingerprint with the members, by telephone or on paper",
        f"  2. {program()} coordinator run --home {home}",
        "  3. hand out invitation.json, which holds no secret: partners enrol with it, members and researchers connect",
    ]
    if without:
        lines.append(
            f"note: the trust root has no key for the connection of {', '.join(without)}: name its partner.json"
        )
    return "\n".join(lines)


@coordinator.command("run", cls=Command)
def coordinator_run(
    part: Annotated[str, typer.Argument(metavar="[api|worker|superlink]")] = "",
    home: Home = None,
    as_json: Annotated[
        bool | None,
        typer.Option("--json/--text", help="Lines as JSON, or as text; otherwise JSON when this is not a terminal."),
    ] = None,
) -> None:
    """Run the coordinator until it is told to stop.

    Three processes, each started again when it ends: the interface, the worker, which carries out studies, and the
    SuperLink, which nodes connect to. With a name, only that one, in this process. Says `ready` once all three answer.
    """
    settings = open_home(home)
    raise typer.Exit(run_part(settings, part) if part else supervise(settings, as_json=as_json))


@coordinator.command("certify", cls=Command)
def coordinator_certify(host: Hosts = None, home: Home = None) -> None:
    """Renew the server's certificate, signed by the same authority.

    Nobody needs a new invitation. With --host it is for other names than before. Restart `coordinator run` afterwards.
    """
    settings = open_home(home)
    names = renew_certificate(settings, host or (), now())
    typer.echo(f"certificate  {settings.days_left(now())} days left, for {', '.join(names)}")
    typer.echo("restart `datatrust coordinator run`: it is read at the start", err=True)


@coordinator.command("invitation", cls=Command)
def coordinator_invitation(home: Home = None) -> None:
    """Print the invitation, with every version of the trust root that there is now.

    It is written to invitation.json in the home, too. It holds no secret.
    """
    typer.echo(write_invitation(open_home(home)), nl=False)


@coordinator.command("status", cls=Command)
def coordinator_status(
    home: Home = None,
    as_object: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Say how the coordinator stands.

    Studies by state, those that run and what was last said of them, who is connected, how long root and certificate
    hold, the register's size and checkpoint, processes. Reads the home; the interface need not run.
    """
    status_now = read_status(open_home(home), now())
    typer.echo(json.dumps(status_now, indent=2) + "\n" if as_object else status_text(status_now), nl=False)


@coordinator.command("backup", cls=Command)
def coordinator_backup(
    out: Annotated[Path, typer.Option(metavar="FILE.tar", help="The file to write; never over another.")],
    home: Home = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Save the coordinator to one file, while it may be running.

    Keys are in it under a passphrase; studies, votes and the register are not secret from who has the file. What
    running studies keep is left out: it holds exact totals.
    """
    settings = open_home(home)
    about = backup(settings, out, ask_passphrase(passphrase_file, key_name="the backup", new=True), now())
    typer.echo(f"written: {out}, of {about.trust}, with {about.entries} entries of the register")
    typer.echo("keep it and its passphrase apart; and keep the register's checkpoint somewhere else", err=True)


@coordinator.command("restore", cls=Command)
def coordinator_restore(
    file: Annotated[Path, typer.Argument(metavar="FILE.tar")],
    home: Annotated[Path, typer.Option(metavar="DIR", help="A new folder.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A checkpoint of the register that somebody kept: it must be contained."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(metavar="URL|env:NAME|file:PATH", help='Another database, which is empty; "" for SQLite.'),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put a backup back into a new folder.

    The register must never be shorter than what others have seen of it: give the last checkpoint that a partner, a
    member or the auditor has kept. Studies that ran when the backup was made end as failed.
    """
    note = read_file(checkpoint).decode("utf-8", "replace") if checkpoint else None
    passphrase = ask_passphrase(passphrase_file, key_name=str(file))
    settings, about, broken = restore(file, home.absolute(), passphrase, checkpoint=note, database=database)
    typer.echo(f"restored: {settings.folder}, of {about.trust}, as it was at {about.at}")
    typer.echo(f"register: {about.entries} entries" + (", and the checkpoint is among them" if note else ""))
    for study in broken:
        typer.echo(f"ended as failed: {study}")
    if note is None:
        typer.echo(
            "compare the register with a checkpoint that somebody else kept (restore --checkpoint FILE): one with more "
            f"than {about.entries} entries means that this backup is too old, and must not run",
            err=True,
        )
    typer.echo("the coordinator that was backed up must not run any more: one register, one writer", err=True)
