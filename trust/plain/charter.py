"""A charter in words, for those who decide by it and those whose data it is about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trust.charters.cedar_text import PolicyText
from trust.charters.charter import Charter
from trust.words.language import check_language
from trust.words.speech import phrase

__all__ = ["charter_text"]


def charter_text(charter: Charter, lang: str = "en") -> str:
    """Title, committee, floors, purposes and every policy, in English or French.  Raises: InvalidInput."""
    return "\n".join(_lines(charter, check_language(lang))) + "\n"


def _lines(charter: Charter, lang: str) -> Iterator[str]:
    title = charter.title.get(lang) or charter.name
    yield f"{title} ({charter.name}, {phrase('show_version', lang, version=charter.version)})"
    yield "=" * (len(title) + len(charter.name) + len(phrase("show_version", lang, version=charter.version)) + 5)
    if rights := charter.rights.get(lang):
        yield rights
    yield phrase("show_contact", lang, contact=charter.contact)
    yield phrase("show_committee", lang, quorum=charter.committee.quorum)
    for role, least in sorted(charter.committee.roles.items()):
        yield phrase("show_role", lang, n=least, role=role)
    if charter.local_only:
        yield phrase("show_local_only", lang)
    yield from ("", phrase("show_floor", lang))
    for name, least in charter.floor:
        yield f"  - {_floor(name, least, lang)}"
    yield from ("", phrase("show_purposes", lang))
    for purpose, parents in charter.purposes.items():
        under = phrase("show_purpose_under", lang, purpose=purpose, parents=", ".join(parents))
        yield f"  - {under if parents else purpose}"
    yield from ("", phrase("show_policies", lang), f"  {phrase('show_deny', lang)}")
    if not charter.rules:
        yield f"  {phrase('show_no_policies', lang)}"
    for policy in charter.rules:
        yield from _policy(policy, lang)
    yield from ("", phrase("show_digest", lang, digest=charter.folder_digest))


def _policy(policy: PolicyText, lang: str) -> Iterator[str]:
    article = phrase("explain_article", lang, article=policy.article)
    yield ""
    yield f"  {policy.id} ({article}), {phrase(f'show_{policy.effect}', lang)}"
    yield f"    {policy.words[lang]}"
    if policy.remedies[lang]:
        yield f"    {phrase('explain_remedy', lang, remedy=policy.remedies[lang])}"


def _floor(name: str, least: Any, lang: str) -> str:
    key = f"says_{name}"
    if isinstance(least, tuple):
        return phrase(f"{key}_{'both' if len(set(least)) == 2 else least[0]}", lang)
    if isinstance(least, bool):
        return phrase(f"{key}_{str(least).lower()}", lang)
    return phrase(key, lang, value=_number(least, lang))


def _number(value: float, lang: str) -> str:
    text = f"{value:,}"
    return text if lang == "en" else text.replace(",", "\N{NO-BREAK SPACE}").replace(".", ",")
