"""`datatrust review`: a member of the ethics committee reads what she would sign, and signs or refuses.

What is shown is made from the very bytes that are signed, on the member's own machine; her key is opened here and goes
nowhere.  The docket is that of a folder (`--state`), or a coordinator's behind an address (`--url`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from datatrust.cli.command import Command, Invited, PassphraseFile, TrustLocation, Url, group
from datatrust.in_process.folder import TrustFolder
from datatrust.person.own_key import KEY, ActingKey
from datatrust.remote.committee_desk import Desk, RemoteDesk
from trust.canonical import canonical
from trust.decision import Decision
from trust.documents.filed_study import FiledStudy
from trust.documents.study import plan, signed_study
from trust.documents.votes import Refusal, Revocation, read_revocation, valid_revocations
from trust.errors import InvalidInput, Refused
from trust.files import write_new, writing
from trust.plain import Line, Page, Section, mandate_page
from trust.plain.standing import committee_text, standing
from trust.policy.decide import DecisionContext, asker_of, judge
from trust.policy.declaration import Declaration
from trust.signing.envelope import Signer, sha256, sign
from trust.times import now, read_time, write_time
from trust.words.language import check_language
from trust.words.safe import escaped

__all__ = ["review"]

review = group()

StateFolder = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help='The folder of dt.local(…, state="DIR").')
]
Study = Annotated[str, typer.Argument(metavar="STUDY")]
Key = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help=f"Your private key's file; else what {KEY} names.")
]
Lang = Annotated[str, typer.Option("--lang", metavar="en|fr", help="Language of the words.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether you are sure.")]


@review.command("list", cls=Command)
def review_list(
    state: StateFolder = None,
    url: Url = None,
    invitation: Invited = None,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
    lang: Lang = "en",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the studies on the docket, and what each waits for."""
    check_language(lang)
    with _open_desk(TrustLocation(state, url, invitation), ActingKey(key, passphrase_file)) as docket:
        studies_filed = docket.studies()
        stands = [standing(docket.trust, study, lang) for study in studies_filed]
        width = max(map(len, stands), default=0)
        for study, words in zip(studies_filed, stands, strict=True):
            if as_json:
                typer.echo(json.dumps(_summary(docket, study)))
            else:
                typer.echo(f"{study.number}  {study.at[:10]}  {words:<{width}}  {study.id}")
    if not studies_filed and not as_json:
        typer.echo(committee_text("none", lang))


@review.command("show", cls=Command)
def review_show(
    study: Study,
    state: StateFolder = None,
    url: Url = None,
    invitation: Invited = None,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
    lang: Lang = "en",
) -> None:
    """Show in words what a signature would allow, made from the bytes that are signed.

    STUDY is a study's id, or its mandate's number. Then follow what the machine has checked, what no machine can
    check, and who has signed.
    """
    with _open_desk(TrustLocation(state, url, invitation), ActingKey(key, passphrase_file)) as docket:
        typer.echo(_page(docket, docket.find(study), lang), nl=False)


@review.command("sign", cls=Command)
def review_sign(
    study: Study,
    state: StateFolder = None,
    url: Url = None,
    invitation: Invited = None,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
    lang: Lang = "en",
    yes: Yes = False,
) -> None:
    """Sign a study's mandate with your key.

    STUDY is a study's id, or its mandate's number. The words are shown first, and you are asked whether you sign.
    """
    acting_key = ActingKey(key, passphrase_file)
    with _open_desk(TrustLocation(state, url, invitation), acting_key) as docket:
        filed_study = docket.find(study)
        typer.echo(_page(docket, filed_study, lang), nl=False)
        if not yes and filed_study.state == "filed" and not filed_study.lapsed:
            _confirm(committee_text("sign?", lang, number=filed_study.number), committee_text("not_signed", lang), lang)
        wrong = [decision for decision in _checks(docket, filed_study, lang) if not decision.ok]
        if wrong:
            raise Refused(wrong[0].rule, wrong[0].text, remedy="do not sign it; tell who runs the trust")
        member = _member(docket, acting_key)
        already_signed = member.key_id in filed_study.signers
        alone = filed_study.mandate.model_copy(update={"signatures": ()}).with_signature(member)
        filed_study = docket.sign(filed_study.id, alone)
        standing_words = standing(docket.trust, filed_study, lang)
        typer.echo(
            committee_text(
                "signed_before" if already_signed else "signed",
                lang,
                number=filed_study.number,
                standing=standing_words,
            )
        )


