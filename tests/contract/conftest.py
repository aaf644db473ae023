"""An empty store of each kind, and the clock it goes by."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_kit import HandClock, open_store

from jupyter_durable.journal.ports import JournalStore


@pytest.fixture
def clock() -> HandClock:
    """Time that moves when told to."""
    return HandClock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock) -> Iterator[JournalStore]:
    """An empty store of each kind."""
    opened = open_store(request.param, tmp_path, clock)
    yield opened
    opened.close()
