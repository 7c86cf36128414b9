"""Fixtures of the nodes' tests: a PostgreSQL server, and federations whose stores are closed after each test."""

from tests.support.postgres import postgres
from tests.trust.secure_sum.conftest import make

__all__ = ["make", "postgres"]
