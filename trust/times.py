"""The one way to write a time: YYYY-MM-DDTHH:MM:SSZ, in UTC, to the second."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from trust.errors import StudyInvalid

__all__ = ["Time", "now", "read_time", "write_time"]


def now() -> datetime:
    """This machine's time, to the second, as documents write it.  Code that decides is given a time instead."""
    return datetime.now(UTC).replace(microsecond=0)


def read_time(text: str) -> datetime:
    """A time of the form YYYY-MM-DDTHH:MM:SSZ.  Raises: StudyInvalid."""
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        if write_time(moment) != text:
            raise ValueError("another spelling of a time")
    except (ValueError, TypeError):
        raise StudyInvalid(f"{text!r} is not a time", expected="YYYY-MM-DDTHH:MM:SSZ, in UTC") from None
    return moment


def write_time(moment: datetime) -> str:
    """The text of a time.  Raises: StudyInvalid for a time without a zone."""
    if moment.tzinfo is None:
        raise StudyInvalid("a time without a zone", expected="a datetime with tzinfo, such as datetime.now(UTC)")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _exists(text: str) -> str:
    try:
        read_time(text)
    except StudyInvalid:
        raise ValueError("a time that does not exist") from None
    return text


Time: TypeAlias = Annotated[
    str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"), AfterValidator(_exists)
]
"""A field of a document that holds a time."""
