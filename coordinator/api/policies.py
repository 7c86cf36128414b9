"""What partners publish of their own policies, and what charter and these say of a study that is handed in.

A partner's policy that it keeps to itself is asked by its node alone; here it is not known.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from coordinator.api.documents import Policy
from trust.charters.charter import cedar_files, read
from trust.charters.partner_policy import PartnerPolicy
from trust.decision import Decisions, require
from trust.documents.filed_study import TrustDocuments
from trust.documents.study import Study, plan
from trust.errors import InvalidInput, Refused
from trust.policy.decide import asker_of, decide
from trust.policy.explain import explain

__all__ = ["Published"]


class Published:
    """Those in the coordinator's folder: policies/NAME/, as a partner has sent it.

    Raises: InvalidInput for one that cannot be read, or that its partner does not publish.
    """

    def __init__(self, folder: Path, trust: TrustDocuments) -> None:
        self._policies: dict[str, PartnerPolicy] = {}
        self._documents: dict[str, Policy] = {}
        for name in sorted(trust.root.root.partners):
            partner_folder = folder / "policies" / name
            if not partner_folder.is_dir():
                continue
            policy = PartnerPolicy.load(partner_folder)
            policy.check_fits(trust.charter)
            if not policy.published:
                raise InvalidInput(f"the policy of {name!r} says published = false", remedy="take it out of policies/")
            raw = {"partner.toml": read(partner_folder, "partner.toml", name)} | cedar_files(partner_folder, name)
            self._policies[name] = policy
            self._documents[name] = Policy(
                version=policy.version,
                digest=policy.folder_digest,
                files={file: text.decode("utf-8") for file, text in raw.items()},
            )

    def document(self, partner: str) -> Policy | None:
        """What a partner publishes, None where it publishes nothing."""
        return self._documents.get(partner)

    def check(self, study: Study, trust: TrustDocuments, now: datetime) -> Refused | None:
        """The first refusal of charter and published policies, None where all say yes.

        Raises: StudyInvalid where an analysis does not fit the dataset.
        """
        scope = trust.scope(study)
        plans, asker = plan(study, scope), asker_of(trust.root.root, study.researcher)
        decisions = list(decide(study, trust.charter, scope, plans, now=now, asker=asker))
        for name, policy in self._policies.items():
            decisions += decide(study, trust.charter, scope, plans, now=now, asker=asker, partner=name, policy=policy)
        try:
            require(Decisions(decisions))
        except Refused as refused:
            return refused
        return None

    def explained(self, study: Study, trust: TrustDocuments, now: datetime) -> str:
        """Why it is refused, and the smallest changes that would pass; of charter and published policies."""
        scope = trust.scope(study)
        plans, asker = plan(study, scope), asker_of(trust.root.root, study.researcher)
        explanation = explain(study, trust.charter, scope, plans, now=now, asker=asker)
        for name, policy in self._policies.items():
            own_explanation = explain(
                study, trust.charter, scope, plans, now=now, asker=asker, partner=name, policy=policy
            )
            explanation = (
                own_explanation
                if len(own_explanation.reasons) > len(explanation.reasons) or not own_explanation.ok
                else explanation
            )
        return str(explanation)
