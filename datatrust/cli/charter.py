"""`datatrust charter`: read a charter, look for faults in it, run its tests, and ask why it refuses a study."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from datatrust.cli.command import Command, group
from trust.canonical import canonical, read_model
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy
from trust.dataset.dataset import PARTNER, Column, Dataset
from trust.documents.study import Study, plan
from trust.errors import InvalidInput, StudyInvalid
from trust.plain.charter import charter_text
from trust.policy.cases import TESTS, load_cases, run_case
from trust.policy.decide import Asker
from trust.policy.explain import explain
from trust.policy.lint import lint
from trust.privacy.protections import Protections
from trust.signing.envelope import Envelope
from trust.times import read_time
from trust.words.language import check_language

__all__ = ["charter"]

charter = group()

Where = Annotated[str, typer.Argument(metavar="FOLDER|NAME", help="A charter's folder, or `research`, `sandbox`.")]
Lang = Annotated[str, typer.Option("--lang", metavar="en|fr", help="Language of the words.")]


@charter.command("lint", cls=Command)
def charter_lint(where: Where) -> None:
    """Look for faults in a charter, or in a partner's policy.

    Syntax, the schema, annotations in both languages, policies that hold a threshold which [floor] holds or that can
    never fire, cases that are missing. Exit code 1 when there is a fault; a warning is none; 2 when the folder
    cannot be read as a charter at all.
    """
    read, findings = lint(where)
    for finding in findings:
        typer.echo(str(finding))
    faults = sum(finding.fault for finding in findings)
    typer.echo(
        f"{read.name} {read.version}: {len(read.rules)} policies, {faults} faults, {len(findings) - faults} warnings"
    )
    if faults:
        raise typer.Exit(1)


@charter.command("show", cls=Command)
def charter_show(where: Where, lang: Lang = "en") -> None:
    """Show a charter in words: committee, floors, purposes, and every policy with its article."""
    typer.echo(charter_text(Charter.load(where), lang), nl=False)


@charter.command("test", cls=Command)
def charter_test(where: Where) -> None:
    """Run the cases of a charter's tests.toml.

    A line for each case, then how many came out as expected. Exit code 1 when one did not.
    """
    read = Charter.load(where)
    cases = load_cases(read, where)
    if not cases:
        raise InvalidInput(
            f"the charter {read.name!r} has no case", expected=f"{TESTS} with [[case]]", remedy="docs/governance.md"
        )
    outcomes = [run_case(read, case) for case in cases]
    for outcome in outcomes:
        typer.echo(str(outcome))
    passed = sum(outcome.ok for outcome in outcomes)
    typer.echo(f"{passed} of {len(outcomes)}")
    if passed < len(outcomes):
        raise typer.Exit(1)


@charter.command("explain", cls=Command)
def charter_explain(
    where: Where,
    study: Annotated[Path, typer.Argument(metavar="STUDY.json", help="A study's document, or its signed envelope.")],
    dataset: Annotated[Path | None, typer.Option(metavar="DATASET.yaml", help="The dataset that it is about.")] = None,
    policy: Annotated[Path | None, typer.Option(metavar="FOLDER", help="A partner's policy, judged too.")] = None,
    partners: Annotated[int | None, typer.Option(help="How many partners; otherwise as many as are needed.")] = None,
    country: Annotated[str, typer.Option(help="Country of the researcher's organisation, such as FR.")] = "",
    kind: Annotated[str, typer.Option(help="Kind of the researcher's organisation, such as university.")] = "",
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Judge as of 2026-11-24T00:00:00Z, not now.")] = None,
    lang: Lang = "en",
) -> None:
    """Say why a charter refuses a study, and the smallest changes with which it would pass.

    The researcher is taken to be accredited. Without --dataset neither the cohort nor derived columns, sums and
    bytes are judged. Exit code 1 when the study is refused.
    """
    check_language(lang)
    read, study_asked = Charter.load(where), _study(study)
    now = read_time(at) if at else datetime.now(UTC).replace(microsecond=0)
    asker = Asker(study_asked.researcher, "", country, kind, datetime.max.replace(microsecond=0, tzinfo=UTC))
    partner_policy = PartnerPolicy.load(policy) if policy else None
    if partner_policy:
        partner_policy.check_fits(read)
    described = Dataset.load(dataset) if dataset else _imagined(study_asked)
    if dataset is None:
        typer.echo("without --dataset: cohort, derived columns, sums and bytes are not judged", err=True)
        fields = {"dataset": described.id, "dataset_digest": described.digest(), "cohort": ""}
        study_asked = study_asked.model_copy(update=fields)
    number = _enough(study_asked.protections) if partners is None else partners
    names = tuple(f"partner-{n}" for n in range(1, number + 1))
    scope = study_asked.scope(described, names, read)
    plans = plan(study_asked, scope) if dataset else {}
    explanation = explain(study_asked, read, scope, plans, now=now, asker=asker, policy=partner_policy, lang=lang)
    typer.echo(str(explanation))
    if not explanation.ok:
        raise typer.Exit(1)


def _study(path: Path) -> Study:
    """A study's document, canonical or not, or the envelope that holds it.  Its signature is not judged here."""
    try:
        value: Any = json.loads(path.read_bytes())
        if isinstance(value, dict) and "payload" in value:
            value = json.loads(Envelope.read(value).unverified_payload)
        canonical(value)
    except OSError as wrong:
        raise StudyInvalid(f"the study {str(path)!r} cannot be read ({wrong.strerror})") from None
    except (ValueError, RecursionError):
        raise StudyInvalid(
            f"{str(path)!r} is not a study", expected="its JSON document, or its signed envelope"
        ) from None
    return read_model(Study, value, StudyInvalid, "the study")


def _enough(protections: Protections) -> int:
    """The fewest partners with which the study's own demand on their number is met."""
    return max(3, protections.organisations, protections.colluders + 2)


def _imagined(study: Study) -> Dataset:
    """A dataset of the columns that the analyses name, where none was given: their names are all that is known."""
    names = {name for analysis in study.analyses.values() for name in analysis.reads() if name != PARTNER}
    columns = tuple(Column(name=name, type="number") for name in sorted(names)) or (Column(name="none", type="number"),)
    return Dataset(id="not-given", name="not given", version="0", columns=columns)
