"""Makes the conformance corpus: `python -m tests.support.make_conformance [FOLDER]`.

Every case is a change of honest documents (`tests/corpus`), with keys and times that are always the same, so that the
files never change unless a format does.  `tests/test_conformance.py` holds the folder to what is made here.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.corpus.honest import Case
from tests.support.corpus.mandates import mandates
from tests.support.corpus.registers import registers
from tests.support.corpus.releases import releases
from tests.support.corpus.roots import roots

FOLDER = Path(__file__).parents[1] / "conformance"
KINDS = ("mandate", "root", "release", "register")


def cases() -> Iterator[Case]:
    """All cases, kind by kind.  Raises: ValueError for two of one name."""
    seen: set[str] = set()
    for made in (mandates(), roots(), releases(), registers()):
        for case in made:
            if case.folder in seen:
                raise ValueError(f"two cases of the name {case.folder}")
            seen.add(case.folder)
            yield case


def files(case: Case) -> dict[str, bytes]:
    """What stands in a case's folder."""
    return {**case.files, "case.txt": f"{case.said}\n".encode()}


def write(folder: Path) -> int:
    """Write every case below a folder, in place of those that stand there; how many."""
    for kind in KINDS:
        shutil.rmtree(folder / kind, ignore_errors=True)
    made = list(cases())
    for case in made:
        place = folder / case.folder
        place.mkdir(parents=True)
        for name, raw in files(case).items():
            (place / name).write_bytes(raw)
    return len(made)


if __name__ == "__main__":
    print(f"{write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)} cases")
