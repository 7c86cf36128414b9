"""How much the tests of many cases try: with FULL=1 what a night allows, else what a change can wait for."""

from __future__ import annotations

import os

__all__ = ["FULL"]

FULL = os.environ.get("FULL", "0") != "0"
