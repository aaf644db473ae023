"""A thread that keeps the lease and watches the inbox, whatever the run's own code is doing."""

from __future__ import annotations

import threading
from collections.abc import Callable

from jupyter_durable.errors import LeaseLost, StoreError
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import Lease

TTL = 30.0
"""Seconds for which a lease is taken and renewed."""
_WATCH = 0.2
_SETTLE = 0.1  # seconds after which other processes see that a call is under way


class Heartbeat:
    """Renews `lease` three times a `TTL`. `on_lost(error)`: another process has it; `on_cancel(by)`: a cancel came;
    `settle()` is called ten times a second, to store what has only been staged.

    A thread, because background tasks stop when the user's code blocks the loop.
    """

    def __init__(
        self,
        store: JournalStore,
        lease: Lease,
        on_lost: Callable[[BaseException], None],
        on_cancel: Callable[[str], None],
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._lease = lease
        self._on_lost = on_lost
        self._on_cancel = on_cancel
        self._settle = settle
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="jupyter-durable-heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the lease stays as it is."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)

    def _beat(self) -> None:
        ticks = round(_WATCH / _SETTLE)
        beats = round(TTL / 3 / _SETTLE)
        tick = 0
        seen = -1
        read = 0
        while not self._stop.wait(_SETTLE):
            tick += 1
            try:
                self._settle()
                if tick % ticks == 0 and (version := self._store.version()) != seen:
                    seen = version
                    for item in self._store.inbox(self._lease.run_id, after=read):
                        read = item.id
                        if item.kind == "cancel":
                            self._on_cancel(item.by)
                if tick % beats == 0:
                    self._lease = self._store.renew(self._lease, TTL)
            except LeaseLost as error:
                self._on_lost(error)
                return
            except StoreError:
                # A full or locked disk: the next append will say so where the user can see it.
                continue
