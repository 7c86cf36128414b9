"""`datatrust node …`: everything that a partner's engineer types.

Exit codes: 0 done, 1 a rule or a check said no, 2 bad input, 3 a fault.  No command prints a value of a row, a
password or a key.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datatrust.cli.command import (
    Command,
    NodeHome,
    PassphraseFile,
    group,
    home_of,
    print_decisions,
    settings_of,
)
from datatrust.cli.node_journal import journal
from datatrust.person.passphrase import ask_passphrase
from datatrust.person.program import program
from trust.errors import InvalidInput, Refused, sentence
from trust.files import writing
from trust.signing.backup_file import read_backup, write_backup
from trust.signing.envelope import key_id

if TYPE_CHECKING:
    from nodes.operate.enrolment import Shared
    from nodes.operate.findings import Finding
    from nodes.settings import NodeSettings
    from trust.documents.invitation import Invitation
    from trust.documents.root import TrustRoot

__all__ = ["node"]

node = group()
keys = group("This node's own keys.")


@node.command("init", cls=Command)
def node_init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the trust root is to call this partner.")],
    home: NodeHome = None,
) -> None:
    """Make a node's folder: its keys, a source.toml to fill in, and partner.json for the trust root.

    The keys are made here and never leave. Nothing is ever overwritten.
    """
    from nodes.operate.enrolment import init

    folder = home_of(home)
    home_made = init(folder, name)
    typer.echo(f"made     {folder}, for this user alone")
    typer.echo(f"signs    {key_id(bytes.fromhex(home_made.sign))}")  # as `root show` names it
    typer.echo(f"share    {folder / 'partner.json'}")
    home_option = f" --home {folder}" if home else ""
    typer.echo(
        "next: hand partner.json to who drafts the trust root, and tell them by telephone what it signs with;\n"
        f"      fill in {folder / 'source.toml'}: where the rows are;\n"
        f"      when the root is signed: {program()} node enrol invitation.json{home_option}",
        err=True,
    )


@node.command("enrol", cls=Command)
def node_enrol(
    invitation: Annotated[Path, typer.Argument(metavar="INVITATION", help="invitation.json, from the coordinator.")],
    home: NodeHome = None,
    fingerprint: Annotated[
        str, typer.Option(metavar="sha256:…", help="Of the trust root, as the members have told you: not asked then.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Take the fingerprint as compared; do not ask.")] = False,
    dataset: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The dataset from a file; with --charter, no network is used.")
    ] = None,
    charter: Annotated[
        str, typer.Option(metavar="DIR", help="The charter from a folder, or the name of a ready one.")
    ] = "",
) -> None:
    """Take an invitation: verify the trust root, compare its fingerprint, fetch dataset and charter.

    The root must name this node's keys. The same invitation again changes nothing; one with a newer root must
    follow from the one that is pinned. No secret is sent.
    """
    from nodes.operate.enrolment import enrol, newer_of
    from trust.documents.invitation import Invitation
    from trust.files import read_file

    if (dataset is None) != (not charter):
        raise InvalidInput("one of --dataset and --charter", expected="both, or neither")
    settings = settings_of(home)
    read = Invitation.read(read_file(invitation))
    root, follows = newer_of(settings.own, read)
    _compare(root, fingerprint, follows=follows, yes=yes)
    done = enrol(settings.own, read, lambda newest: _shared(settings, read, newest, dataset, charter))
    shared = done.shared
    typer.echo(
        f"enrolled {settings.name} in {done.root.root.trust}, version {done.root.root.version} of its trust root"
    )
    typer.echo(f"dataset  {shared.dataset.id} {shared.dataset.version}, {shared.dataset.digest()}")
    typer.echo(f"charter  {shared.charter.name} {shared.charter.version}, the one that the root names")
    typer.echo(f"changed  {', '.join(done.changed)}" if done.changed else "changed  nothing")
    home_option = f" --home {home}" if home else ""
    typer.echo(f"next: {program()} node check{home_option}; then node doctor, then node run", err=True)


def _compare(root: TrustRoot, fingerprint_told: str, *, follows: bool, yes: bool) -> None:
    """The one moment at which a person must look.  Raises: Refused (`root-pinned`), InvalidInput."""
    from nodes.operate.enrolment import fingerprint as of

    fingerprint_here = of(root)
    typer.echo(
        f"trust        {root.root.trust}, version {root.root.version}, {len(root.root.partners)} partners", err=True
    )
    typer.echo(f"fingerprint  {fingerprint_here}", err=True)
    if fingerprint_told and fingerprint_told.strip().lower().removeprefix("sha256:") != fingerprint_here.removeprefix(
        "sha256:"
    ):
        text = "the invitation's trust root has another fingerprint than the one that was given"
        raise Refused("root-pinned", text, remedy="do not enrol; ask the members by telephone which one is theirs")
    if follows:
        typer.echo("it is, or follows from, the root that is pinned here", err=True)
    elif not fingerprint_told and not yes:
        if not sys.stdin.isatty():
            raise InvalidInput(
                "a fingerprint that nobody has compared, and no terminal to ask at",
                expected="--fingerprint sha256:…, as the members have told you",
            )
        if not typer.confirm("Is this the fingerprint that the members have told you?", err=True):
            raise Refused(
                "root-pinned", "the fingerprint is not the members'", remedy="ask them, and for another invitation"
            )


def _shared(
    settings: NodeSettings, invitation: Invitation, root: TrustRoot, dataset: Path | None, charter: str
) -> Shared:
    from nodes.interface import CoordinatorReader
    from nodes.operate.enrolment import fetched, given

    if dataset is not None:
        return given(dataset, charter, root)
    proxy = settings.toml.proxy if settings.toml else ""
    return fetched(CoordinatorReader(invitation.url, invitation.authority.encode("ascii"), proxy), root)


@node.command("check", cls=Command)
def node_check(home: NodeHome = None) -> None:
    """Hold settings, source and policy to what they must be, and the table to the dataset.

    No network but the database's. Prints a line a rule, with a class of counts and never a value. Exit code 1 when
    a rule says no.
    """
    from nodes.rows.cohort_rows import check_source

    settings = settings_of(home)
    settings.roots()  # without any the node is not enrolled, and that is what to say
    dataset, charter = settings.dataset(), settings.charter()
    policy = settings.policy(charter)
    source = settings.source().checked(dataset)
    typer.echo(f"ok  node.toml: {settings.name}")
    policy_words = f"policy {policy.name!r} fits the charter {charter.name!r}" if policy else "no policy of its own"
    typer.echo(f"ok  policy: {policy_words}")
    if not print_decisions(check_source(dataset, source)):
        typer.echo("not ok")
        raise typer.Exit(1)
    typer.echo("ok")


@node.command("doctor", cls=Command)
def node_doctor(
    home: NodeHome = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only what needs neither network nor rows.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look at everything that a node needs: each check is ok, a warning or a failure, with how to fix it.

    Machine, keys, trust root, journal, the way to the coordinator, clock, database account, table. Never a value.
    Exit code 1 when one fails; a warning is 0.
    """
    from nodes.operate import doctor

    findings: list[Finding] = []
    for finding in (doctor.quick if quick else doctor.doctor)(home_of(home)):
        findings.append(finding)
        if not as_json:
            typer.echo(f"{finding.state:<8} {finding.check}: {sentence(finding.text, remedy=finding.remedy)}")
    count = {state: sum(f.state == state for f in findings) for state in ("ok", "warning", "failure")}
    if as_json:
        document = {"ok": not count["failure"], "checks": [finding.document() for finding in findings]}
        typer.echo(json.dumps(document, indent=2))
    else:
        counts_in_words = ", ".join(
            f"{n} {state}{'s' if n != 1 and state != 'ok' else ''}" for state, n in count.items()
        )
        typer.echo(f"{len(findings)} checks: {counts_in_words}")
    if count["failure"]:
        raise typer.Exit(1)


