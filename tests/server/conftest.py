"""A server for a module at a time."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Served


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them are slow: they start processes."""
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A Jupyter Server with the extension."""
    for name in ("jupyter_server", "websockets"):
        if importlib.util.find_spec(name) is None:
            if os.environ.get("CI", "").lower() in ("1", "true"):
                pytest.fail(f"{name} is needed here (CI)")
            pytest.skip(f"{name} is not installed")
    server = Served(tmp_path_factory.mktemp("served"))
    yield server
    server.close()
