"""A thread that keeps the lease and watches the inbox, whatever the run's own code is doing."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable

from jupyter_durable.errors import DurableError, LeaseLost, StoreError
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import Lease

VARIABLE = "JUPYTER_DURABLE_LEASE"
_TTL = 30.0
_SHORTEST = 0.3  # below that, a busy machine loses leases that nobody took
_WATCH = 0.2
_SETTLE = 0.1  # seconds after which other processes see that a call is under way


def ttl() -> float:
    """Seconds for which a lease is taken and renewed: `JUPYTER_DURABLE_LEASE`, else 30.

    A process that does not answer for so long may be taken over. Raises `DurableError` for what is no
    such number.

    >>> ttl()
    30.0
    """
    text = os.environ.get(VARIABLE, "").strip()
    try:
        seconds = float(text) if text else _TTL
    except ValueError:
        seconds = math.nan
    if not _SHORTEST <= seconds < math.inf:
        raise DurableError(f"{VARIABLE}={text} is no lease", hint=f"give seconds, {_SHORTEST:g} or more")
    return seconds


class Heartbeat:
    """Renews `lease` three times in its `ttl()`. `on_lost(error)`: another process has it; `on_cancel(by)`: a cancel came;
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
        self._ttl = ttl()
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
        beats = max(1, round(self._ttl / 3 / _SETTLE))
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
                    self._lease = self._store.renew(self._lease, self._ttl)
            except LeaseLost as error:
                self._on_lost(error)
                return
            except StoreError:
                # A full or locked disk: the next append will say so where the user can see it.
                continue