@review.command("refuse", cls=Command)
def review_refuse(
    study: Study,
    reason: Annotated[
        list[str], typer.Option("--reason", metavar="TEXT", help="Why; the register shows it. May be repeated.")
    ],
    state: StateFolder = None,
    url: Url = None,
    invitation: Invited = None,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
    lang: Lang = "en",
) -> None:
    """Vote against a study's mandate, with your reasons, which everybody may read.

    STUDY is a study's id, or its mandate's number. When the other members can be no quorum any more, it is refused.
    """
    check_language(lang)
    reasons = _reasons(reason)
    acting_key = ActingKey(key, passphrase_file)
    with _open_desk(TrustLocation(state, url, invitation), acting_key) as docket:
        filed_study = docket.find(study)
        member = _member(docket, acting_key)
        vote = Refusal(mandate=filed_study.mandate_digest, member=member.key_id, reasons=reasons, at=write_time(now()))
        filed_study = docket.refuse(sign("vote", vote.document(), member))
        typer.echo(
            committee_text("voted", lang, number=filed_study.number, standing=standing(docket.trust, filed_study, lang))
        )


@review.command("revoke", cls=Command)
def review_revoke(
    study: Study,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; the register shows it.")],
    state: StateFolder = None,
    url: Url = None,
    invitation: Invited = None,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the signed revocation, to drop at a node as a file.")
    ] = None,
    lang: Lang = "en",
) -> None:
    """End a mandate: no node answers it after this. One member is enough, and nobody can undo it.

    STUDY is a study's id, or its mandate's number. The file of --out is written even where the docket does not take
    the revocation: a node takes it.
    """
    check_language(lang)
    (why,) = _reasons([reason])
    acting_key = ActingKey(key, passphrase_file)
    with _open_desk(TrustLocation(state, url, invitation), acting_key) as docket:
        filed_study = docket.find(study)
        member = _member(docket, acting_key)
        revocation = Revocation(
            mandate=filed_study.mandate_digest, member=member.key_id, reason=why, at=write_time(now())
        )
        envelope = sign("revocation", revocation.document(), member)
        if out is not None:
            _write(out, canonical(envelope.document()) + b"\n")
            typer.echo(committee_text("written", lang, file=out))
        docket.revoke(envelope)
        typer.echo(committee_text("revoked_now", lang, number=filed_study.number))


# ---- parts


def _confirm(question: str, no: str, lang: str) -> None:
    if not sys.stdin or not sys.stdin.isatty():
        raise InvalidInput(
            "no terminal to ask at; nothing was signed", expected="--yes", remedy="read it first: datatrust review show"
        )
    yes = ("o", "oui") if lang == "fr" else ("y", "yes")
    hint = "o/N" if lang == "fr" else "y/N"
    answer = typer.prompt(f"\n{question} [{hint}]", default="", show_default=False)
    if answer.strip().lower() not in yes:
        typer.echo(no, err=True)
        raise typer.Exit(1)


@contextmanager
def _open_desk(location: TrustLocation, acting_key: ActingKey) -> Iterator[Desk]:
    """The docket of a folder, or a coordinator's, which is asked with the member's key.  Raises: DataTrustError."""
    if location.url is not None:
        desk: Desk = RemoteDesk(location.url, acting_key.signer, invitation=location.invitation)
    else:
        desk = TrustFolder(location.folder).docket()
    with closing(desk):
        yield desk


def _member(docket: Desk, acting_key: ActingKey) -> Signer:
    """The member's key, opened.  Raises: InvalidInput; Refused where it is nobody's who is a member today."""
    if acting_key.signer.key_id not in docket.trust.root.root.keys_of("committee"):
        raise Refused("signature", "this key is not a member's of the committee today", remedy="use a member's key")
    return acting_key.signer


def _reasons(texts: list[str]) -> tuple[str, ...]:
    reasons = tuple(reason.strip() for reason in texts)
    if not all(reasons) or any(len(reason) > 2000 for reason in reasons) or len(reasons) > 20:
        raise InvalidInput("a reason that is empty or too long", expected="at most 20, each of 1 to 2,000 characters")
    return reasons


