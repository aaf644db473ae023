"""What a live run needs from layers above it, and from the part of this one that knows HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from jupyter_durable.model import Draft
from jupyter_durable.runtime.context import Scope

if TYPE_CHECKING:
    from jupyter_durable.runtime.run import LiveRun
    from jupyter_durable.runtime.step import Step


class OutputPort(Protocol):
    """What is written and displayed inside a step: `kernel.outputs` in a notebook."""

    def start(self) -> Any:
        """Begin to record what the current context writes."""
        ...

    def stop(self, recording: Any) -> list[dict[str, Any]]:
        """End it; the outputs as nbformat has them."""
        ...

    def show(self, outputs: list[dict[str, Any]]) -> None:
        """Write and display them again."""
        ...


class InstrumentsPort(Protocol):
    """What makes calls of other libraries steps: `capture.instruments`."""

    def install(self, run: LiveRun) -> None:
        """A run goes live."""
        ...

    def remove(self, run: LiveRun) -> None:
        """It has ended."""
        ...


class ExchangesPort(Protocol):
    """HTTP exchanges that are not settled: `runtime.exchange`. Entries that must be written, from each."""

    def before_start(self, step: Step) -> list[Draft]:
        """A step is about to start."""
        ...

    def scope_ended(self, scope: Scope, *, clean: bool) -> None:
        """A strand is over."""
        ...

    def run_ended(self, *, clean: bool) -> list[Draft]:
        """The run's code is over."""
        ...
