"""The operator's guide begins with the whole path: every command of that screen is typed in a section below."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.guide import read

GUIDE = Path(__file__).parents[2] / "docs" / "operate.md"
LINE = re.compile(r"^(\S+) +\$ (.*?)(?: +# .*)?$", re.MULTILINE)


def test_each_command_of_the_overview_is_typed_below_at_its_place() -> None:
    overview = GUIDE.read_text("utf-8").split("## The whole path", 1)[1].split("\n## ", 1)[0]
    typed = {
        (place, command.command.split("\n")[0])
        for step in read(GUIDE)
        for place in (step.place, *step.also)
        for command in step.at(place)
    }
    lines = LINE.findall(overview)
    assert len(lines) > 10
    missing = [line for line in lines if line not in typed]
    assert not missing
