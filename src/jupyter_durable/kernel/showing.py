"""What a durable cell shows of its run while it runs: one display, kept current, that stays in the notebook.

A thread reads the journal and updates the display: four times a second at most, and less often if that would take
more than a hundredth of the time. What it shows is complete in itself (`timeline.bundle`), so it is still there
when the kernel is not.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any

from jupyter_durable.kernel import display

if TYPE_CHECKING:
    from jupyter_durable.runtime.run import LiveRun
    from jupyter_durable.session.watching import Watch

_APART = 0.25  # seconds between updates, at least
_SHARE = 0.01  # of the time that updates may take
_WINDOW = 100  # steps that are kept in sight


def can_update(shell: Any) -> bool:
    """Whether what was displayed can be changed: not in a terminal."""
    return getattr(shell, "kernel", None) is not None


class CellDisplay:
    """The display of one durable cell.

    `recorder` counts what the cell clears: a display that is gone is not updated, but made again.
    """

    def __init__(self, shell: Any, recorder: Any, run: LiveRun) -> None:
        # Taken now: a magic below may exchange it (%%capture), and this is not what it is to capture.
        self._publish = shell.display_pub.publish
        self._recorder = recorder
        self._run = run
        self._id = f"jupyter-durable-{run.id}-{time.monotonic_ns():x}"
        # The cell's own: what is displayed from the thread belongs below the cell, and to no step.
        self._context = contextvars.copy_context()
        self._stop = threading.Event()
        self._watch: Watch | None = None
        self._thread: threading.Thread | None = None
        self._text = self._line = ""
        self._cleared = 0

    def begin(self, line: str, kind: str) -> None:
        """Show the line that says what the run will do, and keep what comes current below it."""
        first = display.line(line, kind)
        self._text, self._line = first["text/plain"], display.one_line(line)
        self._cleared = self._recorder.cleared
        self._publish(dict(first), {}, transient={"display_id": self._id})
        self._thread = threading.Thread(target=self._context.run, args=(self._follow,), daemon=True)
        self._thread.name = "jupyter-durable-display"
        self._thread.start()

    def end(self, line: str, kind: str = "notice") -> None:
        """Show how it ended."""
        self.stop()
        last = display.line(line, kind)
        self._line = display.one_line(line)
        self._text += "\n" + last["text/plain"]
        try:
            self._context.copy().run(self._show, last=True)
        except Exception:  # noqa: BLE001 - whatever is wrong with the store must not be the cell's error, too
            self._publish(dict(last), {})

    def stop(self) -> None:
        """No update comes after this."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    # -- the thread ------------------------------------------------------------------------------

    def _follow(self) -> None:
        from jupyter_durable.session import watching  # noqa: F401 - importing it is no part of what an update takes

        pause = _APART
        while not self._stop.wait(pause):
            began = time.thread_time()
            with contextlib.suppress(Exception):  # what cannot be shown now, the end shows
                self._show()
            pause = max(_APART, (time.thread_time() - began) / _SHARE)

    def _show(self, *, last: bool = False) -> None:
        from jupyter_durable.session.reading import Store
        from jupyter_durable.session.watching import Watch
        from jupyter_durable.timeline.bundle import EXCERPT, bundle

        if self._watch is None:
            self._watch = Watch(Store(self._run.store), self._run.id, limit=_WINDOW, live=self._run)
        if not self._watch.read() and not last:
            return
        page = self._watch.excerpt(EXCERPT)
        page["run"]["line"] = self._line
        data = bundle(page, self._text)
        gone = self._recorder.cleared != self._cleared
        if gone and not last:
            return
        self._publish(data, {}, transient={"display_id": self._id}, update=not gone)
