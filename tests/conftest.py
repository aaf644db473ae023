"""What tests of several folders share."""

from __future__ import annotations

import threading

import pytest

from jupyter_durable.runtime import quiet


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that other tests have left in this process, and those that they start, are none that something here waits for."""
    own = {threading.main_thread()}
    start, is_known = threading.Thread.start, quiet._is_known

    def started(thread: threading.Thread) -> None:
        if threading.current_thread() in own:
            own.add(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)
    monkeypatch.setattr(
        quiet, "_is_known", lambda thread, running: thread not in own or is_known(thread, running)
    )
