"""The studies on a coordinator's docket, fetched page after page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from datatrust.remote.http import CoordinatorClient
from trust.errors import Fault, MessageInvalid

__all__ = ["shown_studies"]

_PAGE, _LARGEST = 100, 1 << 24
_MOST_PAGES = 1_000


def shown_studies(link: CoordinatorClient) -> Iterator[Any]:
    """Each study that the coordinator shows to whoever signs, in the order in which they were filed; nothing in one is
    to be believed yet.

    Raises: MessageInvalid for an answer that is no page, or that does not lead on; Fault where the pages do not end;
    what `CoordinatorClient.json` raises.
    """
    after, seen = 0, set[str]()
    for _ in range(_MOST_PAGES):
        page = link.json(f"/v1/studies?after={after}&limit={_PAGE}", most=_LARGEST)
        studies = page.get("studies") if isinstance(page, dict) else None
        if not isinstance(studies, list) or len(studies) > _PAGE:
            raise MessageInvalid("the coordinator shows no list of studies", expected=f"a list of up to {_PAGE}")
        for study in studies:
            named = study.get("study") if isinstance(study, dict) else study
            mark = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
            if mark in seen:
                raise MessageInvalid("the coordinator shows a study twice", expected="each once")
            seen.add(mark)
            yield study
        then = page.get("next")
        if then is None:
            return
        if type(then) is not int or then <= after or not studies:
            raise MessageInvalid("the coordinator's list of studies does not go on", expected=f"a place after {after}")
        after = then
    raise Fault(f"the coordinator shows more than {_MOST_PAGES} pages of studies")
