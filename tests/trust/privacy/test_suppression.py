"""Hidden cells stay hidden from somebody who knows every margin, and few more are hidden than need be."""

from __future__ import annotations

import numpy as np
import pytest

from trust.privacy.suppression import suppress

K = 11


def hide(counts: list[object]) -> list[object]:
    table = np.array(counts)
    return suppress(table, np.zeros(table.shape, dtype=bool), K, True).astype(int).tolist()


@pytest.mark.parametrize(
    ("counts", "hidden"),
    [
        pytest.param([50, 40, 30], [0, 0, 0], id="nothing small, nothing hidden"),
        pytest.param([50, 40, 3, 30], [0, 0, 1, 1], id="a line: the smallest other cell goes with it"),
        pytest.param(
            [[199, 376], [150, 283], [83, 242], [7, 138]],
            [[0, 0], [0, 0], [1, 1], [1, 1]],
            id="a table: one box of four cells",
        ),
        pytest.param([[20, 3], [4, 20]], [[1, 1], [1, 1]], id="a table of four"),
    ],
)
def test_no_more_is_hidden_than_a_box(counts: list[object], hidden: list[object]) -> None:
    assert hide(counts) == hidden
