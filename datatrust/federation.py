"""A whole trust in one process: nodes, coordinator and committee, with the messages that a deployment sends."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from coordinator.conductor import Conducted, Coordinator, conduct
from coordinator.flower import FlowerChannel, InMemoryGrid
from coordinator.release import release
from datatrust.ask import Question
from datatrust.client import Result, StudyHandle
from datatrust.keys import Keys
from nodes.egress import Sent
from nodes.flower import client_app
from nodes.session import Node, Session
from nodes.sources import Place, Source, as_source, physical_names
from nodes.store import SqliteStore
from trust.analyses.base import Analysis, Scope
from trust.canonical import read_model
from trust.charter import Charter
from trust.cohort import Cohort
from trust.dataset import Dataset
from trust.decision import Decisions, require
from trust.errors import DataTrustError, Fault, InvalidInput, Refused, StudyInvalid
from trust.mandate import Mandate, draft
from trust.policy import decide
from trust.protections import Protections
from trust.secure_sum.errors import SecureSumError
from trust.secure_sum.frames import is_name
from trust.signing import sha256
from trust.study import Study, new_id, plan
from trust.times import write_time

__all__ = ["LocalTrust", "local"]


def local(
    sources: Mapping[str, Place | Source],
    dataset: str | Path | Dataset,
    charter: str | Path | Charter = "research",
) -> LocalTrust:
    """A trust of these partners in this process.

    Args:
        sources: partner -> a path, a URL, a DataFrame or a `Source`; a name is written in small letters, with -
            for _.
        dataset: the shared description, or the path of its YAML file.
        charter: `research`, `sandbox`, or a folder.

    Raises: DatasetInvalid, SourceInvalid, CharterInvalid, StudyInvalid.
    """
    description = dataset if isinstance(dataset, Dataset) else Dataset.load(dataset)
    policy = charter if isinstance(charter, Charter) else Charter.load(charter)
    _expect("sources", sources, Mapping, "a mapping of partners to their sources")
    if not sources:
        raise StudyInvalid("no sources", expected="a mapping of partners to their sources")
    named = {_partner(n): as_source(s) for n, s in sources.items()}
    if len(named) != len(sources):
        raise StudyInvalid("two partners with the same name but for capitals and _", expected="a name each")
    return LocalTrust(description, policy, named)


class LocalTrust:
    """Partners, a dataset and a charter.  Holds the keys of all roles, which only a trust in one process may.

    Attributes:
        exchanged: what each node sent in the last study, message by message.
        uploads: the masked words of each partner in each sum of the last study, as the coordinator has them.
    """

    def __init__(self, dataset: Dataset, charter: Charter, sources: Mapping[str, Source]) -> None:
        self.dataset, self.charter = dataset, charter
        self._keys = Keys(sorted(sources), charter, _now())
        self._state = Path(tempfile.mkdtemp(prefix="datatrust-"))
        self._stores = {name: SqliteStore(self._state / name, durable=False) for name in sorted(sources)}
        weakref.finalize(self, _clean_up, list(self._stores.values()), self._state)
        self._nodes = {name: self._node(name, source) for name, source in sorted(sources.items())}
        self._numbers = itertools.count(1)
        self._ids: set[str] = set()
        self._run: set[str] = set()
        self.exchanged: dict[str, list[Sent]] = {}
        self.uploads: tuple[Mapping[str, bytes], ...] = ()
        for name, source in sources.items():
            try:
                physical_names(source)
            except (InvalidInput, Fault) as wrong:
                raise _of_partner(name, wrong) from None

    def _node(self, name: str, source: Source) -> Node:
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
            _now,
        )

    @property
    def partners(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self._nodes)

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
        begins = not_before or _now()
        ends = expires or begins + timedelta(days=self.charter.floor.longest_days)
        if (until := write_time(ends)) <= write_time(_now()):  # the order of these texts is that of the times
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
        study_id = next(name for name in iter(lambda: new_id(title), "") if name not in self._ids)
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
        """What the charter says of a study: instant, no row is touched."""
        scope = self._scope(study)
        return decide(study, self.charter, scope, plan(study, scope), now=_now())

    def run(self, study: Study) -> Result:
        """Carry it out: signed by the researcher, a mandate signed by the quorum, conducted over Flower in process.

        A study is run once; run again, it is a new study with an id of its own.
        Raises: Refused, AnalysisFailed, SourceInvalid.
        """
        if study.id in self._run:
            study = study.model_copy(update={"id": self._new_id(study.title)})
        self._run.add(study.id)
        scope = self._scope(study)
        plans = plan(study, scope)
        require(self.check(study))
        signed = self._keys.study(study)
        number = f"{_now():%Y}-{next(self._numbers):04d}"
        root = self._keys.root
        drafted = draft(sha256(signed.unverified_payload), study, scope, self.charter.folder_digest, root.root, number)
        sessions = {name: Session(node) for name, node in self._nodes.items()}
        try:
            conducted = conduct(
                Coordinator(self._keys.coordinator, root),
                signed,
                self._keys.mandate(drafted),
                scope,
                _channel(sessions),
            )
        except Refused:
            _raise_trouble(sessions)
            raise
        finally:
            self.exchanged = {name: session.egress.sent for name, session in sessions.items()}
        _raise_trouble(sessions)
        self.uploads = conducted.uploads
        values, decisions = release(conducted, scope, plans)
        return Result(study, scope, values, decisions, self._provenance(study, drafted, conducted))

    def _provenance(self, study: Study, mandate: Mandate, conducted: Conducted) -> dict[str, Any]:
        return {
            "trust": "local: keys of all roles in one process",
            "study": study.id,
            "study_digest": study.digest(),
            "mandate": mandate.id,
            "mandate_digest": mandate.digest(),
            "root": mandate.root,
            "dataset": study.dataset_digest,
            "charter": self.charter.name,
            "charter_digest": self.charter.folder_digest,
            "purpose": study.purpose,
            "cohort": study.cohort,
            "partners": list(conducted.partners),
            "absent": {name: refused.rule for name, refused in conducted.absent.items()},
            "sums": len(conducted.records),
            "bytes": {name: sum(s.bytes for s in sent) for name, sent in self.exchanged.items()},
            "persons": study.protections.persons,
            "organisations": study.protections.organisations,
            "noise": "none",
        }


def _clean_up(stores: list[SqliteStore], folder: Path) -> None:
    """Close and delete the temporary state."""
    for store in stores:
        store.close()
    shutil.rmtree(folder, ignore_errors=True)


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


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
