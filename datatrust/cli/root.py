"""The commands `datatrust root draft|sign|show|publish`: the trust's founding document and its next versions.

A root is drafted without signatures, passed from member to member until a quorum has signed, shown to anybody, and
handed to the coordinator.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from datatrust.cli.command import Command, PassphraseFile, group
from datatrust.cli.root_publish import root_publish
from datatrust.founding.draft import Given, draft_founding_root, follow
from datatrust.founding.files import Changes, Founding, moment, read_toml
from datatrust.person.passphrase import ask_passphrase
from trust.canonical import canonical
from trust.documents.root import Root, TrustRoot
from trust.errors import InvalidInput, MessageInvalid, Refused
from trust.files import write_new
from trust.plain.root import RootReview, review_root, root_json, root_text
from trust.signing.envelope import Envelope, Signer, payload_type, sign
from trust.signing.json_text import read_envelopes
from trust.signing.key_files import read_signer
from trust.times import read_time
from trust.words.language import check_language

__all__ = ["root"]

_LARGEST_BYTES = 1 << 24

root = group()


@root.command("draft", cls=Command)
def root_draft(
    file: Annotated[Path | None, typer.Argument(metavar="FILE.toml")] = None,
    old: Annotated[Path | None, typer.Option("--from", metavar="OLD.json", help="The version to follow.")] = None,
    charter: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="The charter, instead of the one in the file.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="DATE|DAYS", help="When it ends; otherwise as the file says, or in 365 days.")
    ] = None,
    issued: Annotated[str | None, typer.Option(metavar="DATE", help="When it begins; otherwise now.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write here instead of standard output.")] = None,
) -> None:
    """Write a trust root that nobody has signed yet.

    FILE.toml names the trust, its charter, members, coordinator, auditor, partners and researchers, each with
    the .pub files of their keys. With --from it names what changes, and the next version is written; without
    FILE.toml only the dates are new. What the charter does not allow is refused. No file is overwritten.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    begins = read_time(moment(issued, "issued", datetime.min.replace(tzinfo=UTC))) if issued else now
    inputs = Given(file.parent if file else Path(), now, begins, expires, charter)
    if old is not None:
        earlier = TrustRoot.founding(_envelopes(old)[-1])  # what nobody signed is followed by nothing
        drafted_root = follow(earlier.root, read_toml(Changes, file) if file else Changes(), inputs)
    elif file is not None:
        drafted_root = draft_founding_root(read_toml(Founding, file), inputs)
    else:
        raise InvalidInput("neither a file nor --from", expected="FILE.toml, --from OLD.json, or both")
    root_made = drafted_root.root
    raw = _bytes_of(sign("root", root_made.document()))
    if out is None:
        typer.echo(raw, nl=False)
    else:
        _write_new(out, raw)
        least, count = root_made.roles["root"].threshold, len(root_made.roles["root"].keys)
        typer.echo(f"written: {out}, version {root_made.version} of {root_made.trust}, signed by nobody yet", err=True)
        from_option = f" --from {old}" if old else ""
        typer.echo(
            f"next, by {least} of its {count} members: datatrust root sign {out} --key FILE{from_option}", err=True
        )
    for note in drafted_root.notes:
        typer.echo(f"note: {note}", err=True)


