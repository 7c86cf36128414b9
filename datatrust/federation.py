"""A whole trust in one process: nodes, coordinator and committee, with the messages that a deployment sends."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from coordinator.docket import Docket, Trust
from coordinator.flower import FlowerChannel, InMemoryGrid
from coordinator.studies import carry_out
from datatrust.ask import Question
from datatrust.client import Job, Result, StudyHandle, provenance_of
from datatrust.keys import Keys
from datatrust.state import State
from nodes.editions import Editions
from nodes.egress import Sent
from nodes.flower import client_app
from nodes.node import Node
from nodes.session import Session
from nodes.sources import Place, Source, as_source, physical_names
from nodes.store import SqliteStore
from trust.analyses.base import Analysis, Scope
from trust.canonical import read_model
from trust.charter import Charter
from trust.cohort import Cohort
from trust.dataset import Dataset
from trust.decision import Decision, Decisions, require
from trust.errors import DataTrustError, Fault, InvalidInput, Refused, StudyInvalid, nearest
from trust.explain import Explanation, explain
from trust.partner_policy import PartnerPolicy, floor_of
from trust.policy import asker_of, decide
from trust.protections import Protections
from trust.result import write_envelope
from trust.secure_sum.errors import SecureSumError
from trust.secure_sum.frames import is_name
from trust.study import Study, new_id, plan
from trust.times import now, write_time

__all__ = ["LocalTrust", "local"]


def local(
    sources: Mapping[str, Place | Source],
    dataset: str | Path | Dataset,
    charter: str | Path | Charter = "research",
    *,
    policies: Mapping[str, str | Path | PartnerPolicy] | None = None,
    state: str | Path | None = None,
    passphrase: str | None = None,
) -> LocalTrust:
    """A trust of these partners in this process.

    Args:
        sources: partner -> a path, a URL, a DataFrame or a `Source`; a name is written in small letters, with -
            for _.
        dataset: the shared description, or the path of its YAML file.
        charter: `research`, `sandbox`, or a folder.
        policies: partner -> the folder of its own policy; it may only forbid.
        state: a folder that keeps keys, journals and the register, for the next time and for `datatrust review`,
            `register` and `node journal`; otherwise all is deleted at the end.
        passphrase: of the committee's keys in that folder.  Where a folder is made without one, a random one is kept
            beside them.

    Raises: DatasetInvalid, SourceInvalid, CharterInvalid, StudyInvalid, InvalidInput.
    """
    description = dataset if isinstance(dataset, Dataset) else Dataset.load(dataset)
    policy = charter if isinstance(charter, Charter) else Charter.load(charter)
    _expect("sources", sources, Mapping, "a mapping of partners to their sources")
    if not sources:
        raise StudyInvalid("no sources", expected="a mapping of partners to their sources")
    named = {_partner(n): as_source(s) for n, s in sources.items()}
    if len(named) != len(sources):
        raise StudyInvalid("two partners with the same name but for capitals and _", expected="a name each")
    own = {
        _partner(n): p if isinstance(p, PartnerPolicy) else PartnerPolicy.load(p) for n, p in (policies or {}).items()
    }
    for name, partners_own in own.items():
        partners_own.fits(policy)
        if name not in named:
            raise StudyInvalid(f"a policy of {name!r}, who has no source", expected=nearest(name, named))
    return LocalTrust(description, policy, named, policies=own, state=state, passphrase=passphrase)


class LocalTrust:
    """Partners, a dataset and a charter.  Holds the keys of all roles, which only a trust in one process may.

    Attributes:
        docket: the studies that were filed; `docket.register` is the public log.
        exchanged: what each node sent in the last study, message by message.
        uploads: the masked words of each partner in each sum of the last study, as the coordinator has them.
    """

    def __init__(
        self,
        dataset: Dataset,
        charter: Charter,
        sources: Mapping[str, Source],
        *,
        policies: Mapping[str, PartnerPolicy] | None = None,
        state: str | Path | None = None,
        passphrase: str | None = None,
    ) -> None:
        self.dataset, self.charter = dataset, charter
        self.exchanged: dict[str, list[Sent]] = {}
        self.uploads: tuple[Mapping[str, bytes], ...] = ()
        kept = state is not None
        folder = Path(state) if state is not None else Path(tempfile.mkdtemp(prefix="datatrust-"))
        self._open(folder, sorted(sources), kept, passphrase)
        self.docket = Docket(folder / "coordinator", self._trust, self._keys.coordinator, now, durable=kept)
        self._policies = {name: (policies or {}).get(name) for name in sorted(sources)}
        if self._state:
            self._state.keep_own(
                {n: (p is not None, sources[n].opt_out is not None) for n, p in self._policies.items()}
            )
        self._ids: set[str] = set()
        closing = [self.docket, *self._begin(sources, kept)]
        weakref.finalize(self, _clean_up, closing, None if kept else folder)

    def _begin(self, sources: Mapping[str, Source], kept: bool) -> list[Any]:
        """Start the partners' nodes; what is to be closed at the end."""
        own = self._policies
        self._stores = {name: SqliteStore(self._home / "nodes" / name, durable=kept) for name in own}
        self._editions = {name: self._kept_edition(name, own[name], kept) for name in own}
        self._nodes = {name: self._node(name, sources[name], own[name]) for name in own}
        for name, source in sources.items():
            try:
                physical_names(source)
            except (InvalidInput, Fault) as wrong:
                raise _of_partner(name, wrong) from None
        return list(self._stores.values())

    def _open(self, folder: Path, partners: list[str], kept: bool, passphrase: str | None) -> None:
        """Keys and trust root: those of the folder, or new ones."""
        self._state: State | None = None
        self._home = folder
        if kept:
            self._state, self._keys = State.opened(folder, self.dataset, self.charter, partners, passphrase)
            self._trust = self._state.trust
            return
        self._keys = Keys.make(partners, self.charter, now())
        self._trust = Trust((self._keys.envelope,), self.dataset, self.charter)

    def _kept_edition(self, name: str, policy: PartnerPolicy | None, kept: bool) -> Editions:
        folder = self._home / "nodes" / name / "editions"
        return Editions(folder, self.dataset, persons=floor_of(self.charter, policy).persons, durable=kept)

    def _node(self, name: str, source: Source, policy: PartnerPolicy | None) -> Node:
        keys = self._keys.partners[name]
        return Node(
            name,
            self.dataset,
            source.checked(self.dataset),
            self.charter,
            self._keys.root,
            keys.sign,
            keys.seal,
            self._stores[name],
            self._editions[name],
            now,
            policy,
            self._home / "nodes" / name / "revocations",
        )

    @property
    def partners(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self._policies)

    def study(
        self,
        title: str,
        *,
        purpose: str,
        analyses: Mapping[str, Question | Analysis],
        cohort: str = "",
        summary: str | Mapping[str, str] | None = None,
        protections: Mapping[str, Any] | None = None,
        not_before: datetime | None = None,
        expires: datetime | None = None,
    ) -> StudyHandle:
        """Write a study.  Protections that are not given are the charter's floors.

        Raises: StudyInvalid, FormulaInvalid, CohortInvalid: what cannot be a study, before anything is asked.
        """
        _expect("analyses", analyses, Mapping, "such as {'table': dt.Describe(['age'])}")
        _expect("protections", protections or {}, Mapping, "such as {'persons': 20}")
        _expect("cohort", cohort, str, 'a text, such as "age >= 40"')
        for name, time in (("not_before", not_before), ("expires", expires)):
            _expect(name, time, datetime | None, "a datetime, such as datetime(2027, 2, 22, tzinfo=UTC)")
        begins = not_before or now()
        ends = expires or begins + timedelta(days=self.charter.floor.longest_days)
        if (until := write_time(ends)) <= write_time(now()):  # the order of these texts is that of the times
            raise StudyInvalid(f"an expiry in the past, {until}", expected="a time to come")
        words = {"en": summary if isinstance(summary, str) else title}
        declared = {**self.charter.defaults().model_dump(), **(protections or {})}
        if cohort:
            cohort = Cohort.parse(cohort, self.dataset).text
        fields = {
            "id": self._new_id(str(title)),
            "title": title,
            "summary": dict(summary) if isinstance(summary, Mapping) else words,
            "purpose": purpose,
            "researcher": "local",
            "dataset": self.dataset.id,
            "dataset_digest": self.dataset.digest(),
            "cohort": cohort,
            "analyses": {name: self._resolve(name, asked).document() for name, asked in analyses.items()},
            "protections": read_model(Protections, declared, StudyInvalid, "the protections"),
            "not_before": write_time(begins),
            "expires": write_time(ends),
        }
        study = read_model(Study, fields, StudyInvalid, "the study")
        plan(study, self._scope(study))
        return StudyHandle(study, self)

    def _new_id(self, title: str) -> str:
        """An id that no other study of this trust has: four random letters alone would repeat after a thousand."""
        unused = (name for name in iter(lambda: new_id(title), "") if name not in self._ids)
        study_id = next(name for name in unused if not self.docket.used(name))
        self._ids.add(study_id)
        return study_id

    def _resolve(self, name: str, asked: Any) -> Analysis:
        if isinstance(asked, Question):
            return asked.resolve(self.dataset)
        if isinstance(asked, Analysis):
            return asked
        raise StudyInvalid(f"analysis {name!r} is a {type(asked).__name__}", expected="such as dt.Describe([…])")

    def _scope(self, study: Study) -> Scope:
        return Scope(self.dataset, self.partners, study.protections, self.charter.partner_may_be_shown)

    def check(self, study: Study) -> Decisions:
        """What the charter and every partner's own policy say of a study: instant, no row is touched."""
        scope = self._scope(study)
        plans = plan(study, scope)
        asker = asker_of(self._trust.root.root, study.researcher)
        taken: list[Decision] = []
        for name, policy in self._policies.items():
            said = decide(study, self.charter, scope, plans, now=now(), asker=asker, partner=name, policy=policy)
            if not taken:
                taken += said
            for no in said.refusals:
                if no not in taken:  # a partner that refuses alone
                    taken = [*(d for d in taken if not (d.ok and d.rule == no.rule)), no]
        return Decisions(taken)

    def explain(self, study: Study, lang: str = "en") -> Explanation:
        """Why the charter, or else a partner's own policy, refuses a study, and the smallest change that would pass."""
        scope = self._scope(study)
        plans = plan(study, scope)
        asker = asker_of(self._trust.root.root, study.researcher)
        found = explain(study, self.charter, scope, plans, now=now(), asker=asker, lang=lang)
        for name, policy in self._policies.items():
            if policy is not None:  # with the charter: the change must pass both
                own = explain(
                    study,
                    self.charter,
                    scope,
                    plans,
                    now=now(),
                    asker=asker,
                    partner=name,
                    policy=policy,
                    lang=lang,
                )
                found = own if len(own.reasons) > len(found.reasons) or not own.ok else found
        return found

    def submit(self, study: Study) -> Job:
        """File a study: signed by the researcher, and on the docket for the committee to sign.

        Raises: Refused, where the charter says no.
        """
        signed = self._keys.study(study)
        try:
            require(self.check(study))
        except Refused as refused:
            self.docket.turned_away(signed, refused)
            raise
        return Job(self.docket.file(signed).id, self)

    def job(self, study: str) -> Job:
        """A study that was filed before, by its id or its mandate's number.  Raises: InvalidInput."""
        return Job(self.docket.find(study).id, self)

    def run(self, study: Study) -> Result:
        """Carry it out: signed by the researcher, a mandate signed by the quorum, conducted over Flower in process.

        A study is run once; run again, it is a new study with an id of its own.
        Raises: Refused, AnalysisFailed, SourceInvalid.
        """
        self._keys.may_vote()
        if self.docket.used(study.id):
            study = study.model_copy(update={"id": self._new_id(study.title)})
        job = self.submit(study)
        self.docket.sign(job.id, self._keys.signed(self.docket.find(job.id).mandate))
        return job.result()

    def conduct(self, study: str) -> Result:
        """Carry out a study of the docket whose mandate is in force; of one that was released before, what was kept.

        Raises: Refused (`mandate-missing` where members have still to sign), AnalysisFailed, SourceInvalid.
        """
        filed = self.docket.find(study)
        if filed.state == "released" and self._state:
            return Result.kept(self._state.coordinator.result(filed.id), self.docket, filed)
        self.docket.mandate(filed.id)  # before any session is opened: whether it may run
        sessions = {name: Session(node) for name, node in self._nodes.items()}
        try:
            carried = carry_out(
                self.docket,
                self._keys.coordinator,
                filed.id,
                _channel(sessions),
                before_release=lambda: _raise_trouble(sessions),
            )
        except Refused:
            _raise_trouble(sessions)
            raise
        finally:
            self.exchanged = {name: session.egress.sent for name, session in sessions.items()}
        conducted = carried.conducted
        self.uploads = conducted.uploads
        if self._state:
            self._state.coordinator.keep_result(filed.id, write_envelope(carried.envelope))
        provenance = provenance_of(
            self._trust,
            filed,
            partners=conducted.partners,
            absent={name: refused.rule for name, refused in conducted.absent.items()},
            sums=len(conducted.records),
            sent={name: sum(s.bytes for s in sent) for name, sent in self.exchanged.items()},
        )
        scope = self._scope(filed.written)
        return Result(filed.written, scope, carried.values, carried.decisions, provenance, carried.envelope)


