"""Every refusal has a code, says got, expected and remedy, and holds no value."""

from __future__ import annotations

import inspect
import json

import pytest

from tests.vectors.make_secure_sum import FOLDER
from trust.errors import DataTrustError
from trust.secure_sum import errors
from trust.secure_sum.errors import NodeRefused, NotOpened, SecureSumError

NODE = {
    "approval-invalid",
    "approval-set",
    "ephemeral-key-invalid",
    "already-started",
    "parameters-unsafe",
    "sum-order",
    "sum-budget",
    "sum-conflict",
    "partners-invalid",
    "question-repeated",
    "state-not-derived",
    "too-few-effective-records",
    "value-not-finite",
    "value-out-of-range",
    "study-closed",
    "not-available",
    "state-rolled-back",
    "journal-corrupt",
    "store-unavailable",
    "record-invalid",
}
COORDINATOR = {"transcript-differs", "upload-missing", "upload-shape", "upload-signature", "check-number"}

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, SecureSumError)]
LEAVES = [c for c in CLASSES if not any(other is not c and issubclass(other, c) for other in CLASSES)]


def test_the_codes_are_those_of_the_protocol_page_each_once() -> None:
    assert sorted(c.code for c in LEAVES if issubclass(c, NodeRefused)) == sorted(NODE)
    assert sorted(c.code for c in LEAVES if issubclass(c, NotOpened)) == sorted(COORDINATOR)


@pytest.mark.parametrize("error", LEAVES)
def test_a_message_says_got_expected_and_how_to_mend_it(error: type[SecureSumError]) -> None:
    refused = error("sum 3", expected="sum 5 or later")
    assert isinstance(refused, DataTrustError)
    assert str(refused) == f"sum 3; expected sum 5 or later; to fix it: {error.remedy}"
    assert error.remedy
    assert error.__doc__


def test_the_tree_at_the_top_of_the_file_names_every_class_and_code() -> None:
    top = errors.__doc__ or ""
    for error in LEAVES:
        line = next(line for line in top.splitlines() if f" {error.__name__} " in line)
        assert line.split()[-1] == error.code


def test_every_code_but_those_of_rules_and_disks_has_a_vector() -> None:
    vectors = json.loads((FOLDER / "secure_sum_errors.json").read_text(encoding="ascii"))
    seen = {case["code"] for cases in vectors.values() for case in cases}
    elsewhere = {"too-few-effective-records", "state-rolled-back", "journal-corrupt", "store-unavailable"}
    assert (NODE | COORDINATOR) - seen == elsewhere
