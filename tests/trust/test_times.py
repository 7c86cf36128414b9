"""Times: one text for one second, and nothing else is a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.canonical import Model, read_model
from trust.errors import InvalidInput, MessageInvalid, StudyInvalid
from trust.times import Time, read_time, write_time

ODD = [
    "2026-02-30T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:60:00Z",
    "2016-12-31T23:59:60Z",
    "2026-01-01T00:00:00",
    "2026-01-01T00:00:00z",
    "2026-01-01 00:00:00Z",
    "2026-01-01T00:00:00+00:00",
    "2026-01-01T00:00:00.5Z",
    "2026-01-01T00:00:00Z\n",
    " 2026-01-01T00:00:00Z",
    "26-01-01T00:00:00Z",
    "2026-W01-1T00:00:00Z",
    "2026-1-1T0:0:0Z",
    "\uff12\uff10\uff12\uff16-01-01T00:00:00Z",
    "2026-01-01T00:00:0\u0660Z",
    "now",
    "",
]
"""Some are other spellings of a true time: two documents with two digests would say the same."""


class Dated(Model):
    at: Time


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31, 23, 59, 59)))
def test_what_is_written_is_read_back_to_the_second(at: datetime) -> None:
    exact = at.replace(microsecond=0, tzinfo=UTC)
    text = write_time(at.replace(tzinfo=UTC))
    assert read_time(text) == exact
    assert write_time(read_time(text)) == text
    assert read_model(Dated, {"at": text}, MessageInvalid, "it").at == text


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)), st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1))
)
def test_the_order_of_texts_is_the_order_of_times(one: datetime, other: datetime) -> None:
    """A mandate expires at the smaller of two texts."""
    one, other = one.replace(microsecond=0, tzinfo=UTC), other.replace(microsecond=0, tzinfo=UTC)
    assert (write_time(one) < write_time(other)) == (one < other)


def test_a_time_of_another_zone_is_written_in_utc() -> None:
    summer = timezone(timedelta(hours=2))
    assert write_time(datetime(2026, 7, 1, 1, 30, tzinfo=summer)) == "2026-06-30T23:30:00Z"


def test_a_time_without_a_zone_is_not_written() -> None:
    with pytest.raises(StudyInvalid, match="zone"):
        write_time(datetime(2026, 1, 1))


@pytest.mark.parametrize("text", ODD)
def test_what_is_not_exactly_a_time_is_refused(text: str) -> None:
    with pytest.raises(StudyInvalid, match="is not a time"):
        read_time(text)
    with pytest.raises(MessageInvalid):
        read_model(Dated, {"at": text}, MessageInvalid, "it")


@pytest.mark.parametrize("value", [None, 5, 1.5, True, datetime(2026, 1, 1, tzinfo=UTC), []])
def test_a_field_takes_no_other_type(value: object) -> None:
    with pytest.raises(InvalidInput):
        read_model(Dated, {"at": value}, MessageInvalid, "it")
