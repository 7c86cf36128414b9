"""What a mandate says, in words for the people who sign it and for those whose data it is about.

    page = mandate_page(study_bytes, mandate_bytes, dataset, lang="fr")
    print(page.text())

The words are made from the signed bytes and from nothing else; the texts are in `trust/words`, a file a language.
"""

from trust.plain.mandate import mandate_page
from trust.words.page import Line, Page, Section

__all__ = ["Line", "Page", "Section", "mandate_page"]
