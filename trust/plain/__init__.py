"""What a mandate says, in words for the people who sign it and for those whose data it is about.

    page = plain(study_bytes, mandate_bytes, dataset, lang="fr")
    print(page.text())

The words are made from the signed bytes and from nothing else; the catalogue is `plain.toml`.
"""

from trust.plain.mandate import plain
from trust.words.page import Line, Page, Section

__all__ = ["Line", "Page", "Section", "plain"]
