"""What tests of several folders share."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest

from jupyter_durable.runtime import quiet

_END = "-----END CERTIFICATE-----\n"


def pytest_configure(config: pytest.Config) -> None:
    """Clients in tests talk to loopback, without TLS: one authority is loaded in a millisecond, all of them in thirty."""
    if "SSL_CERT_FILE" in os.environ:  # also in a worker of pytest-xdist, which has it from its parent
        return
    with contextlib.suppress(ImportError):
        import certifi

        first = Path(certifi.where()).read_text().partition(_END)[0] + _END
        folder = Path(tempfile.mkdtemp(prefix="jupyter-durable-tests-"))
        (folder / "authority.pem").write_text(first)
        os.environ["SSL_CERT_FILE"] = str(folder / "authority.pem")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The laws first: one of them takes minutes, and the worker that came to it last would be waited for."""
    items.sort(key=lambda item: "property" not in item.path.parts)


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
