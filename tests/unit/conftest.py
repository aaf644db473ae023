"""What the tests of one process have in common."""

from collections.abc import Iterator

import pytest
from http_server import Server, serving
from runs import Bench


@pytest.fixture
def bench() -> Bench:
    """A store of its own."""
    return Bench()


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a store of their own."""
    monkeypatch.delenv("JUPYTER_DURABLE_KEY", raising=False)
    monkeypatch.delenv("JUPYTER_DURABLE_STORE", raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that counts."""
    with serving() as running:
        yield running
