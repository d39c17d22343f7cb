"""Fixtures of the whole product."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from end_to_end.household import Household


@pytest.fixture
def household(tmp_path: Path) -> Iterator[Household]:
    """An empty household; everything started in it is ended, and must end, with the test."""
    home = Household(tmp_path)
    yield home
    home.end()