@node.command("rehearse", cls=Command)
def node_rehearse(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A file with a study or its envelope, or an id in the register.")
    ],
    home: NodeHome = None,
) -> None:
    """Go through a study on the real rows: the full gate and the first sums, without anybody's hearing of it.

    Nothing leaves, nothing is journalled, nothing counts as answered and no edition is kept. Exit code 1 if it would
    be refused here.
    """
    from nodes.operate.rehearsal import asked_of, from_register, rehearse
    from trust.files import read_file

    settings = settings_of(home)
    papers = asked_of(read_file(Path(study))) if Path(study).is_file() else from_register(settings, study)
    rehearsal = rehearse(settings, papers)
    typer.echo(f"study {papers.study.id}, rehearsed at {settings.name}; nothing leaves and nothing is kept")
    for part, decisions in rehearsal.parts:
        typer.echo(f"{part}:")
        print_decisions(decisions)
    for note in rehearsal.notes:
        typer.echo(f"note: {note}")
    typer.echo("this node would answer" if rehearsal.ok else "this node would refuse")
    if not rehearsal.ok:
        raise typer.Exit(1)


@node.command("run", cls=Command)
def node_run(home: NodeHome = None) -> None:
    """Serve: dial out to the SuperLink and answer, until SIGTERM.

    Prints `ready` once it is connected and every check of /readyz holds; until then the check that fails, and goes
    on trying. The log goes to standard error, in lines of JSON where that is not a terminal. One process a home.
    """
    from nodes.serve.process import run_node

    run_node(settings_of(home), lambda words: typer.echo(words))


@node.command("backup", cls=Command)
def node_backup(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.tar", help="Where to write it; never over another file.")],
    home: NodeHome = None,
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


@node.command("restore", cls=Command)
def node_restore(
    backup: Annotated[Path, typer.Argument(metavar="FILE.tar", help="What `node backup` has written.")],
    home: NodeHome = None,
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
def keys_rotate(home: NodeHome = None) -> None:
    """Make the next keys, and a partner.json for the next trust root, signed with the key in use.

    The node goes on with the keys in use until it learns of a root that names the next ones; it then takes them. A
    second call makes no others. The members see by partner.json.sig that the partner itself asks.
    """
    from nodes.keys import rotate

    settings = settings_of(home)
    with writing(settings.own, "make the folder writable"):
        file = rotate(settings.own, settings.name)
    typer.echo(f"will sign with {key_id(bytes.fromhex(file.sign))}")
    typer.echo(f"share          {settings.own / 'partner.json'} and {settings.own / 'partner.json.sig'}")
    typer.echo(
        "next: hand both to who drafts the next trust root; when it is signed, a running node takes the keys by\n"
        "      itself, and any other with `node enrol`",
        err=True,
    )


node.add_typer(journal, name="journal")
node.add_typer(keys, name="keys")
