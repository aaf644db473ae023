"""What the tests of one process have in common."""

import pytest
from runs import Bench


@pytest.fixture
def bench() -> Bench:
    """A store of its own."""
    return Bench()
