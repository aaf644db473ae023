"""Kernels as fixtures: one shared by a module, others on request.

`JUPYTER_DURABLE_TEST_PYTHONS` (paths, separated as in PATH) adds environments with other versions of
ipykernel and IPython: every test that uses `kernel` runs in each of them too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_agents import LOAD, TOOLS, session
from kernels import Kernel

PYTHONS = [
    sys.executable,
    *filter(None, os.environ.get("JUPYTER_DURABLE_TEST_PYTHONS", "").split(os.pathsep)),
]


@pytest.fixture(scope="module", params=PYTHONS, ids=lambda path: Path(path).parent.parent.name)
def python(request: pytest.FixtureRequest) -> str:
    """The Python whose ipykernel is tested."""
    return str(request.param)


@pytest.fixture(scope="module")
def kernel(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for the whole module: starting one costs a second."""
    with Kernel(tmp_path_factory.mktemp("kernel"), python=python) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def shared(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel with the tools of `kernel_agents`, for a module's tests that need no death (`moved_to` their folder)."""
    folder = tmp_path_factory.mktemp("shared")
    with Kernel(folder, python=python, env=session(folder)) as kernel:
        kernel.check(LOAD)
        kernel.check(TOOLS)
        yield kernel


@pytest.fixture
def make_kernel(tmp_path: Path) -> Iterator[Callable[..., Kernel]]:
    """Start further kernels, in the test's own directory unless told otherwise; they end with the test."""
    kernels: list[Kernel] = []

    def make(directory: Path | None = None, **how: Any) -> Kernel:
        kernels.append(Kernel(directory or tmp_path, **how))
        return kernels[-1].start()

    yield make
    for kernel in kernels:
        kernel.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that run in each of `PYTHONS`: CI repeats them in other versions (`-m kernels`). Kernels are slow."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "python" in fixtures:
            item.add_marker(pytest.mark.kernels)
        if "python" in fixtures or "make_kernel" in fixtures:
            item.add_marker(pytest.mark.slow)
