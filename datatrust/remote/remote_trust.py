"""A trust behind an address: `dt.connect(url)`.

The study is the same object as in `dt.local`; it is checked here, signed here with the researcher's key, which never
leaves, and carried out there.  Nothing that comes back is shown before it was verified against the pinned root.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from datatrust.person.own_key import KEY, ActingKey
from datatrust.remote.register_copy import page
from datatrust.remote.verified_study import VerifiedStudy, read_filed, shown_studies
from datatrust.remote.verified_trust import VerifiedTrust, meet
from datatrust.research.any_trust import AnyTrust
from datatrust.research.job import WAIT_SECONDS, Job, Standing
from datatrust.research.progress import Say
from datatrust.research.result import ReleaseContext, Result
from trust.charters.partner_policy import PartnerPolicy
from trust.decision import Decision, Decisions, require
from trust.documents.result import LARGEST_BYTES, read_result
from trust.documents.root import Root
from trust.documents.study import Study, signed_study
from trust.documents.study_states import ENDED
from trust.errors import Fault, InvalidInput, Refused
from trust.logs.merkle import Entry
from trust.plain.standing import standing
from trust.signing.envelope import Signer, sha256, sign
from trust.signing.key_files import read_signer
from trust.times import now

__all__ = ["RemoteTrust", "connect"]

_ROOTS_SECONDS = 60.0
"""Seconds after which the trust is asked for a newer root."""
_KEPT_SECONDS, _POLL_SECONDS = 10.0, 0.3
"""Seconds from a release until its file must be there, and between two looks."""
_PAGE_STUDIES = 100
_MOST_PAGES = 10_000
_ASK = "ask who runs the trust"


def connect(
    url: str,
    *,
    key: str | Path | None = None,
    passphrase: str | None = None,
    invitation: str | Path | None = None,
    home: str | Path | None = None,
) -> RemoteTrust:
    """A trust behind an address.

    Args:
        url: of its coordinator, `https://host:port`.
        key: the file of a researcher's private key; else what DATATRUST_KEY names.  Without one, what is public.
        passphrase: of that key; else DATATRUST_PASSPHRASE, or it is asked for.
        invitation: the file `invitation.json`, needed the first time.  Its trust root is pinned then and its
            fingerprint shown: compare it with what the trust's members say.
        home: the person's folder with pins and invitations; otherwise DATATRUST_HOME, or ~/.local/share/datatrust.

    Raises: InvalidInput; Refused where the address shows another trust, another charter, or an older root than the
    pinned one; Unreachable, Fault.
    """
    acting_key = ActingKey(Path(key)) if key is not None else ActingKey()
    signer = None
    if key is not None or os.environ.get(KEY):
        signer = read_signer(acting_key.file, passphrase) if passphrase is not None else acting_key.signer
    verified = meet(url, invitation=invitation, home=home, signer=signer)
    try:
        return RemoteTrust(verified, signer)
    except BaseException:
        verified.link.close()
        raise


class RemoteTrust(AnyTrust):
    """Partners, a dataset and a charter behind an address."""

    patience = WAIT_SECONDS
    watched = True

    def __init__(self, verified: VerifiedTrust, signer: Signer | None = None) -> None:
        """Raises: Refused (`researcher`) for a key that is not a researcher's in the root in force."""
        self._signer = signer
        self._use(verified)
        self._sent: dict[str, str] = {}
        self._name = ""
        if signer is not None:
            names = [name for name, person in sorted(self._root.researchers.items()) if person.key == signer.key_id]
            if not names:
                text = (
                    f"the key {signer.key_id} is not a researcher's in version {self._root.version} of the trust root"
                )
                raise Refused("researcher", text, remedy="use the key that was accredited, or have this one accredited")
            self._name = names[0]

    @property
    def partners(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(sorted(self._root.partners))

    @property
    def url(self) -> str:
        """The coordinator's address."""
        return self._verified.link.url

    @property
    def researcher(self) -> str:
        """Who asks, as the trust root names her; empty without a key."""
        return self._name

    def close(self) -> None:
        """End its connections."""
        self._verified.link.close()

    def _use(self, verified: VerifiedTrust) -> None:
        self._verified, self._read_at = verified, time.monotonic()
        self.dataset, self.charter = verified.trust.dataset, verified.trust.charter

    # ---- what `AnyTrust` wants to know

    @property
    def _root(self) -> Root:
        return self._verified.trust.root.root

    @property
    def _researcher(self) -> str:
        self._key()
        return self._name

    @property
    def _policies(self) -> Mapping[str, PartnerPolicy | None]:
        return self._verified.policies

    def _used(self, study: str) -> bool:
        used = study in self._sent
        self._sent.setdefault(study, "")
        return used

    def _key(self) -> Signer:
        if self._signer is None:
            raise InvalidInput(
                "no researcher's key was given, and this asks for one",
                expected=f"connect(url, key=FILE), or {KEY} in the environment",
                remedy="make one with `datatrust key new`, and have it accredited",
            )
        return self._signer

    def check(self, study: Study) -> Decisions:
        """What charter and published policies of partners say: offline, instant, no row is touched.

        A partner's policy that is not published is judged at its own node; a line says whose.
        """
        decisions = super().check(study)
        silent = [name for name, policy in self._policies.items() if policy is None]
        if not silent:
            return decisions
        text = f"policies that partners do not publish, if they have any, are asked at their nodes: {', '.join(silent)}"
        return Decisions([*decisions, Decision("partner-policies", True, text)])

    # ---- studies

    def submit(self, study: Study) -> Job:
        """Sign a study with the researcher's key, and file it for the committee.

        Handed in twice, it is filed once.  Raises: Refused, where the charter says no; StudyInvalid, Unreachable.
        """
        signer = self._key()
        if study.researcher != self._name:
            raise InvalidInput(
                f"a study in the name of {study.researcher!r}", expected=f"{self._name!r}, whose key this is"
            )
        require(self.check(study))
        envelope = sign("study", study.document(), signer)
        self._sent[study.id] = sha256(envelope.unverified_payload)
        verified_study = self._require_own(self._verified.link.post("/v1/studies", envelope.document()))
        if verified_study.filed.id != study.id:
            raise Refused(
                "study", "the coordinator answers with another study than the one that was handed in", remedy=_ASK
            )
        self._check_drafted(verified_study)
        return Job(study.id, self)

    def run(self, study: Study) -> Result:
        """File it and wait for its answer, 600 seconds at most.  Raises: as `Job.result`."""
        return self.submit(study).result()

    def job(self, study: str) -> Job:
        """A study that was filed before, by its id or its mandate's number.  Raises: InvalidInput, Refused."""
        return Job(self._verified_study(study).filed.id, self)

    def jobs(self) -> list[Job]:
        """The researcher's own studies, in the order in which they were filed.  Raises: Refused, Unreachable."""
        return [Job(verified_study.filed.id, self) for verified_study in self._own_studies()]

    # ---- what a job asks

    def stands(self, study: str) -> Standing:
        """Where a study stands."""
        return self._standing(self._verified_study(study))

    def all_stand(self) -> dict[str, Standing]:
        """Where each of the researcher's own studies stands, by its id; asked for together, not one by one."""
        return {verified_study.filed.id: self._standing(verified_study) for verified_study in self._own_studies()}

    def _standing(self, verified_study: VerifiedStudy) -> Standing:
        filed_study = verified_study.filed
        words = standing(self._verified.trust, filed_study)
        if filed_study.state == "running" and verified_study.told:
            words = f"{words}: {verified_study.told}"
        done = filed_study.state in ENDED or filed_study.lapsed is not None
        return Standing(filed_study.state, words, done, done)

    def withdraw(self, study: str) -> bool:
        """Cancel a study; whether it was cancelled."""
        self._key()
        try:
            verified_study = self._require_own(self._verified.link.post(f"/v1/studies/{quote(study, safe='')}/cancel"))
        except Refused as no:
            if no.rule != "study-state":
                raise
            verified_study = self._verified_study(study)
        return verified_study.filed.state == "cancelled"

    def answer(self, study: str, say: Say = lambda words: None) -> Result:
        """The result of a study, verified from the pinned root to the register; or why there is none.

        Raises: Refused, InvalidInput, Unreachable, Fault.
        """
        verified_study = self._verified_study(study)
        filed_study = verified_study.filed
        if filed_study.state != "released":
            if filed_study.ended:
                raise filed_study.ended
            if filed_study.state == "revoked":
                raise Refused(
                    "mandate-revoked", "a member of the committee has revoked the mandate", remedy="file a new study"
                )
            filed_study.require_not_lapsed()
            words = standing(self._verified.trust, filed_study)
            raise Refused(
                "study-state", f"the study {filed_study.id!r} has no result: {words}", remedy="wait for its end"
            )
        say("the result is fetched and verified")
        raw = self._file(filed_study.id)
        entries = list(self._entries(filed_study.id, read_result(raw)[2].index))
        release_name = f"{self._root.trust} at {self.url}"
        place = f"what {self.url} gives for {filed_study.id!r}"
        release_context = ReleaseContext(
            self._verified.trust,
            filed_study,
            entries,
            self._verified.anchor,
            place,
            release_name,
            self._verified.versions,
        )
        return Result.kept(raw, release_context)

    # ---- parts

    def _verified_study(self, study: str) -> VerifiedStudy:
        """One study as the coordinator shows it, which must be own.  Raises: Refused, InvalidInput, Unreachable."""
        self._key()
        verified_study = self._require_own(self._verified.link.json(f"/v1/studies/{quote(study, safe='')}"))
        if study not in (verified_study.filed.id, verified_study.filed.number):
            raise Refused("study", f"the coordinator shows another study than {study!r}", remedy=_ASK)
        return verified_study

    def _own_studies(self) -> Iterator[VerifiedStudy]:
        """Her own studies, in the order in which they were filed.  Raises: Refused, Unreachable."""
        self._key()
        for document in shown_studies(self._verified.link):
            yield self._require_own(document)

    def _require_own(self, document: object) -> VerifiedStudy:
        """A study that was signed with a key of this researcher, and is the one that was handed in from here."""
        verified_study = self._read(document)
        filed_study = verified_study.filed
        root = self._verified.versions.get(filed_study.drafted.root)
        study_text = signed_study(filed_study.study, root.root if root is not None else self._root)
        if study_text.researcher != self._name:
            raise Refused(
                "study", f"the coordinator shows a study of {study_text.researcher!r} as one's own", remedy=_ASK
            )
        digest = sha256(filed_study.study.unverified_payload)
        if self._sent.get(filed_study.id, "") not in ("", digest):
            text = f"the study that the coordinator shows as {filed_study.id!r} is not the one that was handed in"
            raise Refused("study", text, remedy=_ASK)
        self._sent[filed_study.id] = digest
        return verified_study

    def _read(self, document: object) -> VerifiedStudy:
        """What it is worth; where the trust may have a newer root by now, that is asked for first."""
        if time.monotonic() - self._read_at > _ROOTS_SECONDS:
            self._use(self._verified.again())
        verified_study = read_filed(document, self._verified.trust, self._verified.versions, now())
        if verified_study.filed.drafted.root > max(self._verified.versions):
            self._use(self._verified.again())
            verified_study = read_filed(document, self._verified.trust, self._verified.versions, now())
        return verified_study

    def _file(self, study: str) -> bytes:
        """The signed file of a released study; the coordinator writes it a moment after the register's entry."""
        end = time.monotonic() + _KEPT_SECONDS
        while True:
            try:
                return self._verified.link.get(f"/v1/studies/{quote(study, safe='')}/result", most=LARGEST_BYTES)
            except (InvalidInput, Refused):
                if time.monotonic() > end:
                    raise
            time.sleep(_POLL_SECONDS)

    def _check_drafted(self, verified_study: VerifiedStudy) -> None:
        """Raises: Refused where the mandate of a study is not the one that follows from it."""
        filed_study, trust = verified_study.filed, self._verified.trust
        mandate = filed_study.drafted
        if mandate.root == self._root.version and mandate != trust.draft_mandate(
            filed_study.written, mandate.study, filed_study.number
        ):
            raise Refused(
                "mandate", "the mandate that the coordinator wrote does not follow from the study", remedy=_ASK
            )

    def _entries(self, study: str, release: int) -> Iterator[Entry]:
        """The register's entries of a study, from its release back to its mandate.  They are signed, or only shown.

        Raises: MessageInvalid, Fault.
        """
        end = release + 1
        for _ in range(_MOST_PAGES):
            start = max(0, end - _PAGE_STUDIES)
            for entry in reversed(page(self._verified, start, end)):
                if entry.study == study:
                    yield entry
                    if entry.kind == "mandate":
                        return
            if start == 0:
                return
            end = start
        raise Fault("the register has too many entries between the study's mandate and its release")