@root.command("sign", cls=Command)
def root_sign(
    file: Annotated[Path, typer.Argument(metavar="ROOT.json")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="Your private key.")],
    old: Annotated[
        Path | None, typer.Option("--from", metavar="OLD.json", help="The version before; needed after the first.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without asking.")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Read a trust root in words, then sign it.

    Your signature is added to those in ROOT.json; pass the file on until enough have signed. A key that has no
    part in the root role, of this version or the one before, is refused.
    """
    now = datetime.now(UTC)
    envelope, earlier = _read_one(file), _envelopes(old) if old else ()
    view = review_root(envelope, earlier, now)
    _check_signable(view, earlier, now)
    typer.echo(root_text(view, verdict=False), err=True)
    if not yes:
        _confirm(file)
    signer = read_signer(key, lambda: ask_passphrase(passphrase_file, key_name=str(key)))
    keys = view.root.keys_of("root") | (view.previous.keys_of("root") if view.previous else {})
    if signer.key_id not in keys:
        versions = f"version {view.root.version}" + (f" or {view.previous.version}" if view.previous else "")
        raise Refused(
            "signature", f"{str(key)!r} is not a key of the root role of {versions}", remedy="sign with a member's key"
        )
    if signer.key_id in view.signers:
        typer.echo("this key has signed before; nothing is changed")
    else:
        _write_over(file, _bytes_of(_with_signature(envelope, signer)))
    for quorum in review_root(_read_one(file), earlier, now).quorums:
        lacking_words = (
            "" if quorum.reached else f", {quorum.threshold} {'is' if quorum.threshold == 1 else 'are'} needed"
        )
        typer.echo(f"signed by {len(quorum.signers)} of {quorum.keys} keys of version {quorum.version}{lacking_words}")


@root.command("show", cls=Command)
def root_show(
    file: Annotated[Path, typer.Argument(metavar="ROOT.json")],
    old: Annotated[list[Path] | None, typer.Argument(metavar="[OLD.json]...")] = None,
    lang: Annotated[str, typer.Option(metavar="en|fr", help="Language of the text.")] = "en",
    as_object: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Show a trust root in words, and whether it is valid.

    Alone, it is judged as a founding root, by its own quorum; with the version before it, or all of them, as the
    one that follows, and what changed is listed. Exit code 1 when it is not validly signed, or not in force.
    """
    check_language(lang)
    *versions_before, last = _envelopes(file)
    view = review_root(
        last, [*versions_before, *(envelope for path in old or [] for envelope in _envelopes(path))], datetime.now(UTC)
    )
    text = json.dumps(root_json(view), indent=2) + "\n" if as_object else root_text(view, lang)
    typer.echo(text, nl=False)
    if not view.valid:
        raise typer.Exit(1)


root.command("publish", cls=Command)(root_publish)


# ---- what must hold before anybody signs


def _check_signable(view: RootReview, earlier: Sequence[Envelope], now: datetime) -> None:
    """Raises: Refused, InvalidInput."""
    version = view.root.version
    if now >= read_time(view.root.expires):
        raise Refused("root-expired", "the trust root has expired", remedy="draft it again")
    if view.previous is None:
        if version > 1:
            raise InvalidInput(
                f"version {version} without the one before it",
                expected="--from OLD.json",
                remedy="what changes is shown before you sign",
            )
        return
    TrustRoot.chain(sorted(earlier, key=_version))
    if view.previous.trust != view.root.trust:
        raise Refused("root-trust", "the trust root is another trust's", remedy="use the root of this trust")
    if version != view.previous.version + 1 or read_time(view.root.issued) < read_time(view.previous.issued):
        previous = f"version {view.previous.version} of {view.previous.issued}"
        text = f"version {version} of {view.root.issued} does not follow {previous}"
        raise Refused("root-version", text, remedy="name the version just before it")


def _confirm(file: Path) -> None:
    if not sys.stdin or not sys.stdin.isatty():
        raise InvalidInput(
            "no terminal to ask at", expected="--yes", remedy=f"read it first: datatrust root show {file}"
        )
    if not typer.confirm("Do you sign this?", err=True):
        typer.echo("not signed", err=True)
        raise typer.Exit(1)


def _with_signature(envelope: Envelope, signer: Signer) -> Envelope:
    """With this signature; one under the same id that is not valid makes place for it."""
    signatures_of_others = tuple(s for s in envelope.signatures if s.keyid != signer.key_id)
    return envelope.model_copy(update={"signatures": signatures_of_others}).with_signature(signer)


# ---- files


def _version(envelope: Envelope) -> int:
    return Root.read(envelope.unverified_payload).version


def _envelopes(path: Path) -> tuple[Envelope, ...]:
    """The root of a file, or the versions in it, in order.  Raises: InvalidInput."""
    name = repr(str(path))
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_BYTES + 1)
    except (OSError, ValueError) as wrong:
        why = getattr(wrong, "strerror", None) or "no path"
        raise InvalidInput(f"{name} cannot be read ({why})", remedy="correct the path") from None
    try:
        envelopes_read = read_envelopes(raw, largest=_LARGEST_BYTES)
        if not envelopes_read:
            raise MessageInvalid("an empty list", expected="a trust root")
        for envelope in envelopes_read:
            if envelope.payloadType != payload_type("root"):
                raise MessageInvalid(f"{envelope.payloadType[:80]!r}", expected="a trust root")
        return tuple(sorted(envelopes_read, key=_version))
    except MessageInvalid as wrong:
        raise MessageInvalid(f"{name}: {wrong.text}", expected=wrong.expected, remedy=wrong.remedy) from None


def _read_one(path: Path) -> Envelope:
    envelopes_read = _envelopes(path)
    if len(envelopes_read) != 1:
        raise InvalidInput(f"{str(path)!r} holds {len(envelopes_read)} trust roots", expected="one, to be signed")
    return envelopes_read[0]


def _bytes_of(envelope: Envelope) -> bytes:
    return canonical(envelope.document()) + b"\n"


def _write_new(path: Path, raw: bytes) -> None:
    try:
        write_new(path, raw, 0o644)
    except FileExistsError:
        raise InvalidInput(f"{str(path)!r} exists; nothing is overwritten", remedy="name another file") from None
    except OSError as wrong:
        raise InvalidInput(f"{str(path)!r} cannot be written ({wrong.strerror})", remedy="name another file") from None


def _write_over(path: Path, raw: bytes) -> None:
    """The new bytes under the same name, or the old ones: never half."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        write_new(unfinished, raw, 0o644)
        unfinished.replace(path)
    except OSError as wrong:
        unfinished.unlink(missing_ok=True)
        raise InvalidInput(f"{str(path)!r} cannot be written ({wrong.strerror})", remedy="copy it first") from None
