"""`datatrust study`: a researcher checks, files and follows a study that she has written to a file.

STUDY.json is the study's document, as `study.save("study.json")` writes it in Python.  Her key signs here, and never
leaves; a result is verified against the pinned root before anything of it is written or shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from datatrust.cli.command import Command, Invited, PassphraseFile, group
from datatrust.person.own_key import KEY, ActingKey
from datatrust.remote.remote_trust import RemoteTrust
from datatrust.remote.verified_trust import meet
from trust.errors import InvalidInput, Refused

__all__ = ["study"]

study = group()

File = Annotated[Path, typer.Argument(metavar="STUDY.json")]
Name = Annotated[str, typer.Argument(metavar="STUDY")]
Address = Annotated[
    str, typer.Option("--url", metavar="URL", help="The address of the coordinator, https://host:port.")
]
Key = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help=f"Your private key's file; else what {KEY} names.")
]


@study.command("check", cls=Command)
def study_check(
    file: File,
    url: Address,
    invitation: Invited = None,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
    lang: Annotated[str, typer.Option("--lang", metavar="en|fr", help="Language of the proposal.")] = "en",
) -> None:
    """Say what the charter and the partners' published policies would decide; nothing is sent.

    A line a decision. Where one is a no, the smallest change that would pass follows, and the exit code is 1.
    """
    with _open_trust(url, invitation, ActingKey(key, passphrase_file)) as trust:
        handle = trust.read(file)
        decisions = handle.check()
        typer.echo(str(decisions))
        if not decisions.ok:
            typer.echo(f"\n{handle.explain(lang)}")
            raise typer.Exit(1)


@study.command("submit", cls=Command)
def study_submit(
    file: File,
    url: Address,
    invitation: Invited = None,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign a study with your key and file it for the committee.

    Prints its id and where it stands. Filed twice, it counts once.
    """
    with _open_trust(url, invitation, ActingKey(key, passphrase_file)) as trust:
        job = trust.read(file).submit()
        typer.echo(f"{job.id}  {job.state}")


@study.command("status", cls=Command)
def study_status(
    url: Address,
    name: Annotated[str | None, typer.Argument(metavar="[STUDY]")] = None,
    invitation: Invited = None,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Say where a study stands, or all of yours.

    STUDY is a study's id, or its mandate's number.
    """
    with _open_trust(url, invitation, ActingKey(key, passphrase_file)) as trust:
        stands = trust.all_stand() if name is None else {(job := trust.job(name)).id: trust.stands(job.id)}
    for study_id, standing in stands.items():
        if as_json:
            document = {"study": study_id, "state": standing.state, "words": standing.words, "done": standing.done}
            typer.echo(json.dumps(document, ensure_ascii=False))
        else:
            typer.echo(f"{study_id}  {standing.words}")
    if not stands and not as_json:
        typer.echo("you have filed no study here", err=True)


@study.command("result", cls=Command)
def study_result(
    name: Name,
    url: Address,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the signed file here, for `datatrust verify`.")
    ] = None,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for it.")] = 0.0,
    invitation: Invited = None,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as one JSON object.")] = False,
) -> None:
    """Fetch a study's result, verify it from the pinned root to the register, and show it.

    STUDY is a study's id, or its mandate's number. Exit code 1: a rule has refused the study, or it was cancelled; 3:
    it still waits after the time to wait, and the message says for what.
    """
    if out is not None and out.exists():
        raise InvalidInput(f"{str(out)!r} exists", remedy="name another file")
    with _open_trust(url, invitation, ActingKey(key, passphrase_file)) as trust:
        result = trust.job(name).result(wait, progress=wait > 0)
        if out is not None:
            typer.echo(f"written: {result.save(out)}", err=True)
        if as_json:
            typer.echo(json.dumps(result.to_dict(), ensure_ascii=False))
            return
        typer.echo(str(result))
        for title, analysis_result in result.items():
            typer.echo(f"\n{title}\n{analysis_result}")


@study.command("cancel", cls=Command)
def study_cancel(
    name: Name,
    url: Address,
    invitation: Invited = None,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Withdraw a study of yours, also while it runs: nodes are asked nothing more.

    STUDY is a study's id, or its mandate's number.
    """
    with _open_trust(url, invitation, ActingKey(key, passphrase_file)) as trust:
        job = trust.job(name)
        if not job.cancel():
            raise Refused("study-state", f"the study {job.id!r} cannot be cancelled any more: {job.state}")
        typer.echo(f"{job.id}  {job.state}")


@contextmanager
def _open_trust(url: str, invitation: Path | None, acting_key: ActingKey) -> Iterator[RemoteTrust]:
    """The trust behind the address, asked with the researcher's key."""
    verified = meet(url, invitation=invitation, signer=acting_key.signer)
    try:
        yield RemoteTrust(verified, acting_key.signer)
    finally:
        verified.link.close()
