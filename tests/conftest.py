"""What tests of several folders share."""

from __future__ import annotations

import threading

import pytest

from jupyter_durable.runtime import quiet


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that other tests have left in this process are none that something here waits for."""
    before, is_known = set(threading.enumerate()), quiet._is_known
    monkeypatch.setattr(
        quiet, "_is_known", lambda thread, running: thread in before or is_known(thread, running)
    )