def _write(file: Path, raw: bytes) -> None:
    with writing(file, "name another file"):
        write_new(file, raw, 0o644)


def _page(docket: Desk, filed_study: FiledStudy, lang: str) -> str:
    """The words, then what the machine checked and what none can, then where it stands."""
    page = mandate_page(
        filed_study.study.unverified_payload, filed_study.mandate.unverified_payload, docket.trust.dataset, lang=lang
    )
    unchecked = [Line(committee_text(f"unchecked_{n}", lang), "item") for n in (1, 2, 3, 4)]
    rest_of_page = (
        Section(committee_text("checked", lang), tuple(_lines(_checks(docket, filed_study, lang), lang))),
        Section(committee_text("charter", lang), tuple(_lines(_policy(docket, filed_study, lang), lang))),
        Section(committee_text("unchecked", lang), (*unchecked, Line(committee_text("later", lang)))),
        Section(
            committee_text("stands", lang, standing=standing(docket.trust, filed_study, lang)),
            tuple(_votes(docket, filed_study, lang)),
        ),
    )
    return Page(page.title, (*page.sections, *rest_of_page)).text()


def _lines(decisions: list[Decision], lang: str) -> Iterator[Line]:
    """A line a decision; a no is to be seen."""
    for decision in decisions:
        to_fix = (
            f" ({committee_text('to_fix', lang, remedy=decision.remedy)})"
            if decision.remedy and not decision.ok
            else ""
        )
        text = escaped(f"{decision.text}{to_fix}", quotes=False)
        word = committee_text("yes" if decision.ok else "no", lang)
        yield Line(f"{word} – {text} [{decision.rule}]", "item" if decision.ok else "warning")


def _checks(docket: Desk, filed_study: FiledStudy, lang: str) -> list[Decision]:
    """What the coordinator could have made up: who asks, and what the mandate makes of the study."""
    root, study_text = docket.trust.root.root, filed_study.written
    try:
        signed_study(filed_study.study, root)
        accredited = now() < read_time(root.researchers[study_text.researcher].accredited_until)
    except Refused:
        accredited = False
    same_mandate = filed_study.drafted.root == root.version
    same_mandate = same_mandate and filed_study.drafted == docket.trust.draft_mandate(
        study_text, sha256(filed_study.study.unverified_payload), filed_study.number
    )
    return [
        Decision(rule, ok, committee_text(f"{rule}_{'yes' if ok else 'no'}", lang))
        for rule, ok in (("researcher", accredited), ("mandate", same_mandate))
    ]


def _policy(docket: Desk, filed_study: FiledStudy, lang: str) -> list[Decision]:
    """What the charter says of the study today; each node asks it again, and its own policy."""
    trust, study = docket.trust, filed_study.written
    scope = trust.scope(study)
    bench = DecisionContext(trust.charter, asker_of(trust.root.root, study.researcher), now())
    return list(judge(Declaration.of(study, scope, plan(study, scope)), bench, lang))


def _votes(docket: Desk, filed_study: FiledStudy, lang: str) -> Iterator[Line]:
    """Who has signed, and what was said against; members are known by their keys."""
    for key in sorted(filed_study.signers):
        yield Line(committee_text("signed_by", lang, key=key))
    for vote in filed_study.against:
        yield from (Line(committee_text("against", lang, reason=escaped(reason)), "item") for reason in vote.reasons)
    if filed_study.ended:
        yield Line(
            committee_text(
                "ended", lang, rule=filed_study.ended.rule, text=escaped(filed_study.ended.text, quotes=False)
            )
        )
    root, digest = docket.trust.root.root, filed_study.mandate_digest
    for envelope in valid_revocations(docket.revocations(digest), [root], digest):
        yield Line(committee_text("revoked_why", lang, reason=escaped(read_revocation(envelope, root).reason)))


def _summary(docket: Desk, filed_study: FiledStudy) -> dict[str, object]:
    return {
        "number": filed_study.number,
        "study": filed_study.id,
        "title": filed_study.written.title,
        "state": filed_study.state,
        "lapsed": filed_study.lapsed or "",
        "signatures": len(filed_study.signers),
        "needed": docket.trust.needed,
        "lacking": docket.trust.lacking(filed_study.signers),
        "against": len(filed_study.against),
        "expires": filed_study.drafted.expires,
        "mandate": filed_study.mandate_digest,
    }
