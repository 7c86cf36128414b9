"""A whole trust in one process: nodes, coordinator and committee, with the messages that a deployment sends."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from coordinator.docket.docket import Docket
from coordinator.study.carry_out import carry_out
from coordinator.study.channel import Channel
from datatrust.in_process.folder import TrustFolder
from datatrust.in_process.keys import RESEARCHER, RoleKeys
from datatrust.person.pins import read_pin_file
from datatrust.research.any_trust import AnyTrust, check_type
from datatrust.research.job import Job, Standing
from datatrust.research.progress import Say
from datatrust.research.result import ReleaseContext, Result, provenance_of
from nodes.node import Node
from nodes.rows.editions import EditionKeeper
from nodes.rows.source import Place, Source, as_source, physical_names
from nodes.state.store import SqliteStore
from nodes.study.egress import Sent
from nodes.study.session import Session
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy, floor_of
from trust.dataset.dataset import Dataset
from trust.decision import require
from trust.documents.filed_study import FiledStudy, TrustDocuments
from trust.documents.result import write_envelope
from trust.documents.root import Root, TrustRoot
from trust.documents.study import Study
from trust.documents.study_states import ENDED
from trust.errors import DataTrustError, Fault, InvalidInput, Refused, StudyInvalid, nearest
from trust.plain.standing import standing
from trust.secure_sum.errors import SecureSumError
from trust.secure_sum.frames import is_name
from trust.times import now

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
    check_type("sources", sources, Mapping, "a mapping of partners to their sources")
    if not sources:
        raise StudyInvalid("no sources", expected="a mapping of partners to their sources")
    sources_by_name = {_partner(n): as_source(s) for n, s in sources.items()}
    if len(sources_by_name) != len(sources):
        raise StudyInvalid("two partners with the same name but for capitals and _", expected="a name each")
    policies_by_name = {
        _partner(n): p if isinstance(p, PartnerPolicy) else PartnerPolicy.load(p) for n, p in (policies or {}).items()
    }
    for name, partners_own in policies_by_name.items():
        partners_own.check_fits(policy)
        if name not in sources_by_name:
            raise StudyInvalid(f"a policy of {name!r}, who has no source", expected=nearest(name, sources_by_name))
    return LocalTrust(
        description, policy, sources_by_name, policies=policies_by_name, state=state, passphrase=passphrase
    )


class LocalTrust(AnyTrust):
    """Partners, a dataset and a charter.  Holds the keys of all roles, which only a trust in one process may.

    Attributes:
        docket: the studies that were filed; `docket.register` is the public log.
        exchanged: what each node sent in the last study, message by message.
        uploads: the masked words of each partner in each sum of the last study, as the coordinator has them.
    """

    patience = 0.0
    watched = False

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
        is_kept = state is not None
        folder = Path(state) if state is not None else Path(tempfile.mkdtemp(prefix="datatrust-"))
        self._open(folder, sorted(sources), is_kept, passphrase)
        self.docket = Docket(folder / "coordinator", self._trust, self._keys.coordinator, now, durable=is_kept)
        self._partner_settings = {name: (policies or {}).get(name) for name in sorted(sources)}
        if self._state:
            self._state.keep_own(
                {n: (p is not None, sources[n].opt_out is not None) for n, p in self._partner_settings.items()}
            )
        self._ids: set[str] = set()
        closing = [self.docket, *self._begin(sources, is_kept)]
        weakref.finalize(self, _clean_up, closing, None if is_kept else folder)

    def _begin(self, sources: Mapping[str, Source], is_kept: bool) -> list[Any]:
        """Start the partners' nodes; what is to be closed at the end."""
        partner_settings = self._partner_settings
        self._stores = {name: SqliteStore(self._home / "nodes" / name, durable=is_kept) for name in partner_settings}
        self._editions = {name: self._kept_edition(name, partner_settings[name], is_kept) for name in partner_settings}
        self._nodes = {name: self._node(name, sources[name], partner_settings[name]) for name in partner_settings}
        for name, source in sources.items():
            try:
                physical_names(source)
            except (InvalidInput, Fault) as wrong:
                raise _of_partner(name, wrong) from None
        return list(self._stores.values())

    def _open(self, folder: Path, partners: list[str], is_kept: bool, passphrase: str | None) -> None:
        """Keys and trust root: those of the folder, or new ones."""
        self._state: TrustFolder | None = None
        self._home = folder
        if is_kept:
            self._state, self._keys = TrustFolder.opened(folder, self.dataset, self.charter, partners, passphrase)
            self._trust = self._state.trust
            return
        self._keys = RoleKeys.make(partners, self.charter, now())
        self._trust = TrustDocuments((self._keys.envelope,), self.dataset, self.charter)

    def _kept_edition(self, name: str, policy: PartnerPolicy | None, is_kept: bool) -> EditionKeeper:
        folder = self._home / "nodes" / name / "editions"
        return EditionKeeper(folder, self.dataset, persons=floor_of(self.charter, policy).persons, durable=is_kept)

    def _node(self, name: str, source: Source, policy: PartnerPolicy | None) -> Node:
        keys = self._keys.partners[name]
        return Node(
            name=name,
            dataset=self.dataset,
            source=source.checked(self.dataset),
            charter=self.charter,
            root=self._keys.root,
            identity=keys.sign,
            seal=keys.seal,
            store=self._stores[name],
            editions=self._editions[name],
            clock=now,
            policy=policy,
            revocations=self._home / "nodes" / name / "revocations",
        )

    @property
    def partners(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self._partner_settings)

    @property
    def _root(self) -> Root:
        return self._trust.root.root

    @property
    def _researcher(self) -> str:
        return RESEARCHER

    @property
    def _policies(self) -> Mapping[str, PartnerPolicy | None]:
        return self._partner_settings

    def _used(self, study: str) -> bool:
        used = study in self._ids or self.docket.used(study)
        self._ids.add(study)
        return used

    def submit(self, study: Study) -> Job:
        """File a study: signed by the researcher, and on the docket for the committee to sign.

        Raises: Refused, where the charter says no.
        """
        signed_study = self._keys.study(study)
        try:
            require(self.check(study))
        except Refused as refused:
            self.docket.turned_away(signed_study, refused)
            raise
        return Job(self.docket.file(signed_study).id, self)

    def job(self, study: str) -> Job:
        """A study that was filed before, by its id or its mandate's number.  Raises: InvalidInput."""
        return Job(self.docket.find(study).id, self)

    def run(self, study: Study) -> Result:
        """Carry it out: signed by the researcher, a mandate signed by the quorum, conducted over Flower in process.

        A study is run once; run again, it is a new study with an id of its own.
        Raises: Refused, AnalysisFailed, SourceInvalid.
        """
        self._keys.require_votes()
        if self.docket.used(study.id):
            study = study.model_copy(update={"id": self._new_id(study.title)})
        job = self.submit(study)
        self.docket.sign(job.id, self._keys.signed(self.docket.find(job.id).mandate))
        return job.result(progress=False)

    # ---- what a job asks

    def stands(self, study: str) -> Standing:
        """Where a study stands."""
        filed_study = self.docket.find(study)
        done = filed_study.state in ENDED or filed_study.lapsed is not None
        return Standing(
            filed_study.state, standing(self._trust, filed_study), done, done or filed_study.state == "mandated"
        )

    def withdraw(self, study: str) -> bool:
        """Cancel a study, whose researcher's key is here; whether it was cancelled."""
        try:
            self.docket.cancel(study, "researcher")
        except Refused:
            return self.docket.find(study).state == "cancelled"
        return True

    def answer(self, study: str, say: Say = lambda words: None) -> Result:
        """Carry out a study of the docket whose mandate is in force; of one that was released before, what was kept.

        Raises: Refused (`mandate-missing` where members have still to sign), AnalysisFailed, SourceInvalid.
        """
        filed_study = self.docket.find(study)
        if filed_study.state == "released" and self._state:
            return self._read_release(self._state.coordinator.result(filed_study.id), filed_study)
        self.docket.mandate(filed_study.id)  # before any session is opened: whether it may run
        sessions = {name: Session(node) for name, node in self._nodes.items()}
        try:
            outcome = carry_out(
                self.docket,
                self._keys.coordinator,
                filed_study.id,
                _channel(sessions),
                before_release=lambda: _raise_trouble(sessions),
                tell=say,
            )
        except Refused:
            _raise_trouble(sessions)
            raise
        finally:
            self.exchanged = {name: session.egress.sent for name, session in sessions.items()}
        conducted = outcome.conducted
        self.uploads = conducted.uploads
        if self._state:
            self._state.coordinator.keep_result(filed_study.id, write_envelope(outcome.envelope))
        filed_study = outcome.filed
        provenance = provenance_of(
            self._trust,
            filed_study,
            partners=conducted.partners,
            absent={name: refusal.rule for name, refusal in conducted.absent.items()},
            sums=len(conducted.records),
            sent={name: sum(s.bytes for s in sent) for name, sent in self.exchanged.items()},
        )
        scope = self._scope(filed_study.written)
        return Result(filed_study.written, scope, outcome.values, outcome.decisions, provenance, outcome.envelope)

    def _read_release(self, file: Path, filed_study: FiledStudy) -> Result:
        """What was released before.  Raises: InvalidInput, Refused."""
        entries = [entry for entry in self.docket.register.entries() if entry.study == filed_study.id]
        anchor = TrustRoot.founding(self._trust.roots[0])
        return Result.kept(read_pin_file(file), ReleaseContext(self._trust, filed_study, entries, anchor, str(file)))


