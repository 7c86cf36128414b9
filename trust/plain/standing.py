"""What the committee's pages say beside the words of a mandate, in English and French."""

from __future__ import annotations

import re

from trust.documents.filed_study import FiledStudy, TrustDocuments
from trust.words.catalogue import check_language

__all__ = ["say", "standing"]

_APART = re.compile(r"(?<=«) | (?=[»;:?!])")
"""French sets these marks apart by a space that must not end a line."""

_WORDS = {
    "en": {
        "filed": "filed",
        "mandated": "mandate in force",
        "running": "running",
        "released": "released",
        "refused": "refused",
        "revoked": "revoked",
        "failed": "failed",
        "cancelled": "withdrawn",
        "expired": "expired",
        "outdated": "outdated: the trust root has changed",
        "signature": "{signed} of {needed} signatures",
        "signatures": "{signed} of {needed} signatures",
        "lacking": "{count} of role {role!r} lacking",
        "votes": "{count} against",
        "none": "no study was filed here",
        "checked": "What the machine checked",
        "charter": "What the charter says of it today",
        "yes": "yes",
        "no": "NO",
        "mend": "to fix it: {remedy}",
        "researcher_yes": "a researcher whom the trust root accredits today has signed the study",
        "researcher_no": "no researcher whom the trust root accredits today has signed the study",
        "mandate_yes": "plan, partners and bounds of the mandate are those that follow from the study",
        "mandate_no": "plan, partners or bounds of the mandate are not those that follow from the study",
        "unchecked": "What no machine can check",
        "unchecked_1": "whether the purpose is good, and of benefit to those whose data it is about",
        "unchecked_2": "whether that is worth what is asked for: these columns, these persons, this long",
        "unchecked_3": "whether the answer could harm or shame a group of people, though it names nobody",
        "unchecked_4": "whether the researcher will do with the answer what is written here",
        "later": "What each partner's node checks later, on its rows: enough persons, rules on every result.",
        "stands": "Where it stands: {standing}",
        "signed_by": "signed by {key}",
        "against": "against: {reason}",
        "ended": "ended by {rule}: {text}",
        "revoked_why": "revoked: {reason}",
        "sign?": "Sign mandate {number}?",
        "signed": "signed: {number}; {standing}",
        "signed_before": "you have signed {number} before; {standing}",
        "not_signed": "not signed",
        "voted": "voted against: {number}; {standing}",
        "revoked_now": "revoked: {number}; nodes are told with their next message",
        "written": "written: {file}; a partner may drop it into the revocations folder of its node",
    },
    "fr": {
        "filed": "déposée",
        "mandated": "mandat en vigueur",
        "running": "en cours",
        "released": "diffusée",
        "refused": "refusée",
        "revoked": "révoquée",
        "failed": "interrompue",
        "cancelled": "retirée",
        "expired": "expirée",
        "outdated": "caduque : la racine de confiance a changé",
        "signature": "{signed} signature sur {needed}",
        "signatures": "{signed} signatures sur {needed}",
        "lacking": "il en manque {count} du rôle « {role} »",
        "votes": "{count} contre",
        "none": "aucune étude n'est déposée ici",
        "checked": "Ce que la machine a vérifié",
        "charter": "Ce que la charte en dit aujourd'hui",
        "yes": "oui",
        "no": "NON",
        "mend": "pour y remédier : {remedy}",
        "researcher_yes": "l'étude est signée par un chercheur que la racine de confiance accrédite aujourd'hui",
        "researcher_no": "l'étude n'est signée par aucun chercheur que la racine de confiance accrédite aujourd'hui",
        "mandate_yes": "le plan, les partenaires et les limites du mandat sont ceux qui découlent de l'étude",
        "mandate_no": "le plan, les partenaires ou les limites du mandat ne sont pas ceux qui découlent de l'étude",
        "unchecked": "Ce qu'aucune machine ne peut vérifier",
        "unchecked_1": "si la finalité est bonne et utile à celles et ceux dont ce sont les données",
        "unchecked_2": "si elle vaut ce qui est demandé : ces colonnes, ces personnes, cette durée",
        "unchecked_3": "si la réponse peut nuire à un groupe ou le stigmatiser, même sans nommer personne",
        "unchecked_4": "si le chercheur fera de la réponse ce qui est écrit ici",
        "later": (
            "Ce que le nœud de chaque partenaire vérifie plus tard, sur ses lignes : "
            "assez de personnes, les règles sur chaque résultat."
        ),
        "stands": "Où en est l'étude : {standing}",
        "signed_by": "signé par {key}",
        "against": "contre : {reason}",
        "ended": "arrêtée par {rule} : {text}",
        "revoked_why": "révoquée : {reason}",
        "sign?": "Signer le mandat {number} ?",
        "signed": "signé : {number} ; {standing}",
        "signed_before": "vous avez déjà signé {number} ; {standing}",
        "not_signed": "non signé",
        "voted": "vote contre : {number} ; {standing}",
        "revoked_now": "révoqué : {number} ; les nœuds l'apprennent avec leur prochain message",
        "written": "écrit : {file} ; un partenaire peut le déposer dans le dossier revocations de son nœud",
    },
}


def say(key: str, lang: str = "en", /, **values: object) -> str:
    """The text of that key; `{name}` in it is replaced.  Raises: InvalidInput for another language."""
    text = _WORDS[check_language(lang)][key]
    return _APART.sub("\N{NO-BREAK SPACE}", text).format(**values)


def standing(trust: TrustDocuments, study: FiledStudy, lang: str = "en") -> str:
    """Where a study stands; of one that waits: how many have signed, and of which role somebody has still to."""
    if study.lapsed:
        return say(study.lapsed, lang)
    if study.state != "filed":
        return say(study.state, lang)
    few = "signature" if len(study.signers) < 2 else "signatures"
    parts = [say(few, lang, signed=len(study.signers), needed=trust.needed)]
    if study.signers:
        lacking = trust.lacking(study.signers)
        parts += [say("lacking", lang, count=count, role=role) for role, count in lacking.items()]
    if study.against:
        parts.append(say("votes", lang, count=len(study.against)))
    return ", ".join(parts)
