"""What the committee's pages say beside the words of a mandate, in English and French."""

from __future__ import annotations

from trust.documents.filed_study import FiledStudy, TrustDocuments
from trust.words.speech import speech

__all__ = ["committee_text", "standing"]


def committee_text(key: str, lang: str = "en", /, **values: object) -> str:
    """The text of that key; `{name}` in it is replaced.  Raises: InvalidInput for another language."""
    return speech("study", lang)(key, **values)


def standing(trust: TrustDocuments, study: FiledStudy, lang: str = "en") -> str:
    """Where a study stands; of one that waits: how many have signed, and of which role somebody has still to."""
    if study.lapsed:
        return committee_text(study.lapsed, lang)
    if study.state != "filed":
        return committee_text(study.state, lang)
    parts = [
        committee_text(
            "signatures", lang, signed=len(study.signers), needed=trust.needed, count=len(study.signers) or 1
        )
    ]
    if study.signers:
        lacking = trust.lacking(study.signers)
        parts += [committee_text("lacking", lang, count=count, role=role) for role, count in lacking.items()]
    if study.against:
        parts.append(committee_text("votes", lang, count=len(study.against)))
    return ", ".join(parts)
