"""What the tests of one process have in common."""

from collections.abc import Iterator

import pytest
from http_server import Server, serving
from runs import Bench

from jupyter_durable.codec import redaction


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


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test redacts, or makes known as a secret, is not known in the others."""
    for name in ("_given", "_environment", "_met", "_literals", "_patterns", "_forms", "_marks"):
        monkeypatch.setattr(redaction, name, ())