def _clean_up(stores: list[Any], temporary: Path | None) -> None:
    """Close the state, and delete it where it is temporary."""
    for store in stores:
        store.close()
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)


def _channel(sessions: Mapping[str, Session]) -> FlowerChannel:
    """Flower in this process: the ClientApps of a deployment over an in-memory Grid."""
    ids = {name: at for at, name in enumerate(sessions, 1)}
    return FlowerChannel(InMemoryGrid({ids[name]: client_app(s.handle) for name, s in sessions.items()}), ids)


def _raise_trouble(sessions: Mapping[str, Session]) -> None:
    """Tell the person who holds all the nodes what no node would send: why its source could not be read."""
    for name, session in sessions.items():
        if session.trouble is not None and not isinstance(session.trouble, Refused | SecureSumError):
            raise _of_partner(name, session.trouble) from None


def _of_partner(name: str, wrong: DataTrustError) -> DataTrustError:
    """The same error, which says whose it is; what caused it stays behind, since its words may hold a value."""
    if isinstance(wrong, InvalidInput):
        return type(wrong)(f"partner {name!r}: {wrong.got}", expected=wrong.expected, remedy=wrong.remedy)
    return Fault(f"partner {name!r}: {wrong}") if isinstance(wrong, Fault) else wrong


def _expect(name: str, value: Any, kind: Any, example: str) -> None:
    if not isinstance(value, kind):
        raise StudyInvalid(f"{name} is a {type(value).__name__}", expected=example)


def _partner(name: str) -> str:
    """`va_long_beach` and `VA-Long-Beach` are `va-long-beach`: names as the protocol writes them."""
    slug = str(name).lower().replace("_", "-")
    if not is_name(slug):
        raise StudyInvalid(f"{name!r} is no partner's name", expected="letters, digits and -, at most 63")
    return slug
