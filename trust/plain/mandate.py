"""The page of a mandate: study, mandate and dataset, each field of what is signed in words.

The bytes are read here and compared: words are never about a study or a dataset other than the mandate's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from trust.canonical import parse, read_model
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import PARTNER, Dataset
from trust.documents.mandate import Mandate
from trust.documents.study import Study
from trust.errors import MessageInvalid, Refused
from trust.plain.analyses import computed
from trust.plain.conditions import condition_parts
from trust.plain.information import information
from trust.plain.names import Names
from trust.signing.envelope import sha256
from trust.times import read_time
from trust.words.page import Line, Page, Section
from trust.words.safe import lines_of
from trust.words.speech import Speech

__all__ = ["mandate_page"]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def mandate_page(study: bytes, mandate: bytes, dataset: Dataset, *, lang: str) -> Page:
    """What a mandate says, in words made from the signed bytes.

    Args:
        study: the payload that the researcher has signed, canonical JSON.
        mandate: the payload that the members sign, canonical JSON.
        dataset: the description that the study names.
        lang: `en` or `fr`.

    Raises: InvalidInput for another language; MessageInvalid, StudyInvalid or CohortInvalid for bytes that are none, or
    that do not fit the dataset; Refused (`mandate-study`, `dataset`) where one is not about the other.
    """
    speech = Speech(lang, "mandate")
    study_text = Study.read(study)
    mandate_text = read_model(Mandate, parse(mandate), MessageInvalid, "the mandate")
    for name in ("study", "plan", "dataset", "charter"):
        if not _DIGEST.fullmatch(getattr(mandate_text, name)):
            raise MessageInvalid(f"the mandate's {name} is not a digest", expected="sha256: and 64 hexadecimal digits")
    if mandate_text.study != sha256(study):
        text = "the mandate names another study than the one that is shown with it"
        raise Refused("mandate-study", text, remedy="show it with the study that it names")
    if not dataset.digest() == study_text.dataset_digest == mandate_text.dataset or study_text.dataset != dataset.id:
        text = "study or mandate names another dataset than the one that is shown with them"
        raise Refused("dataset", text, remedy="use the dataset as it was when the study was written")
    writer = _Writer(study_text, mandate_text, dataset, speech, sha256(mandate))
    return Page(speech("page_title", number=mandate_text.id), tuple(writer.sections()))


@dataclass(frozen=True)
class _Writer:
    """Writes section by section; each method gives the lines of one."""

    study: Study
    mandate: Mandate
    dataset: Dataset
    say: Speech
    digest: str

    def sections(self) -> Iterator[Section]:
        for heading, lines in (
            ("study", self._study()),
            ("summary", self._summary()),
            ("purpose", self._purpose()),
            ("who", [self._line("who_is", researcher=self.say.quoted(self.study.researcher))]),
            ("whose", self._data_holders()),
            ("information", information(self.study, self.cohort, self.names)),
            ("about", self._about()),
            ("computed", self._computed()),
            ("often", self._often()),
            ("protections", self._protections()),
            ("never", self._items("never_rows", "never_code", "never_linked", "never_else", "never_late")),
            ("remains", self._items(*(f"remains_{item}" for item in _REMAINS))),
            ("valid", self._valid()),
            ("conditions", self._conditions()),
            ("signed", self._signatures()),
        ):
            yield Section(self.say(heading), tuple(lines))

    @cached_property
    def names(self) -> Names:
        return Names(self.dataset, self.mandate.partners, self.say)

    @cached_property
    def cohort(self) -> Cohort | None:
        """None where everybody is meant.  Raises: CohortInvalid."""
        return Cohort.parse(self.study.cohort, self.dataset) if self.study.cohort else None

    # ---- what is asked, by whom, of whose data

    def _study(self) -> Iterator[Line]:
        yield self._line("study_number", number=self.mandate.id, id=self.study.id)
        yield from _quote(self.study.title)

    def _summary(self) -> Iterator[Line]:
        summaries = {str(lang): text for lang, text in self.study.summary.items()}
        own_summary, other_summary = summaries.get(self.say.lang), summaries.get(self.say.other)
        if own_summary is None and other_summary is None:
            yield self._line("summary_none")
            return
        yield self._line("summary_whose")
        if own_summary is not None:
            yield from _quote(own_summary)
        if other_summary is not None:
            yield self._line("summary_only_other" if own_summary is None else "summary_other")
            yield from _quote(other_summary)

    def _purpose(self) -> Iterator[Line]:
        words, code = self.say.of_table("purposes", self.study.purpose), self.say.quoted(self.study.purpose)
        if words is None:
            yield self._line("purpose_unknown", code=code)
        else:
            yield self._line("purpose_known", words=words, code=code)

    def _data_holders(self) -> Iterator[Line]:
        partners, quoted = self.mandate.partners, self.say.quoted
        yield self._line("partners", count=len(partners), names=", ".join(partners))
        name, version = quoted(self.dataset.name), quoted(self.dataset.version)
        yield self._line("dataset", name=name, id=self.study.dataset, version=version)
        if self.dataset.description:
            yield self._line("dataset_purpose", text=quoted(self.dataset.description))
        yield self._line(self.mandate.participation)
        if self.study.protections.participation != self.mandate.participation:
            yield self._warning(f"differs_participation_{self.study.protections.participation}")

    def _about(self) -> Iterator[Line]:
        if self.cohort is None:
            yield self._line("everybody")
        else:
            conjunction, conditions = condition_parts(self.cohort.tree, self.names)
            yield self._line({"and": "all_hold", "or": "one_holds"}.get(conjunction, "those_who"))
            yield from (Line(condition, "item") for condition in conditions)
            yield self._line("unknown")
            yield self._line("as_written")
            yield from _quote(self.study.cohort)
        rows = self.dataset.rows_per_person
        if self.dataset.person == "row":
            yield self._line("person_row")
        else:
            person = self.dataset.person
            column = self.names.column(person) if person in self.dataset else self.say.quoted(person)
            yield self._line("person_once" if rows == 1 else "person_rows", column=column, rows=rows)

    def _computed(self) -> Iterator[Line]:
        if not any(PARTNER in analysis.reads() for analysis in self.study.analyses.values()):
            yield self._line("computed_together")
        yield self._line("computed_small")
        for name, analysis in sorted(self.study.analyses.items()):
            yield from computed(name, analysis, self.names)

    def _often(self) -> Iterator[Line]:
        size, about = self.mandate.bytes, ""
        for key, unit in (("about_kb", 1e3), ("about_mb", 1e6)):
            if size >= unit:
                about = self.say(key, value=round(size / unit, 1))
        yield self._line("sums", count=self.mandate.sums)
        yield self._line("bytes", count=size, about=about)
        yield self._line("fixed_length")

    # ---- what protects

    def _protections(self) -> Iterator[Line]:
        protections, mandate = self.study.protections, self.mandate
        yield self._item("persons", count=protections.persons)
        yield self._item("others_hidden")
        yield self._item("zero_is_small" if protections.zero_is_small else "zero_is_shown")
        yield self._item("fewest", count=mandate.m)
        yield self._item("groups_partners")
        yield self._item("organisations", count=protections.organisations)
        if mandate.m != protections.fewest(len(mandate.partners)):
            yield self._warning("differs_fewest", count=protections.fewest(len(mandate.partners)))
        yield self._item("colluders", count=mandate.c)
        if mandate.c != protections.colluders:
            yield self._warning("differs_colluders", count=protections.colluders)
        yield self._item("secure_sum")
        yield self._item("replay")
        yield self._item(f"audit_{mandate.audit}")
        yield self._item(f"noise_{protections.noise}".lower())
        yield self._item("dominance", share=self.say("percent", value=protections.dominance_percent))
        read = dict.fromkeys(
            chain.from_iterable(analysis.reads() for _, analysis in sorted(self.study.analyses.items()))
        )
        amounts = tuple(name for name in read if name != PARTNER and self.dataset.column(name).magnitude)
        if amounts:
            yield self._item("dominance_here", columns=self.names.columns(amounts))
        else:
            yield self._item("dominance_none")
        yield self._item("parameters", value=protections.glm_parameters_per_person)
        yield self._item("residual_df", count=protections.residual_df)

    # ---- when, and what is signed

    def _valid(self) -> Iterator[Line]:
        study, mandate = self.study, self.mandate
        yield Line(self.say.moment(mandate.not_before, "begins"))
        yield Line(self.say.moment(mandate.expires, "ends"))
        if study.not_before != mandate.not_before:
            yield Line(self.say.moment(study.not_before, "asked_begins"))
        if study.expires != mandate.expires:
            yield Line(self.say.moment(study.expires, "asked_ends"))
        longer = read_time(mandate.expires) > read_time(study.expires)  # it may be shorter: the trust root's end
        if longer or study.not_before != mandate.not_before:
            yield self._warning("differs_dates")

    def _conditions(self) -> Iterator[Line]:
        conditions = self.mandate.conditions
        if not conditions:
            yield self._line("conditions_none")
            return
        yield self._line("conditions_set", count=len(conditions))
        yield from (Line(self.say.quoted(condition), "item") for condition in conditions)

    def _signatures(self) -> Iterator[Line]:
        yield self._line("signed_bytes")
        yield self._line("signed_names")
        mandate = self.mandate
        for name, digest, schema in (
            ("mandate", self.digest, mandate.schema_),
            ("study", mandate.study, self.study.schema_),
            ("plan", mandate.plan, ""),
            ("dataset", mandate.dataset, ""),
            ("charter", mandate.charter, ""),
        ):
            yield self._line(f"digest_{name}", schema=schema)
            yield Line(digest, "code")
        yield self._line("root", root=mandate.root)

    # ---- lines

    def _line(self, key: str, **values: str | float) -> Line:
        return Line(self.say(key, **values))

    def _item(self, key: str, **values: str | float) -> Line:
        return Line(self.say(key, **values), "item")

    def _warning(self, key: str, **values: str | float) -> Line:
        return Line(self.say(key, **values), "warning")

    def _items(self, *keys: str) -> Iterator[Line]:
        return (self._item(key) for key in keys)


_REMAINS = ("researcher", "coordinator", "operator", "twice", "false", "difference")


def _quote(text: str) -> Iterator[Line]:
    return (Line(line, "quote") for line in lines_of(text))
