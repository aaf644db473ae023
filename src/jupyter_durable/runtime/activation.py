"""Making a run current: what is patched, watched and attached while at least one run is live."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from contextvars import Token
from typing import Any

from jupyter_durable.runtime.context import SCOPE, Scope, owner_now
from jupyter_durable.runtime.effects import EffectWatch
from jupyter_durable.runtime.heartbeat import Heartbeat
from jupyter_durable.runtime.randoms import RandomWatch
from jupyter_durable.runtime.run import LiveRun
from jupyter_durable.runtime.spawn import adopt_loop
from jupyter_durable.runtime.spawn import patches as strands
from jupyter_durable.runtime.values import Patches, Values


def _current_values() -> Values | None:
    scope = SCOPE.get()
    if scope is None or scope.run.closed:
        return None
    return scope.run.values_of(scope)


def _is_user_code(names: Mapping[str, Any]) -> bool:
    scope = SCOPE.get()
    return scope is not None and scope.run.user_code(names)


_values = Patches(_current_values, _is_user_code)


class Activation:
    """A run, current from `enter` to `leave`; both in the context that executes its code.

    >>> # activation = Activation(run); activation.enter(); ...; activation.leave(error)
    """

    def __init__(self, run: LiveRun, *, ignored_paths: tuple[str, ...] = ()) -> None:
        self.run = run
        self._ignored = ignored_paths
        self._token: Token[Scope | None] | None = None
        self._beat: Heartbeat | None = None
        self._effects = EffectWatch(self._outside_steps, self._ignore, run.user_code)

    def _outside_steps(self) -> bool:
        scope = SCOPE.get()
        return scope is not None and scope.run is self.run and scope.attempt is None and not self.run.closed

    def _ignore(self, path: str) -> bool:
        return path.startswith(self._ignored)

    def enter(self) -> None:
        """From here on calls in this context belong to the run."""
        run = self.run
        run.main.owner = owner_now()
        strands.install()
        _values.install(run.user_code)
        self._effects.install()
        if run.instruments is not None:
            run.instruments.install(run)
        with contextlib.suppress(RuntimeError):  # sync code: a loop that it starts is adopted then
            adopt_loop(asyncio.get_running_loop())
        if run.lease is not None:
            self._beat = Heartbeat(run.store, run.lease, self._lost, self._cancelled, run.writer.settle)
            self._beat.start()
        run.random = RandomWatch()
        run.random.begin(run.values_of(run.main))
        self._token = SCOPE.set(run.main)

    def leave(self) -> None:
        """The context is what it was. Does not close the run."""
        if self._token is None:
            return
        SCOPE.reset(self._token)
        self._token = None
        with self.run.lock:
            self.run.engine.leave()
        if self._beat is not None:
            self._beat.stop()
        for effect in self._effects.drain():
            self.run.notice(str(effect))
        self._effects.remove()
        if self.run.instruments is not None:
            self.run.instruments.remove(self.run)
        _values.remove()
        strands.remove()

    def _lost(self, error: BaseException) -> None:
        self.run.lost = error
        self._stop_main()

    def _cancelled(self, by: str) -> None:
        self.run.cancelled_by = by
        self._stop_main()

    def _stop_main(self) -> None:
        owner = self.run.main.owner
        if isinstance(owner, asyncio.Task):
            loop = owner.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(owner.cancel)
