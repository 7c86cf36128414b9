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
    last_number, ids_seen = 0, set[str]()
    for _ in range(_MOST_PAGES):
        page = link.json(f"/v1/studies?after={last_number}&limit={_PAGE}", most=_LARGEST)
        studies = page.get("studies") if isinstance(page, dict) else None
        if not isinstance(studies, list) or len(studies) > _PAGE:
            raise MessageInvalid("the coordinator shows no list of studies", expected=f"a list of up to {_PAGE}")
        for study in studies:
            study_id = study.get("study") if isinstance(study, dict) else study
            mark = hashlib.sha256(json.dumps(study_id, sort_keys=True).encode()).hexdigest()
            if mark in ids_seen:
                raise MessageInvalid("the coordinator shows a study twice", expected="each once")
            ids_seen.add(mark)
            yield study
        next_number = page.get("next")
        if next_number is None:
            return
        if type(next_number) is not int or next_number <= last_number or not studies:
            raise MessageInvalid(
                "the coordinator's list of studies does not go on", expected=f"a place after {last_number}"
            )
        last_number = next_number
    raise Fault(f"the coordinator shows more than {_MOST_PAGES} pages of studies")