def _clean_up(stores: list[Any], temporary: Path | None) -> None:
    """Close the state, and delete it where it is temporary."""
    for store in stores:
        with suppress(sqlite3.ProgrammingError):  # let go of in another thread than the one that opened it
            store.close()
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)


def _channel(sessions: Mapping[str, Session]) -> Channel:
    """Flower in this process: the ClientApps of a deployment over an in-memory Grid."""
    from coordinator.flower.grid import FlowerChannel, InMemoryGrid  # here, since loading Flower takes a second
    from nodes.serve.flower import client_app

    ids = {name: index for index, name in enumerate(sessions, 1)}
    return FlowerChannel(InMemoryGrid({ids[name]: client_app(s.handle) for name, s in sessions.items()}), ids)


def _raise_trouble(sessions: Mapping[str, Session]) -> None:
    """Tell the person who holds all the nodes what no node would send: why its source could not be read."""
    for name, session in sessions.items():
        if session.trouble is not None and not isinstance(session.trouble, Refused | SecureSumError):
            raise _of_partner(name, session.trouble) from None


def _of_partner(name: str, wrong: DataTrustError) -> DataTrustError:
    """The same error, which says whose it is; what caused it stays behind, since its words may hold a value."""
    if isinstance(wrong, InvalidInput | Fault):
        return type(wrong)(f"partner {name!r}: {wrong.text}", expected=wrong.expected, remedy=wrong.remedy)
    return wrong


def _partner(name: str) -> str:
    """`va_long_beach` and `VA-Long-Beach` are `va-long-beach`: names as the protocol writes them."""
    slug = str(name).lower().replace("_", "-")
    if not is_name(slug):
        raise StudyInvalid(f"{name!r} is not a partner's name", expected="letters, digits and -, at most 63")
    return slug
