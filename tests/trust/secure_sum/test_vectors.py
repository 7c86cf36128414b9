"""The test vectors: those of the protocol page to the byte, and the files as the generator makes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vectors.make_secure_sum import FILES, FOLDER

PAGE = {
    "T": "667c57ed411e84a7147d682c800ab1db791b8302372a480bed6d705dae05e89c",
    "K_ab[0]": "bcb4f2020edd253007454cc9c495c7d2b7c907e7c7ccbd2a29379742249547c1",
    "K_ab[1]": "0be3afffc288eacf35758508e2db11059a1ef28c3f5c4e97b64e6027ffaa08cf",
    "plan_digest": "7c4564f37432d3d442fd89b5225bcb7b172393f0d6c88deb7244e49b16dea6dc",
    "ctx": "6201f58795e6e1e71a8d1eb9b91786ab973c7dcb7898855ee9b548209e83b64f",
    "s_ab": "93e3a414f406624f64b1a61239d1e17dfeb84e6554bd987633016ac326bc3c89",
}
PAGE_Y = {
    "a": "20220c09fe0038ff66073177d1d916b4e9a44c2e93ab4b4b296124fd989cd90a",
    "b": "9b7da37a71175616bb8c0131e2c7e1e21035ca56f30729b59ba10cf81681fa3a",
    "c": "b460507c90e771eaf56bcd574c5f0769f325e97a794c8bff3ffdce0a50e22bba",
}
PAGE_SIG_A = (
    "097ade071fb22d1b8e6966bef69762bcb2a14dbf6f6c9419926e7e1ab0ab0f98"
    "073fc5971da869d5dfffe6dbba42ad0770a979bb1ff0fa493741ec39ce303406"
)
PAGE_WIDE = {
    "a": "2d2e88f42ec2b30b2b1c55298579faacc15bf84171206e36a236a22190b6d695",
    "b": "4f6bcad78b2688baa42d1246fb38d3a7f0dfc586c72549037c7859c239912253",
    "c": "e54096b76e3dd32e1d811b2a87f5162fb1085d293df5c0fd24799f56711de5a8",
}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return {name: json.loads(json.dumps(maker())) for name, maker in FILES.items()}


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_what_the_generator_makes(made: dict[str, Any], name: str) -> None:
    assert json.loads((FOLDER / name).read_text(encoding="ascii")) == made[name]


def test_the_vectors_of_the_protocol_page(made: dict[str, Any]) -> None:
    got = made["secure_sum_protocol.json"]
    assert {name: got[name] for name in PAGE} == PAGE
    assert got["PRG(s_ab)"].startswith("e961f598ed6ea17f0365bb6130424363")
    assert got["u64"]["y"] == PAGE_Y
    assert got["u64"]["header"]["a"]["sig"] == PAGE_SIG_A
    assert (got["u64"]["total"], got["u64"]["check"]) == ([111, 1099511627798, -20], 3)
    assert got["wide"]["sha256"] == PAGE_WIDE
    assert (got["wide"]["total"], got["wide"]["check"]) == (["-1e+18", "-1e-09"], 3)
